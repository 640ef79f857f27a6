"""AutoGen 0.7: replacements for the Jupyter executors of `autogen_ext`, and a context that records messages."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from nbtape.errors import MissingExtraError

try:
    from autogen_core import Component
    from autogen_core.code_executor import CodeExecutor, CodeResult
    from autogen_core.model_context import ChatCompletionContext, UnboundedChatCompletionContext
    from autogen_core.models import AssistantMessage
except ModuleNotFoundError as exc:
    raise MissingExtraError("nbtape.integrations.autogen", "autogen-core", "autogen") from exc

from nbtape.integrations._answers import answer
from nbtape.integrations.autogen.approval_func import approve_with as approve_with
from nbtape.integrations.autogen.component import JupyterCodeExecutorConfig, make_config, make_executor
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.messages.code_blocks import CodeBlock
from nbtape.session.options import list_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import autogen_core.code_executor
    from autogen_core import CancellationToken, ComponentModel
    from autogen_core.models import LLMMessage

    import nbtape
    from nbtape.kernels.sources import Server
    from nbtape.session.options import Options


@dataclass
class JupyterCodeResult(CodeResult):
    """The result of one call. `output_files` has absolute paths: extracted files, then files that the code wrote."""

    output_files: list[Path]


class JupyterCodeExecutor(CodeExecutor, Component[JupyterCodeExecutorConfig]):
    """Runs code blocks in a stateful Jupyter kernel and records them as a notebook.

    It replaces `autogen_ext.code_executors.jupyter.JupyterCodeExecutor` and follows the contract of
    https://microsoft.github.io/autogen/stable/reference/python/autogen_core.code_executor.html. A local kernel runs
    code with your permissions; use a `jupyter_server` to isolate it.

    Args:
        kernel_name: The kernel spec.
        timeout: Seconds for each block, at least 1.
        output_dir: Directory of the notebook and its files, and the kernel's working directory; created with its
            parents. None for the directory that the server's container mounts, or else a new temporary directory,
            which is not removed.
        jupyter_server: A server of nbtape or of AutoGen, a `JupyterConnectionInfo`, or a URL (and `token=`); None for a
            local kernel.
        notebook: File name of the notebook, with or without `.ipynb`. If it is taken, a number is appended.
        options: See `nbtape.Options`. By default, `output` is the same as AutoGen's: `name_files=True` adds the paths
            of files to it, and `traceback="compact"` shortens tracebacks. HTML outputs are saved as files, as in
            AutoGen; `extract=()` turns that off.

    Raises:
        ValueError: An invalid argument.
    """

    component_config_schema = JupyterCodeExecutorConfig
    component_provider_override: ClassVar[str | None] = "nbtape.integrations.autogen.JupyterCodeExecutor"
    component_description: ClassVar[str | None] = "Runs code in a Jupyter kernel and records it as a notebook."

    @list_options
    def __init__(
        self,
        kernel_name: str = DEFAULT_KERNEL,
        timeout: float = 60,
        output_dir: Path | str | None = None,
        *,
        jupyter_server: Server = None,
        notebook: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        if not timeout >= 1:
            raise ValueError(f"Timeout must be greater than or equal to 1. It is {timeout}.")
        self._arguments = {
            "kernel_name": kernel_name,
            "timeout": timeout,
            "output_dir": output_dir,
            "jupyter_server": jupyter_server,
            "notebook": notebook,
            "name_files": False,
            "extract": ("html",),
            "traceback": "full",
            **options,
        }
        # As in AutoGen, a container with a bind_dir can access no other directory.
        chosen = output_dir or getattr(jupyter_server, "bind_dir", None) or getattr(jupyter_server, "_bind_dir", None)
        self._output_dir = Path(chosen or tempfile.mkdtemp(prefix="autogen-jupyter-"))
        try:
            self._executor = make_executor(self._output_dir, self._arguments)
        except BaseException:
            if chosen is None:
                self._output_dir.rmdir()
            raise
        self._is_started = False
        #: The last message of an agent, until its code runs, and the agent's name.
        self._pending = ("", "")

    @property
    def output_dir(self) -> Path:
        """Directory of the notebook and its files, as given."""
        if self._output_dir == Path():
            warnings.warn("Using the current directory as output_dir is deprecated", DeprecationWarning, stacklevel=2)
        return self._output_dir

    @property
    def notebook(self) -> Path:
        """Path of the recording; before `start`, the path it gets if that name is free."""
        return self._executor.notebook

    async def start(self) -> None:
        """Start the kernel and the recording; does nothing if they are running.

        Raises:
            nbtape.KernelStartError: The kernel cannot be started.
            nbtape.NotebookWriteError: The notebook cannot be written.
        """
        await self._executor.start()
        self._is_started = True

    async def stop(self) -> None:
        """Interrupt the running block, stop the kernel, and complete the notebook.

        Raises:
            nbtape.NotebookWriteError: The end of the recording cannot be written. The kernel is stopped anyway.
        """
        if not self._is_started:
            return
        await self._executor.interrupt()
        try:
            await self._record_pending()
        finally:
            self._is_started = False
            await self._executor.stop()

    async def restart(self) -> None:
        """Replace the kernel with a fresh one; variables are lost. The recording continues."""
        await self._executor.restart()
        self._is_started = True

    async def execute_code_blocks(
        self, code_blocks: list[autogen_core.code_executor.CodeBlock], cancellation_token: CancellationToken
    ) -> JupyterCodeResult:
        """Run code blocks, one cell each, until one fails. Variables persist between calls.

        Raises:
            RuntimeError: The executor was not started.
            asyncio.TimeoutError: A block timed out; the message is for the model.
            asyncio.CancelledError: The token was canceled. The running block is interrupted.
            nbtape.KernelStartError: A kernel that died cannot be replaced.
            nbtape.NotebookWriteError: The notebook cannot be written; its `result` reports the blocks that ran.
        """
        if not self._is_started:
            raise RuntimeError("Executor must be started before executing cells: call start(), or use async with.")
        result = await self._execute(code_blocks, cancellation_token)
        if result.status == "timeout":
            raise TimeoutError(answer(result))
        return self._told(result)

    async def add_markdown(self, text: str, agent: str = "") -> None:
        """Append a Markdown cell, with the name of an agent in its metadata.

        Raises:
            nbtape.NotebookWriteError: The cell cannot be written; it is kept for the next save.
        """
        await self._executor.add_markdown(text, agent)

    async def record_message(self, text: str, agent: str = "") -> None:
        """Record an agent's Markdown message: around its code when that runs, or at once if it has no code.

        `NotebookContext` calls this. A message before `start` is recorded only if its code runs later.

        Raises:
            nbtape.NotebookWriteError: The message cannot be written; it is kept for the next save.
        """
        if not self._arguments.get("record_messages", True):
            return
        await self._record_pending()
        self._pending = text, agent
        if "```" not in text:
            await self._record_pending()

    async def _record_pending(self) -> None:
        """Record a message unchanged, because none of its code was run."""
        (text, agent), self._pending = self._pending, ("", "")
        if text.strip() and self._is_started:
            await self._executor.add_markdown(text.strip(), agent)

    async def _execute(
        self, code_blocks: Sequence[autogen_core.code_executor.CodeBlock], cancellation_token: CancellationToken
    ) -> nbtape.CodeResult:
        if cancellation_token.is_cancelled():
            raise asyncio.CancelledError
        blocks = [CodeBlock(block.code, block.language) for block in code_blocks]
        if (around := _with_prose(blocks, self._pending[0])) is None:
            await self._record_pending()
        else:
            self._pending, blocks = ("", ""), around
        stop = asyncio.Event()
        _link(cancellation_token, stop)
        result = await self._executor.execute_code_blocks(blocks, stop=stop)
        if cancellation_token.is_cancelled():
            raise asyncio.CancelledError
        return result

    def _told(self, result: nbtape.CodeResult) -> JupyterCodeResult:
        text = answer(result) if self._arguments.get("name_files") else result.output
        return JupyterCodeResult(result.exit_code, text, [Path(path) for path in result.output_files])

    def _to_config(self) -> JupyterCodeExecutorConfig:
        return make_config(self._arguments)

    @classmethod
    def _from_config(cls, config: JupyterCodeExecutorConfig) -> Self:
        return cls(**config.model_dump(exclude_none=True))


class DockerJupyterCodeExecutor(JupyterCodeExecutor):
    """Replaces `autogen_ext.code_executors.docker_jupyter.DockerJupyterCodeExecutor`.

    It has the arguments of `JupyterCodeExecutor`. Unlike that, it starts on first use and returns a result for a
    timeout.

    Raises:
        ValueError: An invalid argument.
    """

    component_provider_override: ClassVar[str | None] = "nbtape.integrations.autogen.DockerJupyterCodeExecutor"

    @list_options
    def __init__(
        self,
        jupyter_server: Server,
        kernel_name: str = DEFAULT_KERNEL,
        timeout: float = 60,
        output_dir: Path | str | None = None,
        *,
        notebook: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        if jupyter_server is None:
            raise ValueError("jupyter_server= is missing. Set it to the server that isolates the code from the host.")
        super().__init__(kernel_name, timeout, output_dir, jupyter_server=jupyter_server, notebook=notebook, **options)

    async def execute_code_blocks(
        self, code_blocks: list[autogen_core.code_executor.CodeBlock], cancellation_token: CancellationToken
    ) -> JupyterCodeResult:
        """Run code blocks, one cell each, until one fails or times out. See `JupyterCodeExecutor` for other errors."""
        self._is_started = True
        return self._told(await self._execute(code_blocks, cancellation_token))


class NotebookContext(ChatCompletionContext):
    """A model context that records an agent's messages in the notebook of an executor.

    AutoGen passes only code to executors, but adds an agent's message to its model context just before the code runs.
    Pass this as `model_context=` to the agent that writes the code. `dump_component` dumps the wrapped context.

    Args:
        executor: The executor that records.
        context: The wrapped context, which keeps the messages; None for an `UnboundedChatCompletionContext`.
    """

    def __init__(self, executor: JupyterCodeExecutor, context: ChatCompletionContext | None = None) -> None:
        super().__init__()
        self._executor = executor
        self._context = UnboundedChatCompletionContext() if context is None else context

    async def add_message(self, message: LLMMessage) -> None:
        """Keep a message, and record it if it is an agent's, as `record_message` does."""
        await self._context.add_message(message)
        if isinstance(message, AssistantMessage):
            # With tool calls, the thought is the agent's message. With text, it is reasoning, which is not recorded.
            said = message.content if isinstance(message.content, str) else message.thought or ""
            await self._executor.record_message(said, message.source)

    async def get_messages(self) -> list[LLMMessage]:
        messages: list[LLMMessage] = await self._context.get_messages()
        return messages

    async def clear(self) -> None:
        """Clear the context. The notebook keeps the messages."""
        await self._context.clear()

    async def save_state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = await self._context.save_state()
        return state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        await self._context.load_state(state)

    def dump_component(self) -> ComponentModel:
        return self._context.dump_component()


def _link(cancellation_token: CancellationToken, stop: asyncio.Event) -> None:
    """Set the event when any thread cancels the token."""
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(stop.set)

    cancellation_token.add_callback(cancel)


def _with_prose(blocks: Iterable[CodeBlock], message: str) -> list[CodeBlock] | None:
    """The blocks with the text around them; None if they are not all in the message, in this order.

    The code is found by the rule of CodeExecutorAgent, which differs from the rule of `split_message`.
    """
    told: list[CodeBlock] = []
    for block in blocks:
        fenced = rf"```\s*{re.escape(block.language)}\n{re.escape(block.code)}```"
        before, *rest = re.split(fenced, message, maxsplit=1)
        if not rest:
            return None
        told.append(replace(block, said_before=before.strip()))
        message = rest[0]
    if told:
        told[-1] = replace(told[-1], said_after=message.strip())
    return told or None
