"""Answers to a model about its code, in all integrations: text and images."""

from __future__ import annotations

import base64
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nbtape.common import image_types
from nbtape.common.concurrency import offload
from nbtape.common.text import plural, shorten
from nbtape.common.untrusted_files import Directory

if TYPE_CHECKING:
    from nbtape.errors import NbtapeError
    from nbtape.results import CodeResult

logger = logging.getLogger(__name__)

_MAX_NAMED_FILES: Final = 50
_MAX_NAMES_CHARS: Final = 4000


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file, converted to a PNG for a model."""

    path: Path
    content: bytes

    mime_type = "image/png"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.content).decode()


def answer(result: CodeResult) -> str:
    """The output, a line for each file, and how the code ended. Slightly longer than the limit for outputs.

    Outputs already name the files extracted from them; this adds the files that the code wrote.
    """
    parts = [result.output.rstrip("\n") or _silence(result)]
    if unnamed := _unnamed(result):
        lines = [f"File written: {path}" for path in unnamed[:_MAX_NAMED_FILES]]
        if rest := len(unnamed) - len(lines):
            lines.append(f"{plural(rest, 'more file')} not named here.")
        parts.append(shorten("\n".join(lines), _MAX_NAMES_CHARS, "all names are in the notebook"))
    return "\n".join(parts)


def _unnamed(result: CodeResult) -> list[str]:
    """The files that no line of the output names, relative to the working directory."""
    named = {line.partition(" data saved to ")[2] for line in result.output.splitlines()}
    paths = [(path, _seen(path, result)) for path in result.output_files]
    return [seen for path, seen in paths if named.isdisjoint({path, seen})]


def _seen(path: str, result: CodeResult) -> str:
    """A path as the code sees it."""
    directory = result.notebook and result.notebook.parent
    return str(Path(path).relative_to(directory)) if directory and Path(path).is_relative_to(directory) else path


def _silence(result: CodeResult) -> str:
    return (
        "The code ran and printed nothing."
        if result.status == "ok"
        else f"The code stopped with status {result.status}."
    )


def failure(error: NbtapeError) -> str:
    """An error of nbtape with the result of any code that ran, so that the model does not run that again."""
    result = getattr(error, "result", None)
    return f"{error}\n{answer(result)}" if result is not None else str(error)


async def load_pictures(result: CodeResult, *, show: bool = True) -> list[Picture]:
    """`pictures` for a caller on an event loop; empty if `show` is false."""
    return await offload(pictures, result) if show else []


def pictures(result: CodeResult, *, most: int = 8) -> list[Picture]:
    """The last images of a result, including files that its code wrote. Files that cannot be decoded are left out."""
    suffixes = image_types.MODEL_SUFFIXES
    paths = [Path(path) for path in dict.fromkeys(result.output_files) if Path(path).suffix.lower() in suffixes]
    found = []
    for path in paths[-most:] if most else []:
        try:
            found.append(Picture(path, scaled(_content(result, path))))
        except ModuleNotFoundError:
            logger.warning("The model sees no images: they need the package pillow (pip install pillow).")
            break
        except Exception as exc:  # noqa: BLE001  (whatever a decoder raises for a file that code wrote)
            logger.info("%s cannot be shown as an image: %s", path, exc)
    return found


def _content(result: CodeResult, path: Path) -> bytes:
    """Read an image file without following links below the directory of the notebook. Raises OSError."""
    root = path.parent
    if result.notebook is not None and path.is_relative_to(result.notebook.parent):
        root = result.notebook.parent
    with Directory(root) as directory:
        return directory.read_below(path.relative_to(root).parts, image_types.MAX_MODEL_FILE_BYTES)


def scaled(content: bytes) -> bytes:
    """Convert an image to a PNG for a model; raises ValueError for too many pixels, OSError if it is not an image."""
    from PIL import Image

    side = image_types.MAX_MODEL_SIDE_PIXELS
    with Image.open(io.BytesIO(content), formats=image_types.MODEL_FORMATS) as image:
        if image.width * image.height > image_types.MAX_MODEL_PIXELS:
            raise ValueError(f"it has {image.width} by {image.height} pixels")
        is_small = max(image.size) <= side and len(content) <= image_types.MAX_UNCHANGED_PNG_BYTES
        if image.format == "PNG" and is_small:
            image.load()
            return content
        image.draft("RGB", (side, side))
        shown = image.convert("RGBA" if image.has_transparency_data else "RGB")
        shown.thumbnail((side, side))
        made = io.BytesIO()
        shown.save(made, "PNG")
        return made.getvalue()
