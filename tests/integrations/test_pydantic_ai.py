"""The Pydantic AI tool in agents with a scripted model."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest
from executors import SHOW_IMAGE
from pydantic_ai import Agent, BinaryContent, ModelMessagesTypeAdapter
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from reading import code_cells, eventually, read_notebook, stream_text
from tool_runs import DIE, FOREVER, RIGHT, WRONG, statuses, stop, telling

from nbtape import CodeResult, JupyterCodeExecutor
from nbtape.integrations import pydantic_ai
from nbtape.integrations.pydantic_ai import code_tool
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_ai.models.function import AgentInfo

    from nbtape.integrations._tool import Message

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class ScriptedModel:
    """Returns its messages in order, and keeps the input of each call."""

    def __init__(self, *lines: ModelResponse) -> None:
        self._lines = list(lines)
        self.told: list[list[Any]] = []
        self.info: AgentInfo | None = None

    async def answer(self, messages: list[Any], info: AgentInfo) -> ModelResponse:
        self.told.append(list(messages))
        self.info = info
        return self._lines.pop(0) if self._lines else ModelResponse([TextPart("Done.")])

    def agent(self, tool: Any) -> Agent[Any, str]:
        return Agent(FunctionModel(self.answer), tools=[tool], name="coder")


def says(text: str, *codes: str) -> ModelResponse:
    """Return a model's message, with a tool call for each code."""
    calls = [ToolCallPart("run_code", {"code": code}) for code in codes]
    return ModelResponse([TextPart(text), *calls] if text else calls)


async def play(tool: Any, *lines: ModelResponse) -> list[ToolReturnPart]:
    """Return the tool's answers in an agent whose model returns the lines."""
    return answers(await ScriptedModel(*lines).agent(tool).run("What is fib(14)?"))


def answers(run: Any) -> list[ToolReturnPart]:
    return [part for message in run.all_messages() for part in message.parts if isinstance(part, ToolReturnPart)]


async def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both_with_the_messages(
    output_dir: Path, kind: Any
) -> None:
    executor = kind(output_dir=output_dir, timeout=30, agent="somebody")
    model = ScriptedModel(says("Recursion will do.", WRONG), says("A *loop*, then.", RIGHT))
    run = await model.agent(code_tool(executor)).run("What is fib(14)?")
    await stop(executor)
    wrong, right = answers(run)
    assert "NameError" in wrong.content
    assert (right.content, right.outcome) == ("377 kept", "success")
    assert isinstance(right.metadata, CodeResult)
    assert right.metadata.output == "377 kept\n"
    assert model.told[-1][-1].parts[0].content == "377 kept"
    cells = read_notebook(executor.notebook)["cells"]
    assert [(cell["cell_type"], cell["source"]) for cell in cells] == [
        ("markdown", "Recursion will do."),
        ("code", WRONG),
        ("markdown", "A *loop*, then."),
        ("code", RIGHT),
    ]
    assert statuses(executor.notebook) == ["error", "ok"]
    assert cells[0]["metadata"]["nbtape"]["agent"] == "coder"
    assert ModelMessagesTypeAdapter.validate_json(run.all_messages_json())


async def test_the_tool_has_one_parameter(output_dir: Path) -> None:
    model = ScriptedModel()
    await model.agent(code_tool(output_dir=output_dir)).run("Hello.")
    assert model.info
    (tool,) = model.info.function_tools
    assert (tool.name, tool.description) == ("run_code", TOOL_DESCRIPTION)
    assert tool.parameters_json_schema["properties"].keys() == {"code"}
    assert tool.parameters_json_schema["required"] == ["code"]


def test_the_tool_serves_consecutive_runs_on_separate_event_loops(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        tool = code_tool(executor)
        (told,) = answers(ScriptedModel(says("", "x = 21\nprint(x)")).agent(tool).run_sync("Hello."))
        assert told.content == "21"
        (told,) = asyncio.run(play(tool, says("", "x * 2")))  # on an event loop of its own
        assert told.content == "42"


async def test_a_plot_reaches_the_model_as_an_image(output_dir: Path) -> None:
    model = ScriptedModel(says("", SHOW_IMAGE))
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        await model.agent(code_tool(executor)).run("Plot it.")
    (part,) = model.told[-1][-1].parts
    text, image = part.content
    assert text == "Image data saved to session_1_0.png"
    assert isinstance(image, BinaryContent)
    assert image.media_type == "image/png"
    assert image.data.startswith(b"\x89PNG")


async def test_a_model_without_image_input_gets_only_the_file_name(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        (told,) = await play(code_tool(executor, show_pictures=False), says("", SHOW_IMAGE))
    assert told.content == "Image data saved to session_1_0.png"


async def test_a_timeout_and_a_dead_kernel_are_reported_and_the_next_call_works(output_dir: Path, kind: Any) -> None:
    executor = kind(output_dir=output_dir, timeout=1)
    lines = says("", FOREVER), says("", "print(kept)"), says("", DIE), says("", "print('alive')")
    told = await play(code_tool(executor), *lines)
    await stop(executor)
    late, kept, dead, alive = (part.content for part in told)
    assert late.startswith("begun\n")
    assert "Timeout: stopped after 1 s." in late
    assert kept == "7"
    assert dead.startswith("The kernel died.")
    assert "The kernel died." in dead
    assert alive.endswith("\nalive")
    assert "variables of earlier blocks are gone" in alive
    assert {part.outcome for part in told} == {"success"}
    assert statuses(executor.notebook) == ["timeout", "ok", "kernel_died", "ok"]


async def test_calls_of_one_message_run_in_order_and_its_text_is_recorded_once(output_dir: Path, kind: Any) -> None:
    counts = [f"n = {place}" if not place else f"n += {place}\nprint(n)" for place in range(5)]
    executor = kind(output_dir=output_dir, timeout=30)
    told = await play(code_tool(executor), says("Counting.", *counts))
    await stop(executor)
    assert [part.content for part in told[1:]] == ["1", "3", "6", "10"]
    assert [cell["source"] for cell in read_notebook(executor.notebook)["cells"]] == ["Counting.", *counts]


async def test_recording_of_messages_can_be_switched_off(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30, record_messages=False) as executor:
        await play(code_tool(executor), says("Recursion will do.", "print(1)"))
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
    assert told.content == "7 False"
    assert stream_text(code_cells(executor.notebook)[0]) == "begun\n"
    assert statuses(executor.notebook) == ["interrupted", "ok"]


async def test_cancelling_a_queued_run_stops_only_that_run(
    output_dir: Path, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), output_dir / "go"
    waiting = f"print('begun', flush=True)\nimport pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n"
    executor = kind(output_dir=output_dir / "run", timeout=60, on_output=telling(begun))
    tool = code_tool(executor)
    first = asyncio.ensure_future(play(tool, says("", f"{waiting}    time.sleep(0.01)\nprint('ended')")))
    await asyncio.wait_for(begun.wait(), 60)
    waits = asyncio.Event()

    def messages(_: object) -> list[Message]:
        waits.set()  # and then it waits
        return []

    monkeypatch.setattr(pydantic_ai, "_messages", messages)
    second = asyncio.ensure_future(play(tool, says("", "never = True")))
    await waits.wait()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go.touch()
    (told,) = await first
    assert told.content == "begun\nended"
    (told,) = await play(tool, says("", "'never' in globals()"))
    assert told.content == "False"
    await stop(executor)


async def test_a_kernel_that_cannot_start_is_reported_to_the_model_and_the_run_continues(output_dir: Path) -> None:
    server = "http://127.0.0.1:9/"
    executor = JupyterCodeExecutor(server, token="very-secret", output_dir=output_dir, startup_timeout=5)
    (told,) = await play(code_tool(executor), says("", "print(1)"))
    executor.stop()
    assert told.outcome == "failed"
    assert "127.0.0.1:9" in told.content
    assert "very-secret" not in told.content


async def test_output_is_returned_even_if_it_cannot_be_recorded(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        notebook = executor.notebook
        spoil = f"import os\nos.rename({str(notebook)!r}, 'moved')\nos.mkdir({str(notebook)!r})\nprint('ran')"
        (told,) = await play(code_tool(executor), says("", spoil))
        notebook.rmdir()
    assert told.outcome == "failed"
    assert "could not be written" in told.content
    assert "\nran\n" in told.content


async def test_an_executor_created_by_the_tool_stops_with_the_tool(output_dir: Path) -> None:
    tool = code_tool(output_dir=output_dir, timeout=30, notebook="made")
    (told,) = await play(tool, says("", "print(1)"))
    assert told.content == "1"
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
