"""The CLI names options where the library names arguments."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

import nbtape
from nbtape.cli.commands import nbtape as root
from nbtape.cli.option_names import _OPTIONS, _PHRASES, as_options

SOURCES = Path(nbtape.__file__).parent


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "It requires a token. Set token= to it.",
            "It requires a token. Set the environment variable JUPYTER_TOKEN to it.",
        ),
        ("until= must be from 0 to 3.", "--until must be from 0 to 3."),
        (
            "It took 60 s. Increase startup_timeout= if the server is slow. Late.",
            "It took 60 s. Try again when the server is less busy. Late.",
        ),
        ("its log: http://127.0.0.1/lab?token=abc", "its log: http://127.0.0.1/lab?token=abc"),
        ("run(timeout=5)", "run(timeout=5)"),
        ("my_token= x", "my_token= x"),
    ],
)
def test_arguments_become_options(message: str, shown: str) -> None:
    assert as_options(message) == shown


def test_each_replacement_option_exists() -> None:
    commands = [root, *root.commands.values()]
    commands += [each for group in commands if isinstance(group, click.Group) for each in group.commands.values()]
    known = {name for command in commands for option in command.params for name in option.opts}
    named = re.findall(r"--[a-z-]+", " ".join([*_OPTIONS.values(), *_PHRASES.values()]))
    assert set(named) <= known


#: Arguments without an option, whose messages the command line does not print.
WITHOUT_OPTION = {
    *{
        *{"additional_args", "client"},
        "allow_ignored",
        "approve",
        "bind_dir",
        "client",
        "code_blocks",
        "cosmetic",
        "custom_image_name",
        "executor",
        "extra",
        "extract",
        "name_files",
    },
    *{"jupyter_server", "kernel_name", "limit", "on_output", "preload", "root_dir", "size", "startup_timeout"},
    "additional_args",
    *{"log_level", "stop_container", "time", "total"},  # the last two are printed by other programs
}


def messages() -> list[str]:
    """The strings of the library that are not docstrings, with X for inserted values; adjacent ones are joined."""
    found = []
    for path in SOURCES.rglob("*.py"):
        if "cli" in path.relative_to(SOURCES).parts:
            continue
        tree = ast.parse(path.read_text())
        nodes = list(ast.walk(tree))
        statements = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements | parts:
                found.append(node.value)
    return found


def test_each_replaced_phrase_occurs_in_a_library_message() -> None:
    texts = messages()
    assert [phrase for phrase in _PHRASES if not any(phrase in text for text in texts)] == []
    assert [name for name in _OPTIONS if not any(f"{name}=" in text for text in texts)] == []


def test_each_argument_in_a_message_has_an_option_or_is_known_to_have_none() -> None:
    named = {
        name
        for text in map(as_options, messages())
        for name in re.findall(r"(?<![\w\\])(\w+)=(?=[\s,.;)]|$)", text)
        if " " in text
    }
    assert named - {"X"} <= WITHOUT_OPTION
