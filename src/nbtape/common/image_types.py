"""Image types in notebook outputs: MIME types, file extensions, decoders and size limits."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PNG: Final = "image/png"
SVG: Final = "image/svg+xml"

#: File extension of each image type that is saved as a file, with the dot.
EXTENSIONS: Final[Mapping[str, str]] = {
    PNG: ".png",
    "image/jpeg": ".jpeg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/tiff": ".tiff",
    "image/avif": ".avif",
    SVG: ".svg",
}

#: Raster types that nbtape decodes, with Pillow's format names, in order of preference. Data from a kernel is never
#: passed to Pillow's other decoders.
PILLOW_FORMATS: Final[Mapping[str, str]] = {PNG: "PNG", "image/jpeg": "JPEG", "image/gif": "GIF"}

#: Image types that exports and reports show, in order of preference.
SHOWN: Final = (SVG, *PILLOW_FORMATS)

# A small file can hold an image that fills memory when it is decoded.
MAX_SHOWN_PIXELS: Final = 40_000_000
MAX_SIDE_PIXELS: Final = 20_000
MAX_COMPARED_PIXELS: Final = 16_000_000
MAX_SVG_BYTES: Final = 5_000_000
MAX_SVG_ELEMENTS: Final = 500_000

#: Suffixes of image files that are shown to models, and Pillow's names for their formats.
MODEL_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp"})
MODEL_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")
MAX_MODEL_FILE_BYTES: Final = 50_000_000
MAX_MODEL_PIXELS: Final = 50_000_000
MAX_MODEL_SIDE_PIXELS: Final = 1024
MAX_UNCHANGED_PNG_BYTES: Final = 2_000_000


def data_url(mime: str, content: bytes) -> str:
    """Format an image as a data URL. In an `<img>`, an SVG runs no scripts and loads nothing."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
