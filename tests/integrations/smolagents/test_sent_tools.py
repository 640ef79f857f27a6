"""Tools arrive in a kernel as their instances are, or are refused in plain words."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from smolagents import FinalAnswerTool, PythonInterpreterTool, Tool, UserInputTool, WebSearchTool, tool

from nbtape.integrations.smolagents.sent_tools import tool_definitions


class News(Tool):  # type: ignore[misc,unused-ignore]
    """A tool with a key."""

    name = "news"
    description = "News."
    inputs = {"q": {"type": "string", "description": "The question."}}  # noqa: RUF012  (as smolagents has it)
    output_type = "string"

    def __init__(self, apikey="none", since=None, options=None) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        super().__init__()
        self.apikey = apikey
        self.since = since
        self.options = options or {}

    def forward(self, q: str) -> str:
        return f"{self.apikey} {self.since} {self.options} {q}"


class Keyless(Tool):  # type: ignore[misc,unused-ignore]
    """A tool that its class does not make without a key."""

    name = "keyless"
    description = "A tool."
    inputs = {"q": {"type": "string", "description": "The question."}}  # noqa: RUF012  (as smolagents has it)
    output_type = "string"

    def __init__(self, apikey=None) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        super().__init__()
        if apikey is None:
            raise ValueError("a key is required")
        self.__apikey = apikey

    def forward(self, q: str) -> str:
        return f"{self.__apikey} {q}"


class Client(Tool):  # type: ignore[misc,unused-ignore]
    """A tool with an attribute that is not data."""

    name = "client"
    description = "A tool."
    inputs = {"q": {"type": "string", "description": "The question."}}  # noqa: RUF012  (as smolagents has it)
    output_type = "string"

    def __init__(self, url="http://example.com") -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        import threading

        super().__init__()
        self.url = url
        self.lock = threading.Lock()

    def forward(self, q: str) -> str:
        with self.lock:
            return f"{self.url} {q}"


class Base(Tool):  # type: ignore[misc,unused-ignore]
    """A tool that others derive from."""

    name = "base"
    description = "A tool."
    inputs = {"q": {"type": "string", "description": "The question."}}  # noqa: RUF012  (as smolagents has it)
    output_type = "string"

    def fetch(self, q: str) -> str:
        return q.upper()

    def forward(self, q: str) -> str:
        return self.fetch(q)


class Derived(Base):
    """A tool whose methods are partly those of another class."""

    name = "derived"

    def forward(self, q: str) -> str:
        return self.fetch(q)


KEY = "from outside"


class Outside(Tool):  # type: ignore[misc,unused-ignore]
    """A tool that needs what is around it."""

    name = "outside"
    description = "A tool."
    inputs = {"q": {"type": "string", "description": "The question."}}  # noqa: RUF012  (as smolagents has it)
    output_type = "string"

    def forward(self, q: str) -> str:
        return KEY + q


@tool
def double(q: str) -> str:
    """Doubles.

    Args:
        q: A text.
    """
    return q + q


def defined(*tools: Any) -> dict[str, Any]:
    """What code in a kernel has of tools."""
    names: dict[str, Any] = {}
    exec(tool_definitions({each.name: each for each in tools}), names)
    return names


def test_a_tool_arrives_with_the_state_of_its_instance() -> None:
    day = datetime.date(2026, 1, 2)
    names = defined(News("real", day, {"k": [1, 2]}), double, FinalAnswerTool())
    assert names["news"]("x") == "real 2026-01-02 {'k': [1, 2]} x"
    assert names["double"]("x") == "xx"
    assert names["final_answer"](1) == 1


def test_state_that_was_set_after_construction_arrives() -> None:
    news = News()
    news.apikey = "later"
    assert defined(news)["news"]("x") == "later None {} x"


def test_a_tool_is_not_made_again_with_its_defaults() -> None:
    assert defined(Keyless("real"))["keyless"]("x") == "real x"


def test_a_tool_of_smolagents_arrives_with_its_options() -> None:
    assert defined(WebSearchTool(max_results=7))["web_search"].max_results == 7


def test_what_is_not_data_is_made_again_if_the_tool_has_its_defaults() -> None:
    assert defined(Client())["client"]("x") == "http://example.com x"


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (Client("http://other.example"), r"it is not Client\(\) with defaults, and its attributes lock are not data"),
        (Derived(), r"its class inherits fetch from another class"),
        (Outside(), r"KEY.*undefined"),
        (PythonInterpreterTool(), r"runs code in this process, not in the kernel\. Leave it out"),
        (UserInputTool(), r"asks a person at the terminal of this process"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_tool_that_cannot_work_in_a_kernel_is_refused_in_one_line(refused: Any, why: str) -> None:
    with pytest.raises(ValueError, match=rf"^The tool {refused.name} .*{why}") as caught:
        tool_definitions({refused.name: refused})
    assert "\n" not in str(caught.value)
