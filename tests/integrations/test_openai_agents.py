"""The tool of the OpenAI Agents SDK in agents with a scripted model."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, ModelResponse, RunConfig, Runner, ToolCallOutputItem, Usage
from agents.models.interface import Model
from executors import SHOW_IMAGE
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from openai.types.responses.response_input_item_param import FunctionCallOutput
from pydantic import TypeAdapter
from reading import code_cells, eventually, read_notebook, stream_text
from tool_runs import DIE, FOREVER, RIGHT, WRONG, statuses, stop, telling

from nbtape import JupyterCodeExecutor
from nbtape.integrations.openai_agents import MessageHooks, code_tool
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leaves_nothing")


#: Without an account, there is nowhere to send traces.
CONFIG = RunConfig(tracing_disabled=True)


class ScriptedModel(Model):
    """Returns its messages in order, and keeps the input of each call."""

    def __init__(self, *lines: list[Any]) -> None:
        self._lines = [*lines, says("Done.")]
        self.told: list[Any] = []
        self.tools: list[Any] = []

    async def get_response(
        self,
        system_instructions: Any,  # noqa: ARG002  (the contract of Model)
        input: Any,  # noqa: A002  (the same)
        model_settings: Any,  # noqa: ARG002  (the same)
        tools: Any,
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        self.told.append(input)
        self.tools = tools
        return ModelResponse(output=self._lines[len(self.told) - 1], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        raise NotImplementedError

    def agent(self, tool: Any) -> Agent[Any]:
        return Agent("coder", model=self, tools=[tool])


def says(text: str, *codes: str) -> list[Any]:
    """Return a model's message, with a tool call for each code."""
    content = [ResponseOutputText(text=text, type="output_text", annotations=[])]
    message = ResponseOutputMessage(id="m", content=content, role="assistant", status="completed", type="message")
    calls = [
        ResponseFunctionToolCall(
            arguments=json.dumps({"code": code}),
            call_id=f"{abs(hash((text, code)))}-{place}",
            name="run_code",
            type="function_call",
        )
        for place, code in enumerate(codes)
    ]
    return [message, *calls] if text else calls


async def play(tool: Any, *lines: list[Any], hooks: MessageHooks | None = None) -> list[Any]:
    """Return the tool's answers in an agent whose model returns the lines."""
    return answers(await Runner.run(ScriptedModel(*lines).agent(tool), "Hello.", hooks=hooks, run_config=CONFIG))


def answers(run: Any) -> list[Any]:
    """Return what the model gets, as the SDK sends it."""
    return [item.raw_item["output"] for item in run.new_items if isinstance(item, ToolCallOutputItem)]


async def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both_with_the_messages(
    output_dir: Path, kind: Any
) -> None:
    executor = kind(output_dir=output_dir, timeout=30, agent="somebody")
    model = ScriptedModel(says("Recursion will do.", WRONG), says("A *loop*, then.", RIGHT))
    hooks = MessageHooks()
    agent = model.agent(code_tool(executor, messages=hooks))
    run = await Runner.run(agent, "What is fib(14)?", hooks=hooks, run_config=CONFIG)
    await stop(executor)
    wrong, right = answers(run)
    assert "NameError" in wrong
    assert right == "377 kept"
    assert model.told[-1][-1]["output"] == "377 kept"
    cells = read_notebook(executor.notebook)["cells"]
    assert [(cell["cell_type"], cell["source"]) for cell in cells] == [
        ("markdown", "Recursion will do."),
        ("code", WRONG),
        ("markdown", "A *loop*, then."),
        ("code", RIGHT),
    ]
    assert statuses(executor.notebook) == ["error", "ok"]
    assert cells[0]["metadata"]["nbtape"]["agent"] == "coder"


async def test_without_the_hooks_the_notebook_has_only_the_code(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        assert await play(code_tool(executor), says("Recursion will do.", "print(1)")) == ["1"]
    assert [cell["cell_type"] for cell in read_notebook(executor.notebook)["cells"]] == ["code"]


async def test_the_tool_has_one_parameter(output_dir: Path) -> None:
    model = ScriptedModel()
    await Runner.run(model.agent(code_tool(output_dir=output_dir)), "Hello.", run_config=CONFIG)
    (tool,) = model.tools
    assert (tool.name, tool.description) == ("run_code", TOOL_DESCRIPTION)
    assert tool.params_json_schema["properties"].keys() == {"code"}
    assert tool.params_json_schema["required"] == ["code"]


def test_the_tool_serves_consecutive_runs_on_separate_event_loops(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        tool = code_tool(executor)
        run = Runner.run_sync(ScriptedModel(says("", "x = 21\nprint(x)")).agent(tool), "Hello.", run_config=CONFIG)
        assert answers(run) == ["21"]
        assert asyncio.run(play(tool, says("", "x * 2"))) == ["42"]  # on an event loop of its own


async def test_a_plot_reaches_the_model_as_an_image(output_dir: Path) -> None:
    model = ScriptedModel(says("", SHOW_IMAGE))
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        await Runner.run(model.agent(code_tool(executor)), "Plot it.", run_config=CONFIG)
    TypeAdapter(FunctionCallOutput).validate_python(model.told[-1][-1])  # the SDK's type of what it sends
    text, image = model.told[-1][-1]["output"]
    assert text == {"type": "input_text", "text": "Image data saved to session_1_0.png"}
    assert image["type"] == "input_image"
    kind, _, content = image["image_url"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content).startswith(b"\x89PNG")


async def test_a_model_without_image_input_gets_only_the_file_name(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        (told,) = await play(code_tool(executor, show_pictures=False), says("", SHOW_IMAGE))
    assert told == "Image data saved to session_1_0.png"


async def test_a_timeout_and_a_dead_kernel_are_reported_and_the_next_call_works(output_dir: Path, kind: Any) -> None:
    executor = kind(output_dir=output_dir, timeout=1)
    lines = says("", FOREVER), says("", "print(kept)"), says("", DIE), says("", "print('alive')")
    told = await play(code_tool(executor), *lines)
    await stop(executor)
    late, kept, dead, alive = told
    assert late.startswith("begun\n")
    assert "Timeout: stopped after 1 s." in late
    assert kept == "7"
    assert dead.startswith("The kernel died.")
    assert "The kernel died." in dead
    assert alive.endswith("\nalive")
    assert "variables of earlier blocks are gone" in alive
    assert statuses(executor.notebook) == ["timeout", "ok", "kernel_died", "ok"]


async def test_calls_of_one_message_run_in_order_and_its_text_is_recorded_once(output_dir: Path, kind: Any) -> None:
    counts = [f"n = {place}" if not place else f"n += {place}\nprint(n)" for place in range(5)]
    executor = kind(output_dir=output_dir, timeout=30)
    hooks = MessageHooks()
    told = await play(code_tool(executor, messages=hooks), says("Counting.", *counts), hooks=hooks)
    await stop(executor)
    assert told[1:] == ["1", "3", "6", "10"]
    assert [cell["source"] for cell in read_notebook(executor.notebook)["cells"]] == ["Counting.", *counts]


async def test_recording_of_messages_can_be_switched_off(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30, record_messages=False) as executor:
        hooks = MessageHooks()
        await play(code_tool(executor, messages=hooks), says("Recursion will do.", "print(1)"), hooks=hooks)
    assert [cell["cell_type"] for cell in read_notebook(executor.notebook)["cells"]] == ["code"]


async def test_a_cancelled_run_interrupts_its_blocks_and_the_next_one_works(output_dir: Path, kind: Any) -> None:
    begun = asyncio.Event()
    executor = kind(output_dir=output_dir, timeout=300, on_output=telling(begun))
    tool = code_tool(executor)
    run = asyncio.ensure_future(play(tool, says("Waiting.", FOREVER, "never = True")))
    await asyncio.wait_for(begun.wait(), 60)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    (told,) = await play(tool, says("And now?", "print(kept, 'never' in globals())"))
    await stop(executor)
    assert told == "7 False"
    assert stream_text(code_cells(executor.notebook)[0]) == "begun\n"
    assert statuses(executor.notebook) == ["interrupted", "ok"]


async def test_cancelling_a_queued_run_stops_only_that_run(
    output_dir: Path, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), output_dir / "go"
    waiting = f"print('begun', flush=True)\nimport pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n"
    executor = kind(output_dir=output_dir / "run", timeout=60, on_output=telling(begun))
    messages = MessageHooks()
    tool = code_tool(executor, messages=messages)
    first = asyncio.ensure_future(play(tool, says("", f"{waiting}    time.sleep(0.01)\nprint('ended')")))
    await asyncio.wait_for(begun.wait(), 60)
    waits = asyncio.Event()

    def said(_: object) -> str:
        waits.set()  # and then it waits
        return ""

    monkeypatch.setattr(messages, "said", said)
    second = asyncio.ensure_future(play(tool, says("", "never = True")))
    await waits.wait()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go.touch()
    (told,) = await first
    assert told == "begun\nended"
    (told,) = await play(tool, says("", "'never' in globals()"))
    assert told == "False"
    await stop(executor)


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


async def test_an_executor_created_by_the_tool_stops_with_the_tool(output_dir: Path) -> None:
    tool = code_tool(output_dir=output_dir, timeout=30, notebook="made")
    (told,) = await play(tool, says("", "print(1)"))
    assert told == "1"
    assert any(thread.name == "nbtape" for thread in threading.enumerate())
    del tool
    gc.collect()
    assert eventually(lambda: all(thread.name != "nbtape" for thread in threading.enumerate()))
    assert statuses(output_dir / "made.ipynb") == ["ok"]


def test_an_executor_and_its_options_cannot_both_be_given(output_dir: Path) -> None:
    with pytest.raises(TypeError, match="not both"):
        code_tool(JupyterCodeExecutor(output_dir=output_dir), timeout=5)
    with pytest.raises(ValueError, match="timeout= must be a finite number"):
        code_tool(timeout=0)
