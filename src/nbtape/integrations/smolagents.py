"""A `PythonExecutor` for smolagents' `CodeAgent`: a stateful kernel, recorded as a notebook, and nothing unpickled.

The contract is that of https://huggingface.co/docs/smolagents/reference/python_executors. `RemotePythonExecutor` is no
base of ours: it changes the agent's tools in place, so that they fail in the second run, and it installs packages
unasked. What a kernel is sent is what `RemotePythonExecutor` sends, but for the end of `final_answer`.

A cell that calls `final_answer(...)` stops there and is no failure: the answer is its last output, as people see it and
as JSON, so that it is in the notebook whole and a replay compares it. `RemotePythonExecutor` has an exception bring it,
which leaves a traceback with a serialized value in it, and no papermill goes past that.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from typing import TYPE_CHECKING, Any, Final, Unpack

import PIL.Image
from smolagents import AgentError, AgentLogger, LogLevel, SafeSerializer, SerializationError, Tool
from smolagents.local_python_executor import CodeOutput, PythonExecutor
from smolagents.tools import get_tools_definition_code

from nbtape.answers import MOST_PIXELS, answer, pictures
from nbtape.blocking import JupyterCodeExecutor
from nbtape.blocks import CodeBlock
from nbtape.options import DEFAULT_KERNEL
from nbtape.parameters import assignments
from nbtape.results import shorten, strip_escapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from smolagents import ActionStep, CodeAgent

    from nbtape.options import Options, Server
    from nbtape.results import CodeResult

#: The final answer in the output that shows it: the JSON of smolagents' `SafeSerializer`, as text so that it stays what
#: it is (JSON in a notebook has no NaN). An image is beside it, as image/png.
MIME_TYPE: Final = "application/vnd.nbtape.smolagents-answer"

#: The most characters of the final answer that people are shown.
_SHOWN: Final = 10_000

#: The most bytes of an array that a kernel may have made here.
_LARGEST_ARRAY: Final = 256_000_000

#: What arrays may be of: numbers, and texts of a fixed length.
_DTYPE: Final = re.compile(r"(?:bool|(?:u?int|float)\d+)|<U(\d{1,9})")

#: Between what an agent looks for code where it finds none of its own tags.
_FENCES: Final = ("```(?:python|py)", "\n```")

#: What the kernel runs before the code of the agent. All names but that of the tool stay inside of the function.
_FINAL_ANSWER: Final = '''
def _ends_the_code(tool, mime_type, most, shown):
    """Have a tool stop the code, show what it returns, and hand that over as JSON."""
    import base64, dataclasses, datetime, decimal, io, json, pathlib, sys
    from IPython.display import display
    from IPython.lib.pretty import pretty

    class FinalAnswer(BaseException):
        """Passes `except Exception`."""

    def marked(kind, data):
        return {"__type__": kind, "data": data}

    def as_json(value):
        if value is None or isinstance(value, (str, int, float)):
            return value
        if isinstance(value, dict):
            if all(isinstance(key, str) for key in value) and "__type__" not in value:
                return {key: as_json(item) for key, item in value.items()}
            return marked("dict_with_complex_keys", [[as_json(key), as_json(item)] for key, item in value.items()])
        if isinstance(value, list):
            return [as_json(item) for item in value]
        for kind in (tuple, set, frozenset):
            if isinstance(value, kind):
                return marked(kind.__name__, [as_json(item) for item in value])
        if isinstance(value, bytes):
            return marked("bytes", base64.b64encode(value).decode())
        if isinstance(value, complex):
            return {"__type__": "complex", "real": value.real, "imag": value.imag}
        for kind in (datetime.datetime, datetime.date, datetime.time):
            if isinstance(value, kind):
                return marked(kind.__name__, value.isoformat())
        if isinstance(value, datetime.timedelta):
            return {"__type__": "timedelta", "total_seconds": value.total_seconds()}
        if isinstance(value, decimal.Decimal):
            return marked("Decimal", str(value))
        if isinstance(value, pathlib.PurePath):
            return marked("Path", str(value))
        if "PIL.Image" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image):
            file = io.BytesIO()
            plain = value.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
            (value if plain else value.convert("RGB")).save(file, "PNG")
            return marked("PIL.Image", base64.b64encode(file.getvalue()).decode())
        numpy = sys.modules.get("numpy")
        if numpy and isinstance(value, numpy.ndarray):
            kind, size = value.dtype.kind, value.dtype.itemsize
            if kind == "U" or (kind in "biuf" and size <= 8):
                dtype = f"<U{size // 4}" if kind == "U" else value.dtype.name
                return {"__type__": "ndarray", "data": value.tolist(), "dtype": dtype}
            return as_json(value.tolist())
        if numpy and isinstance(value, numpy.generic):
            return as_json(value.item())
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = {"class_name": type(value).__name__, "module": type(value).__module__}
            data = {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"__type__": "dataclass", **names, "data": data}
        raise TypeError(f"{type(value).__name__} is neither data nor an image")

    def refuse(problem):
        raise ValueError(f"final_answer cannot hand this over: {problem}")

    def final_answer(*args, **kwargs):
        __tracebackhide__ = True
        value = tool(*args, **kwargs)
        try:
            data = as_json(value)
            text = (value if isinstance(value, str) else pretty(value)).encode("utf-8", "replace").decode()
            if len(text) > shown:
                text = f"{text[:shown]}… ({len(text):,} characters)"
            bundle = {"text/plain": f"Final answer: {text}"}
            if isinstance(data, dict) and data.get("__type__") == "PIL.Image":
                bundle["image/png"] = data.pop("data")
            bundle[mime_type] = json.dumps(data)
            size = len(json.dumps(bundle[mime_type])) + len(bundle.get("image/png", ""))
        except (TypeError, ValueError, OverflowError, OSError, RecursionError) as error:
            problem = f"{error}. Give it text, numbers, lists, dicts or an image."
        else:
            if size <= most:
                raise FinalAnswer(bundle)
            problem = f"It has {size:,} characters as JSON, and at most {most:,} are possible. Write it to a file."
        refuse(problem)

    def show(shell, kind, error, trace, tb_offset=None):
        display(error.args[0], raw=True)

    def succeed(result):
        if isinstance(result.error_in_exec, FinalAnswer):
            result.error_in_exec = None

    # What IPython has for it: https://ipython.readthedocs.io/en/stable/config/callbacks.html
    shell = get_ipython()
    shell.set_custom_exc((FinalAnswer,), show)
    if hasattr(shell, "_nbtape_succeed"):
        shell.events.unregister("post_run_cell", shell._nbtape_succeed)
    shell._nbtape_succeed = succeed
    shell.events.register("post_run_cell", succeed)
    return final_answer

'''

_INSTALL: Final = '''
def _install(packages):
    """Install what is missing."""
    from importlib import invalidate_caches, metadata, util

    def missing():
        installed = {str(each.metadata["Name"]).lower().replace("_", "-") for each in metadata.distributions()}
        unknown = [name for name in packages if name.lower().replace("_", "-") not in installed]
        return [name for name in unknown if not util.find_spec(name)]

    if missing():
        get_ipython().run_line_magic("pip", "install " + " ".join(missing()))
        invalidate_caches()
    if missing():
        raise ModuleNotFoundError(f"pip could not install {', '.join(missing())}.")
'''

_AGAIN: Final = "A fresh kernel has nothing of what smolagents had sent to the one before: it is sent again."


class JupyterExecutor(PythonExecutor):  # type: ignore[misc,unused-ignore]  # Any, where smolagents is not installed
    """Runs the code of a `CodeAgent` in a Jupyter kernel and records it as a notebook.

    Give it as `CodeAgent(executor=...)`; `agent.cleanup()`, or `with agent:`, ends the kernel. Tools and variables of
    the agent are cells too, below a line that says so, so that the notebook replays: they are in it as they are, with
    any secret that a variable holds. What the agent says is recorded after `listen_to(agent)`.

    Imports are not restricted: what keeps code from this machine is where the kernel runs (`DockerJupyterServer`). What
    a kernel returns is read as JSON and never unpickled, whatever it says.

    Args:
        jupyter_server: As for `nbtape.JupyterCodeExecutor`, and so are the next ones.
        kernel_name: The kernel spec, of a Python kernel.
        timeout: Seconds for each step of the agent, at least 1; for installing packages, too.
        output_dir: Where the notebook and its files go, and the kernel's working directory.
        notebook: The name of the notebook.
        executor: One that exists, in place of all the others; whoever made it stops it.
        additional_imports: Modules that the code may need, as in `CodeAgent(additional_authorized_imports=...)`: what
            is missing in the kernel is installed there. What the agent's tools require always is.
        logger: Told of errors besides the agent's own logger; nobody by default.
        options: See `nbtape.options.Options`.

    Raises:
        ValueError: A value that cannot work.
    """

    def __init__(  # noqa: PLR0913  (what JupyterCodeExecutor takes, and what smolagents' executors take)
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
            raise ValueError("An executor that exists has its kernel and its options: give nothing else beside it.")
        self._own = executor is None
        self._executor = executor or JupyterCodeExecutor(
            jupyter_server, kernel_name, timeout, output_dir, notebook=notebook, **options
        )
        self._options = self._executor.options
        self._imports = {name.split(".")[0] for name in additional_imports} - {"*"}
        self._logger = logger or AgentLogger(level=LogLevel.OFF)
        self._agent: CodeAgent | None = None
        self._sent: dict[str, list[tuple[str, str]]] = {}
        self._kernel_epoch = 0
        self._result: CodeResult | None = None

    @property
    def notebook(self) -> Path:
        """The recording; before the first step, where it will be if that name is free."""
        return self._executor.notebook

    def listen_to(self, agent: CodeAgent) -> None:
        """Record the tasks of an agent, and all that it says, as Markdown cells in front of its code.

        smolagents tells its callbacks of a message only when the code in it has run, so `agent.model` is wrapped in
        one that passes everything on, and listens.

        Args:
            agent: The agent that has this executor.
        """
        heard, self._agent = self._agent is agent, agent
        if self._options["record_messages"] and not heard:
            agent.model = _HeardModel(agent.model, self._hear)

    def add_pictures(self, memory_step: ActionStep, agent: object = None) -> None:  # noqa: ARG002  (smolagents' names)
        """A step callback, for models that see: the pictures that the code of a step has drawn go with its output.

        As in `CodeAgent(..., step_callbacks=[executor.add_pictures])`.
        """
        result, self._result = self._result, None
        if result is not None and (found := pictures(result)):
            memory_step.observations_images = [PIL.Image.open(io.BytesIO(picture.content)) for picture in found]

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Define variables in the kernel; smolagents calls it as a run begins, before `send_tools`.

        Args:
            variables: By name, what smolagents' `SafeSerializer` takes.

        Raises:
            SerializationError: What cannot be sent without pickle.
            AgentError: The kernel cannot make them.
        """
        if self._agent is not None and self._agent.task and self._options["record_messages"]:
            self._executor.add_markdown(f"**Task**\n\n{self._agent.task.strip()}")
        if variables:
            self._send("variables", [(_heading("Variables", variables), _definitions(variables))])

    def send_tools(self, tools: Mapping[str, Tool]) -> None:
        """Define tools in the kernel, after installing what they require; smolagents calls it as a run begins.

        Args:
            tools: By name. One named `final_answer` ends the code that calls it.

        Raises:
            ValueError: One of them is an agent, or cannot be sent.
            AgentError: The kernel cannot make them.
        """
        if agents := [name for name, tool in tools.items() if not isinstance(tool, Tool)]:
            raise ValueError(
                f"{', '.join(agents)}: an agent cannot be called from a kernel. Give this agent none to manage, or "
                "have a ToolCallingAgent manage both."
            )
        packages = sorted(self._imports | _requirements(tools))
        cells = [(_heading("Packages", packages), f"{_INSTALL.lstrip()}\n\n_install({packages})")] if packages else []
        if tools:
            cells.append((_heading("Tools", tools), self._tools_code(tools)))
        self._send("tools", cells)

    def __call__(self, code_action: str) -> CodeOutput:
        """Run the code of one step.

        Args:
            code_action: Python, and whatever else a cell may hold.

        Raises:
            AgentError: It failed, in the words that the model is told: what it printed, and its traceback.
        """
        news = self._send_again()
        self._result = result = self._executor.execute_code_blocks([CodeBlock(code_action, "python")])
        if result.status != "ok":
            raise AgentError(news + answer(result), self._logger)
        (cell,) = result.cells
        outputs = self._executor.outputs(cell)
        shown = next((each["data"] for each in reversed(outputs) if MIME_TYPE in each.get("data", {})), None)
        if shown is not None:
            logs = news + _logs(result, _plain(shown))
            return CodeOutput(output=self._final_answer(shown), logs=logs, is_final_answer=True)
        if cell.left_out and "final_answer" in code_action:
            problem = "A final answer may be among what was left out: call final_answer in a step that prints less."
            raise AgentError(f"{news}{answer(result)}\n{problem}", self._logger)
        values = (each["data"] for each in outputs if each["output_type"] == "execute_result")
        value = next(map(_plain, values), None)
        logs = news + _logs(result, value)
        if value is not None:
            value = shorten(value, self._executor.max_output_chars, f"the whole is in {result.notebook}")
        return CodeOutput(output=value, logs=logs, is_final_answer=False)

    def cleanup(self) -> None:
        """End the kernel, and complete the notebook. An executor that was given is left to whoever made it."""
        if self._own:
            self._executor.stop()

    def _final_answer(self, shown: Mapping[str, str]) -> Any:  # noqa: ANN401  (whatever the agent answers)
        try:
            data = json.loads(shown[MIME_TYPE])
            if data == {"__type__": "PIL.Image"}:
                data["data"] = shown["image/png"]
            _check(data)
            return SafeSerializer.from_json_safe(data)
        except Exception as exc:
            reason = f"{type(exc).__name__}: {exc}"[:500]
            raise AgentError(
                "The final answer that came from the kernel cannot be read. It has to be JSON as final_answer sends "
                f"it; nothing is ever unpickled. ({reason})",
                self._logger,
            ) from exc

    def _tools_code(self, tools: Mapping[str, Tool]) -> str:
        code: str = get_tools_definition_code(dict(tools))
        if "final_answer" not in tools:
            return code
        # What is over the bound of a cell would not be recorded, and would be lost.
        limit = self._options["max_cell_chars"]
        shown = min(_SHOWN, limit // 10)
        call = f"final_answer = _ends_the_code(final_answer, {MIME_TYPE!r}, {limit - 4 * shown}, {shown})"
        return f"{code}\n{_FINAL_ANSWER}\n\n{call}"

    def _send(self, what: str, cells: list[tuple[str, str]]) -> str:
        """Run cells that are not the agent's, each below its heading; return what is to be said of the kernel."""
        if cells:
            self._sent[what] = cells
        notes = []
        for heading, code in cells:
            self._executor.add_markdown(heading)
            result = self._executor.execute_code_blocks([CodeBlock(code, "python")])
            if result.status != "ok":
                raise AgentError(f"The {what} of the agent could not be sent.\n{answer(result)}", self._logger)
            notes.append(result.cells[0].note)
            self._kernel_epoch = self._executor.kernel_epoch
        return " ".join(filter(None, notes))

    def _send_again(self) -> str:
        """Have a kernel with the variables and tools of the agent; return what the model is to be told of it."""
        self._executor.start()
        if self._executor.kernel_epoch == self._kernel_epoch or not self._sent:
            return ""
        self._executor.add_markdown(_AGAIN)
        notes = [self._send(what, cells) for what, cells in list(self._sent.items())]
        return " ".join([*filter(None, notes), "Tools, and the variables that came with the task, are back.\n"])

    def _hear(self, message: object, stop_sequences: Sequence[str]) -> None:
        assert self._agent is not None
        # The code of a plan, or of the last words when the steps are used up, is none that is run.
        is_step = bool(stop_sequences) and "<end_plan>" not in stop_sequences
        if said := _said(message, self._agent.code_block_tags if is_step else None):
            self._executor.add_markdown(said, self._agent.name or self._options["agent"])


class _HeardModel:
    """A model that passes everything on, and tells what it answers.

    Args:
        model: The model.
        hear: Called with the content of each message, and with what was to end it.
    """

    def __init__(self, model: Any, hear: Callable[[object, Sequence[str]], None]) -> None:  # noqa: ANN401  (a Model)
        self._model = model
        self._hear = hear
        if hasattr(model, "generate_stream"):  # agents ask whether it is there
            self.generate_stream = self._generate_stream

    @property  # type: ignore[misc]  # what an agent saves is the model that it was given
    def __class__(self) -> type:
        return type(self._model)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the model has)
        return getattr(self._model, name)

    def generate(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (smolagents.Model.generate)
        message = self._model.generate(*args, **kwargs)
        self._hear(message.content, kwargs.get("stop_sequences") or ())
        return message

    def _generate_stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401  (the same, in pieces)
        pieces = []
        for delta in self._model.generate_stream(*args, **kwargs):
            pieces.append(delta.content or "")
            yield delta
        self._hear("".join(pieces), kwargs.get("stop_sequences") or ())


def _heading(what: str, names: Mapping[str, object] | Sequence[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    return f"**{what} of the agent**: {listed}\n\nSent by smolagents; the agent did not write this."


def _requirements(tools: Mapping[str, Tool]) -> set[str]:
    return {package for tool in tools.values() for package in tool.to_dict()["requirements"]} - {"smolagents"}


def _definitions(variables: Mapping[str, object]) -> str:
    """Python that defines variables: a line for each that Python can write, the others out of JSON."""
    lines, others = [], {}
    for name, value in variables.items():
        try:
            lines.append(assignments({name: value}))
        except ValueError:
            others[name] = value
    if others:
        lines += [SafeSerializer.get_deserializer_code(allow_pickle=False)]
        lines += [f"globals().update(_deserialize({_dumped(name, value)!r}))" for name, value in others.items()]
    return "\n".join(lines)


def _dumped(name: str, value: object) -> str:
    try:
        dumped: str = SafeSerializer.dumps({name: value}, allow_pickle=False)
    except SerializationError as exc:
        raise SerializationError(
            f"The variable {name} cannot be sent to the kernel without pickle: {exc}. Save it to a file that the "
            "kernel can read, and pass the path."
        ) from exc
    return dumped


def _plain(data: Mapping[str, str]) -> str:
    """The text of what is shown, as results have it."""
    return strip_escapes(data.get("text/plain", ""))


def _logs(result: CodeResult, value: str | None) -> str:
    """What the model is told besides the last value, which the agent tells it."""
    head, found, tail = f"\n{result.output}\n".rpartition(f"\n{value}\n") if value else ("", "", "")
    rest = f"{head}\n{tail}".strip("\n") if found else result.output.strip("\n")
    if not rest and value is not None and not result.output_files:
        return ""
    return answer(dataclasses.replace(result, output=rest)) + "\n"


def _check(data: object) -> None:
    """Refuse what would be much larger than it looks, is no image, or is a text that nobody can print.

    Raises:
        ValueError: It is one of these.
        OSError: It is no image (Pillow's).
    """
    if isinstance(data, str):
        data.encode()
    if isinstance(data, list):
        for item in data:
            _check(item)
    if not isinstance(data, dict):
        return
    if data.get("__type__") == "PIL.Image":
        with PIL.Image.open(io.BytesIO(base64.b64decode(data["data"])), formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"an image has {image.width} by {image.height} pixels")
            image.load()
    elif data.get("__type__") == "ndarray":
        dtype = _DTYPE.fullmatch(data["dtype"])
        if dtype is None or _leaves(data["data"]) * 4 * int(dtype[1] or 4) > _LARGEST_ARRAY:
            raise ValueError(f"an array is of {data['dtype'][:50]!r}")
    else:
        _check([*data, *data.values()])


def _leaves(data: object) -> int:
    return sum(map(_leaves, data)) if isinstance(data, list) else 1


def _said(message: object, tags: tuple[str, str] | None) -> str:
    """What a message says around its code, as Markdown.

    Args:
        message: The content of the message.
        tags: Between which regular expressions its code is, as the agent has them; None if none of it is run.
    """
    if isinstance(message, list):
        message = "\n".join(str(part.get("text", "")) for part in message if isinstance(part, dict))
    if not isinstance(message, str):
        return ""
    if tags is None:
        return message.strip()
    try:  # structured outputs, as `use_structured_outputs_internally` asks for them
        thought = json.loads(message)["thought"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return _without_code(message, tags)
    return thought if isinstance(thought, str) else ""


def _without_code(message: str, tags: tuple[str, str]) -> str:
    """A message without what `parse_code_blobs` of smolagents takes as code."""
    for opening, closing in (tags, _FENCES):
        # The closing tag ends what a model generates, and is not part of it.
        said, blocks = re.subn(rf"{opening}.*?(?:{closing}|\Z)", "", message, flags=re.DOTALL)
        if blocks:
            return said.strip()
    return message.strip()
