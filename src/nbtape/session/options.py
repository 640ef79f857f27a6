"""What an executor may be given: its options, and the refusal of values that cannot work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypedDict

from nbtape.common.text import fit_text
from nbtape.messages.code_blocks import CodeBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


DEFAULT_NAME: Final = "session"


class Options(TypedDict, total=False):
    """What an executor takes besides the kernel and the place of the recording.

    Args:
        token: The token of a server that is given as a URL (none).
        startup_timeout: Seconds that a kernel has to start (60).
        interrupt_grace: Seconds that code has to obey an interrupt before its kernel is ended (4).
        max_output_chars: The most characters of `CodeResult.output`; the rest is in the notebook (20,000).
        max_cell_chars: The most characters of output that a cell keeps in the notebook (16 million); what is over
            is recorded nowhere, and the cell says so. Of texts that come in one message of more than 64 KiB, bytes
            are counted.
        max_notebook_chars: The same for the notebook as a whole, source included (256 million). With
            these two, floods cost this process less than 300 MB.
        name_files: Whether `CodeResult.output` has a line for each file that is extracted from an output, in place of
            the repr of what it shows (True). Without it the text is as AutoGen 0.7 has it, to the empty line.
        record_messages: Whether what an agent said around its code is recorded as Markdown cells (True): the blocks
            that `code_extractor` finds in a message know it.
        agent: The name of that agent, for the metadata of those cells (none).
        on_output: Called with each output as it comes in, a stream chunk by chunk, as nbformat has it; on the
            executor's event loop, so it must return soon.
    """

    token: str | None
    startup_timeout: float
    interrupt_grace: float
    max_output_chars: int
    max_cell_chars: int
    max_notebook_chars: int
    name_files: bool
    record_messages: bool
    agent: str
    on_output: Callable[[Mapping[str, Any]], None] | None


DEFAULTS: Final[Options] = {
    "token": None,
    "startup_timeout": 60.0,
    "interrupt_grace": 4.0,
    "max_output_chars": 20_000,
    "max_cell_chars": 16_000_000,
    "max_notebook_chars": 256_000_000,
    "name_files": True,
    "record_messages": True,
    "agent": "",
    "on_output": None,
}


def checked_timeout(timeout: float) -> float:
    """The seconds that a block has.

    Raises:
        ValueError: Less than one, or no number of them.
    """
    if not 1 <= timeout < math.inf:
        raise ValueError(f"Timeout must be at least 1 second, and not {timeout}.")
    return timeout


def checked_block(block: CodeBlock) -> CodeBlock:
    code, language = block.code, block.language
    if not all(isinstance(text, str) for text in (code, language)):
        raise TypeError(f"A code block has a code and a language, both of them text, and not {code!r}, {language!r}.")
    said = {name: getattr(block, name, "") for name in ("said_before", "said_after", "said_by")}
    return CodeBlock(code, language, **{name: text for name, text in said.items() if isinstance(text, str)})


def checked_options(options: Options) -> Options:
    unknown = options.keys() - DEFAULTS.keys()
    if unknown:
        raise TypeError(f"Unknown option {', '.join(sorted(unknown))}. There are: {', '.join(DEFAULTS)}.")
    checked: Options = {**DEFAULTS, **options}
    for name in ("startup_timeout", "interrupt_grace", "max_output_chars", "max_cell_chars", "max_notebook_chars"):
        if not 0 < checked[name] < math.inf:
            raise ValueError(f"{name} must be greater than 0, and not {checked[name]}.")
    return checked


def checked_name(name: str) -> str:
    """The name of a notebook without its ending.

    Raises:
        ValueError: It is no name of a file in the output directory.
    """
    stem = name.removesuffix(".ipynb")
    if stem in {"", ".", ".."} or any(char in stem for char in "/\\\0") or len(fit_text(stem).encode()) > 200:  # noqa: PLR2004
        raise ValueError(
            f"{name!r} is no name for a notebook: give a plain file name, and the directory as output_dir."
        )
    return stem
