"""What an executor may be given: its options, and the refusal of values that cannot work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias, TypedDict, cast

from nbtape.errors import OutputDirectoryError
from nbtape.messages.code_blocks import CodeBlock
from nbtape.session.kernel_messages import fit_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from nbtape.kernels.protocols import KernelSource
    from nbtape.kernels.remote.connection import JupyterConnectionInfo
    from nbtape.kernels.remote.manager import JupyterServer
    from nbtape.pools.pool import KernelPool

#: What kernels can be had from: this machine (None), a server, what is known of a server, or its URL, and a pool.
Server: TypeAlias = "KernelSource | JupyterServer | JupyterConnectionInfo | KernelPool | str | None"

DEFAULT_NAME: Final = "session"

#: The kernel spec where nobody names one.
DEFAULT_KERNEL: Final = "python3"


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


def checked_source(jupyter_server: Server, kernel_name: str, token: str | None, directory: Path) -> KernelSource:
    """Where kernels come from, whatever says so; they are to work in `directory`, if they can.

    Raises:
        ValueError: A URL that is none, or a token for what takes none.
        TypeError: Nothing that kernels come from.
    """
    if token is not None and not isinstance(jupyter_server, str):
        raise ValueError("token goes with the URL of a server; JupyterConnectionInfo and the servers have their own.")
    if jupyter_server is None:
        from nbtape.kernels.local.manager import LocalKernels

        return LocalKernels(kernel_name)
    if isinstance(jupyter_server, str):
        from nbtape.kernels.remote.connection import JupyterConnectionInfo

        jupyter_server = JupyterConnectionInfo.from_url(jupyter_server, token)
    if callable(kernels_for := getattr(jupyter_server, "kernels_for", None)):  # a pool
        return cast("KernelSource", kernels_for(kernel_name, directory))
    if callable(getattr(jupyter_server, "manager", None)):
        return cast("KernelSource", jupyter_server)
    # Asked of the class: a server's connection_info may start it, and nothing starts here.
    if hasattr(type(jupyter_server), "connection_info") or "connection_info" in getattr(jupyter_server, "__dict__", {}):
        from nbtape.kernels.remote.manager import RemoteKernels

        # A server that has to know where its kernels are to work offers another one for each directory.
        serving = getattr(jupyter_server, "serving", None)
        server = serving(directory) if callable(serving) else jupyter_server
        return RemoteKernels(cast("JupyterServer", server), kernel_name)
    raise TypeError(
        f"No kernel can be had from {type(jupyter_server).__name__}. Leave jupyter_server out for kernels of this "
        "machine, or give a URL, a JupyterConnectionInfo, or a server (an object with a connection_info)."
    )


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


def checked_directory(directory: Path) -> Path:
    """The directory, absolute: it exists, or its parent does.

    Raises:
        OutputDirectoryError: Neither does.
    """
    absolute = directory.absolute()
    if absolute.is_dir():
        return absolute
    if absolute.exists():
        raise OutputDirectoryError(directory, "There is a file of that name: name another directory.")
    if not absolute.parent.is_dir():
        raise OutputDirectoryError(directory, f"Neither does {absolute.parent}: make it, or name another directory.")
    return absolute


def make_directory(directory: Path) -> None:
    """Have the directory, whatever became of it or its parent since it was checked.

    Raises:
        OutputDirectoryError: It cannot be made.
    """
    try:
        directory.mkdir(exist_ok=True)
    except OSError as exc:
        hint = f"It cannot be made ({exc.strerror or exc}): see to its parent, or name another directory."
        raise OutputDirectoryError(directory, hint) from exc


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
