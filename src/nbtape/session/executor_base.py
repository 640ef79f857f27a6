"""The shared base of both executors: constructor, properties, and the documentation of each method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from nbtape.common.argument_checks import check_instance, path_argument, text_argument
from nbtape.common.compat_jsonschema import defer_grammar
from nbtape.common.notebook_display import Displayed
from nbtape.kernels.sources import DEFAULT_KERNEL, checked_directory, checked_source
from nbtape.kernels.uncopied import Uncopied
from nbtape.results import CellResult
from nbtape.session.options import (
    DEFAULT_NAME,
    check_names,
    checked_name,
    checked_options,
    checked_timeout,
    list_options,
)
from nbtape.session.recorded_session import RecordedSession

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from nbtape.kernels.sources import Server
    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.messages.extractor import MarkdownCodeExtractor
    from nbtape.session.options import Options
    from nbtape.session.resume_plan import Resumption


class ExecutorBase(Displayed, Uncopied):
    """The base class of both executors, which override the methods that are documented here."""

    #: Options of a class that differ from `DEFAULTS`.
    _defaults: ClassVar[Options] = {}

    @list_options
    def __init__(
        self,
        jupyter_server: Server = None,
        kernel_name: str = DEFAULT_KERNEL,
        timeout: float = 60,
        output_dir: Path | str = ".",
        *,
        notebook: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Check and store the arguments; start nothing.

        Args:
            jupyter_server: Where the kernel comes from: a server that nbtape starts (`DockerJupyterServer`,
                `LocalJupyterServer`), someone else's (`JupyterConnectionInfo`, or its URL and `token=`), or a
                `KernelPool` of any of them; None for a local kernel.
            kernel_name: The kernel spec.
            timeout: Seconds for each block, at least 1.
            output_dir: Directory of the notebook and its files, and the kernel's working directory. Created with its
                parents if missing.
            notebook: File name of the notebook, with or without `.ipynb`. An existing notebook is never overwritten:
                the new one is then `<name>-2.ipynb` and so on.
            options: See `nbtape.Options`.

        Raises:
            ValueError: A value is invalid. The subclasses `OutputDirectoryError` and `KernelNotInstalledError` are
                more specific.
        """
        check_names(options, type(self))
        checked = checked_options({**self._defaults, **options})
        self._kernel_name = text_argument("kernel_name", kernel_name)
        self._output_dir = path_argument("output_dir", output_dir)
        directory = checked_directory(self._output_dir)
        name = checked_name(notebook or DEFAULT_NAME)
        source = checked_source(jupyter_server, kernel_name, checked["token"], directory, checked["python"])
        source.check()
        self._attach(RecordedSession(source, directory, name, checked_timeout(timeout), checked))

    def _attach(self, session: RecordedSession) -> None:
        """Set the session that this executor runs; the constructor calls this last."""
        self._session = session

    @classmethod
    @list_options
    def resume(
        cls,
        notebook: Path | str,
        jupyter_server: Server = None,
        kernel_name: str | None = None,
        timeout: float = 60,
        *,
        until: int | None = None,
        on_progress: Callable[[str], None] | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """Create an executor that continues a recorded notebook, even one that was killed or edited.

        On start, it attaches to the recorded kernel if that is still alive on its server. Otherwise it starts a new
        kernel and reruns the cells that succeeded on the last one, including their effects on files. Existing cells
        stay unchanged, and new cells are appended. `resumption` reports the outcome of each cell.

        Args:
            notebook: The notebook. Its directory becomes the `output_dir`.
            jupyter_server: As for the class.
            kernel_name: The kernel spec; None for the one named in the notebook.
            timeout: As for the class. A cell that was recorded with a longer timeout keeps it when it is rerun.
            until: Number of cells to copy into a new notebook (`<name>-fork.ipynb`, which records its origin); Markdown
                cells count. None to continue the notebook itself.
            on_progress: Called with one line of text for each rerun cell, on the executor's event loop.
            options: See `nbtape.Options`.

        Raises:
            NotebookReadError: The notebook cannot be continued.
            ValueError: Another value is invalid.
        """
        defer_grammar()
        from nbtape.session.resume import Origin

        if "output_dir" in options:
            raise TypeError("resume() takes no output_dir=: the session continues in the notebook's directory.")
        check_names(options, cls.resume)
        origin = Origin.check(notebook, until, on_progress)
        name, directory = kernel_name or origin.kernel_name, origin.path.parent
        executor = cls(jupyter_server, name, timeout, directory, notebook=origin.name, **options)
        executor._session.origin = origin
        return executor

    def __repr__(self) -> str:
        kernel = f"kernel_name={self.kernel_name!r}, kernel_epoch={self.kernel_epoch}"
        return f"{type(self).__name__}({str(self.notebook)!r}, {kernel})"

    @property
    def resumption(self) -> Resumption | None:
        """Outcome of each resumed cell; None before `start` or if nothing was resumed."""
        return self._session.resumption

    @property
    def code_extractor(self) -> MarkdownCodeExtractor:
        """Finds the code blocks in a message, also in elements with the option `code_tags`."""
        from nbtape.messages.extractor import MarkdownCodeExtractor

        return MarkdownCodeExtractor(self._session.options["code_tags"])

    @property
    def notebook(self) -> Path:
        """Path of the recording; before `start`, the path it gets if that name is free."""
        return self._session.notebook

    @property
    def url(self) -> str:
        """URL of the notebook in JupyterLab, on the kernel that records it, without a token.

        Empty before `start`, for a local kernel, and for a server that has no JupyterLab, does not see the notebook, or
        has another kernel for it.
        """
        return self._session.url

    @property
    def timeout(self) -> float:
        """Seconds for each block."""
        return self._session.timeout

    @property
    def kernel_name(self) -> str:
        """The kernel spec."""
        return self._kernel_name

    @property
    def output_dir(self) -> Path:
        """Directory of the notebook and its files, as given."""
        return self._output_dir

    @property
    def max_output_chars(self) -> int:
        """Maximum length of `CodeResult.output`."""
        return self.options["max_output_chars"]

    @property
    def options(self) -> Options:
        """All options, with defaults filled in."""
        return self._session.options.copy()

    @property
    def kernel_epoch(self) -> int:
        """Number of the current kernel, counted from 1; 0 before the first."""
        return self._session.kernels.epoch

    @property
    def block_count(self) -> int:
        """Number of blocks in the notebook, those of a resumed notebook included; 0 before `start`."""
        return self._session.block_count

    def outputs(self, cell: CellResult) -> list[Mapping[str, Any]]:
        """Return the current outputs of a cell, in nbformat's form.

        Args:
            cell: The result of its block.
        """
        check_instance("cell", cell, CellResult)
        return self._session.recording.outputs(cell)

    # The methods below are coroutines in `AsyncJupyterCodeExecutor`.

    def start(self) -> Any:  # noqa: ANN401  (here and below: a value or a coroutine)
        """Start the kernel and the recording; does nothing if they are running.

        Raises:
            KernelStartError: The kernel cannot be started.
            NotebookInUseError: Another executor is writing the notebook to be resumed.
            NotebookWriteError: The notebook cannot be written.
        """

    def stop(self) -> Any:  # noqa: ANN401
        """Shut down the kernel, interrupting a running block. Using the executor again starts a fresh kernel.

        Raises:
            NotebookWriteError: The end of the recording cannot be written. The kernel is shut down anyway.
        """

    def restart(self) -> Any:  # noqa: ANN401
        """Replace the kernel with a fresh one; variables are lost. The recording continues."""

    def interrupt(self) -> Any:  # noqa: ANN401
        """Interrupt the running block, if any, and return at once. The result of the block reports it."""

    def add_markdown(self, text: str, agent: str = "") -> Any:  # noqa: ANN401
        """Append a Markdown cell.

        Args:
            text: Markdown.
            agent: Its author, for the cell's metadata; empty for none.

        Raises:
            NotebookWriteError: The notebook cannot be written; the cell is kept for the next save.
        """

    def edit_cell(self, cell_id: str, source: str, agent: str = "") -> Any:  # noqa: ANN401
        """Add a new version of a cell after it. The cell itself stays as recorded, and is marked as edited.

        Nothing runs: a new version of code has the status `not_run`.

        Args:
            cell_id: The cell, as in `CellResult.cell_id`.
            source: The new source.
            agent: Who edits it, for the metadata; empty for the option `agent`.

        Returns:
            The id of the new cell.

        Raises:
            ValueError: There is no such cell.
            NotebookWriteError: The notebook cannot be written; the edit is kept for the next save.
        """

    def delete_cell(self, cell_id: str, agent: str = "") -> Any:  # noqa: ANN401
        """Mark a cell as deleted by the agent. It stays in the notebook, because it is part of the record.

        Args:
            cell_id: The cell, as in `CellResult.cell_id`.
            agent: Who deletes it, for the metadata; empty for the option `agent`.

        Raises:
            ValueError: There is no such cell.
            NotebookWriteError: The notebook cannot be written; the mark is kept for the next save.
        """

    def move_cell(self, cell_id: str, position: int, agent: str = "") -> Any:  # noqa: ANN401
        """Move a cell to another position, and mark it as moved.

        Args:
            cell_id: The cell, as in `CellResult.cell_id`.
            position: Its new position, counted from 0; negative from the end.
            agent: Who moves it, for the metadata; empty for the option `agent`.

        Raises:
            ValueError: There is no such cell or position.
            NotebookWriteError: The notebook cannot be written; the move is kept for the next save.
        """

    def run(self, code: str, language: str = "python", *, timeout: float | None = None) -> Any:  # noqa: ANN401
        """Run a piece of code as one cell. Variables persist between calls.

        Args:
            code: The source.
            language: Its language, such as "python" or "bash".
            timeout: Seconds it may take, at least 1; None for the executor's timeout.

        Raises:
            ValueError: The timeout is not a number of at least 1.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written; its `result` reports the cell if it ran.
            BlockInterrupted: Ctrl-C in a blocking call; its `result` reports the cell.
            WrongLoopError: An async executor's kernel runs on another event loop.
        """

    def run_message(
        self, message: str | Sequence[Mapping[str, Any]] | None, agent: str = "", *, timeout: float | None = None
    ) -> Any:  # noqa: ANN401
        """Run the code blocks of an LLM's message, one cell each, until one fails. Variables persist between calls.

        `code_extractor` finds the blocks. The text around them is recorded as Markdown cells. A message without code is
        not an error: the result is `ok`, without cells and output.

        Args:
            message: Markdown, or the content parts of a message of OpenAI, or None, which is the content of a message
                that only calls tools.
            agent: Who wrote it, for the metadata; empty for the option `agent`.
            timeout: Seconds for each block, at least 1; None for the executor's timeout.

        Raises:
            ValueError: The timeout is not a number of at least 1.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written; its `result` reports the blocks that ran.
            BlockInterrupted: Ctrl-C in a blocking call; its `result` reports the blocks that ran.
            WrongLoopError: An async executor's kernel runs on another event loop.
        """

    def execute_code_blocks(self, code_blocks: Sequence[CodeBlock], *, timeout: float | None = None) -> Any:  # noqa: ANN401
        """Run code blocks, one cell each, until one fails. Variables persist between calls.

        Overlapping calls are queued.

        Args:
            code_blocks: The blocks. Any objects with the attributes `code` and `language` work.
            timeout: Seconds for each block, at least 1; None for the executor's timeout.

        Raises:
            ValueError: The timeout is not a number of at least 1.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written; its `result` reports the blocks that ran.
            BlockInterrupted: Ctrl-C in a blocking call; its `result` reports the blocks that ran.
            WrongLoopError: An async executor's kernel runs on another event loop.
        """

    def parameters(self, **values: object) -> Any:  # noqa: ANN401
        """Define variables in a cell that `papermill -p` and `nbtape replay -p` can override.

        Call this once per notebook, before the blocks that use the variables: papermill overrides only the first such
        cell.

        Args:
            values: Numbers, strings, booleans, None, and lists, tuples and dicts of them, by variable name.

        Raises:
            ValueError: A name or a value is not supported.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written.
        """

    def skip_code_blocks(self, code_blocks: Sequence[CodeBlock], note: str = "") -> Any:  # noqa: ANN401
        """Record code blocks without running them, for example because a policy refused them.

        Args:
            code_blocks: The blocks; each becomes a cell with the status `not_run`.
            note: The reason, a sentence.

        Raises:
            NotebookWriteError: The notebook cannot be written; the cells are kept for the next save.
        """

    def variables(self, *, timeout: float = 10, limit: int = 200) -> Any:  # noqa: ANN401
        """List the kernel's variables by name. Records nothing and leaves `_`, `In` and `Out` as they are.

        Modules, names that start with an underscore, and IPython's own names are left out. Waits for a running block.
        Returns an empty list if no kernel has been started.

        Args:
            timeout: Seconds for the kernel to answer, at least 1; all reprs together get half of it. Then the kernel
                is interrupted, but never shut down.
            limit: Maximum number of variables; `left_out` of the answer counts the rest.

        Raises:
            KernelBusyError: The kernel does not answer.
            KernelError: The kernel is dead, does not run Python, or its answer is invalid.
            WrongLoopError: An async executor's kernel runs on another event loop.
        """
