"""Two pictures: pixel beside pixel."""

from __future__ import annotations

import base64
import binascii
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Final

from nbtape.replay.compare.settings import SAME, Judgement

if TYPE_CHECKING:
    from PIL.Image import Image

    from nbtape.replay.compare.settings import Terms

#: Larger pictures are equal or different (pixels): a small file can hold one that fills the memory.
_MOST_PIXELS: Final = 16_000_000

#: What a kernel's libraries draw; other decoders of Pillow are not let near what a kernel sent.
_FORMATS: Final = ("PNG", "JPEG", "GIF")

#: The kinds of pixels that eight bits hold.
_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})

#: An area that changed is at least so wide and so high (pixels); an edge is thinner.
_SQUARE: Final = 3


def compare_pictures(old: str, new: str, terms: Terms) -> Judgement:
    """What is said of two pictures in base64; of an animation, its first frame counts where the files differ.

    Edges may drift: no pixel by more levels than `ReplaySettings.levels`, and no square of three pixels as a whole. A
    neighbouring pixel is no excuse: a point that moved by one pixel is data that moved, and in small letters one pixel
    is a digit.
    """
    if "".join(old.split()) == "".join(new.split()):
        return SAME
    if not terms.allow("encodings"):
        return Judgement("different", "the picture's bytes differ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes, which are bounded here, and of metadata that is broken
        left, right = _decode(old), _decode(new)
    if isinstance(left, str) or isinstance(right, str):
        return Judgement("different", left if isinstance(left, str) else str(right))
    if left.size != right.size:
        return Judgement("different", f"the picture's size: {_size(left)} became {_size(right)}")
    return _compare_pixels(left, right, terms.settings.levels)


def _decode(text: str) -> Image | str:
    """A picture on white, and its transparency; or why it is none, a clause."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(BytesIO(base64.b64decode(text, validate=False)), formats=_FORMATS)
        if image.width * image.height > _MOST_PIXELS:
            return f"the pictures differ, and {_size(image)} pixels are too many to compare"
        if getattr(image, "n_frames", 1) > 1:
            return "the animation's bytes differ"
        if image.mode not in _MODES:
            return "the pictures differ, and their kind of pixels is not compared"
        return _on_white(image.convert("RGBA"))
    except (binascii.Error, UnidentifiedImageError, Image.DecompressionBombError):
        return "the pictures differ, and one of them cannot be read"
    except Exception as exc:  # noqa: BLE001  (decoders of broken files raise anything)
        return f"the pictures differ, and one of them is broken ({type(exc).__name__})"


def _on_white(image: Image) -> Image:
    """RGBA whose colours are those seen on white, so that those of invisible pixels do not count."""
    from PIL import Image as Images

    seen = Images.alpha_composite(Images.new("RGBA", image.size, "white"), image)
    seen.putalpha(image.getchannel("A"))
    return seen


def _compare_pixels(left: Image, right: Image, levels: int) -> Judgement:
    from PIL import ImageChops, ImageFilter

    bands = ImageChops.difference(left, right).split()
    most = bands[0]
    for band in bands[1:]:
        most = ImageChops.lighter(most, band)
    largest = max(level for level, count in enumerate(most.histogram()) if count)
    if not largest:
        return Judgement("cosmetic", "the same pixels, encoded otherwise")
    changed = most.point([0] + [255] * 255)
    # A pixel stays white in it where all around it are: areas stay, edges and single pixels go.
    solid = changed.filter(ImageFilter.MinFilter(3)).getbbox() if min(left.size) >= _SQUARE else changed.getbbox()
    count = changed.histogram()[255]
    what = f"{count} of {_size(left)} pixels differ, by at most {largest} of 255 levels"
    return Judgement("drift" if largest <= levels and not solid else "different", what)


def _size(image: Image) -> str:
    return f"{image.width} by {image.height}"
