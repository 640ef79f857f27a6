"""The blocking executor, for callers without an event loop, or whose event loop is busy."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING, ClassVar

from nbtape.common.finalizers import when_forgotten
from nbtape.common.lifecycle import Startable
from nbtape.errors import OutputDirectoryError
from nbtape.messages.code_blocks import CodeBlock
from nbtape.session.executor import AsyncJupyterCodeExecutor
from nbtape.session.executor_base import ExecutorBase
from nbtape.session.loop_thread import SHUTDOWN_TIMEOUT_SECONDS, LoopThread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from nbtape.results import CodeResult
    from nbtape.session.options import Options
    from nbtape.session.recorded_session import RecordedSession
    from nbtape.session.variables import Variables

logger = logging.getLogger(__name__)


class JupyterCodeExecutor(ExecutorBase, Startable):
    """Runs code blocks in a stateful Jupyter kernel and records them as a notebook.

    It works in a script, in any thread, and under a running event loop (in Jupyter, in an async test), because the
    session has its own event loop and thread.

    Nothing starts before `start`, `with` or the first use. Ctrl-C in a call interrupts the block, records what it
    printed, and raises `BlockInterrupted`, a `KeyboardInterrupt` with the result. The executor is then ready for the
    next call.
    """

    def _attach(self, session: RecordedSession) -> None:
        super()._attach(session)
        self._executor = AsyncJupyterCodeExecutor._of(session)  # noqa: SLF001  (both run the same session)
        self._own_thread = LoopThread()
        self._process: int | None = None  # the one in which a finalizer stops this executor

    @property
    def _thread(self) -> LoopThread:
        """The thread of the session's event loop.

        An executor that was not stopped is stopped when it is garbage-collected or at exit. At exit, this must come
        before the kernel and its server are killed, whose finalizers are registered later and would run first.
        """
        if self._process != os.getpid():  # it may be created before a fork and first be used in a worker
            self._process = os.getpid()
            atexit.register(when_forgotten(self, _stop_forgotten, self._executor, self._own_thread))
        return self._own_thread

    def start(self) -> None:
        try:
            self._thread.call(self._executor.start())
        except BaseException:
            self._thread.end(only_idle=True)
            raise

    def stop(self) -> None:
        try:
            self._thread.call(self._executor.stop())
        finally:
            self._thread.end(only_idle=True)

    def restart(self) -> None:
        self._thread.call(self._executor.restart())

    def interrupt(self) -> None:
        self._thread.call(self._executor.interrupt())

    def add_markdown(self, text: str, agent: str = "") -> None:
        self._thread.call(self._executor.add_markdown(text, agent))

    def edit_cell(self, cell_id: str, source: str, agent: str = "") -> str:
        return self._thread.call(self._executor.edit_cell(cell_id, source, agent))

    def delete_cell(self, cell_id: str, agent: str = "") -> None:
        self._thread.call(self._executor.delete_cell(cell_id, agent))

    def move_cell(self, cell_id: str, position: int, agent: str = "") -> None:
        self._thread.call(self._executor.move_cell(cell_id, position, agent))

    def run(self, code: str, language: str = "python", *, timeout: float | None = None) -> CodeResult:
        return self.execute_code_blocks([CodeBlock(code, language)], timeout=timeout)

    def run_message(
        self, message: str | Sequence[Mapping[str, Any]] | None, agent: str = "", *, timeout: float | None = None
    ) -> CodeResult:
        stop = asyncio.Event()
        return self._thread.call(self._executor.run_message(message, agent, timeout=timeout, stop=stop), stop)

    def execute_code_blocks(self, code_blocks: Sequence[CodeBlock], *, timeout: float | None = None) -> CodeResult:
        stop = asyncio.Event()
        return self._thread.call(self._executor.execute_code_blocks(code_blocks, timeout=timeout, stop=stop), stop)

    async def aexecute_code_blocks(
        self, code_blocks: Sequence[CodeBlock], *, timeout: float | None = None
    ) -> CodeResult:
        """Run `execute_code_blocks` without blocking the caller's event loop.

        Canceling the call interrupts its block and no other, and returns once its output is recorded.

        Args:
            code_blocks: As for `execute_code_blocks`.
            timeout: As for `execute_code_blocks`.
        """
        stop = asyncio.Event()
        return await self._thread.wait(
            self._executor.execute_code_blocks(code_blocks, timeout=timeout, stop=stop), stop
        )

    def parameters(self, **values: object) -> CodeResult:
        return self._thread.call(self._executor.parameters(**values))

    def skip_code_blocks(self, code_blocks: Sequence[CodeBlock], note: str = "") -> CodeResult:
        return self._thread.call(self._executor.skip_code_blocks(code_blocks, note))

    def variables(self, *, timeout: float = 10, limit: int = 200) -> Variables:
        return self._thread.call(self._executor.variables(timeout=timeout, limit=limit))


def _stop_forgotten(executor: AsyncJupyterCodeExecutor, thread: LoopThread) -> None:
    """Stop an executor whose user did not."""
    if not thread.is_running:
        return
    if thread.is_current:  # the garbage collector may run in this thread, which cannot wait for itself
        threading.Thread(target=_stop_forgotten, args=(executor, thread), daemon=True).start()
        return
    try:
        thread.submit(executor.stop()).result(SHUTDOWN_TIMEOUT_SECONDS)
    except Exception as exc:  # noqa: BLE001  (a finalizer has no caller to raise to)
        logger.warning("An executor could not be stopped at exit: %s", exc)
    thread.end()


class EmbeddedIPythonCodeExecutor(JupyterCodeExecutor):
    """`JupyterCodeExecutor` under the name of AutoGen's class, for code ported from AutoGen.

    https://github.com/ag2ai/ag2/blob/v0.14.0/autogen/coding/jupyter/embedded_ipython_code_executor.py

    AutoGen's class starts its kernel in the constructor and never shuts it down. This class starts it at the first use
    and shuts it down in `stop`, at the end of `with`, when it is garbage-collected, or at exit. As in AutoGen's class,
    HTML outputs are saved as files, results have full tracebacks and absolute paths of files, and a directory whose
    parent is missing is an error.
    """

    _defaults: ClassVar[Options] = {"extract": ("html",), "name_files": "absolute", "traceback": "full"}

    def _attach(self, session: RecordedSession) -> None:
        if not self._output_dir.absolute().parent.is_dir():
            raise OutputDirectoryError(self._output_dir, "does not exist. Create it, or choose another one.")
        super()._attach(session)
