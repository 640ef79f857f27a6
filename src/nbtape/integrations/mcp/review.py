"""Let the person at an MCP client review code before it runs, through elicitation.

See https://modelcontextprotocol.io/specification/2026-07-28/client/elicitation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, DeclinedElicitation, ElicitationResult
from mcp.server.mcpserver import Context  # noqa: TC002  (the SDK evaluates annotations)
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel, Field

from nbtape.common.hidden_text import reveal
from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.tool_arguments import tool_block

if TYPE_CHECKING:
    from nbtape.session.approval import Answer

_CANNOT_ASK: Final = "Code must be approved, and this MCP client cannot ask (it does not support elicitation)."


class Review(BaseModel):
    """The form that a person fills in."""

    run: bool = Field(default=True, description="Run the code.")
    reason: str = Field(default="", description="If not: the reason, for the model.")
    replacement: str = Field(default="", description="Code to run instead.")


async def ask_person(code: str, ctx: Context) -> Elicit[Review] | Review:
    """Ask the person at the client, or refuse if the client cannot ask."""
    capabilities = ctx.client_capabilities
    asks = capabilities.elicitation if capabilities is not None else None
    if asks is None or (asks.form is None and asks.url is not None):
        return Review(run=False, reason=_CANNOT_ASK)
    return Elicit(f"Run this code?\n\n{reveal(tool_block(code, '').code)}", Review)


#: An argument of a tool that the person at the client provides, not the model.
Reviewed = Annotated[ElicitationResult[Review], Resolve(ask_person)]


def answer_of(review: ElicitationResult[Review], language: str = "") -> Answer:
    """What to do with the code, as `approve` returns it."""
    match review:
        case AcceptedElicitation(data=Review(run=True, replacement=code)) if code.strip():
            return CodeBlock(code, language)
        case AcceptedElicitation(data=Review(run=True)):
            return True
        case AcceptedElicitation(data=Review(reason=reason)):
            return reason.strip() or False
        case DeclinedElicitation():
            return "The user declined to run it."
        case CancelledElicitation():
            return "The user dismissed the question."
    raise AssertionError(f"{review!r} is not a review")
