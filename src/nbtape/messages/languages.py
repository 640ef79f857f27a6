"""Which cell source a block becomes on a kernel of a given language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.messages.code_blocks import CodeBlock

SHELLS: Final = frozenset({"bash", "sh", "shell"})

#: Other names that agents and kernels use for a language.
_ALIASES: Final[Mapping[str, str]] = {
    "py": "python",
    "python3": "python",
    "ipython": "python",
    "ipython3": "python",
    "jl": "julia",
    "js": "javascript",
    "ts": "typescript",
}


def cell_source(block: CodeBlock, kernel_language: str) -> str | None:
    """What to run for `block`: its code, at most with a cell magic in front; None if the kernel cannot run it.

    Args:
        block: The block. Without a language it is for the kernel, whatever that speaks.
        kernel_language: `language_info.name` of the kernel.
    """
    language, spoken = _canonical(block.language), _canonical(kernel_language)
    if language in {"", spoken} or (language in SHELLS and spoken in SHELLS):
        return block.code
    if language in SHELLS and spoken == "python":
        as_it_is = not block.code.strip() or block.code.lstrip().startswith(("!", "%"))
        return block.code if as_it_is else f"%%bash\n{block.code}"
    return None


def is_python(kernel_language: str) -> bool:
    """Whether a kernel of that language runs Python."""
    return _canonical(kernel_language) == "python"


def languages_of(kernel_language: str) -> str:
    """What a kernel can run, for people."""
    spoken = _canonical(kernel_language)
    return ", ".join([spoken, *sorted(SHELLS)]) if spoken == "python" else spoken


def _canonical(language: str) -> str:
    name = language.strip().lower()
    return _ALIASES.get(name, name)
