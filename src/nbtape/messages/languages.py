"""Turn a code block into the source of a cell for a kernel's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nbtape.messages.labels import SHELLS, is_known, is_python_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.messages.code_blocks import CodeBlock

#: Other names that agents and kernels use for a language, besides those of Python.
_ALIASES: Final[Mapping[str, str]] = {"jl": "julia", "js": "javascript", "ts": "typescript"}

#: How similar a misspelled language must be to the one that was meant, from 0 to 1.
_MIN_SIMILARITY: Final = 0.75


def cell_source(block: CodeBlock, kernel_language: str) -> str | None:
    """The code of a block, with a cell magic if it needs one; None if the kernel cannot run it.

    `kernel_language` is `language_info.name` of the kernel, and the default for a block without a language.
    """
    language, spoken = _canonical(block.language), _canonical(kernel_language)
    if language in {"", spoken} or (language in SHELLS and spoken in SHELLS):
        return block.code
    if language in SHELLS and spoken == "python":
        is_magic = not block.code.strip() or block.code.lstrip().startswith(("!", "%"))
        return block.code if is_magic else f"%%bash\n{block.code}"
    return None


def is_python(kernel_language: str) -> bool:
    return _canonical(kernel_language) == "python"


def languages_of(kernel_language: str) -> list[str]:
    """The languages that a kernel can run, for error messages."""
    spoken = _canonical(kernel_language)
    return [spoken, *sorted(SHELLS)] if spoken == "python" else [spoken]


def language_meant(language: str, kernel_language: str) -> str:
    """The language of a kernel that a misspelled one is close to; empty for none, or if it is another language."""
    import difflib

    label = language.strip().lower()
    if is_known(label):
        return ""
    return next(iter(difflib.get_close_matches(label, languages_of(kernel_language), 1, _MIN_SIMILARITY)), "")


def _canonical(language: str) -> str:
    name = language.strip().lower()
    if is_python_label(name):
        return "python"
    return _ALIASES.get(name, name)
