"""Highlight code in HTML with Pygments, using only lexers that take linear time, within limits of size and time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from nbtape.common.hidden_text import mark_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pygments.lexer import Lexer  # type: ignore[import-untyped]

#: Languages and their lexers. Many other lexers of Pygments take minutes for some inputs, such as lines of spaces.
_LEXERS: Final = {
    **dict.fromkeys(("ipython", "ipython2", "ipython3"), "ipython3"),
    **dict.fromkeys(("python", "python3", "py", "py3"), "python"),
    **dict.fromkeys(("r", "ir"), "r"),
    **dict.fromkeys(("bash", "sh", "shell", "zsh"), "bash"),
    **dict.fromkeys(("javascript", "js"), "javascript"),
    **dict.fromkeys(("typescript", "ts"), "typescript"),
    **dict.fromkeys(("c", "h"), "c"),
    **dict.fromkeys(("cpp", "c++"), "cpp"),
    **dict.fromkeys(("yaml", "yml"), "yaml"),
    **dict.fromkeys(("rust", "rs"), "rust"),
    **dict.fromkeys(("ruby", "rb"), "ruby"),
    **dict.fromkeys(("latex", "tex"), "latex"),
    **{name: name for name in ("css", "diff", "go", "haskell", "html", "java", "json", "julia", "kotlin", "octave")},
    **{name: name for name in ("perl", "scala", "sql", "toml", "xml")},
}

_MAX_CHARS: Final = 20_000
_MAX_LINE_CHARS: Final = 500

#: Seconds for one piece of code, and for all unusually slow pieces of a page together.
_MAX_SECONDS: Final = 2.0
_HONEST_SECONDS: Final = 0.5
_MAX_SLOW_SECONDS: Final = 20.0


class Highlighter:
    """Highlights the code of one page."""

    def __init__(self) -> None:
        self._slow_seconds = 0.0

    def html(self, code: str, language: str, css_class: str = "highlight") -> str:
        """Return code as HTML with hidden characters marked; empty if it is too large or the language is unknown."""
        from pygments import format as formatted  # type: ignore[import-untyped]
        from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

        name = _LEXERS.get(language.lower())
        if name is None or not _is_short(code) or self._slow_seconds > _MAX_SLOW_SECONDS:
            return ""
        began = time.monotonic()
        try:
            tokens = list(_until(_lexer(name).get_tokens(code), began + _MAX_SECONDS))
        except TimeoutError:
            return ""
        finally:
            took = time.monotonic() - began
            self._slow_seconds += took if took > _HONEST_SECONDS else 0
        return mark_hidden(str(formatted(tokens, HtmlFormatter(cssclass=css_class))), is_code=True)


def _lexer(name: str) -> Lexer:
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]

    if name != "ipython3":
        return get_lexer_by_name(name)
    from IPython.lib.lexers import IPython3Lexer  # type: ignore[attr-defined, unused-ignore]

    return IPython3Lexer()


def _until(tokens: Iterator[tuple[object, str]], deadline: float) -> Iterator[tuple[object, str]]:
    for token in tokens:
        if time.monotonic() > deadline:
            raise TimeoutError
        yield token


def _is_short(code: str) -> bool:
    return len(code) <= _MAX_CHARS and all(len(line) <= _MAX_LINE_CHARS for line in code.splitlines())
