"""The arguments of tools: what a schema says of them, and what a model reads if they are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, create_model

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool
    from pydantic import ValidationError

#: Maximum length of a name that a client made up, in characters.
_MAX_NAME_CHARS: Final = 50


class _Strict(BaseModel):
    """The base of a model of arguments that has no others."""

    model_config = ConfigDict(extra="forbid")


def refuse_others(tool: Tool) -> None:
    """Make unknown arguments of a tool an error, and say so in its schema. The SDK ignores them."""
    model = tool.fn_metadata.arg_model
    tool.fn_metadata.arg_model = create_model(model.__name__, __base__=(model, _Strict))
    tool.parameters["additionalProperties"] = False


def wrong_arguments(tool: str, known: list[str], exc: ValidationError) -> str:
    """One line about invalid arguments of a call, and the names of the valid ones."""
    faults = dict.fromkeys(_fault(error) for error in exc.errors(include_url=False))
    takes = f"its arguments are {', '.join(known)}" if known else "it has no arguments"
    return f"The arguments of {tool} are invalid: {'; '.join(faults)} ({takes})."


def _fault(error: Any) -> str:  # noqa: ANN401  (pydantic_core.ErrorDetails)
    name = ".".join(map(str, error["loc"][:1]))
    if error["type"] == "extra_forbidden":
        return f"{name[:_MAX_NAME_CHARS]!r} is unknown"
    if error["type"] == "missing":
        return f"{name} is missing"
    said = str(error["msg"])
    return f"{name}: {said[:1].lower()}{said[1:]}"
