"""The errors that nbtape raises.

    NbtapeError
    ├── KernelError                     the kernel is not available, or was lost
    │   ├── KernelNotInstalledError     no such kernel spec (also a ValueError)
    │   ├── KernelStartError            the kernel did not become ready; the message has the end of its log
    │   ├── KernelBusyError             the kernel does not answer and ignores an interrupt
    │   └── ServerError                 a Jupyter server cannot be started or reached, or refuses access
    ├── NotebookError                   a problem with the record on disk
    │   ├── OutputDirectoryError        the output directory cannot be used (also a ValueError)
    │   ├── NotebookReadError           the file is not a usable notebook (also a ValueError)
    │   ├── NotebookInUseError          another executor is writing it
    │   ├── NotebookWriteError          the record cannot be written; new cells are kept in memory
    │   │   └── OutputWriteError        the output of a replay or an export cannot be written
    │   └── DirectoryCopyError          the directory of a notebook cannot be copied for a replay
    ├── SourceError                     a transcript or script that `nbtape run` cannot read (also a ValueError)
    ├── MissingExtraError               an optional package is not installed (also a ModuleNotFoundError)
    ├── WrongLoopError                  an async executor was used from another event loop
    ├── WrongProcessError               an executor or a pool was used in a fork of the process that started it
    └── NotCopyableError                an executor, a server or a pool was copied or pickled (also a TypeError)

    BlockInterrupted (KeyboardInterrupt)   Ctrl-C in a blocking call, after the block was stopped and recorded

A failure of user code is not raised; see `CodeResult.status`. Every error can be pickled, and its message has the
cause and the remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nbtape.results import CodeResult


class NbtapeError(Exception):
    """Base class of all errors of nbtape, except for Ctrl-C and invalid arguments."""


class KernelError(NbtapeError):
    """The kernel is not available, or was lost in a way that no result reports."""


class KernelNotInstalledError(KernelError, ValueError):
    """There is no kernel spec of that name.

    Args:
        name: The requested name.
        available: The installed kernel specs.
    """

    def __init__(self, name: str, available: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(available))
        self.name = name
        self.available = tuple(available)

    def __str__(self) -> str:
        missing = f"Kernel {self.name} is not installed."
        if not self.available:
            return f"{missing} No kernels are installed. Install one, for example with `pip install ipykernel`."
        return f"{missing} Installed kernels: {', '.join(sorted(self.available))}. Choose one of them."


class KernelStartError(KernelError):
    """A kernel was started but did not become ready."""


class KernelBusyError(KernelError):
    """The kernel neither answered in time nor reacted to an interrupt. It keeps running, with its variables."""


class ServerError(KernelError):
    """A Jupyter server cannot be started or reached, or refuses access. The message has its URL, never its token."""


class NotebookError(NbtapeError):
    """A problem with the record on disk."""


class OutputDirectoryError(NotebookError, ValueError):
    """The output directory does not exist and cannot be created.

    Args:
        directory: The requested directory.
        hint: The cause and the remedy, as the rest of a sentence that starts with the path.
    """

    def __init__(self, directory: Path, hint: str) -> None:
        super().__init__(directory, hint)
        self.directory = directory
        self.hint = hint

    def __str__(self) -> str:
        return f"Output directory {self.directory} {self.hint}"


class NotebookReadError(NotebookError, ValueError):
    """A file is not a usable notebook.

    Args:
        path: The file.
        reason: The cause and the remedy. The path takes the place of "it" at its start.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        rest = self.reason.removeprefix("it ")
        return f"{self.path} {rest}" if rest != self.reason else f"{self.path}: {rest}"


class NotebookInUseError(NotebookError):
    """Another executor is still writing the notebook to be resumed.

    Args:
        path: The notebook.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"The notebook {self.path} is still being written by another executor. Stop that executor, or resume a "
            "copy of the first cells with until=."
        )


class NotebookWriteError(NotebookError):
    """The notebook could not be written. The file is unchanged; the new cells are kept in memory.

    Args:
        path: The notebook.
        reason: The system's error, and the remedy.
        result: Result of the blocks of this call, if any ran.
    """

    def __init__(self, path: Path, reason: str, result: CodeResult | None = None) -> None:
        super().__init__(path, reason, result)
        self.path = path
        self.reason = reason
        self.result = result

    def __str__(self) -> str:
        return (
            f"The notebook {self.path} could not be written: {self.reason} "
            "The file on disk is unchanged; the new cells are kept in memory and written by the next save that "
            "succeeds."
        )


class OutputWriteError(NotebookWriteError):
    """The output of a replay or an export could not be written."""

    def __str__(self) -> str:
        return f"{self.path} could not be written: {self.reason}"


class DirectoryCopyError(NotebookError):
    """The directory of a notebook could not be copied for a replay.

    Args:
        directory: The directory.
        reason: The cause and the remedy, to follow a colon.
    """

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(directory, reason)
        self.directory = directory
        self.reason = reason

    def __str__(self) -> str:
        return f"The directory {self.directory} cannot be copied for the replay: {self.reason}"


class SourceError(NbtapeError, ValueError):
    """A transcript or script cannot be read."""


class MissingExtraError(NbtapeError, ModuleNotFoundError):
    """An optional package is not installed.

    Args:
        feature: What needs the package.
        package: Name of the missing package.
        extra: The extra of nbtape that installs it.
    """

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(feature, package, extra)
        self.feature = feature
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.feature} needs the package {self.package}: pip install 'nbtape[{self.extra}]'"

    @classmethod
    def check(cls, feature: str, extra: str, **packages: str) -> None:
        """Raise this error unless all packages are installed, given as `module="package"`."""
        from importlib.util import find_spec

        for module, package in packages.items():
            if find_spec(module) is None:
                raise cls(feature, package, extra)


class WrongLoopError(NbtapeError):
    """An `AsyncJupyterCodeExecutor` was used outside the event loop in which it was started."""


class WrongProcessError(NbtapeError):
    """An executor or a pool was used in a fork of the process that started it.

    Args:
        kind: What was used, such as "executor".
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"This {self.kind} was started before the process forked. Create one in each worker process."


class NotCopyableError(NbtapeError, TypeError):
    """An executor, a server or a pool was copied or pickled.

    Args:
        name: Name of the class.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} cannot be copied or pickled. Share the object, or create another one."


class BlockInterrupted(KeyboardInterrupt):
    """Ctrl-C in a blocking call. The block was interrupted and recorded; the executor is ready for the next one.

    Args:
        result: Result with status `interrupted` and the output so far; None if no block had started.
    """

    def __init__(self, result: CodeResult | None = None) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        cells = self.result.cells if self.result is not None else []
        blocks = [cell.block for cell in cells if cell.status == "interrupted"]
        which = f"Block {blocks[0]}" if blocks else "The call"
        return f"{which} was interrupted. Its output is in .result and in the notebook."
