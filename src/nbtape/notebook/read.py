"""Read a notebook from disk, check it against nbformat's schema, and upgrade it to nbformat 4.5."""

from __future__ import annotations

import errno
import json
import logging
import re
import uuid
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.compat_jsonschema import defer_grammar
from nbtape.common.json_cost import costs_more, is_nested_deeper
from nbtape.common.untrusted_files import ObstacleError, read_file
from nbtape.errors import NotebookReadError
from nbtape.notebook.atomic_write import version_of
from nbtape.notebook.journal import fold_in, has_entries, path_of, read_journal
from nbtape.notebook.lock import is_being_written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.common.untrusted_files import Directory

logger = logging.getLogger(__name__)

#: The first minor version of nbformat 4 whose cells have ids.
_IDS_SINCE: Final = 5

#: Maximum bytes of a notebook that is read.
MAX_FILE_BYTES: Final = 1 << 30

#: Maximum attempts to read a notebook that is written at the same time.
MAX_READ_ATTEMPTS: Final = 5

#: Maximum nesting of a notebook's JSON. nbformat needs 10 levels, and displayed JSON may have 64 more.
MAX_DEPTH: Final = 128

#: Maximum cost of a notebook's values (see `json_cost`): a million objects, or more in a notebook with much text.
_MAX_COST: Final = 64_000_000
_COST_PER_BYTE: Final = 0.25

#: Upper limit of `nbformat_minor`.
_MAX_MINOR: Final = 1000

_MAX_HEADING_LEVEL: Final = 6

_MISSING: Final = object()

_IS_DIRECTORY: Final = "it is a directory. Name a notebook in it."

#: Characters shown of a wrong value.
_MAX_SHOWN_CHARS: Final = 20

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read_document(path: Path) -> NotebookNode:
    """Read a notebook of nbformat 4 and give ids to its cells; raises NotebookReadError if it is not valid.

    A journal next to it is logged but not read: anyone can put one next to a notebook, where most programs do not show
    it.
    """
    return parse_document(path, read_alone(path))


def recover_document(path: Path) -> NotebookNode:
    """`read_document` with the changes in the journal, to continue a recording whose process was killed."""
    return parse_document(path, *read_whole(path))


def parse_document(path: Path, content: bytes, journal: bytes = b"") -> NotebookNode:
    """`read_document` for a file's content and its journal's; `path` is for errors."""
    defer_grammar()
    from nbformat.v4 import to_notebook

    document = _with_ids(parse_unchecked(path, content, journal))
    _check_types(path, document)
    _validate(path, document)
    notebook: NotebookNode = to_notebook(document)
    return notebook


def parse_saved(path: Path, content: bytes, is_known: Callable[[NotebookNode], bool], max_cost: int) -> NotebookNode:
    """`parse_document` without checking cells for which `is_known`, because most are as nbtape wrote them."""
    from nbformat.v4 import to_notebook

    check_cost(path, content, max_cost)
    document = _with_ids(parse_unchecked(path, content))
    _check_types(path, document)
    try:
        notebook: NotebookNode = to_notebook(document)
        known = [is_known(cell) for cell in notebook["cells"]]
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise _invalid(path, "a cell has a value of a wrong type") from exc
    unknown = [cell for cell, is_valid in zip(document["cells"], known, strict=True) if not is_valid]
    _validate(path, {**document, "cells": unknown})
    return notebook


def read_unchecked(path: Path) -> dict[str, Any]:
    """Read a notebook of nbformat 4 without schema checks, which take 100 times as long; its cells are dicts.

    For the journal, see `read_shown`. Raises NotebookReadError if the notebook is not JSON of that form.
    """
    return parse_unchecked(path, *read_shown(path))


def parse_unchecked(path: Path, content: bytes, journal: bytes = b"") -> dict[str, Any]:
    """`read_unchecked` for a file's content and its journal's; `path` is for errors."""
    check_cost(path, content)
    document = _parsed(path, content)
    document = _upgraded(path, document)
    fold_in(document, journal)
    return document


def read_alone(path: Path) -> bytes:
    """The content of a notebook's file; logs a notice if there is a journal. Raises NotebookReadError."""
    content = read_content(path)
    if notice := journal_notice(path):
        logger.warning("%s", notice)
    return content


def read_shown(path: Path) -> tuple[bytes, bytes]:
    """`read_whole` for a session that is being recorded, whose journal can be trusted; otherwise `read_alone`."""
    return read_whole(path) if is_being_written(path) else (read_alone(path), b"")


def journal_notice(path: Path) -> str:
    """A sentence about changes that are only in the notebook's journal; empty without such changes."""
    if not has_entries(path):
        return ""
    unsaved = f"{path.name} has unsaved changes in {path_of(path).name}"
    return f"{unsaved}; JupyterCodeExecutor.resume() or `nbtape run --resume` recovers them."


def check_cost(path: Path, content: bytes, max_cost: int | None = None) -> None:
    """Raise NotebookReadError if the values of a notebook would take too much memory."""
    if costs_more(content, int(_MAX_COST + _COST_PER_BYTE * len(content)) if max_cost is None else max_cost):
        raise NotebookReadError(path, "its JSON has too many values. Remove the cells or metadata that hold them.")


def read_whole(path: Path) -> tuple[bytes, bytes]:
    """The content of a notebook's file and of its journal; raises NotebookReadError if it cannot be read."""
    for _ in range(MAX_READ_ATTEMPTS):
        version = version_of(path)
        content, journal = read_content(path), read_journal(path)
        if version_of(path) == version:  # otherwise the journal may belong to a newer notebook
            break
    return content, journal


def read_content(path: Path, directory: Directory | None = None) -> bytes:
    """The content of a notebook's file; raises NotebookReadError if it cannot be read.

    `directory` is its directory, if that is already open.
    """
    if path.suffix != ".ipynb":
        if path.is_dir():
            raise NotebookReadError(path, _IS_DIRECTORY)
        if path.is_file():
            raise NotebookReadError(
                path,
                "it is not a notebook: its name does not end in .ipynb. For Markdown or a script, use "
                f"`nbtape run {path}`.",
            )
    try:
        return read_file(path, MAX_FILE_BYTES) if directory is None else directory.read(path.name, MAX_FILE_BYTES)
    except FileNotFoundError as exc:
        raise NotebookReadError(path, "it does not exist. Check the path.") from exc
    except ObstacleError as exc:
        if exc.errno == errno.EISDIR:
            raise NotebookReadError(path, _IS_DIRECTORY) from exc
        raise NotebookReadError(path, f"{exc.strerror}.") from exc
    except OSError as exc:
        raise NotebookReadError(path, f"{exc.strerror or exc}. Check its permissions.") from exc


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content.decode("utf-8-sig"))
        _check_depth(document)
        if _SURROGATE.search(content):  # half of a pair is valid JSON but not valid text
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError as exc:
        reason = f"its JSON is nested more than {MAX_DEPTH} levels deep. Remove the nested cell or metadata."
        raise NotebookReadError(path, reason) from exc
    except ValueError as exc:
        raise NotebookReadError(path, _why_not_json(exc)) from exc
    if not isinstance(document, dict):
        raise NotebookReadError(path, f"it is not a notebook: its JSON is {_shown(document)}, not an object.")
    if "nbformat" not in document:
        raise NotebookReadError(path, "it is not a notebook: its JSON has no key nbformat.")
    return document


def _why_not_json(exc: ValueError) -> str:
    match exc:
        case json.JSONDecodeError():
            return f"invalid JSON at line {exc.lineno}, column {exc.colno}. The file may be truncated."
        case UnicodeDecodeError():
            return f"invalid UTF-8 at byte {exc.start}. Save it as UTF-8."
        case UnicodeEncodeError():
            return "its text contains a lone surrogate, which UTF-8 cannot encode. Remove it."
    return f"invalid JSON ({exc}). The file may be damaged."


def _check_depth(document: object) -> None:
    if is_nested_deeper(document, MAX_DEPTH):
        raise RecursionError("nested too deeply for nbformat")


def _upgraded(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """A notebook of nbformat 4; an older one is converted. Raises NotebookReadError for any other."""
    version = document["nbformat"]
    if type(version) is not int:
        raise NotebookReadError(path, f"its nbformat is {_shown(version)}, not an integer. Set it to 4.")
    if version in {1, 2, 3}:
        document = _converted(path, document)
    elif version != 4:  # noqa: PLR2004  (the one that Jupyter has written since 2015)
        raise NotebookReadError(
            path,
            f"it has nbformat {_shown(version)}, but nbtape reads nbformat 1 to 4. Save it as nbformat 4 with the "
            "program that wrote it.",
        )
    cells = document.get("cells", _MISSING)
    if not isinstance(cells, list):
        raise _invalid(path, "cells is missing" if cells is _MISSING else f"cells is {_shown(cells)}, not a list")
    for index, cell in enumerate(cells):
        if not isinstance(cell, dict):
            raise _invalid(path, f"cells/{index} is {_shown(cell)}, not an object")
    return document


def _converted(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """A notebook of an older nbformat as nbformat 4."""
    import nbformat

    defer_grammar()
    try:
        cells = [cell for sheet in document.get("worksheets", ()) for cell in sheet["cells"]]
        _check_tags(path, cells)
        for cell in cells:
            if "level" in cell:  # nbformat writes that many signs
                cell["level"] = max(1, min(int(cell["level"]), _MAX_HEADING_LEVEL))
        converted: dict[str, Any] = nbformat.reads(json.dumps(document), as_version=4)
    except NotebookReadError:
        raise
    except Exception as exc:  # nbformat raises anything if a key is missing or of a wrong type
        raise NotebookReadError(
            path,
            f"it has nbformat {document['nbformat']} and cannot be converted to nbformat 4. It may be damaged.",
        ) from exc
    return converted


def _shown(value: object) -> str:
    """A value of JSON, shortened."""
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."


def _check_types(path: Path, document: dict[str, Any]) -> None:
    """Check what nbformat's schema does not specify, or checks in quadratic time."""
    minor = document["nbformat_minor"]
    if type(minor) is not int or not 0 <= minor <= _MAX_MINOR:
        why = (
            f"it is not a valid notebook: its nbformat_minor is {_shown(minor)}, not an integer from 0 to {_MAX_MINOR}"
        )
        raise NotebookReadError(path, f"{why}. Set it to 5.")
    _check_tags(path, document["cells"])


def _check_tags(path: Path, cells: Iterable[Mapping[str, Any]]) -> None:
    for cell in cells:
        metadata = cell.get("metadata", {})
        tags = metadata.get("tags", []) if isinstance(metadata, dict) else None
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise _invalid(path, "the metadata of a cell is not an object, or its tags are not a list of strings")


def _invalid(path: Path, why: str) -> NotebookReadError:
    return NotebookReadError(path, f"it is not a valid notebook: {why}. Repair or remove that part of the file.")


def _validate(path: Path, document: dict[str, Any]) -> None:
    from nbformat import ValidationError, validate

    try:
        validate(document)
    except (ValidationError, TypeError) as exc:
        place = "/".join(map(str, getattr(getattr(exc, "original", exc), "absolute_path", ())))
        why = str(getattr(exc, "message", exc))[:200]
        raise _invalid(path, f"{why} (at {place})" if place else why) from exc


def _with_ids(document: dict[str, Any]) -> dict[str, Any]:
    """Give cells unique ids: older notebooks have none, and some tools copy a cell with its id."""
    seen: set[str] = set()
    for cell in document["cells"]:
        if not isinstance(cell.get("id"), str) or cell["id"] in seen:
            cell["id"] = str(uuid.uuid4())
        seen.add(cell["id"])
    minor = document.get("nbformat_minor", 0)
    return {**document, "nbformat_minor": max(minor, _IDS_SINCE) if type(minor) is int else minor}
