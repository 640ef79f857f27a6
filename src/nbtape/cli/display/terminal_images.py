"""Pictures on terminals that can show them: by Kitty's graphics protocol, by iTerm2's, or as sixels.

Sources: https://sw.kovidgoyal.net/kitty/graphics-protocol/, https://iterm2.com/documentation-images.html, and of DEC's
VT330/VT340 Programmer Reference Manual chapter 14 (https://vt100.net/docs/vt3xx-gp/chapter14.html).
"""

from __future__ import annotations

import base64
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from PIL.Image import Image

Protocol = Literal["kitty", "iterm2", "sixel"]

#: What a picture is brought down to (pixels).
_WIDEST: Final = (800, 600)

#: Bytes that Kitty takes at once; what follows the size of a row of sixels; and colours that all of these have.
_CHUNK: Final = 4096
_BAND: Final = 6
_COLOURS: Final = 128


def protocol_of(environment: Mapping[str, str]) -> Protocol | None:
    """How the terminal shows pictures; None if it does not, or nobody can tell without asking it.

    Args:
        environment: The variables of the process. What stands between us and the terminal passes no pictures on.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or "STY" in environment or term.startswith(("screen", "tmux")):
        return None
    if "KITTY_WINDOW_ID" in environment or term in {"xterm-kitty", "xterm-ghostty"} or program == "ghostty":
        return "kitty"
    if program in {"iTerm.app", "WezTerm"} or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return "sixel" if term.split("-")[0] in {"foot", "mlterm", "contour"} else None


def drawn(data: Mapping[str, Any], protocol: Protocol) -> str:
    """What is sent to a terminal for it to show an output; empty if there is no picture in it that could be shown.

    Args:
        data: The output's MIME bundle.
        protocol: How the terminal shows pictures.
    """
    from nbtape.export.sanitise_images import DRAWING, KINDS, picture_of

    for kind in KINDS:
        if kind != DRAWING and (found := picture_of(kind, data.get(kind))):
            image = _small(found[1])
            return "" if image is None else _PROTOCOLS[protocol](image)
    return ""


def _small(content: bytes) -> Image | None:
    """A picture on white, so that what is transparent can be read on a dark terminal; None if it is broken."""
    from PIL import Image as Images

    try:
        with Images.open(BytesIO(content)) as opened:
            image = opened.convert("RGBA")
    except Exception:  # noqa: BLE001  (decoders of broken files raise anything)
        return None
    image.thumbnail(_WIDEST)
    return Images.alpha_composite(Images.new("RGBA", image.size, "white"), image).convert("RGB")


def _png(image: Image) -> bytes:
    image.save(content := BytesIO(), "PNG")
    return base64.b64encode(content.getvalue())


def _kitty(image: Image) -> str:
    content = _png(image).decode()
    pieces = [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)]
    heads = ["a=T,f=100,q=2,", *[""] * (len(pieces) - 1)]  # q=2: the terminal is to answer nothing
    more = [1] * (len(pieces) - 1) + [0]
    return "".join(f"\x1b_G{head}m={left};{piece}\x1b\\" for head, left, piece in zip(heads, more, pieces, strict=True))


def _iterm2(image: Image) -> str:
    content = _png(image)
    return f"\x1b]1337;File=inline=1;size={len(base64.b64decode(content))}:{content.decode()}\x07"


def _sixel(image: Image) -> str:
    few = image.quantize(_COLOURS)
    palette = few.getpalette() or []
    colours = [palette[start : start + 3] for start in range(0, len(palette), 3)]
    named = "".join(
        f"#{number};2;{';'.join(str(round(level / 2.55)) for level in colour)}" for number, colour in enumerate(colours)
    )
    pixels = few.tobytes()
    rows = [pixels[start : start + few.width] for start in range(0, len(pixels), few.width)]
    bands = [rows[start : start + _BAND] for start in range(0, len(rows), _BAND)]
    size = f'"1;1;{few.width};{few.height}'
    return f"\x1bPq{size}{named}{'-'.join('$'.join(_layers(band)) for band in bands)}\x1b\\"


def _layers(band: list[bytes]) -> Iterator[str]:
    """A band of six rows, colour by colour: a character for each column, in which a bit stands for each row."""
    for colour in sorted(set(b"".join(band))):
        bits = 0
        for number, row in enumerate(band):
            bits |= int.from_bytes(row.translate(bytes((value == colour) << number for value in range(256))))
        columns = bytes(63 + value for value in bits.to_bytes(len(band[0])))
        yield f"#{colour}" + re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", columns.decode())


_PROTOCOLS: Final[Mapping[Protocol, Callable[[Image], str]]] = {"kitty": _kitty, "iterm2": _iterm2, "sixel": _sixel}
