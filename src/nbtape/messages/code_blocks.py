"""A piece of code to run, and the prose around it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A piece of code to run.

    Args:
        code: The source, with line feeds.
        language: The language in lower case, such as `"python"`; `""` for the language of the kernel.
        said_before: The Markdown of the message between the previous block and this one.
        said_after: The Markdown after the last block of the message.
        said_by: The agent that wrote the message; empty for the `agent` of the executor.
        is_cut: Whether the message ends inside the block, as at a token limit. Executors record it and do not run it.
    """

    code: str
    language: str
    said_before: str = field(default="", compare=False)
    said_after: str = field(default="", compare=False)
    said_by: str = field(default="", compare=False)
    is_cut: bool = False

    def __repr__(self) -> str:
        cut = ", is_cut=True" if self.is_cut else ""
        return f"CodeBlock(code={self.code!r}, language={self.language!r}{cut})"


@dataclass(frozen=True, slots=True)
class Prose:
    """The Markdown of a message between its code blocks, without blank lines at its ends."""

    text: str
