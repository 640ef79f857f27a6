"""What a client of the MCP server reads: results, cells, variables and files, as text and content blocks."""

from __future__ import annotations

import base64
import logging
import mimetypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import BlobResourceContents, EmbeddedResource, ImageContent, TextContent

from nbtape.common.text import fit_text, shorten, strip_escapes
from nbtape.integrations._answers import PICTURE_ENDINGS, content_of, scaled
from nbtape.notebook.format import own_metadata, recorded_status
from nbtape.notebook.journal import read_journal
from nbtape.notebook.output_text import cell_text
from nbtape.notebook.read import parse_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcp.types import ContentBlock
    from nbformat import NotebookNode

    from nbtape.integrations._answers import Picture
    from nbtape.session.variables import Variable, Variables

logger = logging.getLogger(__name__)

#: The most bytes of a file that is passed on as it is.
_LARGEST_BLOB: Final = 5_000_000

#: The most characters of the source of a cell that is read, and as many of its outputs.
_LONGEST_PART: Final = 4000

#: The most files that are listed: the last ones.
_MOST_FILES: Final = 200


def text_content(text: str) -> TextContent:
    """Text for a model. Names of files need not be text; what goes over the wire must be."""
    return TextContent(type="text", text=fit_text(text))


def image_content(picture: Picture) -> ImageContent:
    """A picture for a model."""
    return _image(picture.content)


def _image(content: bytes) -> ImageContent:
    return ImageContent(type="image", data=base64.b64encode(content).decode(), mime_type="image/png")


def variables_text(variables: Variables) -> str:
    """Variables, a line each."""
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


def files_text(directory: Path, notebook: Path, files: Iterable[str]) -> str:
    """The files of a session, a line each, as `fetch_file` takes them.

    Args:
        directory: Where they are, and what their names are relative to.
        notebook: The recording.
        files: What the blocks are known to have written.
    """
    paths = [notebook, *map(Path, files)]
    lines = [_file_line(directory, path) for path in paths[-_MOST_FILES:]]
    if left_out := len(paths) - len(lines):
        lines.insert(0, f"{left_out} more, older ones, are left out.")
    return "\n".join([f"In {directory}:", *lines])


def _file_line(directory: Path, path: Path) -> str:
    name = path.relative_to(directory) if path.is_relative_to(directory) else path
    try:
        size = f"{path.lstat().st_size} bytes"
    except OSError:
        size = "is gone"
    return f"{' '.join(strip_escapes(str(name)).split())} ({size})"


def cells_text(path: Path, first: int | None, count: int, limit: int) -> str:
    """Cells of a recording as text: how each ended, its source and its outputs.

    Args:
        path: The recording.
        first: The position of the first one, negative from the end; None for the last `count`.
        count: How many.
        limit: The most characters.

    Raises:
        NotebookReadError: It is no notebook any more.
        ToolError: It cannot be read.
    """
    # The code can put something else in its place, a link to another notebook for one.
    cells = parse_document(path, read_inside(path.parent, path.name)[1], read_journal(path))["cells"]
    start = len(cells) - count if first is None else first + (len(cells) if first < 0 else 0)
    start = min(max(start, 0), len(cells))
    chosen = list(enumerate(cells))[start : start + count]
    shown = f"shown are {chosen[0][0]} to {chosen[-1][0]}" if chosen else "none of them is there"
    head = f"{path} has {len(cells)} cells, counted from 0; {shown}."
    return shorten(
        "\n\n".join([head, *(_cell(index, cell) for index, cell in chosen)]), limit, f"the whole is in {path}"
    )


def _cell(index: int, cell: NotebookNode) -> str:
    where = "the notebook has it all"
    source = shorten(cell["source"], _LONGEST_PART, where)
    if cell["cell_type"] != "code":
        return f"[{index}] {cell['cell_type']}\n{source}"
    outputs = shorten(cell_text(cell["outputs"], _named(cell)), _LONGEST_PART, where).rstrip("\n")
    parts = [f"[{index}] code, {recorded_status(cell)}", source]
    if outputs:
        parts += ["--- output", outputs]
    return "\n".join(parts)


def _named(cell: Mapping[str, Any]) -> dict[int, list[str]]:
    """The files that were made of outputs, by the position of the output. The code may have written what it likes."""
    named: dict[int, list[str]] = {}
    extracted = own_metadata(cell).get("extracted")
    for file in extracted if isinstance(extracted, list) else []:
        if isinstance(file, dict) and type(file.get("output")) is int:
            named.setdefault(file["output"], []).append(f"Saved as {file.get('path')}")
    return named


def file_content(directory: Path, name: str, limit: int) -> ContentBlock:
    """A file of the output directory: a picture as an image, text as text, all else as base64.

    Args:
        directory: Where it has to be.
        name: Its name, relative to that, or absolute.
        limit: The most characters of text.

    Raises:
        ToolError: It is elsewhere, is none, or is too large.
    """
    path, content = read_inside(directory, name)
    if path.suffix.lower() in PICTURE_ENDINGS:
        try:
            return _image(scaled(content))
        except Exception as exc:  # noqa: BLE001  (whatever a decoder makes of a file that code wrote)
            logger.info("%s is no picture that could be shown: %s", path, exc)
    if b"\0" not in content:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            pass
        else:
            return text_content(shorten(text, limit, f"the whole is in {path}; read more of it with code"))
    if len(content) > _LARGEST_BLOB:
        raise ToolError(
            f"{path} has {len(content)} bytes; at most {_LARGEST_BLOB} are passed on. Look at it with code."
        )
    mime = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    blob = BlobResourceContents(uri=path.as_uri(), mime_type=mime, blob=base64.b64encode(content).decode())
    return EmbeddedResource(type="resource", resource=blob)


def read_inside(directory: Path, name: str) -> tuple[Path, bytes]:
    """Where a file of a directory really is, and what it holds.

    The name comes from a model and the directory belongs to code that nobody vouches for: links that lead out of it
    are refused, and so is what is put in the way while this looks.

    Args:
        directory: Where it has to be.
        name: Its name, relative to that, or absolute.

    Raises:
        ToolError: It is elsewhere, is no file, or is too large.
    """
    try:
        root = directory.resolve()
        path = Path(os.path.realpath(root / name))
        if not path.is_relative_to(root):
            raise ToolError(f"{name!r} is not in the output directory: list_files names what can be fetched.")
        return path, _read(root, path.relative_to(root).parts)
    except (OSError, ValueError) as exc:  # the second for names that no file can have
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ToolError(f"{name!r} cannot be read: {why}. list_files names what can be fetched.") from exc


def _read(root: Path, parts: tuple[str, ...]) -> bytes:
    """What a file holds, reached from `root` without following any link.

    Raises:
        OSError: It cannot be reached so, is no file, or is too large.
    """
    *above, last = parts or (".",)
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in above:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        # Without a wait: what is opened may be a pipe that nobody writes.
        opened = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    finally:
        os.close(directory)
    return content_of(opened)
