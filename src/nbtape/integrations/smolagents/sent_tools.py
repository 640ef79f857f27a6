"""An agent's tools as Python that defines them in a kernel, each as its instance is here.

smolagents sends only the class of a tool and makes its instance with the defaults of `__init__`: what the instance was
given, such as a key, would be lost without a word.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from smolagents import PythonInterpreterTool, Tool, UserInputTool

from nbtape.common.text import shorten
from nbtape.integrations.smolagents.compat_smolagents import (
    base_code,
    class_code,
    is_plain,
    loading_code,
    loading_expression,
    required_packages,
    state_of,
)
from nbtape.session.parameters import assignments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: What smolagents itself reads of a tool, and code in a kernel does not need.
_DESCRIPTION: Final = frozenset({"name", "description", "inputs", "output_type", "output_schema", "_abc_impl"})

_HOST_TOOLS: Final = {
    PythonInterpreterTool: "runs code in this process, not in the kernel. Leave it out: the agent's own code runs in "
    "the kernel.",
    UserInputTool: "asks a person at the terminal of this process, which code in a kernel cannot do. Leave it out, and "
    "pass what the agent needs in additional_args=.",
}

_MAX_REASON_CHARS: Final = 500


def tool_definitions(tools: Mapping[str, Tool]) -> str:
    """Python that defines tools; a ValueError for one that cannot work in a kernel."""
    definitions = [_definition(tool, _state(tool)) for tool in tools.values()]
    loader = loading_code({}) if any("_deserialize(" in definition for definition in definitions) else []
    return "\n\n".join([base_code(), *loader, *definitions])


def packages_of(tools: Iterable[Tool]) -> set[str]:
    """The packages that tools require; a ValueError for a tool that cannot be sent."""
    packages: set[str] = set()
    for tool in tools:
        with _refusing(tool):
            packages |= required_packages(tool)
    return packages


def _definition(tool: Tool, state: Mapping[str, object]) -> str:
    with _refusing(tool):
        code = class_code(tool)
    kind = type(tool).__name__
    if not state:
        return f"{code}\n\n{tool.name} = {kind}()\n"
    lines = [f"{tool.name} = {kind}.__new__({kind})"]
    for name, value in state.items():
        try:
            lines.append(f"{tool.name}.{assignments({name: value})}")
        except ValueError:
            lines.append(f"vars({tool.name}).update({loading_expression(name, value)})")
    return "\n".join([f"{code}\n", *lines, ""])


def _state(tool: Tool) -> Mapping[str, object]:
    """The attributes to give the tool in the kernel; empty if it is made with the defaults of its `__init__`."""
    _refuse_host_tool(tool)
    if lost := _inherited(type(tool)):
        raise _refusal(tool, f"its class inherits {', '.join(sorted(lost))} from another class, which is not sent")
    state = state_of(tool)
    others = sorted(name for name, value in state.items() if not is_plain(value))
    if not others:
        return state
    if _is_default(tool, state, others):
        return {}
    raise _refusal(
        tool, f"it is not {type(tool).__name__}() with defaults, and its attributes {', '.join(others)} are not data"
    )


def _refuse_host_tool(tool: Tool) -> None:
    """Raise a ValueError for a tool of smolagents that only makes sense in this process."""
    if reason := next((reason for kind, reason in _HOST_TOOLS.items() if isinstance(tool, kind)), ""):
        raise ValueError(f"The tool {tool.name} {reason}")


def _inherited(kind: type) -> set[str]:
    """The members that a class has from classes between it and `Tool`: smolagents sends only its own."""
    own = {*vars(kind), *_DESCRIPTION}
    between = kind.__mro__[1 : kind.__mro__.index(Tool)]
    return {name for base in between for name in vars(base) if not name.startswith("__")} - own


def _is_default(tool: Tool, state: Mapping[str, object], others: Iterable[str]) -> bool:
    """Whether the tool is as its class makes it without arguments, as far as that can be compared."""
    try:
        default = state_of(type(tool)())
    except Exception:  # noqa: BLE001  (whatever its constructor raises)
        return False
    if default.keys() != state.keys() or any(type(default[name]) is not type(state[name]) for name in others):
        return False
    return all(_dumped(default[name]) == _dumped(state[name]) for name in state.keys() - set(others))


def _dumped(value: object) -> str:
    return loading_expression("value", value)


@contextlib.contextmanager
def _refusing(tool: Tool) -> Iterator[None]:
    """Say in plain words why smolagents cannot make code of a tool."""
    try:
        yield
    except Exception as exc:
        reason = shorten(" ".join(str(exc).split()), _MAX_REASON_CHARS, "see the cause")
        raise _refusal(tool, reason.rstrip(".")) from exc


def _refusal(tool: Tool, reason: str) -> ValueError:
    return ValueError(
        f"The tool {tool.name} cannot be sent to the kernel: {reason}. Write it as a function with @tool that imports "
        "and defines all it needs, or leave it out."
    )
