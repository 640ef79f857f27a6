"""What a kernel is sent for an agent of smolagents: cells with its variables, with packages, and with its tools.

It is what `RemotePythonExecutor` sends, but for the end of `final_answer`. That stops the code and is no failure: the
answer is the last output of its cell. `RemotePythonExecutor` has an exception bring it, which leaves a traceback with a
serialized value in it, and no papermill goes past that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smolagents import SafeSerializer, SerializationError
from smolagents.tools import get_tools_definition_code

from nbtape.integrations.smolagents.answer import MIME_TYPE
from nbtape.session.parameters import assignments

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from smolagents import Tool

#: The most characters of the final answer that people are shown.
_SHOWN: Final = 10_000

#: The heading of a cell, and its code.
Sent = tuple[str, str]

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


def variable_cells(variables: Mapping[str, object]) -> list[Sent]:
    """What defines variables in a kernel.

    Args:
        variables: By name, what smolagents' `SafeSerializer` takes.

    Raises:
        SerializationError: What cannot be sent without pickle.
    """
    return [(_heading("Variables", variables), _definitions(variables))] if variables else []


def tool_cells(tools: Mapping[str, Tool], imports: Collection[str], limit: int) -> list[Sent]:
    """What installs packages in a kernel, and defines tools.

    Args:
        tools: By name. One named `final_answer` ends the code that calls it.
        imports: Packages besides those that the tools require.
        limit: The most characters of output that a cell keeps. An answer that is longer would be lost.
    """
    packages = sorted({*imports, *_requirements(tools)})
    cells = [(_heading("Packages", packages), f"{_INSTALL.lstrip()}\n\n_install({packages})")] if packages else []
    if tools:
        cells.append((_heading("Tools", tools), _tools_code(tools, limit)))
    return cells


def _tools_code(tools: Mapping[str, Tool], limit: int) -> str:
    code: str = get_tools_definition_code(dict(tools))
    if "final_answer" not in tools:
        return code
    shown = min(_SHOWN, limit // 10)
    call = f"final_answer = _ends_the_code(final_answer, {MIME_TYPE!r}, {limit - 4 * shown}, {shown})"
    return f"{code}\n{_FINAL_ANSWER}\n\n{call}"


def _heading(what: str, names: Collection[str]) -> str:
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
