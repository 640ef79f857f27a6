"""Only text, newlines, tabs and requested colors reach a terminal."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style
from rich.table import Table
from rich.text import Text

from nbtape import cli
from nbtape.cli.display import consoles as consoles_module
from nbtape.cli.display.plain import Shown, coloured, joined, plain, plain_code, plain_line, shown, styled
from nbtape.cli.display.printing import echo

if TYPE_CHECKING:
    from collections.abc import Callable

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"]
SEQUENCES = {
    "cursor": "\x1b[1A",
    "erase": "\x1b[2K",
    "private mode": "\x1b[?1049h",
    "title": "\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x1b\\",
    "link": "\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\",
    "title without an end": "\x1b]0;title",
    "device control": "\x1bPq#0\x1b\\",
    "Kitty's graphics": "\x1b_Ga=d\x1b\\",
    "privacy message": "\x1b^x\x1b\\",
    "reset": "\x1bc",
    "charset": "\x1b(0",
    "answerback": "\x1b[c\x1b[6n\x05",
    "C1 control sequence": "\x9b2J",
    "C1 command": "\x9d0;title\x9c",
    "C1 device control": "\x90q\x9c",
    "nested": "\x1b\x1b[m]0;title\x07",
    "sequence in a sequence": "\x1b[3\x1b]0;x\x071m",
    "sequence around a color": "\x1b]0;\x1b[31mtitle\x07",
    "return": "all is well\rfailed",
}
FUNCTIONS = {"plain": plain, "coloured": coloured, "line": plain_line, "code": plain_code, "styled": styled}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def commands(text: str) -> list[str]:
    """The control characters that a terminal would obey, without colors."""
    return [char for char in COLOUR.sub("", text) if char in CONTROLS or char in "\u202e\u2066"]


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("text", [*CONTROLS, *SEQUENCES.values()], ids=ascii)
def test_control_sequences_do_not_reach_the_terminal(text: str, function: Callable[[str], str]) -> None:
    assert commands(function(f"before {text} after")) == []


@given(st.text(alphabet=st.sampled_from("\x1b\x9b\x9d\x9c\x90[]0;mJHc\\\x07\r\n\ta\u202e?1P_")))
def test_combined_control_characters_do_not_reach_the_terminal(text: str) -> None:
    for function in FUNCTIONS.values():
        assert commands(function(text)) == []


def test_each_function_shows_hostile_text_safely() -> None:
    hostile = "a\x1b[31mb\x1b]0;t\x07c\x9d0;t\x9cd\x07\n\te"
    assert plain(hostile) == "abcd\\x07\n\te"
    assert coloured(hostile) == "a\x1b[31mbcd\\x07\n\te\x1b[0m"
    assert plain_code(hostile) == "a\\x1b[31mb\\x1b]0;t\\x07c\\x9d0;t\\x9cd\\x07\n\te"
    assert plain_line(hostile) == "a\\x1b[31mb\\x1b]0;t\\x07c\\x9d0;t\\x9cd\\x07\\n e"
    assert plain_line("caf\udce9") == "caf�"


def test_raw_text_is_made_plain_when_printed(capsys: pytest.CaptureFixture[str]) -> None:
    red = styled("red\x1b]0;t\x07", fg="red")
    assert isinstance(red, Shown)
    assert shown(red) is red
    assert not isinstance(red + "x", Shown)
    assert joined(red, "\x1b[2J", by=" ") == "\x1b[31mred\x1b[0m "
    with click.Context(click.Command("x"), color=True):
        echo(red)
        echo(f"{red}\x1b]0;t\x07")
        echo("\x1b[2Jx", err=True)
    assert capsys.readouterr() == ("\x1b[31mred\x1b[0m\nred\n", "x\n")


def test_rich_writes_no_control_sequences_from_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    out, _ = consoles_module.consoles()
    out.file = io.StringIO()
    for sequence in SEQUENCES.values():
        table = Table(f"head {sequence}", title=f"title {sequence}")
        table.add_row(f"text {sequence}")
        for each in (f"text {sequence}", Text(f"text {sequence}"), Text.from_ansi(f"text {sequence}"), table):
            out.print(each)
    out.print(Text("link", style=Style(link="https://evil.example", color="red")))
    assert commands(out.file.getvalue()) == []
    assert "\x1b[31mlink" in out.file.getvalue()


def test_the_cli_prints_only_through_functions_that_make_text_plain() -> None:
    """Everything goes through `echo` and its variants in `printing`, or the consoles of `consoles`."""
    forbidden = {"click.echo", "click.secho", "click.style", "click.prompt", "click.confirm", "click.echo_via_pager"}
    found = [
        path.name
        for path in Path(cli.__file__).parent.rglob("*.py")
        if path.name not in {"printing.py", "plain.py"}
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (called := ast.unparse(node.func)) in {*forbidden, "print", "Console"}
            or (called.endswith((".write", ".writelines")) and "sys.std" in called)
        )
    ]
    # A constant that is printed before anything is imported.
    assert found == ["__init__.py"]
