"""What a model reads of its code in every integration: text, and images."""

from __future__ import annotations

import base64
import io
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nbtape.common import image_types
from nbtape.common.concurrency import offload
from nbtape.common.text import shorten

if TYPE_CHECKING:
    from nbtape.errors import NbtapeError
    from nbtape.results import CodeResult

logger = logging.getLogger(__name__)

_MAX_NAMED_FILES: Final = 50
_MAX_NAMES_CHARS: Final = 4000


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file as a PNG for a model."""

    path: Path
    content: bytes

    mime_type = "image/png"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.content).decode()


def answer(result: CodeResult) -> str:
    """The output of code, a line for each file, and how the code ended. Slightly longer than the limit of the output.

    Outputs name the files that were extracted from them; files that the code wrote are listed here.
    """
    parts = [result.output.rstrip("\n") or _silence(result)]
    if unnamed := [path for path in result.output_files if path not in result.output]:
        lines = [f"File written: {path}" for path in unnamed[:_MAX_NAMED_FILES]]
        if rest := len(unnamed) - len(lines):
            lines.append(f"{rest} more files were written.")
        parts.append(shorten("\n".join(lines), _MAX_NAMES_CHARS, "the notebook has all names"))
    return "\n".join(parts)


def _silence(result: CodeResult) -> str:
    return "The code ran and printed nothing." if result.status == "ok" else f"The code ended: {result.status}."


def failure(error: NbtapeError) -> str:
    """An error of nbtape, and the result of the code that did run, so that the model does not run it again."""
    result = getattr(error, "result", None)
    return f"{error}\n{answer(result)}" if result is not None else str(error)


async def load_pictures(result: CodeResult, *, show: bool = True) -> list[Picture]:
    """`pictures` for a caller on an event loop; none if `show` is false."""
    return await offload(pictures, result) if show else []


def pictures(result: CodeResult, *, most: int = 8) -> list[Picture]:
    """The last images of a result, including files that its code wrote. What cannot be decoded is left out."""
    suffixes = image_types.MODEL_SUFFIXES
    paths = [Path(path) for path in dict.fromkeys(result.output_files) if Path(path).suffix.lower() in suffixes]
    # Windows lacks the first two flags, and the other systems lack the third.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    found = []
    for path in paths[-most:] if most else []:
        try:
            found.append(Picture(path, scaled(content_of(os.open(path, flags)))))
        except Exception as exc:  # noqa: BLE001  (whatever a decoder raises for a file that code wrote)
            logger.info("%s is no picture that could be shown: %s", path, exc)
    return found


def content_of(descriptor: int) -> bytes:
    """Read a file that was opened with O_NONBLOCK, and close it; an OSError if it is a pipe, say, or too large."""
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError("it is no file")
        if info.st_size > image_types.MAX_MODEL_FILE_BYTES:
            raise OSError(f"it has {info.st_size} bytes, more than {image_types.MAX_MODEL_FILE_BYTES}")
        return file.read(image_types.MAX_MODEL_FILE_BYTES)


def scaled(content: bytes) -> bytes:
    """Convert an image to a PNG for a model; a ValueError for too many pixels, and an OSError if it is not an image."""
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
