"""Everything nbtape raises on its own account.

    NbtapeError
    ├── KernelError                     the kernel could not be had, or was lost
    │   ├── KernelNotInstalledError     no such kernel spec (also a ValueError)
    │   ├── KernelStartError            the kernel process came up wrong, with its last words
    │   ├── KernelBusyError             the kernel does not answer, and does not obey an interrupt
    │   └── ServerError                 a Jupyter server cannot be started or reached, or refuses us
    ├── NotebookError                   the record
    │   ├── OutputDirectoryError        no such directory (also a ValueError)
    │   ├── NotebookReadError           no notebook that could be gone on with (also a ValueError)
    │   ├── NotebookInUseError          another executor writes it
    │   └── NotebookWriteError          the record could not be written; it is kept in memory
    ├── SourceError                     a transcript or script that `nbtape run` cannot read (also a ValueError)
    └── WrongLoopError                  an async executor used from another event loop than its own

    BlockInterrupted (KeyboardInterrupt)   Ctrl-C in a blocking call, after the block was stopped and recorded

Failing user code is not among them: it is data, `CodeResult.status`. Every error pickles, and every message says
what happened and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nbtape.results import CodeResult


class NbtapeError(Exception):
    """The root: `except NbtapeError` catches all that nbtape raises, but for a Ctrl-C and a mistyped argument."""


class KernelError(NbtapeError):
    """The kernel could not be had, or was lost in a way that no result can tell."""


class KernelNotInstalledError(KernelError, ValueError):
    """There is no kernel spec of that name.

    Args:
        name: The name that was asked for.
        available: The names that exist.
    """

    def __init__(self, name: str, available: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(available))
        self.name = name
        self.available = tuple(available)

    def __str__(self) -> str:
        missing = f"Kernel {self.name} is not installed."
        if not self.available:
            return f"{missing} Installed kernels: none. Install one, for example with pip install ipykernel."
        return f"{missing} Installed kernels: {', '.join(sorted(self.available))}. Name one of them."


class KernelStartError(KernelError):
    """A kernel was started and never became ready."""


class KernelBusyError(KernelError):
    """The kernel did not answer a question in time, nor obey an interrupt. It is kept, with its variables."""


class ServerError(KernelError):
    """A Jupyter server cannot be started or reached, or refuses us. The message has its URL, and never its token."""


class NotebookError(NbtapeError):
    """Something about the record on disk."""


class OutputDirectoryError(NotebookError, ValueError):
    """The output directory neither exists nor can be made in one step.

    Args:
        directory: The directory that was asked for.
        hint: What is wrong and what to do, a sentence.
    """

    def __init__(self, directory: Path, hint: str) -> None:
        super().__init__(directory, hint)
        self.directory = directory
        self.hint = hint

    def __str__(self) -> str:
        return f"Output directory {self.directory} does not exist. {self.hint}"


class NotebookReadError(NotebookError, ValueError):
    """A recorded notebook cannot be read as one.

    Args:
        path: The file.
        reason: What is wrong and what to do, sentences that go on from a colon.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"The notebook {self.path} cannot be used: {self.reason}"


class NotebookInUseError(NotebookError):
    """A notebook that is to be resumed is still being written.

    Args:
        path: The notebook.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"The notebook {self.path} is still being written by another executor. Stop that one, or have a copy of "
            "the first cells resumed with until=."
        )


class NotebookWriteError(NotebookError):
    """The notebook could not be written; what was there is untouched, what was to come is kept in memory.

    Args:
        path: The notebook.
        reason: What the system said, and what to do.
        result: What the blocks of this call came to, if any of them ran.
    """

    def __init__(self, path: Path, reason: str, result: CodeResult | None = None) -> None:
        super().__init__(path, reason, result)
        self.path = path
        self.reason = reason
        self.result = result

    def __str__(self) -> str:
        return (
            f"The notebook {self.path} could not be written: {self.reason} "
            "What is on disk is untouched; the record is kept in memory and goes out with the next save that works."
        )


class SourceError(NbtapeError, ValueError):
    """A transcript or script cannot be read as one."""


class WrongLoopError(NbtapeError):
    """An `AsyncJupyterCodeExecutor` belongs to the event loop in which it was started."""


class BlockInterrupted(KeyboardInterrupt):
    """Ctrl-C in a blocking call: the block was interrupted and recorded, the executor is ready for the next one.

    Args:
        result: What was printed up to then, with status `interrupted`; None if no block had begun.
    """

    def __init__(self, result: CodeResult | None = None) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        return "The block was interrupted; what it printed is in .result and in the notebook."
