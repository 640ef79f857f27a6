"""AutoGen 0.7: code executors in place of those of `autogen_ext`, and what its agents say, in the notebook."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from autogen_core import Component
from autogen_core.code_executor import CodeExecutor, CodeResult
from autogen_core.model_context import ChatCompletionContext, UnboundedChatCompletionContext
from autogen_core.models import AssistantMessage

from nbtape.integrations._answers import answer
from nbtape.integrations.autogen.component import Given, JupyterCodeExecutorConfig
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.messages.code_blocks import CodeBlock

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
    """What AutoGen's agents and tools get of the blocks of one call.

    Args:
        output_files: Absolute paths: first the files extracted from outputs, then those that the code wrote.
    """

    output_files: list[Path]


class JupyterCodeExecutor(CodeExecutor, Component[JupyterCodeExecutorConfig]):
    """Runs code blocks in a stateful Jupyter kernel and records them as a notebook.

    It takes the place of `autogen_ext.code_executors.jupyter.JupyterCodeExecutor`, and keeps to the contract of
    `autogen_core.code_executor.CodeExecutor`
    (https://microsoft.github.io/autogen/stable/reference/python/autogen_core.code_executor.html).
    Executors on kernels of this machine run code with your rights: give a `jupyter_server` for anything else.

    Args:
        kernel_name: The kernel spec.
        timeout: Seconds for each block, at least 1.
        output_dir: Where the notebook and its files go, and the kernel's working directory; made, with its parents.
            None for the directory that the server's container has mounted, or else a new temporary one, which stays.
        jupyter_server: Where the kernel comes from: a server of nbtape, a `JupyterConnectionInfo`, a URL (and
            `token=`), or a server of AutoGen; None for a kernel of this machine.
        notebook: The name of the notebook, with or without `.ipynb`; where it is taken, a number is added.
        options: See `nbtape.Options`. With `name_files=True` results read as in nbtape's other integrations,
            with the paths of files; by default `output` is what AutoGen has there.

    Raises:
        ValueError: A value that cannot work.
    """

    component_config_schema = JupyterCodeExecutorConfig
    component_provider_override: ClassVar[str | None] = "nbtape.integrations.autogen.JupyterCodeExecutor"
    component_description: ClassVar[str | None] = "Runs code in a Jupyter kernel and records it as a notebook."

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
        self._given = Given(
            kernel_name, timeout, output_dir, jupyter_server, notebook, {"name_files": False, **options}
        )
        # As AutoGen has it: a container with a bind_dir sees that directory and no other.
        wanted = output_dir or getattr(jupyter_server, "bind_dir", None) or getattr(jupyter_server, "_bind_dir", None)
        self._output_dir = Path(wanted or tempfile.mkdtemp(prefix="autogen-jupyter-"))
        try:
            self._executor = self._given.make(self._output_dir)
        except BaseException:
            if wanted is None:
                self._output_dir.rmdir()
            raise
        self._is_started = False
        #: The last message of an agent, if it has code of which nothing was run yet, and who said it.
        self._pending = ("", "")

    @property
    def output_dir(self) -> Path:
        """Where the notebook and its files go, as it was given."""
        if self._output_dir == Path():
            warnings.warn("Using the current directory as output_dir is deprecated", DeprecationWarning, stacklevel=2)
        return self._output_dir

    @property
    def notebook(self) -> Path:
        """The recording; before the start, where it will be if that name is free."""
        return self._executor.notebook

    async def start(self) -> None:
        """Start the kernel and the recording; harmless when they run.

        Raises:
            nbtape.KernelStartError: The kernel cannot be started.
            nbtape.NotebookWriteError: The notebook cannot be written.
        """
        await self._executor.start()
        self._is_started = True

    async def stop(self) -> None:
        """End the kernel, interrupting what runs; harmless when it has ended. The notebook is complete.

        Raises:
            nbtape.NotebookWriteError: The last of the recording cannot be written. The kernel is ended all the same.
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
        """End the kernel and start a fresh one; variables are gone. The recording goes on."""
        await self._executor.restart()
        self._is_started = True

    async def execute_code_blocks(
        self, code_blocks: list[autogen_core.code_executor.CodeBlock], cancellation_token: CancellationToken
    ) -> JupyterCodeResult:
        """Run code blocks, each in a cell of its own, until one fails; variables live on between calls.

        Args:
            code_blocks: The blocks.
            cancellation_token: Interrupts the block that runs. The executor is ready for the next.

        Raises:
            RuntimeError: It was not started.
            asyncio.TimeoutError: A block took too long; the message says what a model is to know of the call. The
                executor is ready for the next.
            asyncio.CancelledError: The token was cancelled.
            nbtape.KernelStartError: No kernel can be started in place of one that died.
            nbtape.NotebookWriteError: The notebook cannot be written; its `result` says what was run.
        """
        if not self._is_started:
            raise RuntimeError("Executor must be started before executing cells: call start(), or use async with.")
        result = await self._execute(code_blocks, cancellation_token)
        if result.status == "timeout":
            raise TimeoutError(answer(result))
        return self._told(result)

    async def add_markdown(self, text: str, agent: str = "") -> None:
        """Append a Markdown cell: what the agent, or anybody, said.

        Args:
            text: Markdown.
            agent: Who said it, for the cell's metadata; empty for nobody in particular.

        Raises:
            nbtape.NotebookWriteError: It cannot be written; it is kept for the next save.
        """
        await self._executor.add_markdown(text, agent)

    async def record_message(self, text: str, agent: str = "") -> None:
        """Have the notebook tell what an agent said: around its code when that is run, else at once.

        Agents do so through `NotebookContext`. What is said before the start is recorded only around code that is run
        after it.

        Args:
            text: The message: Markdown.
            agent: Who said it.

        Raises:
            nbtape.NotebookWriteError: It cannot be written; it is kept for the next save.
        """
        if not self._given.options.get("record_messages", True):
            return
        await self._record_pending()
        self._pending = text, agent
        if "```" not in text:
            await self._record_pending()

    async def _record_pending(self) -> None:
        """Record a message as it is: no code of it was run."""
        (text, agent), self._pending = self._pending, ("", "")
        if text.strip() and self._is_started:
            await self._executor.add_markdown(text.strip(), agent)

    async def _execute(
        self, code_blocks: Sequence[autogen_core.code_executor.CodeBlock], cancellation_token: CancellationToken
    ) -> nbtape.CodeResult:
        if cancellation_token.is_cancelled():
            raise asyncio.CancelledError
        blocks = [CodeBlock(block.code, block.language) for block in code_blocks]
        if (around := _with_words(blocks, self._pending[0])) is None:
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
        text = answer(result) if self._given.options.get("name_files") else result.output
        return JupyterCodeResult(result.exit_code, text, [Path(path) for path in result.output_files])

    def _to_config(self) -> JupyterCodeExecutorConfig:
        """What it was made of.

        Raises:
            ValueError: It cannot be written down, or must not be.
        """
        return self._given.config()

    @classmethod
    def _from_config(cls, config: JupyterCodeExecutorConfig) -> Self:
        return cls(**config.model_dump(exclude_none=True))


class DockerJupyterCodeExecutor(JupyterCodeExecutor):
    """The same for whoever used `autogen_ext.code_executors.docker_jupyter.DockerJupyterCodeExecutor`.

    What differs between the two differs here: this one starts with its first use, and a timeout is a result.

    Args:
        jupyter_server: As for `JupyterCodeExecutor`.
        kernel_name: The kernel spec.
        timeout: Seconds for each block, at least 1.
        output_dir: As for `JupyterCodeExecutor`.
        notebook: As for `JupyterCodeExecutor`.
        options: As for `JupyterCodeExecutor`.

    Raises:
        ValueError: A value that cannot work.
    """

    component_provider_override: ClassVar[str | None] = "nbtape.integrations.autogen.DockerJupyterCodeExecutor"

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
            raise ValueError("jupyter_server is missing: name the server that is to keep code from this machine.")
        super().__init__(kernel_name, timeout, output_dir, jupyter_server=jupyter_server, notebook=notebook, **options)

    async def execute_code_blocks(
        self, code_blocks: list[autogen_core.code_executor.CodeBlock], cancellation_token: CancellationToken
    ) -> JupyterCodeResult:
        """Run code blocks, each in a cell of its own, until one fails or takes too long.

        Args:
            code_blocks: The blocks.
            cancellation_token: Interrupts the block that runs. The executor is ready for the next.

        Raises:
            asyncio.CancelledError: The token was cancelled.
            nbtape.KernelStartError: No kernel can be started.
            nbtape.NotebookWriteError: The notebook cannot be written; its `result` says what was run.
        """
        self._is_started = True  # the first use starts it
        return self._told(await self._execute(code_blocks, cancellation_token))


class NotebookContext(ChatCompletionContext):
    """A model context by which the notebook of an executor tells what an agent says.

    AutoGen hands executors the code alone; what an agent says goes into its model context, just before its code is
    run. So give this as `model_context=` to the agent that writes the code. Messages are kept by the context within.

    It is dumped as the context within: a link to an executor cannot be written down.

    Args:
        executor: Whose notebook it is.
        context: What keeps the messages; None for an `UnboundedChatCompletionContext`.
    """

    def __init__(self, executor: JupyterCodeExecutor, context: ChatCompletionContext | None = None) -> None:
        super().__init__()
        self._executor = executor
        self._context = UnboundedChatCompletionContext() if context is None else context

    async def add_message(self, message: LLMMessage) -> None:
        """Keep a message, and record it if an agent said it.

        Raises:
            nbtape.NotebookWriteError: It cannot be recorded; it is kept for the next save.
        """
        await self._context.add_message(message)
        if isinstance(message, AssistantMessage):
            # With calls of tools, the text that came along is the thought. Else that is what is not said.
            said = message.content if isinstance(message.content, str) else message.thought or ""
            await self._executor.record_message(said, message.source)

    async def get_messages(self) -> list[LLMMessage]:
        """What the context within gives."""
        messages: list[LLMMessage] = await self._context.get_messages()
        return messages

    async def clear(self) -> None:
        """Forget the messages. The notebook keeps them."""
        await self._context.clear()

    async def save_state(self) -> Mapping[str, Any]:
        """The state of the context within."""
        state: Mapping[str, Any] = await self._context.save_state()
        return state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Give the context within its state."""
        await self._context.load_state(state)

    def dump_component(self) -> ComponentModel:
        """The context within."""
        return self._context.dump_component()


def _link(cancellation_token: CancellationToken, stop: asyncio.Event) -> None:
    """Have a token set an event, whichever thread cancels it."""
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: what ran on it is over
            loop.call_soon_threadsafe(stop.set)

    cancellation_token.add_callback(cancel)


def _with_words(blocks: Iterable[CodeBlock], message: str) -> list[CodeBlock] | None:
    """Blocks with what a message says around them; None if they are not all from it, in this order.

    The message is cut where CodeExecutorAgent cut it, whose rule for what is a block is not that of `split_message`.
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
