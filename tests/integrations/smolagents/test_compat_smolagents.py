"""smolagents has the internals that nbtape depends on."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from smolagents import ChatMessage, CodeAgent, FinalAnswerTool, MessageRole, Model, SafeSerializer, SerializationError
from smolagents.utils import parse_code_blobs

from nbtape.integrations.smolagents.compat_smolagents import (
    END_OF_PLAN,
    base_code,
    class_code,
    from_json,
    loading_code,
    required_packages,
    said_around_code,
    state_of,
    task_of,
)

CHANGED = "smolagents has changed: adapt nbtape.integrations.smolagents.compat_smolagents"
CODE = "x = 1"


class RememberingModel(Model):  # type: ignore[misc,unused-ignore]
    """Remembers the stop sequences of each message."""

    def __init__(self) -> None:
        super().__init__(model_id="remembering")
        self.stops: list[list[str]] = []

    def generate(self, *_: Any, stop_sequences: list[str] | None = None, **__: Any) -> ChatMessage:
        self.stops.append(stop_sequences or [])
        return ChatMessage(role=MessageRole.ASSISTANT, content="<code>\nx = 1\n")


def agent(**options: Any) -> CodeAgent:
    return CodeAgent(tools=[], model=RememberingModel(), verbosity_level=-1, **options)


def test_the_source_of_tools_defines_them() -> None:
    names: dict[str, Any] = {}
    code = class_code(FinalAnswerTool())
    assert not code.startswith("import random"), CHANGED
    assert "final_answer = FinalAnswerTool()" not in code, CHANGED
    exec(f"{base_code()}\n\n{code}\n\nfinal_answer = FinalAnswerTool()", names)
    assert names["final_answer"]("yes") == "yes", CHANGED
    assert required_packages(FinalAnswerTool()) == set(), CHANGED
    assert state_of(FinalAnswerTool()) == {}, CHANGED


def test_variables_are_loaded_from_json() -> None:
    value = {"when": datetime.date(2026, 1, 2)}
    names: dict[str, Any] = {}
    exec("\n".join(loading_code({"value": value})), names)
    assert names["value"] == value, CHANGED
    with pytest.raises(SerializationError, match="The variable value cannot be sent"):
        loading_code({"value": object()})


def test_answers_are_read_from_json() -> None:
    assert from_json({"__type__": "set", "data": [1, 2]}) == {1, 2}, CHANGED
    assert from_json(SafeSerializer.to_json_safe((1, b"2"))) == (1, b"2"), CHANGED


@pytest.mark.parametrize(
    ("message", "tags"),
    [
        (f"Think.\n<code>\n{CODE}\n</code>", None),
        (f"Think.\n[[\n{CODE}\n]]", (r"\[\[", r"\]\]")),
        (f"Think.\n```python\n{CODE}\n```", None),
        (f"Think.\n```py\n{CODE}\n```", None),
    ],
)
def test_a_message_is_the_text_without_the_code_that_smolagents_finds(
    message: str, tags: tuple[str, str] | None
) -> None:
    ran = agent(code_block_tags=tags)
    assert parse_code_blobs(message, ran.code_block_tags) == CODE, CHANGED
    assert said_around_code(ran, message, ["Observation:"]) == "Think."


def test_a_structured_output_has_a_thought() -> None:
    message = json.dumps({"thought": "Think.", "code": CODE})
    assert said_around_code(agent(), message, ["Observation:"]) == "Think."


def test_messages_whose_code_is_not_run_are_recognized_by_their_stop_sequences() -> None:
    ran = agent(planning_interval=1, max_steps=1)
    ran.run("Count.")
    assert task_of(ran) == "Count.", CHANGED
    plan, step, last = ran.model.stops
    assert plan == [END_OF_PLAN], CHANGED
    assert step, CHANGED
    assert END_OF_PLAN not in step, CHANGED
    assert last == [], CHANGED
    message = f"Plan.\n<code>\n{CODE}\n</code>"
    assert said_around_code(ran, message, plan) == said_around_code(ran, message, last) == message
