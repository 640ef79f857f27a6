"""Format results, cells, variables and files as text and content blocks for MCP clients."""

from __future__ import annotations

import base64
import contextlib
import logging
import mimetypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import BlobResourceContents, EmbeddedResource, ImageContent, TextContent

from nbtape.common.image_types import MAX_MODEL_FILE_BYTES, MODEL_SUFFIXES
from nbtape.common.text import fit_text, plural, shorten, strip_escapes
from nbtape.common.untrusted_files import Directory
from nbtape.integrations._answers import scaled
from nbtape.notebook.format import own_metadata, recorded_status
from nbtape.notebook.model_text import model_text
from nbtape.notebook.numbering import block_numbers, place_name
from nbtape.notebook.read import journal_notice, parse_document
from nbtape.summary.run_summary import changes_of_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcp.types import ContentBlock
    from nbformat import NotebookNode

    from nbtape.session.variables import Variable, Variables

logger = logging.getLogger(__name__)

_MAX_BLOB_BYTES: Final = 5_000_000

#: Maximum characters for the source of a cell, and for its outputs.
_MAX_PART_CHARS: Final = 4000
_MAX_LISTED_FILES: Final = 200


def text_content(text: str) -> TextContent:
    """Text for a model, made valid UTF-8: file names may contain any bytes."""
    return TextContent(type="text", text=fit_text(text))


def image_content(png: bytes) -> ImageContent:
    return ImageContent(type="image", data=base64.b64encode(png).decode(), mime_type="image/png")


def variables_text(variables: Variables) -> str:
    lines = [_variable_line(variable) for variable in variables]
    if variables.left_out:
        lines.append(f"{variables.left_out} more are left out.")
    return "\n".join(lines) or "There are no variables."


def _variable_line(variable: Variable) -> str:
    facts = [variable.type]
    if variable.shape is not None:
        facts.append(" by ".join(map(str, variable.shape)))
    if variable.size is not None:
        facts.append(f"{variable.size} bytes")
    return f"{variable.name} ({', '.join(facts)}) = {' '.join(variable.repr.split())}"


def files_text(notebook: Path, files: Iterable[str]) -> str:
    """The notebook and the files of a session, one per line, as `fetch_file` accepts them."""
    directory = notebook.parent
    paths = [notebook, *map(Path, files)]
    lines = [_file_line(directory, path) for path in paths[-_MAX_LISTED_FILES:]]
    if left_out := len(paths) - len(lines):
        lines.insert(0, f"{left_out} older files are left out.")
    return "\n".join([f"In the working directory ({directory} on the host):", *lines])


def _file_line(directory: Path, path: Path) -> str:
    name = path.relative_to(directory) if path.is_relative_to(directory) else path
    try:
        size = f"{path.lstat().st_size} bytes"
    except OSError:
        size = "missing"
    return f"{' '.join(strip_escapes(str(name)).split())} ({size})"


def cells_text(path: Path, first: int | None, count: int, limit: int) -> str:
    """Cells of a recording as text of at most `limit` characters: status, source and outputs of each.

    `first` is a position, counted from the end if negative; None for the last `count` cells.
    """
    # The code may have replaced the notebook, for example with a link to another one.
    cells = parse_document(path, read_inside(path.parent, path.name)[1])["cells"]
    start = len(cells) - count if first is None else first + (len(cells) if first < 0 else 0)
    start = min(max(start, 0), len(cells))
    chosen = list(enumerate(zip(block_numbers(cells), cells, strict=True)))[start : start + count]
    shown = f"cells {start} to {start + len(chosen) - 1} are shown" if chosen else "no cells in this range"
    head = f"{path.name} has {plural(len(cells), 'cell')}, counted from 0; {shown}."
    if notice := journal_notice(path):
        head += f" {notice}"
    text = "\n\n".join([head, *(_cell(index, block, cell) for index, (block, cell) in chosen)])
    return shorten(text, limit, f"full text in {path.name}")


def _cell(index: int, block: int, cell: NotebookNode) -> str:
    where = "full text in the notebook"
    source = shorten(cell["source"], _MAX_PART_CHARS, where)
    marks = "".join(f", {mark}" for mark in changes_of_cell(own_metadata(cell)))
    name = f"{marks}, id {cell['id']}"
    if cell["cell_type"] != "code":
        return f"[{index}] {cell['cell_type']}{name}\n{source}"
    outputs = shorten(model_text(cell["outputs"], _named(cell)), _MAX_PART_CHARS, where).rstrip("\n")
    head = f"[{index}] {place_name(block, is_code=True)}, {recorded_status(cell)}{name}"
    parts = [head, source, *(["--- output", outputs] if outputs else [])]
    return "\n".join(parts)


def _named(cell: Mapping[str, Any]) -> dict[int, list[str]]:
    """The files that were extracted from outputs, by position of the output. The code can write any metadata."""
    named: dict[int, list[str]] = {}
    extracted = own_metadata(cell).get("extracted")
    for file in extracted if isinstance(extracted, list) else []:
        if isinstance(file, dict) and type(file.get("output")) is int:
            named.setdefault(file["output"], []).append(f"Saved as {file.get('path')}")
    return named


def file_content(directory: Path, name: str, limit: int) -> ContentBlock:
    """A file of the output directory: an image, text of at most `limit` characters, or else base64."""
    path, content = read_inside(directory, name)
    if path.suffix.lower() in MODEL_SUFFIXES:
        try:
            return image_content(scaled(content))
        except Exception as exc:  # noqa: BLE001  (whatever a decoder raises for a file that code wrote)
            logger.info("%s cannot be shown as an image: %s", path, exc)
    with contextlib.suppress(UnicodeDecodeError):
        if b"\0" not in content:
            return text_content(shorten(content.decode(), limit, f"full text in {name}; read more of it with code"))
    if len(content) > _MAX_BLOB_BYTES:
        raise ToolError(
            f"{name} has {len(content)} bytes, more than the limit of {_MAX_BLOB_BYTES}. Read it with code."
        )
    mime = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    blob = BlobResourceContents(uri=path.as_uri(), mime_type=mime, blob=base64.b64encode(content).decode())
    return EmbeddedResource(type="resource", resource=blob)


def read_inside(directory: Path, name: str) -> tuple[Path, bytes]:
    """The real path of a file in a directory, and its content.

    The name comes from a model, and untrusted code can write to the directory: links that lead out of it are refused,
    even if they are created during this call.

    Raises:
        ToolError: It is not in the directory, is not a file, or is too large.
    """
    try:
        root = directory.resolve()
        path = Path(os.path.realpath(root / name))
        if not path.is_relative_to(root):
            raise ToolError(
                f"{name!r} is not in the output directory. Use list_files to see which files can be fetched."
            )
        parts = path.relative_to(root).parts
        with Directory(root) as opened:
            return path, opened.read_below(parts or (".",), MAX_MODEL_FILE_BYTES)
    except (OSError, ValueError) as exc:  # ValueError: an impossible file name
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ToolError(f"{name!r} cannot be read: {why}. Use list_files to see which files can be fetched.") from exc
