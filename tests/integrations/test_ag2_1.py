"""ag2 from 1.0 on: an agent whose code runs in a kernel, end to end, with ag2's own scripted model."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from ag2 import Agent
from ag2.config import OpenAIConfig
from ag2.events import (
    BinaryInput,
    ModelMessage,
    ModelResponse,
    TextInput,
    ToolCallEvent,
    ToolCallsEvent,
    ToolErrorEvent,
    ToolResultEvent,
    ToolResultsEvent,
)
from ag2.testing import TestConfig, TrackingConfig
from ag2.tools import SandboxCodeTool
from ag2.tools.code import CodeEnvironment, CodeRunResult
from reading import code_cells, descendants, eventually, is_running, read_notebook, stream_text
from tool_runs import statuses

from nbtape import AsyncJupyterCodeExecutor, NotebookWriteError
from nbtape.integrations.ag2 import JupyterCodeEnvironment, add_pictures, code_tool
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leaves_nothing")

FIBONACCI = """\
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
"""

PLOT = """\
from PIL import Image
Image.new("RGB", (3, 2), "red").save("plot.png")
"""


@pytest.fixture
def executor(output_dir: Path) -> AsyncJupyterCodeExecutor:
    return AsyncJupyterCodeExecutor(output_dir=output_dir, agent="coder", timeout=30)


def call(code: str, language: str = "python", name: str = "run_code") -> ToolCallEvent:
    return ToolCallEvent(name, arguments=json.dumps({"code": code, "language": language}))


def says(text: str, *calls: ToolCallEvent) -> ModelResponse:
    return ModelResponse(ModelMessage(text), tool_calls=ToolCallsEvent(list(calls)))


def coder(tool: Any, *turns: Any, **options: Any) -> Agent:
    return Agent("coder", config=TestConfig(*turns, **options), tools=[tool])


async def results(reply: Any) -> list[ToolResultEvent]:
    """Return the results that the model got for its calls, in order."""
    events = await reply.history.get_events()
    return [result for event in events if isinstance(event, ToolResultsEvent) for result in event.results]


async def texts(reply: Any) -> list[str]:
    """Return the texts that the model got for its calls."""
    return [
        "".join(part.content for part in event.result.parts if isinstance(part, TextInput))
        for event in await results(reply)
    ]


# The contract


def test_the_executor_implements_ag2s_environment(executor: AsyncJupyterCodeExecutor) -> None:
    environment = JupyterCodeEnvironment(executor)
    assert isinstance(environment, CodeEnvironment)
    assert SandboxCodeTool(environment).environment is environment
    assert environment.executor is executor
    assert environment.supported_languages == ("python", "bash")


async def test_a_run_returns_the_fields_that_ag2_expects(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        environment = JupyterCodeEnvironment(executor)
        assert await environment.run("n = 21 * 2\nprint(n)", "python") == CodeRunResult("42", 0)
        assert await environment.run("echo from $0", "bash") == CodeRunResult("from bash", 0)
        failed = await environment.run("1/0", "python", context=None)
    assert failed.exit_code == 1
    assert "ZeroDivisionError" in failed.output


async def test_the_kernel_starts_at_the_first_use(executor: AsyncJupyterCodeExecutor) -> None:
    before = descendants()
    agent = coder(code_tool(executor), call("print(1)"), "Done.")
    assert descendants() == before
    await agent.ask("Go.")
    assert descendants() > before
    await executor.stop()


async def test_all_copies_of_the_tool_share_one_kernel(
    executor: AsyncJupyterCodeExecutor,
) -> None:
    tool = code_tool(executor)
    assert copy.deepcopy(tool).environment is tool.environment
    async with executor:
        await coder(tool, call("kept = 7"), "Done.").ask("Go.")
        other = coder(tool, call("print(kept)"), "Done.")
        assert await texts(await other.ask("Go.")) == ["7"]
    assert executor.kernel_epoch == 1


async def test_the_model_gets_a_description_of_the_tool(executor: AsyncJupyterCodeExecutor) -> None:
    config = TrackingConfig(TestConfig("Nothing to do."))
    await Agent("coder", config=config, tools=[code_tool(executor)]).ask("Hello.")
    ((schema,),) = [model_call.tools for model_call in config.calls]
    assert schema.function.name == "run_code"
    assert schema.function.description == TOOL_DESCRIPTION
    assert set(schema.function.parameters["properties"]) == {"code", "language"}


# A task, from end to end


async def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        agent = coder(
            code_tool(executor),
            says("I define it and try it out.", call(FIBONACCI + "print(fibonaci(14))")),
            says("A typing error: only the last line has to be repaired.", call("print(fibonacci(14))")),
            "The 14th Fibonacci number is 377.",
        )
        reply = await agent.ask("What is the 14th Fibonacci number?")
    failed, repaired = await texts(reply)
    assert "NameError: name 'fibonaci' is not defined" in failed
    assert failed.endswith("\n[exit code: 1]")
    assert repaired == "377"
    assert reply.body == "The 14th Fibonacci number is 377."
    cells = read_notebook(executor.notebook)["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code", "markdown", "code"]
    assert [cell["source"] for cell in cells[::2]] == [
        "I define it and try it out.",
        "A typing error: only the last line has to be repaired.",
    ]
    assert cells[0]["metadata"]["nbtape"]["agent"] == "coder"
    assert statuses(executor.notebook) == ["error", "ok"]
    assert stream_text(cells[3]) == "377\n"


async def test_the_kernel_keeps_its_state_from_turn_to_turn(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        agent = coder(code_tool(executor), call("x = 20"), "Set.")
        reply = await agent.ask("Set x.")
        again = await reply.ask("Double it.", config=TestConfig(call("print(x * 2)"), "40."))
        assert (await texts(again))[-1] == "40"


async def test_calls_of_one_message_run_in_order_and_its_text_is_recorded_once(
    executor: AsyncJupyterCodeExecutor,
) -> None:
    codes = ["n = [0]", *(f"n.append({number}); print(n)" for number in range(1, 8))]
    async with executor:
        reply = await coder(code_tool(executor), says("Step by step.", *map(call, codes)), "Done.").ask("Go.")
    assert (await texts(reply))[-1] == "[0, 1, 2, 3, 4, 5, 6, 7]"
    assert [cell["source"] for cell in read_notebook(executor.notebook)["cells"]] == ["Step by step.", *codes]


async def test_a_rejected_call_does_not_block_later_calls(executor: AsyncJupyterCodeExecutor) -> None:
    async def refuse(call_next: Any, event: Any, context: Any) -> Any:
        if "forbidden" in event.arguments:
            return ToolResultEvent.from_call(event, "Refused.")
        return await call_next(event, context)

    async with executor:
        tool = code_tool(executor, middleware=[refuse])
        three = [call("print(1)"), call("forbidden"), call("print(3)")]
        assert await texts(await coder(tool, three, "Done.").ask("Go.")) == ["1", "Refused.", "3"]
    assert [cell["source"] for cell in code_cells(executor.notebook)] == ["print(1)", "print(3)"]


async def test_a_failed_call_does_not_block_later_calls(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        first, second = await texts(
            await coder(code_tool(executor), [call("1/0"), call("print(2)")], "Done.").ask("Go.")
        )
    assert first.endswith("[exit code: 1]")
    assert second == "2"


async def test_the_text_is_recorded_before_the_code_even_if_another_tool_is_called_first(
    executor: AsyncJupyterCodeExecutor,
) -> None:
    def look_up(word: str) -> str:
        return f"{word}: a number"

    both = says("First a look, then code.", ToolCallEvent("look_up", arguments='{"word": "x"}'), call("x = 1"))
    async with executor:
        agent = Agent("coder", config=TestConfig(both, "Done."), tools=[look_up, code_tool(executor)])
        await agent.ask("Go.")
    assert [cell["source"] for cell in read_notebook(executor.notebook)["cells"]] == [
        "First a look, then code.",
        "x = 1",
    ]


# Failures


async def test_a_language_that_the_tool_does_not_offer_is_recorded_and_not_run(
    executor: AsyncJupyterCodeExecutor,
) -> None:
    async with executor:
        tool = code_tool(executor, languages=("python",))
        reply = await coder(tool, call("touch made", "bash"), call("print(1)"), "Done.").ask("Go.")
        assert await texts(reply) == ["Not run: this environment cannot run bash, only python.\n[exit code: 1]", "1"]
    assert statuses(executor.notebook) == ["not_run", "ok"]
    assert not executor.notebook.with_name("made").exists()


async def test_a_language_that_the_kernel_cannot_run_is_reported(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        tool = code_tool(executor, languages=("python", "javascript"))
        (told,) = await texts(await coder(tool, call("let x", "javascript"), "Done.").ask("Go."))
    assert "this kernel cannot run 'javascript'" in told
    assert told.endswith("[exit code: 1]")


async def test_a_timeout_is_reported_with_the_output_and_the_state_is_kept(output_dir: Path) -> None:
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir, timeout=1)
    async with executor:
        slow = call("kept = 7\nprint('begun', flush=True)\nimport time\ntime.sleep(60)")
        reply = await coder(code_tool(executor), slow, call("print(kept)"), "Done.").ask("Go.")
    told, after = await texts(reply)
    assert told.startswith("begun\n")
    assert "Timeout: stopped after 1 s. Variables are kept." in told
    assert told.endswith("[exit code: 124]")
    assert after == "7"
    assert statuses(executor.notebook) == ["timeout", "ok"]


async def test_a_dead_kernel_is_reported_and_the_next_call_gets_a_fresh_one(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        dies = call("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
        reply = await coder(code_tool(executor), dies, call("print('alive')"), "Done.").ask("Go.")
    told, after = await texts(reply)
    assert told.startswith("The kernel died.")
    assert told.endswith("[exit code: 137]")
    assert "variables of earlier blocks are gone" in after
    assert after.endswith("\nalive")
    assert statuses(executor.notebook) == ["kernel_died", "ok"]


async def test_a_cancelled_turn_interrupts_its_block_and_the_next_turn_works(output_dir: Path) -> None:
    begun = asyncio.Event()
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir, timeout=60, on_output=lambda _: begun.set())
    async with executor:
        slow = call("kept = 7\nprint('begun', flush=True)\nimport time\ntime.sleep(60)")
        turn = asyncio.create_task(coder(code_tool(executor), slow, "Never.").ask("Go."))
        await asyncio.wait_for(begun.wait(), 30)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        reply = await coder(code_tool(executor), call("print(kept)"), "Done.").ask("Go.")
        assert await texts(reply) == ["7"]
    interrupted, _ = code_cells(executor.notebook)
    assert stream_text(interrupted) == "begun\n"
    assert statuses(executor.notebook) == ["interrupted", "ok"]


async def test_a_turn_stops_at_its_own_deadline(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        await executor.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await coder(code_tool(executor), call("import time\ntime.sleep(60)"), "Never.").ask("Go.")
        assert await texts(await coder(code_tool(executor), call("print(1)"), "Done.").ask("Go.")) == ["1"]
    assert statuses(executor.notebook) == ["interrupted", "ok"]


async def test_a_notebook_that_cannot_be_written_is_an_error_of_the_tool(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        executor.notebook.unlink()
        executor.notebook.mkdir()
        (executor.notebook / "in the way").touch()
        agent = coder(code_tool(executor), call("print(1)"), "I cannot.", raise_tool_errors=False)
        (failed,) = await results(await agent.ask("Go."))
        assert isinstance(failed, ToolErrorEvent)
        assert isinstance(failed.error, NotebookWriteError)
        (executor.notebook / "in the way").unlink()
        executor.notebook.rmdir()


def test_another_event_loop_gets_a_fresh_kernel_and_the_model_a_notice(executor: AsyncJupyterCodeExecutor) -> None:
    tool = code_tool(executor)

    async def turn(code: str) -> list[str]:
        return await texts(await coder(tool, call(code), "Done.").ask("Go."))

    async def last() -> list[str]:
        async with executor:
            return await turn("print('kept' in globals())")

    assert asyncio.run(turn("kept = 7")) == ["The code ran and printed nothing."]
    (told,) = asyncio.run(last())
    assert "variables of earlier blocks are gone" in told
    assert told.endswith("\nFalse")


# Images


async def test_a_plot_can_be_reported_as_a_file_name_only(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        tool = code_tool(executor, show_pictures=False)
        (event,) = await results(await coder(tool, call(PLOT), "Done.").ask("Go."))
        assert [type(part) for part in event.result.parts] == [TextInput]
        assert "File written: plot.png" in event.result.parts[0].content


class ChatCompletions:
    """OpenAI's older API, which takes no images from tools; it calls the code tool and then stops.

    Args:
        code: The code.
    """

    def __init__(self, code: str) -> None:
        function = {"name": "run_code", "arguments": json.dumps({"code": code, "language": "python"})}
        calls = [{"id": "call_1", "type": "function", "function": function}]
        self._answers: Iterator[dict[str, Any]] = iter([{"content": None, "tool_calls": calls}, {"content": "Done."}])
        self.requests: list[dict[str, Any]] = []

    @property
    def config(self) -> OpenAIConfig:
        transport = httpx2.MockTransport(self._answer)
        return OpenAIConfig("stub", api_key="none", http_client=httpx2.AsyncClient(transport=transport))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(json.loads(request.content))
        message = {"role": "assistant", **next(self._answers)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice]}
        return httpx2.Response(200, json=answer)


async def test_a_provider_that_takes_no_images_from_tools_gets_the_file_names(
    executor: AsyncJupyterCodeExecutor,
) -> None:
    model = ChatCompletions(PLOT)
    async with executor:
        reply = await Agent("coder", config=model.config, tools=[code_tool(executor)]).ask("Go.")
    assert await reply.content() == "Done."
    assert "plot.png" in str(model.requests[-1]["messages"][-1]["content"])


async def test_a_plot_is_shown(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        tool = SandboxCodeTool(JupyterCodeEnvironment(executor), name="run_code", middleware=[add_pictures])
        reply = await coder(tool, call(PLOT), call("print('no plot')"), "Done.").ask("Go.")
        shown, plain = await results(reply)
    text, picture = shown.result.parts
    assert "plot.png" in text.content
    assert isinstance(picture, BinaryInput)
    assert picture.media_type == "image/png"
    assert picture.data == executor.notebook.with_name("plot.png").read_bytes()
    assert [type(part) for part in plain.result.parts] == [TextInput]


async def test_concurrent_calls_each_get_their_own_plots(executor: AsyncJupyterCodeExecutor) -> None:
    async with executor:
        tool = code_tool(executor)
        both = [call(PLOT.replace("plot.png", "a.png")), call(PLOT.replace("plot.png", "b.png"))]
        for name, event in zip("ab", await results(await coder(tool, both, "Done.").ask("Go.")), strict=True):
            text, picture = event.result.parts
            assert text.content.endswith(f"{name}.png")
            assert picture.data == executor.notebook.with_name(f"{name}.png").read_bytes()


# Program exit

PROGRAM = """
import asyncio, json, os, signal, sys
from ag2 import Agent
from ag2.events import ToolCallEvent
from ag2.testing import TestConfig
from nbtape import AsyncJupyterCodeExecutor
from nbtape.integrations.ag2 import code_tool

tool = code_tool(AsyncJupyterCodeExecutor(output_dir=sys.argv[1]))
code = "import os\\nopen('pid', 'w').write(str(os.getpid()))"
call = ToolCallEvent("run_code", arguments=json.dumps({"code": code, "language": "python"}))

async def main():
    await Agent("coder", config=TestConfig(call, "Done."), tools=[tool]).ask("Go.")
    END

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("end", "status"), [("pass", 0), ("raise SystemExit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", -9)]
)
def test_a_program_that_never_stops_its_executor_leaves_no_kernel_behind(
    output_dir: Path, end: str, status: int
) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.replace("END", end), str(output_dir)], check=False, timeout=60)
    assert done.returncode == status
    pid = int((output_dir / "pid").read_text())
    assert eventually(lambda: not is_running(pid))
    assert statuses(output_dir / "session.ipynb") == ["ok"]
