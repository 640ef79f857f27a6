"""The terminals behind standard output and standard error: what they support, and whether they are closed."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final

from nbtape.cli.display.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment


def prepare_streams() -> None:
    """Replace closed standard streams by the null device, and let text that cannot be encoded be written as escapes.

    Files opened later must not get the descriptors of closed streams, or printed text would be written into them.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def consoles() -> tuple[Console, Console]:
    """Consoles for standard output and standard error, which print plain text without markup.

    If both are terminals, they are one console, so that neither overwrites the other.
    """
    from rich.console import Console

    class Piped(Console):
        """A console that does not exit when its pipe is closed, and writes no control codes except rich's own."""

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            """Make all text plain, whatever its source, and drop links, which terminals open."""
            for segment in super().render(renderable, options):
                yield segment if segment.control else _made_plain(segment)

        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704  (rich calls this while it handles the error)

    out, err = (
        Piped(stderr=each, highlight=False, markup=False, emoji=False, soft_wrap=True) for each in (False, True)
    )
    return out, out if sys.stdout.isatty() and sys.stderr.isatty() else err


def _made_plain(segment: Segment) -> Segment:
    style = segment.style
    if style is not None and style.link:
        style = style.update_link(None)
    return segment._replace(text=plain(segment.text), style=style)


#: What nbtape draws itself, for terminals whose encoding lacks it. Text of others is shown with escapes.
_DRAWN: Final = {"\N{BOX DRAWINGS LIGHT VERTICAL}": "|", "\N{HORIZONTAL ELLIPSIS}": "...", "\N{RIGHTWARDS ARROW}": "->"}


def drawn(text: str) -> str:
    """Text with characters that nbtape draws, in ASCII if standard output cannot encode them."""
    for character, substitute in _DRAWN.items():
        if character in text and not _can_print(character):
            text = text.replace(character, substitute)
    return text


def spinner() -> str:
    """The name of a rich spinner that the terminal can show."""
    return "dots" if _can_print("\N{BRAILLE PATTERN DOTS-124}") else "line"


def _can_print(character: str) -> bool:
    try:
        character.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def shows_progress() -> bool:
    """Whether standard error is a terminal whose cursor moves."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def wants_colour() -> bool | None:
    """Whether to use colors; None for terminals only. See no-color.org and force-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


@contextlib.contextmanager
def read_or_not() -> Iterator[None]:
    """Continue when the reader of a pipe has gone."""
    try:
        yield
    except BrokenPipeError:
        leave_closed_pipes()


def leave_closed_pipes() -> bool:
    """Discard further output to standard streams whose reader has gone; return whether there are any."""
    closed = [stream.fileno() for stream in (sys.stdout, sys.stderr) if _is_closed(stream.fileno())]
    for pipe in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, pipe)
        os.close(nowhere)
    return bool(closed)


def _is_closed(pipe: int) -> bool:
    if not hasattr(select, "poll"):  # on Windows, only a BrokenPipeError reveals it
        return True
    ends = select.poll()
    ends.register(pipe, 0)
    return bool(ends.poll(0))  # POLLERR or POLLHUP, which need no registration
