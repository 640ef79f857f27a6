"""The cells that smolagents sends to a kernel for an agent: its variables, packages and tools.

They differ from those of `RemotePythonExecutor` in one way: `final_answer` stops the code without an error, and its
output is the answer. `RemotePythonExecutor` uses an exception, whose traceback would stop a replay.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from nbtape.integrations.smolagents.compat_smolagents import loading_code, required_packages, tools_code
from nbtape.integrations.smolagents.final_answers import MIME_TYPE
from nbtape.session.parameters import assignments

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from smolagents import Tool

#: Maximum characters of the displayed final answer.
_MAX_SHOWN_CHARS: Final = 10_000

#: The heading of a cell, and its code.
Sent = tuple[str, str]


def variable_cells(variables: Mapping[str, object]) -> list[Sent]:
    """Define variables in a kernel; raises SerializationError for a value that cannot be sent without pickle."""
    return [(_heading("Variables", variables), _definitions(variables))] if variables else []


def tool_cells(tools: Mapping[str, Tool], imports: Collection[str], limit: int) -> list[Sent]:
    """Install `imports` and the packages that tools require, and define the tools.

    A cell keeps `limit` characters of output, so `final_answer` refuses a longer answer.
    """
    packages = sorted({*imports, *required_packages(tools)})
    cells = [(_heading("Packages", packages), f"{_source('install')}\n\n_install({packages})")] if packages else []
    if tools:
        cells.append((_heading("Tools", tools), _tool_definitions(tools, limit)))
    return cells


def _tool_definitions(tools: Mapping[str, Tool], limit: int) -> str:
    code = tools_code(tools)
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
    lines, others = [], {}
    for name, value in variables.items():
        try:
            lines.append(assignments({name: value}))
        except ValueError:
            others[name] = value
    return "\n".join(lines + (loading_code(others) if others else []))
