"""Images: other bytes with equal pixels do not count, edges may drift, and any moved element is different."""

from __future__ import annotations

import base64
import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageDraw

from nbtape.replay.compare.images import compare_images
from nbtape.replay.compare.settings import ReplaySettings, Terms


def drawn(*, dot: int = 20, ink: str = "black", text: str = "2024") -> Image.Image:
    image = Image.new("RGB", (80, 60), "white")
    draw = ImageDraw.Draw(image)
    draw.line((5, 50, 75, 10), fill="blue")
    draw.ellipse((dot, 20, dot + 5, 25), fill=ink)
    draw.text((30, 2), text, fill="black")
    return image


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> str:
    file = BytesIO()
    image.save(file, kind, **how)
    return base64.b64encode(file.getvalue()).decode()


def verdict(old: str, new: str, settings: ReplaySettings | None = None) -> str:
    terms = Terms(settings=settings or ReplaySettings())
    forth, back = compare_images(old, new, terms), compare_images(new, old, terms)
    assert forth.verdict == back.verdict
    return forth.verdict


def test_equal_bytes_are_the_same_regardless_of_line_breaks() -> None:
    text = encoded(drawn())
    assert verdict(text, text[:50] + "\n" + text[50:]) == "same"


def test_equal_pixels_are_cosmetic() -> None:
    old, new = encoded(drawn(), compress_level=1), encoded(drawn(), compress_level=9)
    assert verdict(old, new) == "cosmetic"
    assert verdict(old, new, ReplaySettings(cosmetic=frozenset())) == "different"
    assert verdict(old, encoded(drawn(), "GIF")) == "cosmetic"


def test_edges_may_drift() -> None:
    old, new = drawn(), drawn()
    ImageDraw.Draw(new).line((5, 50, 75, 10), fill="#0303ff")
    assert verdict(encoded(old), encoded(new)) == "drift"
    assert verdict(encoded(old), encoded(new), ReplaySettings(levels=2)) == "different"


@pytest.mark.parametrize(
    "changed",
    [drawn(dot=21), drawn(ink="#101010"), drawn(ink="#0a0a0a"), drawn(text="2023"), drawn().resize((81, 60))],
)
def test_a_moved_or_changed_element_is_different(changed: Image.Image) -> None:
    assert verdict(encoded(drawn()), encoded(changed)) == "different"


def test_a_tint_of_the_whole_image_is_different() -> None:
    tinted = drawn().point(lambda level: max(0, level - 2))
    assert verdict(encoded(drawn()), encoded(tinted)) == "different"


def test_transparency_counts_and_the_color_under_it_does_not() -> None:
    clear, red = Image.new("RGBA", (9, 9), (0, 0, 0, 0)), Image.new("RGBA", (9, 9), (255, 0, 0, 0))
    assert verdict(encoded(clear), encoded(red)) == "cosmetic"
    assert verdict(encoded(clear), encoded(Image.new("RGBA", (9, 9), "white"))) == "different"


def test_16_bit_levels_are_not_reduced_to_8() -> None:
    old, new = (Image.new("I;16", (9, 9), level) for level in (1000, 2000))
    assert verdict(encoded(old), encoded(new)) == "different"


def test_a_later_frame_counts() -> None:
    first, second, third = (Image.new("L", (9, 9), level) for level in (0, 100, 200))
    old = encoded(first, "GIF", save_all=True, append_images=[second])
    new = encoded(first, "GIF", save_all=True, append_images=[third, second])
    assert verdict(old, new) == "different"


def bomb(width: int, height: int) -> str:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "é",
        "aGVsbG8=",
        encoded(drawn())[:400],
        bomb(50_000, 50_000),
        bomb(9_000, 9_000),
        bomb(0, 0),
        bomb(80, 60),
    ],
    ids=["empty", "no base64", "no ASCII", "no picture", "cut", "huge", "large", "of nothing", "without data"],
)
def test_broken_and_huge_images_are_different(text: str) -> None:
    assert verdict(encoded(drawn()), text) == "different"
