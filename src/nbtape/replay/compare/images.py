"""Compare two images by their pixels."""

from __future__ import annotations

import base64
import binascii
import warnings
from functools import reduce
from io import BytesIO
from typing import TYPE_CHECKING, Final

from nbtape.common.image_types import MAX_COMPARED_PIXELS, PILLOW_FORMATS
from nbtape.replay.compare.settings import SAME, Judgement

if TYPE_CHECKING:
    from PIL.Image import Image

    from nbtape.replay.compare.settings import Terms

#: Pillow's modes with eight bits or less per channel.
_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})

#: Minimum width and height of a changed area; edges are thinner.
_MIN_AREA_PIXELS: Final = 3


def compare_images(old: str, new: str, terms: Terms) -> Judgement:
    """Compare two base64 images. Animations are different unless their files are equal.

    Pixels along edges may change by `ReplaySettings.levels`. A larger change, or a changed area of 3 by 3 pixels, is
    different.
    """
    if "".join(old.split()) == "".join(new.split()):
        return SAME
    if not terms.allow("encodings"):
        return Judgement("different", "the bytes of the image differ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own size limit, broken metadata
        left, right = _decode(old), _decode(new)
    if isinstance(left, str) or isinstance(right, str):
        return Judgement("different", left if isinstance(left, str) else str(right))
    if left.size != right.size:
        return Judgement("different", f"the size of the image: {_size(left)} became {_size(right)}")
    return _compare_pixels(left, right, terms.settings.levels)


def _decode(text: str) -> Image | str:
    """Decode an image, or return the reason why it cannot be compared."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(BytesIO(base64.b64decode(text, validate=False)), formats=tuple(PILLOW_FORMATS.values()))
        if image.width * image.height > MAX_COMPARED_PIXELS:
            return f"the images differ and are too large to compare ({_size(image)} pixels)"
        if getattr(image, "n_frames", 1) > 1:
            return "the bytes of the animation differ"
        if image.mode not in _MODES:
            return "the images differ and their pixel format cannot be compared"
        rgba = image.convert("RGBA")
        # On a white background, the colors of invisible pixels do not matter.
        visible = Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba)
        visible.putalpha(rgba.getchannel("A"))
    except (binascii.Error, UnidentifiedImageError, Image.DecompressionBombError):
        return "the images differ and one of them cannot be read"
    except Exception as exc:  # noqa: BLE001  (decoders raise anything for broken files)
        return f"the images differ and one of them is damaged ({type(exc).__name__})"
    return visible


def _compare_pixels(left: Image, right: Image, levels: int) -> Judgement:
    from PIL import ImageChops, ImageFilter

    most = reduce(ImageChops.lighter, ImageChops.difference(left, right).split())
    largest = max(level for level, count in enumerate(most.histogram()) if count)
    if not largest:
        return Judgement("cosmetic", "the same pixels, encoded differently")
    changed = most.point([0] + [255] * 255)
    # The filter keeps areas and removes edges and single pixels.
    areas = changed.filter(ImageFilter.MinFilter(_MIN_AREA_PIXELS)) if min(left.size) >= _MIN_AREA_PIXELS else changed
    count = changed.histogram()[255]
    what = f"{count} of {_size(left)} pixels differ, by at most {largest} of 255 levels"
    return Judgement("drift" if largest <= levels and not areas.getbbox() else "different", what)


def _size(image: Image) -> str:
    return f"{image.width} by {image.height}"
