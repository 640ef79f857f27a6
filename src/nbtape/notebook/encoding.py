"""Cells ↔ JSON, byte for byte as nbformat writes it.

A text of more than a mebibyte is the exception: it stays one string, for a list of millions of lines costs a reader
many times the memory.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from nbformat.v4 import to_notebook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbformat import NotebookNode

#: Texts of more characters than this are not split into lines.
_SPLIT_LIMIT: Final = 1 << 20

#: What stands for such a text in JSON that is being laid out, where no such character can be.
_LARGE: Final = "\0"

_quote: Final = json.encoder.encode_basestring  # a JSON string that keeps what is not ASCII


def encode_cell(cell: Mapping[str, Any]) -> bytes:
    """A cell as it stands in a notebook, without what separates it from the one before."""
    return b"".join(_encode(cell, indent="  "))


def decode_cell(encoded: bytes) -> NotebookNode:
    """The cell again."""
    notebook = to_notebook({"cells": [json.loads(encoded)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    cell: NotebookNode = notebook["cells"][0]
    return cell


def encode_metadata(metadata: Mapping[str, Any]) -> bytes:
    """The metadata of a notebook."""
    return b"".join(_encode(metadata, indent=" "))


def encode_tail(metadata: bytes, minor: int, *, has_cells: bool) -> bytes:
    """What stands after the last cell.

    Args:
        metadata: The notebook's, encoded.
        minor: The minor version of nbformat 4.
        has_cells: Whether there are cells.
    """
    end = b"\n ]" if has_cells else b"]"
    version = str(minor).encode()
    return end + b',\n "metadata": ' + metadata + b',\n "nbformat": 4,\n "nbformat_minor": ' + version + b"\n}\n"


def _encode(value: Mapping[str, Any], indent: str) -> Iterator[bytes]:
    """JSON as nbformat lays it out, for a place that is indented already, in pieces.

    The encoder of the standard library does the same in pure Python, yielding every comma: 5 times slower here, and
    for a million lines of output a thousand times the memory.
    """
    large: list[str] = []
    before, *rest = _layout(_split(value), indent, large).split(_LARGE)
    yield before.encode()
    for text, after in zip(large, rest, strict=True):
        for start in range(0, len(text), _SPLIT_LIMIT):
            yield _quote(text[start : start + _SPLIT_LIMIT])[1:-1].encode()
        yield after.encode()


def _layout(value: Any, indent: str, large: list[str]) -> str:  # noqa: ANN401  (any JSON value)
    """The JSON, with a mark in place of each large text, which joins `large`: nothing is to copy that at each level."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        members = [f"{inner}{_quote(key)}: {_layout(item, inner, large)}" for key, item in sorted(value.items())]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join([inner + _layout(item, inner, large) for item in value]) + f"\n{indent}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if len(value) <= _SPLIT_LIMIT:
        return _quote(value)
    large.append(value)
    return f'"{_LARGE}"'


def _split(value: Mapping[str, Any]) -> dict[str, Any]:
    """A cell with its texts as lists of lines, as nbformat's `split_lines` has them; anything else as it is."""
    if "cell_type" not in value:
        return dict(value)
    split = {**value, "source": _lines(value["source"])}
    if "attachments" in value:
        split["attachments"] = {name: _split_bundle(bundle) for name, bundle in value["attachments"].items()}
    if "outputs" in value:
        split["outputs"] = [_split_output(output) for output in value["outputs"]]
    return split


def _split_output(output: Mapping[str, Any]) -> dict[str, Any]:
    if output["output_type"] == "stream":
        return {**output, "text": _lines(output["text"])}
    if "data" not in output:
        return dict(output)
    return {**output, "data": _split_bundle(output["data"])}


def _split_bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    return {mime: _lines(text) if _is_split(mime) else text for mime, text in data.items()}


def _is_split(mime: str) -> bool:
    return mime.startswith("text/") or mime in {"application/javascript", "image/svg+xml"}


def _lines(text: object) -> object:
    return text.splitlines(keepends=True) if isinstance(text, str) and len(text) <= _SPLIT_LIMIT else text
