"""Tables of pandas in outputs: DataFrames as bounded text for models, and styled tables in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.html_text import aligned, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtape.notebook.html_text import Table

#: Limits of a DataFrame for a model. More rows and columns are left out in the middle.
MAX_ROWS: Final = 30
MAX_COLUMNS: Final = 20
MAX_LINE_CHARS: Final = 200

_MAX_CELL_CHARS: Final = 50
_MAX_NAMED_CHARS: Final = 200

#: The beginning of a DataFrame's HTML; other libraries use the same class of tables, but not the same style sheet.
_FRAME: Final = re.compile(
    r"\s*<div>\s*<style scoped(?:=\"\")?>[^<]*\.dataframe tbody[^<]*</style>\s*<table [^>]*dataframe"
)
_SHAPE_IN_HTML: Final = re.compile(r"<p>(\d+) rows \u00d7 (\d+) columns</p>\s*</div>\s*\Z")
_SHAPE_IN_TEXT: Final = re.compile(r"\s*\[\d+ rows x \d+ columns\]\s*\Z")
_STYLER: Final = re.compile(r"<pandas\.io\.formats\.style\.Styler (?:object )?at 0x[0-9a-fA-F]+>")
_LEFT_OUT: Final = "..."


def frame_text(data: Mapping[str, Any]) -> str | None:
    """A DataFrame of pandas in a MIME bundle as aligned text with its shape; None without one.

    Rows and columns over the limits are left out in the middle.
    """
    plain, html = data.get("text/plain"), data.get("text/html")
    if not (isinstance(plain, str) and isinstance(html, str) and _FRAME.match(html)):
        return None
    table = table_of(html)
    if table is None or not table.body:  # an empty frame lists its columns
        return None
    plain = _SHAPE_IN_TEXT.sub("", plain).rstrip()
    shape = _SHAPE_IN_HTML.search(html, max(len(html) - 200, 0))
    rows, columns = shape.groups() if shape else (len(table.body), table.columns)
    text = plain if _fits(plain, table) else _bounded(table)
    return f"{text}\n[{rows} rows x {columns} columns]"


def styled_table(data: Mapping[str, Any]) -> str:
    """One line for a styled table of pandas (`df.style`) in a MIME bundle; otherwise empty."""
    plain, html = data.get("text/plain"), data.get("text/html")
    if not (isinstance(plain, str) and isinstance(html, str) and _STYLER.fullmatch(plain.strip())):
        return ""
    table = table_of(html)
    if table is None:
        return ""
    names = ", ".join(filter(None, (" ".join(name.split()) for name in _names(table))))
    title = f": {table.caption[:_MAX_NAMED_CHARS]}" if table.caption else ""
    named = f": {names[:_MAX_NAMED_CHARS]}{'…' if len(names) > _MAX_NAMED_CHARS else ''}" if names else ""
    shape = f"{len(table.body)} rows x {table.columns} columns"
    return f"[Styled table{title} ({shape}{named}). To read the values, display its .data.]"


def _names(table: Table) -> Sequence[str]:
    return table.header[0][table.index_columns :] if table.header else ()


def _fits(plain: str, table: Table) -> bool:
    """Whether the text of pandas is short enough, and not wrapped into groups of columns."""
    lines = plain.split("\n")
    is_wrapped = any(line.endswith("\\") for line in lines)
    return not is_wrapped and len(table.body) <= MAX_ROWS and max(map(len, lines)) <= MAX_LINE_CHARS


def _bounded(table: Table) -> str:
    index = table.index_columns
    body = _without_middle(table.body, MAX_ROWS, [_LEFT_OUT] * max(map(len, table.body)))
    rows = [[cell[:_MAX_CELL_CHARS] for cell in row] for row in [*table.header, *body]]
    count = min(table.columns, MAX_COLUMNS)
    while True:
        shown = [[*row[:index], *_without_middle(row[index:], count, _LEFT_OUT)] for row in rows]
        text = aligned(shown)
        if count <= 2 or max(map(len, text.split("\n"))) <= MAX_LINE_CHARS:  # noqa: PLR2004
            return text
        count -= 1


def _without_middle(items: Sequence[Any], most: int, mark: Any) -> list[Any]:  # noqa: ANN401  (rows or cells)
    """The first and last items, `most` together, with a mark between them if some are left out."""
    if len(items) <= most:
        return list(items)
    # Where pandas has left out some already, its mark is in the middle.
    return [*items[: most - most // 2], mark, *items[len(items) - most // 2 :]]
