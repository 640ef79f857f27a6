"""Text that parsers need quadratic time for is shown as written or left out."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from nbtape.export.html import render
from nbtape.export.markdown import write_report
from nbtape.export.sanitise_html import inert_html

NESTED = [
    "<div>",
    "<ul><li>",
    "<i><div>",
    "<a><div>",
    "<b></p>",
    "<div></b>",
    "<table><tr><td>",
    "<div><table><td></div>",
]
PROSE = ["[", "![", "a|b\n-|-\n", "|-\n", "![![a](b)", "[[", "[a][", "<div>", "> ", "- ", "*a ", "`", "[a]: b\n"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", NESTED)
def test_deeply_nested_html_is_left_out(piece: str) -> None:
    assert inert_html(f"x{piece * (1_500_000 // len(piece))}") == ""


def test_ordinary_html_is_kept_even_without_end_tags() -> None:
    table = f"<table>{'<tr><td>1<td><b>2</b>' * 3000}</table>"
    assert inert_html(table).count("<td>") == 6000
    assert inert_html("<div>" * 500 + "x").count("<div>") == 500
    assert inert_html("<p>x<br>" * 3000).count("<br>") == 3000


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", PROSE)
def test_prose_that_is_hard_to_parse_takes_little_time(piece: str) -> None:
    cells = [new_markdown_cell(piece * (size // len(piece))) for size in (20_000, 50_000, 1_000_000)]
    notebook = new_notebook(cells=cells)
    assert piece.strip()[0] in write_report(notebook, "x", "files").text
    render(notebook, "x")
