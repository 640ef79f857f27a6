"""Encode cells as JSON, byte for byte as nbformat writes it, and decode them.

There are two exceptions. Text of more than 1 MiB stays one string, because lists of lines take much more memory to
read. Numbers that are not finite become null, because they are not JSON.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any, Final

from nbformat.v4 import to_notebook

from nbtape.notebook.layout import FIRST, HEAD, SEPARATOR
from nbtape.notebook.unknown_types import CELL_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbformat import NotebookNode

#: Texts of more characters than this are not split into lines.
_MAX_SPLIT_CHARS: Final = 1 << 20

#: A placeholder for such a text while the JSON is laid out; JSON cannot contain this character.
_LARGE: Final = "\0"

#: MIME types besides `text/*` that nbformat splits into lines.
_TEXT_TYPES: Final = frozenset({"application/javascript", "image/svg+xml"})

_quote: Final = json.encoder.encode_basestring  # keeps non-ASCII characters


def encode_cell(cell: Mapping[str, Any]) -> bytes:
    """Encode a cell, indented as in a notebook, without a separator."""
    return b"".join(_encode(cell, indent="  "))


def decode_cell(encoded: bytes) -> NotebookNode:
    """Decode a cell."""
    notebook = to_notebook({"cells": [json.loads(encoded)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    cell: NotebookNode = notebook["cells"][0]
    return cell


def encode_document(document: Mapping[str, Any]) -> bytes:
    """Encode a whole notebook."""
    cells = [before + encode_cell(cell) for before, cell in zip(_separators(), document["cells"], strict=False)]
    tail = encode_tail(encode_metadata(document["metadata"]), document["nbformat_minor"], has_cells=bool(cells))
    return b"".join([HEAD, *cells, tail])


def _separators() -> Iterator[bytes]:
    return itertools.chain([FIRST], itertools.repeat(SEPARATOR))


def encode_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Encode the metadata of a notebook."""
    return b"".join(_encode(metadata, indent=" "))


def encode_tail(metadata: bytes, minor: int, *, has_cells: bool) -> bytes:
    """The end of a notebook after its last cell: its encoded metadata and the minor version of nbformat 4."""
    end = b"\n ]" if has_cells else b"]"
    version = str(minor).encode()
    return end + b',\n "metadata": ' + metadata + b',\n "nbformat": 4,\n "nbformat_minor": ' + version + b"\n}\n"


def _encode(value: Mapping[str, Any], indent: str) -> Iterator[bytes]:
    """JSON in nbformat's layout, in pieces.

    `json.dumps(indent=1)` takes 5 times as long and, for a million lines of output, 1,000 times the memory.
    """
    large: list[str] = []
    before, *rest = _layout(_split(value), indent, large).split(_LARGE)
    yield before.encode()
    for text, after in zip(large, rest, strict=True):
        for start in range(0, len(text), _MAX_SPLIT_CHARS):
            yield _quote(text[start : start + _MAX_SPLIT_CHARS])[1:-1].encode()
        yield after.encode()


def _layout(value: Any, indent: str, large: list[str]) -> str:  # noqa: ANN401  (any JSON value)
    """The JSON with a mark for each large text, which is appended to `large` so that no level copies it."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        members = [f"{inner}{_quote(key)}: {_layout(item, inner, large)}" for key, item in sorted(value.items())]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join([inner + _layout(item, inner, large) for item in value]) + f"\n{indent}]"
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    if not isinstance(value, str):
        return json.dumps(value)
    if len(value) <= _MAX_SPLIT_CHARS:
        return _quote(value)
    large.append(value)
    return f'"{_LARGE}"'


def _split(value: Mapping[str, Any]) -> dict[str, Any]:
    """A cell with its texts as lists of lines, like nbformat's `split_lines`; metadata is unchanged."""
    if "cell_type" not in value:
        return dict(value)
    if value["cell_type"] not in CELL_TYPES:
        return dict(value)
    split = {**value, "source": _lines(value["source"])}
    if "attachments" in value:
        split["attachments"] = {name: _split_bundle(bundle) for name, bundle in value["attachments"].items()}
    if "outputs" in value:
        split["outputs"] = [_split_output(output) for output in value["outputs"]]
    return split


def _split_output(output: Mapping[str, Any]) -> dict[str, Any]:
    match output["output_type"]:
        case "stream":
            return {**output, "text": _lines(output["text"])}
        case "display_data" | "execute_result":
            return {**output, "data": _split_bundle(output["data"])}
    return dict(output)


def _split_bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        mime: _lines(text) if mime.startswith("text/") or mime in _TEXT_TYPES else text for mime, text in data.items()
    }


def _lines(text: object) -> object:
    return text.splitlines(keepends=True) if isinstance(text, str) and len(text) <= _MAX_SPLIT_CHARS else text
