"""The cells that smolagents sends to a kernel for an agent: its variables, packages and tools.

They differ from those of `RemotePythonExecutor` in one way: `final_answer` stops the code without an error, and its
output is the answer. `RemotePythonExecutor` uses an exception, whose traceback would stop a replay.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from smolagents import SerializationError

from nbtape.integrations.smolagents.compat_smolagents import loading_code, loading_expression
from nbtape.integrations.smolagents.final_answers import MIME_TYPE
from nbtape.integrations.smolagents.frames import mark_frames
from nbtape.integrations.smolagents.sent_tools import packages_of, tool_definitions
from nbtape.session.parameters import assignments

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from smolagents import Tool

#: Maximum characters of the displayed final answer.
_MAX_SHOWN_CHARS: Final = 2_000

#: The heading of a cell, and its code.
Sent = tuple[str, str]


def variable_cells(variables: Mapping[str, object]) -> list[Sent]:
    """Define variables in a kernel; raises SerializationError for a value that cannot be sent without pickle."""
    return [(_heading("Variables", variables), _definitions(variables))] if variables else []


def tool_cells(tools: Mapping[str, Tool], imports: Collection[str], limit: int) -> list[Sent]:
    """Install `imports` and the packages that tools require, and define the tools.

    A cell keeps `limit` characters of output, so `final_answer` refuses a longer answer. Raises a ValueError for a tool
    that cannot work in a kernel.
    """
    definitions = _tool_definitions(tools, limit) if tools else ""
    packages = sorted({*imports, *packages_of(tools.values())})
    cells = [(_heading("Packages", packages), f"{_source('install')}\n\n_install({packages})")] if packages else []
    if tools:
        cells.append((_heading("Tools", tools), definitions))
    return cells


def _tool_definitions(tools: Mapping[str, Tool], limit: int) -> str:
    code = tool_definitions(tools)
    if "final_answer" not in tools:
        return code
    shown = min(_MAX_SHOWN_CHARS, limit // 10)
    call = f"final_answer = _ends_the_code(final_answer, {MIME_TYPE!r}, {limit - 4 * shown}, {shown})"
    return f"{code}\n\n{_source('final_answer')}\n\n\n{call}"


def _source(cell: str) -> str:
    """The source of a module that runs in a kernel and is recorded in notebooks; it is not imported here."""
    return files("nbtape.integrations.smolagents").joinpath(f"{cell}_cell.py").read_text("utf-8")


def _heading(what: str, names: Collection[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    return f"**{what} of the agent**: {listed}\n\nSent by smolagents; the agent did not write this."


def _definitions(variables: Mapping[str, object]) -> str:
    """Assign Python literals, one per line, and load all other values from JSON."""
    lines, others, frames = [], {}, {}
    for name, value in variables.items():
        if (marked := _marked(name, value)) is not value:
            frames[name] = marked
            continue
        try:
            lines.append(assignments({name: value}))
        except ValueError:
            others[name] = value
    if others or frames:
        lines += loading_code(others)
    if frames:
        lines.append(f"\n{_source('frame')}\n")
        loads = (loading_expression(name, value) for name, value in frames.items())
        lines += [f"globals().update(_with_frames({load}))" for load in loads]
    return "\n".join(lines)


def _marked(name: str, value: object) -> object:
    """The value with its frames as JSON, or the value itself if it has none."""
    try:
        marked: object = mark_frames(value)
    except SerializationError:
        loading_expression(name, value)  # raises the same, with the name of the variable
        raise
    return marked
