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
        ("Check host=, port= and base_path=.", "Check the URL of --server."),
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


def test_each_replaced_phrase_occurs_in_a_library_message() -> None:
    messages = ""
    for path in SOURCES.rglob("*.py"):
        if "cli" in path.relative_to(SOURCES).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                messages += f"{node.value}\0"
            elif isinstance(node, ast.JoinedStr):
                messages += "".join(str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values)
    inner = {"port= and base_path=", "token= (or headers= of JupyterConnectionInfo)"}
    assert [phrase for phrase in _PHRASES if phrase not in messages and phrase not in inner] == []
