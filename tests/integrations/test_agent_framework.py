"""The tool and the context provider for Microsoft Agent Framework, in agents with a scripted chat client."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agent_framework import (
    Agent,
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
)
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient
from executors import SHOW_IMAGE
from openai import AsyncOpenAI
from openai.types.responses.response_input_item_param import FunctionCallOutput
from pydantic import TypeAdapter
from reading import code_cells, eventually, read_notebook, stream_text
from tool_runs import DIE, FOREVER, RIGHT, WRONG, statuses, stop, telling

from nbtape import CodeResult, JupyterCodeExecutor
from nbtape.integrations.agent_framework import CodeProvider, code_tool
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class ScriptedClient(FunctionInvocationLayer, ChatMiddlewareLayer, BaseChatClient):
    """Returns its messages in order, and keeps the input and the options of each call."""

    def __init__(self, *lines: list[Content]) -> None:
        super().__init__()
        self._lines = list(lines)
        self.told: list[list[Message]] = []
        self.options: list[Any] = []

    def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **_: Any) -> Any:
        self.told.append(list(messages))
        self.options.append(options)
        said = self._lines.pop(0) if self._lines else [Content.from_text("Done.")]
        if stream:
            return self._build_response_stream(self._updates(said))
        return self._respond(said)

    async def _respond(self, said: list[Content]) -> ChatResponse:
        return ChatResponse(messages=[Message("assistant", said)])

    async def _updates(self, said: list[Content]) -> Any:
        for content in said:
            if content.type != "text":
                yield ChatResponseUpdate(contents=[content], role="assistant")
                continue
            for word in content.text.split():
                yield ChatResponseUpdate(contents=[Content.from_text(f"{word} ")], role="assistant")


def says(text: str, *codes: str) -> list[Content]:
    """Return a model's message, with a tool call for each code."""
    calls = [
        Content.from_function_call(f"{text}-{n}", "run_code", arguments={"code": code}) for n, code in enumerate(codes)
    ]
    return [Content.from_text(text), *calls] if text else calls


def results(response: Any) -> list[Content]:
    """Return the results of the tool's calls."""
    contents = [content for message in response.messages for content in message.contents]
    return [content for content in contents if content.type == "function_result"]


async def play(tool: Any, *lines: list[Content]) -> list[str]:
    """Return the tool's answers in an agent whose model returns the lines."""
    agent = Agent(ScriptedClient(*lines), tools=[tool])
    return [result.result for result in results(await agent.run("What is fib(14)?"))]


def sources(notebook: Path) -> list[tuple[str, str]]:
    return [(cell["cell_type"], cell["source"]) for cell in read_notebook(notebook)["cells"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both_with_the_messages(
    output_dir: Path, kind: Any, *, stream: bool
) -> None:
    executor = kind(output_dir=output_dir, timeout=30, agent="somebody")
    client = ScriptedClient(says("Recursion will do.", WRONG), says("A *loop*, then.", RIGHT))
    agent = Agent(client, name="coder", context_providers=[CodeProvider(executor)])
    running = agent.run("What is fib(14)?", stream=stream)
    response = await running.get_final_response() if stream else await running
    await stop(executor)
    wrong, right = results(response)
    assert "NameError" in wrong.result
    assert (right.result, right.exception) == ("377 kept", None)
    assert isinstance(right.items[0].raw_representation, CodeResult)
    assert right.items[0].raw_representation.output == "377 kept\n"
    assert client.told[-1][-1].contents[0].result == "377 kept"
    assert response.messages[-1].text.strip() == "Done."
    said = [source.strip() for kind, source in sources(executor.notebook) if kind == "markdown"]
    assert said == ["Recursion will do.", "A *loop*, then."]
    assert [kind for kind, _ in sources(executor.notebook)] == ["markdown", "code"] * 2
    assert statuses(executor.notebook) == ["error", "ok"]
    assert read_notebook(executor.notebook)["cells"][0]["metadata"]["nbtape"]["agent"] == "coder"
    assert json.loads(response.to_json())


async def test_the_tool_has_one_parameter(output_dir: Path) -> None:
    client = ScriptedClient()
    await Agent(client, context_providers=[CodeProvider(output_dir=output_dir, name="python")]).run("Hello.")
    (tool,) = client.options[0]["tools"]
    assert (tool.name, tool.description) == ("python", TOOL_DESCRIPTION)
    assert tool.parameters()["properties"].keys() == {"code"}
    assert tool.parameters()["required"] == ["code"]
    assert tool.name != code_tool(output_dir=output_dir).name


def test_the_tool_serves_consecutive_runs_on_separate_event_loops(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        tool = code_tool(executor)
        assert asyncio.run(play(tool, says("", "x = 21\nprint(x)"))) == ["21"]
        assert asyncio.run(play(tool, says("", "x * 2"))) == ["42"]


def capturing(sent: list[Any], answers: list[dict[str, Any]]) -> AsyncOpenAI:
    """Return OpenAI's client, which sends its requests to this list."""

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, json=answers.pop(0))

    return AsyncOpenAI(api_key="none", http_client=httpx.AsyncClient(transport=httpx.MockTransport(answer)))


def responded(output: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of OpenAI's Responses API."""
    return {
        "id": "r", "object": "response", "created_at": 0, "status": "completed", "model": "m", "output": [output],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


async def test_a_plot_reaches_openais_responses_api_as_an_image(output_dir: Path) -> None:
    sent: list[Any] = []
    arguments = json.dumps({"code": SHOW_IMAGE})
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "run_code", "arguments": arguments}
    text = {"type": "output_text", "text": "Done.", "annotations": []}
    final = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}
    client = OpenAIChatClient(model="m", async_client=capturing(sent, [responded(call), responded(final)]))
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        await Agent(client, tools=[code_tool(executor)], default_options={"store": False}).run("Plot it.")
    told = sent[-1]["input"][-1]
    TypeAdapter(FunctionCallOutput).validate_python(told)  # the SDK's type of what it sends
    text, image = told["output"]
    assert text == {"type": "input_text", "text": "Image data saved to session_1_0.png"}
    assert image["type"] == "input_image"
    assert image["image_url"].startswith("data:image/png;base64,iVBOR")


async def test_a_plot_reaches_openais_chat_completions_as_a_file_name(output_dir: Path) -> None:
    sent: list[Any] = []
    function = {"name": "run_code", "arguments": json.dumps({"code": SHOW_IMAGE})}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    final = {"role": "assistant", "content": "Done."}
    answers = [
        {"id": "r", "object": "chat.completion", "created": 0, "model": "m", "choices": [
            {"index": 0, "finish_reason": "stop", "message": message}
        ]}
        for message in (call, final)
    ]  # fmt: skip
    client = OpenAIChatCompletionClient(model="m", async_client=capturing(sent, answers))
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        await Agent(client, tools=[code_tool(executor)]).run("Plot it.")
    assert sent[-1]["messages"][-1]["content"] == "Image data saved to session_1_0.png"


async def test_a_model_without_image_input_gets_only_the_file_name(output_dir: Path) -> None:
    client = ScriptedClient(says("", SHOW_IMAGE))
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        await Agent(client, context_providers=[CodeProvider(executor, show_pictures=False)]).run("Plot it.")
    (item,) = client.told[-1][-1].contents[0].items
    assert item.text == "Image data saved to session_1_0.png"


async def test_a_timeout_and_a_dead_kernel_are_reported_and_the_next_call_works(output_dir: Path, kind: Any) -> None:
    executor = kind(output_dir=output_dir, timeout=1)
    lines = says("", FOREVER), says("", "print(kept)"), says("", DIE), says("", "print('alive')")
    late, kept, dead, alive = await play(code_tool(executor), *lines)
    await stop(executor)
    assert late.startswith("begun\n")
    assert "Timeout: stopped after 1 s." in late
    assert kept == "7"
    assert dead.startswith("The kernel died.")
    assert alive.endswith("\nalive")
    assert "variables of earlier blocks are gone" in alive
    assert statuses(executor.notebook) == ["timeout", "ok", "kernel_died", "ok"]


async def test_calls_of_one_message_run_in_order_and_its_text_is_recorded_once(output_dir: Path, kind: Any) -> None:
    counts = [f"n = {place}" if not place else f"n += {place}\nprint(n)" for place in range(5)]
    executor = kind(output_dir=output_dir, timeout=30)
    agent = Agent(ScriptedClient(says("Counting.", *counts)), context_providers=[CodeProvider(executor)])
    told = results(await agent.run("Count."))
    await stop(executor)
    assert [result.result for result in told[1:]] == ["1", "3", "6", "10"]
    assert [source for _, source in sources(executor.notebook)] == ["Counting.", *counts]


async def test_only_the_text_of_a_message_with_code_is_recorded(output_dir: Path) -> None:
    def look_up() -> str:
        return "It is defined."

    other = [Content.from_text("I look it up."), Content.from_function_call("other", "look_up", arguments={})]
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        client = ScriptedClient(other, says("", "print(1)"))
        await Agent(client, tools=[look_up], context_providers=[CodeProvider(executor)]).run("Count.")
    assert sources(executor.notebook) == [("code", "print(1)")]


async def test_recording_of_messages_can_be_switched_off(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30, record_messages=False) as executor:
        client = ScriptedClient(says("Recursion will do.", "print(1)"))
        await Agent(client, context_providers=[CodeProvider(executor)]).run("Count.")
    assert sources(executor.notebook) == [("code", "print(1)")]


async def test_concurrent_runs_with_one_provider_keep_their_messages_apart(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        provider = CodeProvider(executor)
        agents = [
            Agent(ScriptedClient(says(f"I am {n}.", f"print({n})")), name=f"agent {n}", context_providers=[provider])
            for n in range(3)
        ]
        await asyncio.gather(*(agent.run("Count.") for agent in agents))
    cells = read_notebook(executor.notebook)["cells"]
    pairs = [(cells[n]["source"], cells[n]["metadata"]["nbtape"]["agent"], cells[n + 1]["source"]) for n in (0, 2, 4)]
    assert sorted(pairs) == [(f"I am {n}.", f"agent {n}", f"print({n})") for n in range(3)]


async def test_the_framework_can_ask_for_approval_before_a_call(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        tool = code_tool(executor)
        tool.approval_mode = "always_require"
        agent = Agent(ScriptedClient(says("", "print(6 * 7)")), tools=[tool])
        session = agent.create_session()
        (request,) = (await agent.run("Count.", session=session)).user_input_requests
        assert code_cells(executor.notebook) == []
        answer = Message("user", [request.to_function_approval_response(approved=True)])
        (result,) = results(await agent.run(answer, session=session))
    assert result.result == "42"


async def test_a_cancelled_run_interrupts_its_blocks_and_the_next_one_works(output_dir: Path, kind: Any) -> None:
    begun = asyncio.Event()
    executor = kind(output_dir=output_dir, timeout=300, on_output=telling(begun))
    tool = code_tool(executor)
    run = asyncio.ensure_future(play(tool, says("", FOREVER, "never = True")))
    await asyncio.wait_for(begun.wait(), 60)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await play(tool, says("", "print(kept, 'never' in globals())")) == ["7 False"]
    await stop(executor)
    assert stream_text(code_cells(executor.notebook)[0]) == "begun\n"
    assert statuses(executor.notebook)[0] == "interrupted"


async def test_a_kernel_that_cannot_start_is_reported_to_the_model_and_the_run_continues(output_dir: Path) -> None:
    server = "http://127.0.0.1:9/"
    executor = JupyterCodeExecutor(server, token="very-secret", output_dir=output_dir, startup_timeout=5)
    (told,) = await play(code_tool(executor), says("", "print(1)"))
    executor.stop()
    assert "127.0.0.1:9" in told
    assert "very-secret" not in told


async def test_output_is_returned_even_if_it_cannot_be_recorded(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        notebook = executor.notebook
        spoil = f"import os\nos.rename({str(notebook)!r}, 'moved')\nos.mkdir({str(notebook)!r})\nprint('ran')"
        (told,) = await play(code_tool(executor), says("", spoil))
        notebook.rmdir()
    assert "could not be written" in told
    assert "\nran\n" in told


@pytest.mark.parametrize("make", [code_tool, CodeProvider])
async def test_a_created_executor_stops_with_the_tool_or_the_provider(output_dir: Path, make: Any) -> None:
    made = make(output_dir=output_dir, timeout=30, notebook="made")
    given = {"tools": [made]} if make is code_tool else {"context_providers": [made]}
    await Agent(ScriptedClient(says("", "print(1)")), **given).run("Hello.")
    assert any(thread.name == "nbtape" for thread in threading.enumerate())
    del made, given
    gc.collect()
    assert eventually(lambda: all(thread.name != "nbtape" for thread in threading.enumerate()))
    assert statuses(output_dir / "made.ipynb") == ["ok"]


@pytest.mark.parametrize("make", [code_tool, CodeProvider])
def test_an_executor_and_its_options_cannot_both_be_given(output_dir: Path, make: Any) -> None:
    with pytest.raises(TypeError, match="not both"):
        make(JupyterCodeExecutor(output_dir=output_dir), timeout=5)
    with pytest.raises(ValueError, match="timeout= must be a finite number"):
        make(timeout=0)
