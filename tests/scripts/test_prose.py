"""scripts/prose: the words that it finds and skips, and its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import check_prose

SCRIPT = Path(check_prose.__file__)


def found(path: Path, *kinds: str) -> list[tuple[int, str, str]]:
    """The hits in a file as line, kind and phrase."""
    texts = [text for text in check_prose.texts_of(path) if not kinds or text.kind in kinds]
    return sorted((hit.line, hit.kind, hit.found) for hit in check_prose.hits(path.name, texts))


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("It tells nobody.", "tells"),
        ("Whoever reads this", "Whoever"),
        ("The run goes on.", "goes on"),
        ("It cannot be had.", "cannot be had"),
        ("a file in place of a link", "in place of"),
        ("A timeout that is none.", "is none"),
        ("x is no number", "is no"),
        ("all files but one", "but one"),
        ("a kernel of this machine", "of this machine"),
        ("the process was ended", "was ended"),
        ("look at the picture", "picture"),
        ("it tries time and again", "time and again"),
        ("a phrase on two lines: time\n  and again", "time and again"),
    ],
)
def test_a_word_to_avoid_is_found(text: str, phrase: str, tmp_path: Path) -> None:
    assert phrase in [each for _, _, each in found(write(tmp_path / "a.md", text))]


@pytest.mark.parametrize(
    "text",
    [
        "There is no kernel.",
        "It is no longer valid.",
        "The code `x is none` and `goes on`.",
        'The user wrote "nobody goes on".',
        "```\nnobody\n```",
        "~~~text\nnobody\n~~~",
        "[a link](nobody.md)",
        "the identifiers kernel_epoch and his-file",
        "the users who have a token",
        "this cell, and the history of it",
    ],
)
def test_plain_and_quoted_words_are_not_reported(text: str, tmp_path: Path) -> None:
    assert found(write(tmp_path / "a.md", text)) == []


def test_each_kind_of_text_in_python_has_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.py",
        '"""A module that tells."""\n'
        "import click\n\n"
        "# A comment that\n"
        "# goes on here.\n"
        "@click.command()\n"
        '@click.option("--x", help="What nobody needs.")\n'
        "def command(x):\n"
        '    """Have it run, told once."""\n'
        '    raise ValueError(f"{x} is no value: "\n'
        '        "name it in place of y.")\n\n'
        'PATTERN = r"\\bnobody\\b"\n'
        'NAME = "nobody"\n',
    )
    assert found(path) == [
        (1, "docstring", "tells"),
        (5, "comment", "goes on"),
        (7, "help", "nobody"),
        (9, "help", "Have it run"),
        (9, "help", "told"),
        (10, "message", "in place of"),
        (10, "message", "is no"),
    ]
    assert found(path, "message") == [(10, "message", "in place of"), (10, "message", "is no")]


def test_a_shell_script_has_help_messages_and_comments(tmp_path: Path) -> None:
    path = write(
        tmp_path / "tool",
        "#!/bin/sh\n# Tells it.\nusage() {\n    cat <<'END'\nMakes it if need be.\nEND\n}\nfail 'there is but one'\n",
    )
    assert found(path) == [(2, "comment", "Tells"), (5, "help", "if need be"), (8, "message", "but one")]


def test_markdown_cells_of_a_notebook_are_checked_and_code_is_not(tmp_path: Path) -> None:
    cells = (
        '{"cells": [\n {"cell_type": "markdown", "source": ["A heading\\n", "\\n", "It goes on."]},\n'
        ' {"cell_type": "code", "source": ["nobody = 1"]}\n]}'
    )
    assert [phrase for _, _, phrase in found(write(tmp_path / "a.ipynb", cells))] == ["goes on"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_exit_code_shows_whether_there_are_hits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md", "Nobody.\n")
    done = run(path)
    assert (done.returncode, done.stdout.startswith(f"{path}:1: markdown: 'Nobody': write no one")) == (1, True)
    assert run("--kind", "help,message", path).returncode == 0
    assert run(write(tmp_path / "b.md", "No one.\n")).returncode == 0


def test_an_unknown_kind_or_path_is_an_error(tmp_path: Path) -> None:
    assert run("--kind", "poem").returncode == 2
    missing = run(tmp_path / "none")
    assert (missing.returncode, "none does not exist" in missing.stderr) == (2, True)
