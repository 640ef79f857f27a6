"""Highlighting takes a bounded time for any code and any lexer that a notebook names."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pygments.lexers import get_all_lexers  # type: ignore[import-untyped]

from nbtape.export.highlighting import Highlighter
from nbtape.export.html import render

BLANKS = (" " * 499 + "\n") * 99


@pytest.mark.timeout(60)  # Each cell used to take minutes.
def test_a_notebook_that_names_a_slow_lexer_is_exported() -> None:
    cells = [new_code_cell(BLANKS) for _ in range(20)] + [new_markdown_cell(f"```autoit\n{BLANKS[:19_000]}```")]
    for lexer in ("autoit", "python"):
        page = render(
            new_notebook(cells=cells, metadata={"language_info": {"name": "python", "pygments_lexer": lexer}}), "x"
        )
        assert BLANKS[:400] in page


def test_only_known_lexers_are_used() -> None:
    highlighter = Highlighter()
    used = {name for _, names, *_ in get_all_lexers() for name in names if highlighter.html("x = 1", name)}
    assert {"python", "ipython3", "r", "julia", "bash", "sql", "javascript"} <= used
    assert len(used) < 80


@pytest.mark.parametrize("language", ["", "../x", '"><script>', "autoit", "text", "PYTHON\n"])
def test_code_in_other_languages_is_plain_text(language: str) -> None:
    assert Highlighter().html("x = 1", language) == ""


def test_code_keeps_its_text_and_its_colors() -> None:
    html = Highlighter().html("def f():\n    return '<b>'\n", "Python")
    assert '<span class="k">def</span>' in html
    assert "&lt;b&gt;" in html


def test_long_code_and_long_lines_are_plain_text() -> None:
    assert Highlighter().html("x = 1\n" * 4000, "python") == ""
    assert Highlighter().html("x" * 501, "python") == ""


def test_slow_code_is_plain_text_and_uses_up_the_time_for_highlighting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbtape.export.highlighting._MAX_SECONDS", 0)
    monkeypatch.setattr("nbtape.export.highlighting._HONEST_SECONDS", 0)
    monkeypatch.setattr("nbtape.export.highlighting._MAX_SLOW_SECONDS", 0)
    highlighter = Highlighter()
    assert highlighter.html("x = 1", "python") == ""
    monkeypatch.setattr("nbtape.export.highlighting._MAX_SECONDS", 60)
    assert highlighter.html("x = 1", "python") == ""
    assert Highlighter().html("x = 1", "python") != ""
