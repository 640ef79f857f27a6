"""The internals of smolagents that nbtape depends on.

`tests/integrations/smolagents/test_compat_smolagents.py` checks each use.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from smolagents import SafeSerializer, SerializationError
from smolagents.tools import get_tools_definition_code

from nbtape.integrations.smolagents.frames import mark_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smolagents import CodeAgent, Tool

#: Where `parse_code_blobs` finds code in a message that lacks the agent's own tags.
_FENCES: Final = ("```(?:python|py)", "\n```")

#: The end of a message that is a plan, whose code is not run.
END_OF_PLAN: Final = "<end_plan>"


def base_code() -> str:
    """Python code that the classes of tools need, as `RemotePythonExecutor` sends it."""
    return str(get_tools_definition_code({}))


def class_code(tool: Tool) -> str:
    """Python that defines the class of a tool after `base_code`; raises whatever smolagents does if it cannot."""
    code = str(get_tools_definition_code({tool.name: tool}))
    return code.removeprefix(base_code()).removesuffix(f"\n\n{tool.name} = {type(tool).__name__}()\n")


def state_of(tool: Tool) -> dict[str, object]:
    """The attributes of the instance of a tool, besides what smolagents keeps there."""
    return {name: value for name, value in vars(tool).items() if name != "is_initialized"}


def required_packages(tool: Tool) -> set[str]:
    return set(tool.to_dict()["requirements"]) - {"smolagents"}


def loading_code(variables: Mapping[str, object]) -> list[str]:
    """Python code that loads variables from JSON; raises SerializationError for a value that needs pickle."""
    loads = [f"globals().update({loading_expression(name, value)})" for name, value in variables.items()]
    return [SafeSerializer.get_deserializer_code(allow_pickle=False), *loads]


def loading_expression(name: str, value: object) -> str:
    """Python for a dict with one value, loaded from JSON after `loading_code`."""
    return f"_deserialize({_dumped(name, value)!r})"


def is_plain(value: object) -> bool:
    """Whether JSON holds a value exactly: a dataclass would become a dict."""
    try:
        return '"__type__": "dataclass"' not in SafeSerializer.dumps(value, allow_pickle=False)
    except (SerializationError, TypeError, ValueError, RecursionError):
        return False


def _dumped(name: str, value: object) -> str:
    try:
        return str(SafeSerializer.dumps({name: mark_frames(value)}, allow_pickle=False))
    except SerializationError as exc:
        raise SerializationError(
            f"The variable {name} cannot be sent to the kernel without pickle: {exc}. Save it to a file that the "
            "kernel can read, and pass the path."
        ) from exc


def from_json(data: object) -> Any:  # noqa: ANN401  (whatever it was)
    """The value that `SafeSerializer` converted to JSON."""
    return SafeSerializer.from_json_safe(data)


def task_of(agent: CodeAgent) -> str:
    return agent.task or ""


def said_around_code(agent: CodeAgent, message: object, stop_sequences: Sequence[str]) -> str:
    """The Markdown of a message without the code that the agent runs.

    Only the code of a step is run. Plans have a different stop sequence, and the message after the last step has none.
    """
    if isinstance(message, list):
        message = "\n".join(str(part.get("text", "")) for part in message if isinstance(part, dict))
    if not isinstance(message, str):
        return ""
    if not stop_sequences or END_OF_PLAN in stop_sequences:
        return message.strip()
    try:  # `use_structured_outputs_internally` asks for JSON
        thought = json.loads(message)["thought"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return _without_code(message, agent.code_block_tags)
    return thought if isinstance(thought, str) else ""


def _without_code(message: str, tags: tuple[str, str]) -> str:
    """Remove the parts that `parse_code_blobs` treats as code."""
    for opening, closing in (tags, _FENCES):
        # The closing tag stops the model and is not part of the message.
        said, blocks = re.subn(rf"{opening}.*?(?:{closing}|\Z)", "", message, flags=re.DOTALL)
        if blocks:
            return said.strip()
    return message.strip()
