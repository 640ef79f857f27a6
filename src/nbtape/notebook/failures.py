"""Recognizes outputs that report a failure of their cell.

Jupyter has outputs of type `error` for that. But some failures come without one, and a successful exit comes with one.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Maximum length of a failure in one line.
MAX_FAILURE_CHARS: Final = 200

#: The beginning of the notice in a cell that failed without an error output, see `notices.tell_failure`.
FAILURE_NOTICE: Final = "\n[nbtape: this block failed: "

#: The end of a stream that has the notice: JupyterLab merges it with the stream before it.
_NOTICE: Final = re.compile(rf"{re.escape(FAILURE_NOTICE)}(.*)\]\n\Z")

#: Values of a `SystemExit` that mean success: those of `sys.exit()`, `sys.exit(None)` and `sys.exit(0)`.
_SUCCESS: Final = frozenset({"", "None", "0", "False"})

#: Errors that an interrupt raises: `CancelledError` in a cell with `await`.
_INTERRUPTS: Final = frozenset({"KeyboardInterrupt", "CancelledError"})

#: What IPython prints if a second interrupt arrives while it formats the traceback of the first one.
_SECOND_INTERRUPT: Final = re.compile(r"\n(?:\x1b\[[\d;]*m)*KeyboardInterrupt(?:\x1b\[[\d;]*m)*\s*\Z")

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({"output_type": "stream", "name": "stderr", "text": ""})

#: What IPython adds to a `SystemExit`: advice to use `exit`, which would end the kernel.
_EXIT_ADVICE: Final = re.compile(r"\S*: UserWarning: To exit: use 'exit', 'quit', or Ctrl-D\.\n(?: +warn\(.*\)\n)?")


def exits(error: Mapping[str, Any]) -> bool:
    """Whether an error, in an output or a reply of a kernel, is a call of `sys.exit`."""
    return error.get("ename") == "SystemExit"


def exits_well(error: Mapping[str, Any]) -> bool:
    """Whether an error, in an output or a reply of a kernel, is a call such as `sys.exit(0)`."""
    return exits(error) and str(error.get("evalue", "")) in _SUCCESS


def reports_failure(output: Mapping[str, Any]) -> bool:
    """Whether an output shows that its cell failed."""
    if output["output_type"] == "error":
        return not exits_well(output)
    return bool(_notice(output))


def failure_of(outputs: Iterable[Mapping[str, Any]]) -> str:
    """Why a cell failed, in one line, by its first output that shows it; empty if none does."""
    for output in filter(reports_failure, outputs):
        if output["output_type"] == "error":
            return failure_line(output.get("ename"), output.get("evalue"))
        return _notice(output)
    return ""


def _notice(output: Mapping[str, Any]) -> str:
    """The failure in the notice at the end of a stream; empty if it has none."""
    if output["output_type"] != "stream":
        return ""
    found = _NOTICE.search(_text(output.get("text")))
    return found[1] or "unknown" if found else ""


def without_notice(text: str) -> str:
    """The text of a stream without the notice at its end, which repeats the error that the stream shows."""
    return _NOTICE.sub("", text)


def failure_line(name: object, value: object) -> str:
    """The class and the first line of the message of an error."""
    first, *_ = [*_text(value).splitlines(), ""]
    return f"{_text(name)}: {first}"[:MAX_FAILURE_CHARS].removesuffix(": ")


def without_exits(outputs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same outputs, with nothing in successful exits, and without the advice to use `exit` instead."""
    shown = list(outputs)
    if any(output["output_type"] == "error" and exits(output) for output in shown):
        return list(map(_without_exit, shown))
    return shown


def without_interrupts(outputs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The outputs of a cell that was stopped, without the errors that the interrupts raised."""
    return list(map(_without_interrupt, outputs))


def _without_interrupt(output: Mapping[str, Any]) -> Mapping[str, Any]:
    if output.get("ename") in _INTERRUPTS:
        return _NOTHING
    if output["output_type"] == "stream" and output["name"] == "stderr":
        return {**output, "text": _SECOND_INTERRUPT.sub("", _text(output["text"]))}
    return output


def _without_exit(output: Mapping[str, Any]) -> Mapping[str, Any]:
    if output["output_type"] == "error" and exits_well(output):
        return _NOTHING
    if output["output_type"] == "stream":
        return {**output, "text": _EXIT_ADVICE.sub("", output["text"])}
    return output


def _text(value: object) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
