"""A `PythonExecutor` for smolagents' `CodeAgent`: a stateful kernel, recorded as a notebook, without pickle.

It follows https://huggingface.co/docs/smolagents/reference/python_executors. `RemotePythonExecutor` is not the base
class, because it changes the agent's tools in place, so that they fail in the second run, and installs packages without
asking. A cell that calls `final_answer(...)` stops there without an error, and its last output is the answer.
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any, Final, Unpack

from nbtape.errors import MissingExtraError

try:
    import PIL.Image
    from smolagents import AgentError, AgentLogger, LogLevel, Tool
    from smolagents.local_python_executor import CodeOutput, PythonExecutor
except ModuleNotFoundError as exc:
    raise MissingExtraError("nbtape.integrations.smolagents", "smolagents", "smolagents") from exc

from nbtape.common.text import shorten, strip_escapes
from nbtape.integrations._answers import answer, pictures
from nbtape.integrations.smolagents.compat_smolagents import said_around_code, task_of
from nbtape.integrations.smolagents.final_answers import find_answer, read_answer
from nbtape.integrations.smolagents.heard_model import HeardModel
from nbtape.integrations.smolagents.setup_cells import tool_cells, variable_cells
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.messages.code_blocks import CodeBlock
from nbtape.notebook.model_text import model_output_text
from nbtape.session.blocking import JupyterCodeExecutor
from nbtape.session.options import list_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from smolagents import ActionStep, CodeAgent

    from nbtape.integrations.smolagents.setup_cells import Sent
    from nbtape.kernels.sources import Server
    from nbtape.results import CodeResult
    from nbtape.session.options import Options

_SENT_AGAIN: Final = "A fresh kernel was started, so the tools and variables of the agent are sent again."


class JupyterExecutor(PythonExecutor):  # type: ignore[misc,unused-ignore]  # Any, where smolagents is not installed
    """Runs the code of a `CodeAgent` in a Jupyter kernel and records it as a notebook.

    Pass it as `CodeAgent(executor=...)`; `agent.cleanup()` or `with agent:` stops the kernel. The agent's tools and
    variables are recorded as cells too, so that the notebook can be replayed. That includes any secret in a variable.
    To record the agent's messages, call `listen_to(agent)`.

    Imports are not restricted. To isolate the code, run the kernel in a container (`DockerJupyterServer`). Data from a
    kernel is read as JSON and never unpickled.

    Args:
        jupyter_server: As for `nbtape.JupyterCodeExecutor`, like the next four.
        kernel_name: The kernel spec of a Python kernel.
        timeout: Seconds for each step of the agent, and for installing packages; at least 1.
        output_dir: Directory of the notebook and its files, and the kernel's working directory.
        notebook: File name of the notebook.
        executor: An existing executor instead of all other arguments; you stop it.
        additional_imports: Modules to install in the kernel if they are missing, as in
            `CodeAgent(additional_authorized_imports=...)`, before the first code. The requirements of the agent's tools
            are always installed.
        logger: Logs errors, in addition to the agent's own logger.
        options: See `nbtape.Options`.

    Raises:
        ValueError: An invalid argument.
    """

    @list_options
    def __init__(  # noqa: PLR0913  (the arguments of JupyterCodeExecutor and of smolagents' executors)
        self,
        jupyter_server: Server = None,
        kernel_name: str = DEFAULT_KERNEL,
        timeout: float = 60,
        output_dir: Path | str = ".",
        *,
        notebook: str | None = None,
        executor: JupyterCodeExecutor | None = None,
        additional_imports: Sequence[str] = (),
        logger: AgentLogger | None = None,
        **options: Unpack[Options],
    ) -> None:
        given = (jupyter_server, kernel_name, timeout, output_dir, notebook, options)
        if executor is not None and given != (None, DEFAULT_KERNEL, 60, ".", None, {}):
            raise ValueError("executor= already has a kernel and options. Pass no other arguments with it.")
        self._own = executor is None
        self._executor = executor or JupyterCodeExecutor(
            jupyter_server, kernel_name, timeout, output_dir, notebook=notebook, **options
        )
        self._options = self._executor.options
        self._imports = {name.split(".")[0] for name in additional_imports} - {"*"}
        self._logger = logger or AgentLogger(level=LogLevel.OFF)
        self._agent: CodeAgent | None = None
        self._sent: dict[str, list[Sent]] = {}
        self._kernel_epoch = 0
        self._result: CodeResult | None = None

    @property
    def notebook(self) -> Path:
        """Path of the recording; before the first step, the path it gets if that name is free."""
        return self._executor.notebook

    def listen_to(self, agent: CodeAgent) -> None:
        """Record the tasks and messages of this executor's agent as Markdown cells before its code.

        smolagents calls its callbacks only after the code of a message has run, so this wraps `agent.model`.
        """
        heard, self._agent = self._agent is agent, agent
        if self._options["record_messages"] and not heard:
            agent.model = HeardModel(agent.model, self._hear)

    def add_pictures(self, memory_step: ActionStep, agent: object = None) -> None:  # noqa: ARG002  (smolagents' names)
        """Add images to the output of a step. Pass this as `CodeAgent(..., step_callbacks=[executor.add_pictures])`."""
        result, self._result = self._result, None
        if result is not None and (found := pictures(result)):
            memory_step.observations_images = [PIL.Image.open(io.BytesIO(picture.content)) for picture in found]

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Define variables in the kernel. smolagents calls this at the start of a run, before `send_tools`.

        Raises `SerializationError` for a value that needs pickle, and `AgentError` if the kernel fails.
        """
        if self._agent is not None and self._options["record_messages"] and (task := task_of(self._agent)):
            self._executor.add_markdown(f"**Task**\n\n{task.strip()}")
        self._send("variables", variable_cells(variables))

    def send_tools(self, tools: Mapping[str, Tool]) -> None:
        """Install what tools require, and define them in the kernel. smolagents calls this at the start of a run.

        Raises ValueError for a tool that is an agent or cannot be sent, and `AgentError` if the kernel fails.
        """
        if agents := [name for name, tool in tools.items() if not isinstance(tool, Tool)]:
            raise ValueError(
                f"{', '.join(agents)}: an agent cannot be called from a kernel. Remove managed_agents, or use a "
                "ToolCallingAgent to manage both agents."
            )
        self._send("tools", tool_cells(tools, self._imports, self._options["max_cell_chars"]))

    def __call__(self, code_action: str) -> CodeOutput:
        """Run the code of one step. If it fails, the message of the `AgentError` is its output and traceback."""
        notice = self._send_again()
        self._result = result = self._executor.execute_code_blocks([CodeBlock(code_action, "python")])
        if result.status != "ok":
            raise AgentError(notice + answer(result), self._logger)
        (cell,) = result.cells
        outputs = self._executor.outputs(cell)
        if (shown := find_answer(outputs)) is not None:
            logs = notice + _logs(result, _plain(shown))
            return CodeOutput(output=self._final_answer(shown), logs=logs, is_final_answer=True)
        if cell.left_out and "final_answer" in code_action:
            problem = "A final answer may be in the omitted output. Call final_answer in a step that prints less."
            raise AgentError(f"{notice}{answer(result)}\n{problem}", self._logger)
        values = (each["data"] for each in outputs if each["output_type"] == "execute_result")
        value = next(map(_plain, values), None)
        logs = notice + _logs(result, value)
        if value is not None:
            value = shorten(value, self._executor.max_output_chars, f"full output in {self.notebook.name}")
        return CodeOutput(output=value, logs=logs, is_final_answer=False)

    def cleanup(self) -> None:
        """Stop the kernel and complete the notebook, unless the executor was passed to the constructor."""
        if self._own:
            self._executor.stop()

    def _final_answer(self, shown: Mapping[str, str]) -> Any:  # noqa: ANN401  (whatever the agent answers)
        try:
            return read_answer(shown)
        except ValueError as exc:
            raise AgentError(str(exc), self._logger) from exc

    def _send(self, what: str, cells: list[Sent]) -> str:
        """Run setup cells, each below its heading; return notices about the kernel."""
        if cells:
            self._sent[what] = cells
        notices = []
        for heading, code in cells:
            self._executor.add_markdown(heading)
            result = self._executor.execute_code_blocks([CodeBlock(code, "python")])
            if result.status != "ok":
                raise AgentError(f"The {what} of the agent could not be sent.\n{answer(result)}", self._logger)
            notices.append(result.cells[0].note)
            self._kernel_epoch = self._executor.kernel_epoch
        return " ".join(filter(None, notices))

    def _send_again(self) -> str:
        """Send variables and tools to a fresh kernel; return notices about it for the model."""
        self._executor.start()
        if not self._sent:  # no agent, which would have sent its tools
            self.send_tools({})
        if self._executor.kernel_epoch == self._kernel_epoch or not self._sent:
            return ""
        self._executor.add_markdown(_SENT_AGAIN)
        notices = [self._send(what, cells) for what, cells in list(self._sent.items())]
        return " ".join([*filter(None, notices), "The tools and the variables of the task were sent again.\n"])

    def _hear(self, message: object, stop_sequences: Sequence[str]) -> None:
        assert self._agent is not None
        if said := said_around_code(self._agent, message, stop_sequences):
            self._executor.add_markdown(said, self._agent.name or self._options["agent"])


def _plain(data: Mapping[str, str]) -> str:
    """The text of an output, formatted as in results."""
    return strip_escapes(model_output_text({"output_type": "execute_result", "data": data}))


def _logs(result: CodeResult, value: str | None) -> str:
    """The result without the last value, which the agent adds for the model itself."""
    head, found, tail = f"\n{result.output}\n".rpartition(f"\n{value}\n") if value else ("", "", "")
    rest = f"{head}\n{tail}".strip("\n") if found else result.output.strip("\n")
    if not rest and value is not None and not result.output_files:
        return ""
    return answer(dataclasses.replace(result, output=rest)) + "\n"
