"""The code that a model passes to a tool, which some models put into a fence."""

from __future__ import annotations

import re
from typing import Final

from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.extractor import only_fence
from nbtape.messages.labels import SHELLS
from nbtape.messages.rule_lines import INVISIBLE

_INLINE = re.compile(r"(?P<ticks>`+)(?:(?:python3?|py)[ \t]+)?(?P<code>[^`\n]+)(?P=ticks)")
_SPACE: Final = f" \t\n{INVISIBLE}"


def tool_block(code: str, language: str = "python") -> CodeBlock:
    """The block for an argument, without a fence or backticks around the whole of it.

    Args:
        code: The argument.
        language: Its language, if a label does not name another one.
    """
    stripped = code.strip(_SPACE)
    if not stripped.startswith(("`", "~~~")):
        return CodeBlock(code, language)
    if inline := _INLINE.fullmatch(stripped):
        return CodeBlock(inline["code"].strip(), language)
    label, inside = only_fence(code) or ("", code)
    if label in SHELLS:
        label = "bash"
    return CodeBlock(inside, label or language)
