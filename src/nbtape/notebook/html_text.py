"""Read HTML outputs as text: what a browser shows without scripts, with tables as rows of cells."""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Longer HTML is read up to this many tags and texts.
_MAX_PIECES: Final = 100_000
#: Columns that one cell may span.
_MAX_SPAN: Final = 20
#: Larger tables are not aligned, and further cells of them span no others.
_MAX_CELLS: Final = 100_000

_TAG: Final = re.compile(r"<!--|<(/?)([a-zA-Z][\w-]*)")
#: Elements whose content is not seen.
UNSEEN: Final = frozenset({"head", "iframe", "noscript", "object", "script", "style", "template", "title"})
_VOID: Final = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})
#: Elements that start on a new line.
_BLOCKS: Final = frozenset(
    {"address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "div", "dl", "dt"}
    | {"fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li"}
    | {"main", "nav", "ol", "p", "pre", "section", "summary", "table", "tr", "ul"}
)
#: Elements that are not text, whose content is for browsers that cannot show them.
_MEDIA: Final = frozenset({"audio", "canvas", "video"})
_HIDDEN: Final = re.compile(r"(?:^|\s)hidden(?:[\s=/]|$)|display\s*:\s*none", re.IGNORECASE)
_ATTRIBUTE: Final = r"""\b{}\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"""
_ALT: Final = re.compile(_ATTRIBUTE.format("alt"), re.IGNORECASE)
_SRC: Final = re.compile(_ATTRIBUTE.format("src"), re.IGNORECASE)
_COLSPAN: Final = re.compile(_ATTRIBUTE.format("colspan"), re.IGNORECASE)
_ROWSPAN: Final = re.compile(_ATTRIBUTE.format("rowspan"), re.IGNORECASE)
_NUMBER: Final = re.compile(r"[-+\u2212$€£(]?[\d.][\d.,:%eE+)-]*|NaN|NaT|nan|None|inf|-inf|<NA>|\.\.\.|…|")

_CUT: Final = "[… the rest of this HTML is left out; it is in the notebook …]"


class Tag(NamedTuple):
    """A start tag or an end tag, with its name in lower case."""

    name: str
    is_end: bool
    attributes: str


def scan(text: str) -> Iterator[str | Tag]:
    """The texts (with character references) and tags of HTML, without comments and elements that are not seen."""
    position = 0
    while tag := _TAG.search(text, position):
        if tag.start() > position:
            yield text[position : tag.start()]
        name = (tag[2] or "").lower()
        position = _end(text, tag, name)
        if name and name not in UNSEEN:
            yield Tag(name, bool(tag[1]), text[tag.end() : position - 1])
    if position < len(text):
        yield text[position:]


def _end(text: str, tag: re.Match[str], name: str) -> int:
    """Where a tag ends, or an element that is not seen."""
    if not name:
        end = text.find("-->", tag.end())
    elif name in UNSEEN and not tag[1]:
        closing = re.compile(rf"</{name}\b", re.IGNORECASE).search(text, tag.end())
        end = text.find(">", closing.start()) if closing else -1
    else:
        end = text.find(">", tag.end())
    return len(text) if end < 0 else text.index(">", end) + 1


@dataclass(slots=True)
class Table:
    """The cells of a table, row by row. A cell that spans more than one is followed by empty cells."""

    caption: str = ""
    header: list[list[str]] = field(default_factory=list)
    body: list[list[str]] = field(default_factory=list)
    #: Leading columns whose cells in the body are headers, such as the index of a DataFrame.
    index_columns: int = 0

    @property
    def columns(self) -> int:
        """How many columns there are after those of the index."""
        return max(map(len, [*self.header, *self.body]), default=0) - self.index_columns


def html_text(text: str) -> str:
    """The text of HTML, with aligned tables and the descriptions of images; empty if nothing is seen."""
    reader = _Reader()
    pieces = scan(text)
    for piece in itertools.islice(pieces, _MAX_PIECES):
        reader.read(piece)
    if next(pieces, None) is not None:
        reader.read(Tag("p", is_end=False, attributes=""))
        reader.read(_CUT)
    return reader.text()


def table_of(text: str) -> Table | None:
    """The first table of HTML; None without one."""
    reader = _Reader()
    for piece in itertools.islice(scan(text), _MAX_PIECES):
        reader.read(piece)
        if reader.tables:
            return reader.tables[0]
    return None


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines with aligned columns; numbers are aligned at the right."""
    if len(rows) * max(map(len, rows), default=0) > _MAX_CELLS:
        return "\n".join("  ".join(row).rstrip() for row in rows)
    columns = list(itertools.zip_longest(*rows, fillvalue=""))
    justified = []
    for column in columns:
        width = max(map(len, column))
        # The first row may be a header.
        is_right = all(_NUMBER.fullmatch(cell) for cell in column[1:]) and any(column)
        justified.append([cell.rjust(width) if is_right else cell.ljust(width) for cell in column])
    return "\n".join("  ".join(row).rstrip() for row in zip(*justified, strict=True))


class _Reader:
    """Collects lines of text, and the outermost tables."""

    def __init__(self) -> None:
        self._lines = [""]
        self.tables: list[Table] = []
        self._table: _TableReader | None = None
        self._depth = 0
        self._pre = 0
        #: The hidden element that is being skipped, and how many of its name are open in it.
        self._hidden, self._open = "", 0

    def read(self, piece: str | Tag) -> None:
        """Take the next piece of HTML."""
        if isinstance(piece, str):
            if not self._hidden:
                self._write(html.unescape(piece))
        elif self._hidden:
            if piece.name == self._hidden:
                self._open += -1 if piece.is_end else 1
                self._hidden = self._hidden if self._open else ""
        elif not piece.is_end and piece.name not in _VOID and _HIDDEN.search(piece.attributes):
            self._hidden, self._open = piece.name, 1
        elif not piece.is_end and piece.name in _MEDIA:
            self._write(f"[{piece.name}]")
            self._hidden, self._open = piece.name, 1
        else:
            self._tag(piece)

    def text(self) -> str:
        """Everything that was read, without blank lines at the ends and without more than one between."""
        if self._table is not None:
            self._end_table(self._table)
        joined = "\n".join(line.rstrip() for line in self._lines)
        return re.sub(r"\n{3,}", "\n\n", joined).strip("\n")

    def _tag(self, tag: Tag) -> None:
        if tag.name == "table":
            self._depth = max(self._depth + (-1 if tag.is_end else 1), 0)
            if self._table is None and self._depth:
                self._table = _TableReader()
            elif self._table is not None and not self._depth:
                self._end_table(self._table)
        elif tag.name == "img" and not tag.is_end:
            self._write(_image(tag.attributes))
        elif self._table is not None:
            self._table.read(tag, is_inner=self._depth > 1)
        elif tag.name in _BLOCKS:
            self._pre = max(self._pre + (-1 if tag.is_end else 1), 0) if tag.name == "pre" else self._pre
            self._break()
            if tag.name == "li" and not tag.is_end:
                self._lines[-1] = "- "

    def _write(self, text: str) -> None:
        if self._table is not None:
            self._table.write(text)
        elif self._pre:
            first, *rest = text.split("\n")
            self._lines[-1] += first
            self._lines += rest
        else:
            _append(self._lines, text)

    def _break(self) -> None:
        """Start a new line, unless this one is empty."""
        if self._lines[-1]:
            self._lines.append("")

    def _end_table(self, reader: _TableReader) -> None:
        self._table, self._depth = None, 0
        table = reader.end()
        self.tables.append(table)
        self._break()
        self._lines += [*filter(None, [table.caption]), aligned([*table.header, *table.body]), ""]


class _TableReader:
    """Collects the cells of one table. Tables in its cells are read as text."""

    def __init__(self) -> None:
        self._table = Table()
        self._rows: list[list[str]] = []
        self._heads: list[list[bool]] = []
        self._in_head: list[bool] = []
        self._is_head = False
        #: The text of the current cell, and the rows below in which a column is taken by a cell above.
        self._cell = [""]
        self._taken: dict[int, int] = {}
        self._target, self._column = "", 0
        self._spanned = 0

    def read(self, tag: Tag, *, is_inner: bool) -> None:
        """Take a tag between `<table>` and `</table>`."""
        if is_inner or tag.name not in {"caption", "thead", "tbody", "tfoot", "tr", "td", "th"}:
            if tag.name in _BLOCKS or tag.name in {"td", "th"}:
                self.write(" ")
            return
        self._close_cell()
        if tag.name == "thead":
            self._is_head = not tag.is_end
        elif tag.is_end:
            return
        elif tag.name == "caption":
            self._target = "caption"
        elif tag.name == "tr":
            self._start_row()
        elif tag.name in {"td", "th"}:
            self._start_cell(tag)

    def write(self, text: str) -> None:
        """Add text to the current cell; text between cells is left out, as it would appear elsewhere."""
        if self._target:
            _append(self._cell, text)

    def end(self) -> Table:
        """The table, after its last tag."""
        self._close_cell()
        table = self._table
        for row, in_head in zip(self._rows, self._in_head, strict=True):
            (table.header if in_head and not table.body else table.body).append(row)
        below = self._heads[len(table.header) :]
        table.index_columns = min((_leading(heads) for heads in below), default=0)
        return table

    def _start_row(self) -> None:
        self._rows.append([])
        self._heads.append([])
        self._in_head.append(self._is_head)

    def _start_cell(self, tag: Tag) -> None:
        if not self._rows:
            self._start_row()
        self._skip_taken()
        row = self._rows[-1]
        across, down = _span(_COLSPAN, tag), _span(_ROWSPAN, tag)
        if self._spanned > _MAX_CELLS:
            across = down = 1
        self._spanned += across
        for column in range(len(row), len(row) + across):
            if down > 1:
                self._taken[column] = down - 1
        row += [""] * across
        self._heads[-1] += [tag.name == "th"] * across
        self._target, self._column = "cell", len(row) - across

    def _skip_taken(self) -> None:
        """Leave the columns empty that cells above span."""
        row, heads = self._rows[-1], self._heads[-1]
        while (left := self._taken.get(len(row), 0)) and self._spanned <= _MAX_CELLS:
            self._spanned += 1
            self._taken[len(row)] = left - 1
            row.append("")
            heads.append(True)

    def _close_cell(self) -> None:
        text, target = self._cell[0].strip(), self._target
        self._cell, self._target = [""], ""
        if target == "caption":
            self._table.caption = text
        elif target:
            self._rows[-1][self._column] = text


def _append(lines: list[str], text: str) -> None:
    """Add text to the last line, with white space as in a browser."""
    words = text.split()
    if text[:1].isspace() and lines[-1] and not lines[-1].endswith(" "):
        lines[-1] += " "
    lines[-1] += " ".join(words) + (" " if words and text[-1:].isspace() else "")


def _span(pattern: re.Pattern[str], tag: Tag) -> int:
    found = _value(pattern, tag.attributes)
    return min(max(int(found), 1), _MAX_SPAN) if found.isascii() and found.isdecimal() and len(found) < 4 else 1  # noqa: PLR2004


def _image(attributes: str) -> str:
    """An image in text: its description, or its address."""
    alt, src = html.unescape(_value(_ALT, attributes)).strip(), _value(_SRC, attributes)
    named = alt or ("" if src.startswith("data:") else src)
    return f"[image: {named}]" if named else "[image]"


def _value(pattern: re.Pattern[str], attributes: str) -> str:
    found = pattern.search(attributes)
    return next(filter(None, found.groups()), "") if found else ""


def _leading(heads: Sequence[bool]) -> int:
    """How many cells of a row are headers before the first that is not; 0 if all are."""
    return next((number for number, is_head in enumerate(heads) if not is_head), 0)
