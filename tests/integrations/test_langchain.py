"""The LangChain tool in agents of LangChain and LangGraph with a scripted model."""

from __future__ import annotations

import asyncio
import base64
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest
from executors import SHOW_IMAGE
from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field
from reading import code_cells, eventually, read_notebook, stream_text
from tool_runs import DIE, FOREVER, RIGHT, WRONG, statuses, telling

from nbtape import AsyncJupyterCodeExecutor, CodeResult, JupyterCodeExecutor
from nbtape.integrations.langchain import code_tool
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class ScriptedModel(BaseChatModel):  # type: ignore[misc,unused-ignore]
    """Returns its messages in order, and keeps the input of each call."""

    lines: list[AIMessage]
    told: list[list[Any]] = Field(default_factory=list)
    tools: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[Any], *_: Any, **__: Any) -> ChatResult:
        self.told.append(list(messages))
        return ChatResult(generations=[ChatGeneration(message=self.lines[len(self.told) - 1])])

    def bind_tools(self, tools: Any, **_: Any) -> ScriptedModel:
        self.tools = [convert_to_openai_tool(tool) for tool in tools]
        return self


def says(text: str, *codes: str) -> AIMessage:
    """Return a model's message, with a tool call for each code."""
    calls = [
        {"name": "run_code", "args": {"code": code}, "id": f"{abs(hash((text, code)))}-{place}", "type": "tool_call"}
        for place, code in enumerate(codes)
    ]
    return AIMessage(text, tool_calls=calls)


def play(tool: Any, *lines: AIMessage) -> tuple[list[ToolMessage], ScriptedModel]:
    """Return the tool's answers in an agent whose model returns the lines, without an event loop."""
    model = ScriptedModel(lines=[*lines, AIMessage("Done.")])
    state = create_agent(model, [tool], name="coder").invoke({"messages": [("user", "What is fib(14)?")]})
    return answers(state), model


async def aplay(tool: Any, *lines: AIMessage) -> list[ToolMessage]:
    """Return the same on this event loop."""
    model = ScriptedModel(lines=[*lines, AIMessage("Done.")])
    agent = create_agent(model, [tool], name="coder")
    return answers(await agent.ainvoke({"messages": [("user", "What is fib(14)?")]}))


def answers(state: dict[str, Any]) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both_with_the_messages(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30, agent="somebody") as executor:
        told, model = play(code_tool(executor), says("Recursion will do.", WRONG), says("A *loop*, then.", RIGHT))
    assert "NameError" in told[0].content
    assert (told[1].content, told[1].status) == ("377 kept", "success")
    assert isinstance(told[1].artifact, CodeResult)
    assert told[1].artifact.output == "377 kept\n"
    assert model.told[-1][-1].content == "377 kept"
    cells = read_notebook(executor.notebook)["cells"]
    assert [(cell["cell_type"], cell["source"]) for cell in cells] == [
        ("markdown", "Recursion will do."),
        ("code", WRONG),
        ("markdown", "A *loop*, then."),
        ("code", RIGHT),
    ]
    assert statuses(executor.notebook) == ["error", "ok"]
    assert cells[0]["metadata"]["nbtape"]["agent"] == "coder"


def test_the_tool_has_one_parameter(output_dir: Path) -> None:
    _, model = play(code_tool(output_dir=output_dir))
    (tool,) = (each["function"] for each in model.tools)
    assert (tool["name"], tool["description"]) == ("run_code", TOOL_DESCRIPTION)
    assert tool["parameters"]["properties"].keys() == {"code"}
    assert tool["parameters"]["required"] == ["code"]


@pytest.mark.parametrize("kind", [JupyterCodeExecutor, AsyncJupyterCodeExecutor])
async def test_both_kinds_of_executor_work_on_an_event_loop(output_dir: Path, kind: Any) -> None:
    executor = kind(output_dir=output_dir, timeout=30)
    told = await aplay(code_tool(executor), says("First.", WRONG), says("Again.", RIGHT))
    assert told[1].content == "377 kept"
    assert [cell["source"] for cell in read_notebook(executor.notebook)["cells"]] == ["First.", WRONG, "Again.", RIGHT]
    if (stopping := executor.stop()) is not None:
        await stopping


def test_the_tool_can_be_called_without_an_agent(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        tool = code_tool(executor)
        assert tool.invoke({"code": "x = 21\nprint(x)"}) == "21"
        assert asyncio.run(tool.ainvoke({"code": "x * 2"})) == "42"
        assert asyncio.run(tool.ainvoke({"code": "x * 3"})) == "63"  # on another event loop


def test_a_fence_around_the_code_is_taken_off(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        assert code_tool(executor).invoke({"code": "```python\nprint(5)\n```"}) == "5"


def test_a_plot_reaches_the_model_as_an_image(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        (told,), model = play(code_tool(executor, show_pictures=True), says("", SHOW_IMAGE))
    text, image = model.told[-1][-1].content
    assert text == {"type": "text", "text": "Image data saved to session_1_0.png"}
    assert (image["type"], image["mime_type"]) == ("image", "image/png")
    assert base64.b64decode(image["base64"]).startswith(b"\x89PNG")
    assert [block["type"] for block in told.content_blocks] == ["text", "image"]


def test_by_default_the_model_gets_only_the_file_name_as_chat_completions_demand(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        (told,), _ = play(code_tool(executor), says("", SHOW_IMAGE))
    assert told.content == "Image data saved to session_1_0.png"


def test_a_timeout_and_a_dead_kernel_are_reported_and_the_next_call_works(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=1) as executor:
        told, _ = play(
            code_tool(executor), says("", FOREVER), says("", "print(kept)"), says("", DIE), says("", "print('alive')")
        )
    late, kept, dead, alive = (message.content for message in told)
    assert late.startswith("begun\n")
    assert "Timeout: stopped after 1 s." in late
    assert kept == "7"
    assert dead.startswith("The kernel died.")
    assert "The kernel died." in dead
    assert alive.endswith("\nalive")
    assert "variables of earlier blocks are gone" in alive
    assert {message.status for message in told} == {"success"}
    assert statuses(executor.notebook) == ["timeout", "ok", "kernel_died", "ok"]


def test_the_text_of_a_message_with_several_calls_is_recorded_once(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        told, _ = play(code_tool(executor), says("Both at once.", "print(1)", "print(2)"))
    assert [message.content for message in told] == ["1", "2"]
    cells = read_notebook(executor.notebook)["cells"]
    assert [cell["source"] for cell in cells if cell["cell_type"] == "markdown"] == ["Both at once."]
    assert len(cells) == 3


async def test_calls_of_one_message_run_in_order_on_an_event_loop(output_dir: Path) -> None:
    counts = [f"n = {place}" if not place else f"n += {place}\nprint(n)" for place in range(5)]
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        told = await aplay(code_tool(executor), says("Counting.", *counts))
    assert [message.content for message in told[1:]] == ["1", "3", "6", "10"]
    assert [cell["source"] for cell in read_notebook(executor.notebook)["cells"]] == ["Counting.", *counts]


def test_recording_of_messages_can_be_switched_off(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30, record_messages=False) as executor:
        play(code_tool(executor), says("Recursion will do.", "print(1)"))
    assert [cell["cell_type"] for cell in read_notebook(executor.notebook)["cells"]] == ["code"]


@pytest.mark.parametrize("kind", [JupyterCodeExecutor, AsyncJupyterCodeExecutor])
async def test_a_cancelled_run_interrupts_its_blocks_and_the_next_one_works(output_dir: Path, kind: Any) -> None:
    begun = asyncio.Event()
    executor = kind(output_dir=output_dir, timeout=300, on_output=telling(begun))
    tool = code_tool(executor)
    run = asyncio.ensure_future(aplay(tool, says("Waiting.", FOREVER, "never = True")))
    await asyncio.wait_for(begun.wait(), 60)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    (told,) = await aplay(tool, says("And now?", "print(kept, 'never' in globals())"))
    assert told.content == "7 False"
    assert stream_text(code_cells(executor.notebook)[0]) == "begun\n"
    assert [status for status in statuses(executor.notebook) if status != "not_run"] == ["interrupted", "ok"]
    if (stopping := executor.stop()) is not None:
        await stopping


async def test_cancelling_a_queued_call_stops_only_that_call(output_dir: Path) -> None:
    begun, go = asyncio.Event(), output_dir / "go"
    waiting = f"print('begun', flush=True)\nimport pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n"
    with JupyterCodeExecutor(output_dir=output_dir / "run", timeout=60, on_output=telling(begun)) as executor:
        tool = code_tool(executor)
        first = asyncio.ensure_future(tool.ainvoke({"code": f"{waiting}    time.sleep(0.01)\nprint('ended')"}))
        await asyncio.wait_for(begun.wait(), 60)
        second = asyncio.ensure_future(tool.ainvoke({"code": "never = True"}))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go.touch()
        assert await first == "begun\nended"
        assert await tool.ainvoke({"code": "'never' in globals()"}) == "False"


def test_a_kernel_that_cannot_start_is_reported_to_the_model_and_the_run_continues(output_dir: Path) -> None:
    server = "http://127.0.0.1:9/"
    executor = JupyterCodeExecutor(server, token="very-secret", output_dir=output_dir, startup_timeout=5)
    (told,), _ = play(code_tool(executor), says("", "print(1)"))
    executor.stop()
    assert told.status == "error"
    assert "127.0.0.1:9" in told.content
    assert "very-secret" not in told.content


def test_output_is_returned_even_if_it_cannot_be_recorded(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        notebook = executor.notebook
        spoil = f"import os\nos.rename({str(notebook)!r}, 'moved')\nos.mkdir({str(notebook)!r})\nprint('ran')"
        (told,), _ = play(code_tool(executor), says("", spoil))
        notebook.rmdir()
    assert told.status == "error"
    assert "could not be written" in told.content
    assert "\nran\n" in told.content


def test_an_async_executor_rejects_calls_without_an_event_loop(output_dir: Path) -> None:
    with pytest.raises(NotImplementedError):
        code_tool(AsyncJupyterCodeExecutor(output_dir=output_dir)).invoke({"code": "1"})


def test_an_executor_created_by_the_tool_stops_with_the_tool(output_dir: Path) -> None:
    tool = code_tool(output_dir=output_dir, timeout=30, notebook="made")
    assert tool.invoke({"code": "print(1)"}) == "1"
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
