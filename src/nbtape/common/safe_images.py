"""Check images from a kernel: verify their type, limit their size, and make SVG inert."""

from __future__ import annotations

import base64
import binascii
import warnings
from io import BytesIO

from nbtape.common import image_types
from nbtape.common.image_types import SVG
from nbtape.common.safe_svg import sanitise_svg
from nbtape.common.text import fit_text


def safe_image(mime: str, data: object) -> bytes | None:
    """Return an image that is safe to show; None if it is broken or too large. `mime` is one of `image_types.SHOWN`.

    `data` is base64, or the source of an SVG. A returned SVG has no active content and loads nothing, even when it is
    opened by itself.
    """
    if not isinstance(data, str):
        return None
    if mime == SVG:
        return sanitise_svg(fit_text(data).encode() if "<" in data else _decode(data), is_safe_raster)
    content = _decode(data)
    return content if is_safe_raster(mime, content) else None


def is_safe_raster(mime: str, content: bytes) -> bool:
    """Whether an image is of the type `mime`, one of `image_types.PILLOW_FORMATS`, and within the limits."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size limit
            image = Image.open(BytesIO(content), formats=(image_types.PILLOW_FORMATS[mime],))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return False
    return image.width * image.height <= image_types.MAX_SHOWN_PIXELS and max(image.size) <= image_types.MAX_SIDE_PIXELS


def _decode(data: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()).encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""
