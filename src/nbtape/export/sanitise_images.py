"""Check the images of exports; see `nbtape.common.safe_images`."""

from __future__ import annotations

from nbtape.common.safe_images import is_safe_raster, safe_image
from nbtape.common.safe_svg import sanitise_svg

__all__ = ["is_static_svg", "safe_image"]


def is_static_svg(content: bytes) -> bool:
    """Whether an SVG has no active content and loads nothing, even when it is opened by itself.

    That is true only of SVGs that `safe_image` has returned.
    """
    return sanitise_svg(content, is_safe_raster) == content
