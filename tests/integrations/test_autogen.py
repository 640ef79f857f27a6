"""AutoGen's contract of a code executor, and its agents and tools with nbtape's executor, on replayed models."""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from autogen_agentchat.agents import ApprovalResponse, AssistantAgent, CodeExecutorAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import (
    CodeExecutionEvent,
    CodeGenerationEvent,
    TextMessage,
    ToolCallExecutionEvent,
)
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken, Component, ComponentModel, FunctionCall, is_component_class
from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult
from autogen_core.model_context import (
    BufferedChatCompletionContext,
    ChatCompletionContext,
    UnboundedChatCompletionContext,
)
from autogen_core.models import AssistantMessage, CreateResult, ModelInfo, RequestUsage, UserMessage
from autogen_core.tools import StaticWorkbench
from autogen_ext.code_executors.docker_jupyter._jupyter_server import JupyterConnectionInfo as AutoGenConnectionInfo
from autogen_ext.models.replay import ReplayChatCompletionClient
from autogen_ext.tools.code_execution import PythonCodeExecutionTool
from executors import SHOW_IMAGE
from message_corpus import CORPUS, ours, read_by
from pydantic import ValidationError
from reading import code_cells, descendants, read_notebook, stream_text
from tool_runs import statuses

from nbtape import KernelNotInstalledError, LocalJupyterServer, OutputDirectoryError
from nbtape.integrations.autogen import (
    DockerJupyterCodeExecutor,
    JupyterCodeExecutor,
    JupyterCodeResult,
    NotebookContext,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtape import DockerJupyterServer

pytestmark = [
    pytest.mark.usefixtures("leaves_nothing"),
    pytest.mark.filterwarnings("ignore:No approval function set:UserWarning"),
]

MODEL: ModelInfo = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "structured_output": True,
    "family": "unknown",
    "multiple_system_messages": True,
}

FAILS = """\
I compute it with a helper.

```python
kept = 14
print("trying", flush=True)
fibonacci(kept)
```

Let us see.
"""

DEFINES = """\
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a"""

WORKS = f"""\
The helper was missing. `kept` is still there.

```python
{DEFINES}
```

Now with it:

```python
print(fibonacci(kept))
```
"""

SLEEPS = "kept = 7\nprint('begun', flush=True)\nimport time\ntime.sleep(60)"


def python(*codes: str) -> list[CodeBlock]:
    return [CodeBlock(code, "python") for code in codes]


async def run(executor: JupyterCodeExecutor, *codes: str) -> JupyterCodeResult:
    return await executor.execute_code_blocks(python(*codes), CancellationToken())


def told(notebook: Path) -> list[tuple[str, str]]:
    """Return the cells of a notebook: their type and source."""
    return [(cell["cell_type"], cell["source"].strip()) for cell in read_notebook(notebook)["cells"]]


def replays(*messages: str | CreateResult) -> ReplayChatCompletionClient:
    return ReplayChatCompletionClient(messages, model_info=MODEL)


def calls(code: str, said: str) -> CreateResult:
    """Return the answers of a model that writes a message and calls the code tool."""
    call = FunctionCall(id="1", name="CodeExecutor", arguments=json.dumps({"code": code}))
    usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
    return CreateResult(finish_reason="function_calls", content=[call], usage=usage, cached=False, thought=said)


# The contract of a result


def test_the_executor_is_an_autogen_code_executor_and_component() -> None:
    for face in (JupyterCodeExecutor, DockerJupyterCodeExecutor):
        assert issubclass(face, CodeExecutor)
        assert issubclass(face, Component)
        assert is_component_class(face)
        assert face.component_type == "code_executor"
    assert issubclass(JupyterCodeResult, CodeResult)


async def test_a_result_equals_autogens_own(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        result = await run(executor, "print('hello')", "a = 100 + 100; print(a)")
        assert result == JupyterCodeResult(exit_code=0, output="hello\n\n200\n", output_files=[])
        assert await run(executor, "a + 1") == JupyterCodeResult(exit_code=0, output="201", output_files=[])
        assert await run(executor, "a") != JupyterCodeResult(exit_code=0, output="201", output_files=[])


async def test_an_error_follows_the_printed_output_and_ends_the_call(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        result = await run(executor, "print('before')\n1 / 0", "print('never')")
        assert (result.exit_code, result.output_files) == (1, [])
        assert result.output.startswith("before\n\n-----")  # AutoGen has an empty line there
        assert "ZeroDivisionError: division by zero" in result.output
        assert "\x1b" not in result.output
        assert statuses(executor.notebook) == ["error", "not_run"]
        assert (await run(executor, "print('next')")).output == "next\n"


async def test_images_are_files_and_the_text_has_their_repr(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        result = await run(executor, SHOW_IMAGE)
    picture = output_dir / "session_1_0.png"
    assert result == JupyterCodeResult(0, "<IPython.core.display.Image object>", [picture])
    assert picture.read_bytes().startswith(b"\x89PNG")


async def test_files_written_by_code_are_output_files(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        result = await run(executor, "open('table.csv', 'w').write('a,b')")
    assert result == JupyterCodeResult(0, "3", [output_dir / "table.csv"])


async def test_an_option_adds_the_paths_of_files_to_the_text(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir, name_files=True) as executor:
        shown = await run(executor, SHOW_IMAGE)
        assert shown.output == "Image data saved to session_1_0.png"
        written = await run(executor, "_ = open('table.csv', 'w').write('a,b')")
        assert written.output == "The code ran and printed nothing.\nFile written: table.csv"
        assert written.output_files == [output_dir / "table.csv"]


async def test_shell_blocks_run_as_autogen_labels_them(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        blocks = [CodeBlock("echo $((6 * 7))", "sh"), CodeBlock("print('Python')\n", "Python")]
        result = await executor.execute_code_blocks(blocks, CancellationToken())
    assert result == JupyterCodeResult(0, "42\n\nPython\n", [])


async def test_a_dead_kernel_is_a_result_and_the_next_call_reports_the_fresh_kernel(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        died = await run(executor, "kept = 1\nprint('last', flush=True)\nimport os\nos.kill(os.getpid(), 9)")
        assert died.exit_code == 137
        assert died.output.startswith("last\n")
        assert "The kernel died" in died.output
        after = await run(executor, "print('kept' in globals())")
        assert after.exit_code == 0
        assert "variables of earlier blocks are gone" in after.output
        assert after.output.endswith("False\n")


async def test_no_message_is_read_worse_than_by_the_code_executor_agent(
    output_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = CodeExecutorAgent("runner", JupyterCodeExecutor(output_dir=output_dir))
    found: dict[str, list[tuple[str, str]]] = {}
    for message in CORPUS.values():
        blocks = await agent.extract_code_blocks_from_messages([TextMessage(content=message.text, source="coder")])
        found[message.text] = [(block.language, block.code) for block in blocks]
    by_us, by_agentchat = read_by(ours), read_by(lambda message: found[message.text])
    with capsys.disabled():
        print(f"\nof {len(CORPUS)} messages, nbtape reads {len(by_us)} right, agentchat {len(by_agentchat)}")  # noqa: T201
    assert by_agentchat - by_us == set()


# Timeout and cancellation


async def test_a_timeout_raises_and_the_kernel_continues(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir, timeout=2) as executor:
        with pytest.raises(
            asyncio.TimeoutError, match=r"(?s)^begun\n.*Timeout: stopped after 2 s\. Variables are kept"
        ):
            await run(executor, SLEEPS)
        assert await run(executor, "print(kept)") == JupyterCodeResult(0, "7\n", [])
        late, after = code_cells(executor.notebook)
        assert stream_text(late) == "begun\n"
        assert statuses(executor.notebook) == ["timeout", "ok"]
        assert stream_text(after) == "7\n"


async def test_a_timeout_error_has_the_output_of_earlier_blocks(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir, timeout=2) as executor:
        with pytest.raises(asyncio.TimeoutError, match=r"(?s)^first\n.*begun\n.*Timeout.*1 more block was not run"):
            await run(executor, "print('first')", SLEEPS, "print('never')")
        assert statuses(executor.notebook) == ["ok", "timeout", "not_run"]


async def test_the_timeout_applies_to_each_block(output_dir: Path) -> None:
    nap = "import time\ntime.sleep(1.2)\nprint('slept')"
    async with JupyterCodeExecutor(output_dir=output_dir, timeout=2) as executor:
        assert (await run(executor, nap, nap)).output == "slept\n\nslept\n"


@pytest.mark.parametrize("cancel", ["here", "in a thread"])
async def test_a_cancelled_token_stops_the_block_and_the_kernel_continues(output_dir: Path, cancel: str) -> None:
    token = CancellationToken()

    def on_output(_: object) -> None:
        if cancel == "here":
            token.cancel()
        else:
            threading.Thread(target=token.cancel).start()

    async with JupyterCodeExecutor(output_dir=output_dir, on_output=on_output) as executor:
        with pytest.raises(asyncio.CancelledError):
            await executor.execute_code_blocks(python(SLEEPS, "print('never')"), token)
        assert statuses(executor.notebook) == ["interrupted", "not_run"]
        assert stream_text(code_cells(executor.notebook)[0]) == "begun\n"
        assert await run(executor, "print(kept)") == JupyterCodeResult(0, "7\n", [])


async def test_code_that_swallows_the_interrupt_is_cancelled_too(output_dir: Path) -> None:
    token = CancellationToken()
    code = (
        "print('begun', flush=True)\nimport time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('ha')"
    )
    async with JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: token.cancel()) as executor:
        with pytest.raises(asyncio.CancelledError):
            await executor.execute_code_blocks(python(code), token)
        assert (await run(executor, "print('next')")).output == "next\n"


async def test_a_token_cancelled_before_the_call_runs_nothing(output_dir: Path) -> None:
    token = CancellationToken()
    token.cancel()
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        with pytest.raises(asyncio.CancelledError):
            await executor.execute_code_blocks(python("print('never')"), token)
        assert code_cells(executor.notebook) == []
        assert (await run(executor, "print('next')")).output == "next\n"


async def test_a_queued_call_is_cancelled_without_running(output_dir: Path) -> None:
    begun, token, other = asyncio.Event(), CancellationToken(), CancellationToken()
    async with JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
        first = asyncio.ensure_future(executor.execute_code_blocks(python(SLEEPS), token))
        await begun.wait()
        second = asyncio.ensure_future(executor.execute_code_blocks(python("print('never')"), other))
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not first.done()
        token.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert statuses(executor.notebook) == ["interrupted"]


async def test_cancelling_a_task_cancels_its_call(output_dir: Path) -> None:
    begun = asyncio.Event()
    async with JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
        call = asyncio.ensure_future(run(executor, SLEEPS))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await run(executor, "print(kept)") == JupyterCodeResult(0, "7\n", [])


def test_a_token_can_be_cancelled_after_its_loop_is_closed(output_dir: Path) -> None:
    token = CancellationToken()

    async def once() -> JupyterCodeResult:
        executor = JupyterCodeExecutor(output_dir=output_dir)
        async with executor:
            return await executor.execute_code_blocks(python("print(1)"), token)

    assert asyncio.run(once()).output == "1\n"
    token.cancel()
    assert token.is_cancelled()


# Lifecycle


async def test_nothing_runs_before_start_or_after_stop(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir)
    with pytest.raises(RuntimeError, match="Executor must be started before executing cells"):
        await run(executor, "print('never')")
    await executor.stop()  # harmless
    assert not executor.notebook.exists()
    await executor.start()
    await executor.start()
    assert (await run(executor, "print(1)")).output == "1\n"
    await executor.stop()
    await executor.stop()
    with pytest.raises(RuntimeError, match="Executor must be started"):
        await run(executor, "print('never')")
    assert statuses(executor.notebook) == ["ok"]


async def test_a_restart_drops_the_variables_and_continues_the_recording(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        await run(executor, "kept = 1")
        await executor.restart()
        after = await run(executor, "print('kept' in globals())")
        assert after.output.endswith("False\n")
        assert statuses(executor.notebook) == ["ok", "ok"]


async def test_a_restart_starts_an_executor_that_was_not_started(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir)
    await executor.restart()
    assert (await run(executor, "print(1)")).output == "1\n"
    await executor.stop()


async def test_a_stop_interrupts_the_running_block(output_dir: Path) -> None:
    begun = asyncio.Event()
    executor = JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: begun.set())
    await executor.start()
    call = asyncio.ensure_future(run(executor, SLEEPS))
    await begun.wait()
    await executor.stop()
    assert (await call).exit_code == 130
    assert statuses(executor.notebook) == ["interrupted"]


def test_a_constructor_starts_nothing(output_dir: Path) -> None:
    before = descendants()
    executor = JupyterCodeExecutor(output_dir=output_dir / "deep" / "down", notebook="analysis")
    assert executor.output_dir == output_dir / "deep" / "down"
    assert executor.notebook == executor.output_dir / "analysis.ipynb"
    assert list(output_dir.iterdir()) == []
    assert descendants() == before


@pytest.mark.parametrize("timeout", [0, -1, 0.5, float("nan")])
def test_an_invalid_timeout_is_rejected_with_autogens_message(timeout: float, temp_dir: Path) -> None:
    with pytest.raises(ValueError, match=r"Timeout must be greater than or equal to 1\."):
        JupyterCodeExecutor(timeout=timeout)
    assert list(temp_dir.iterdir()) == []


def test_invalid_options_are_rejected_and_leave_no_directory(temp_dir: Path) -> None:
    with pytest.raises(KernelNotInstalledError, match="Kernel nokernel is not installed"):
        JupyterCodeExecutor("nokernel")
    with pytest.raises(TypeError, match="Unknown option speed"):
        JupyterCodeExecutor(speed=1)  # type: ignore[call-arg]
    assert list(temp_dir.iterdir()) == []


def test_a_directory_that_cannot_be_created_is_rejected(output_dir: Path) -> None:
    (output_dir / "file").touch()
    with pytest.raises(OutputDirectoryError):
        JupyterCodeExecutor(output_dir=output_dir / "file" / "below")


async def test_the_default_is_a_temporary_directory_that_is_kept(temp_dir: Path) -> None:
    async with JupyterCodeExecutor() as executor:
        result = await run(executor, SHOW_IMAGE)
    assert result.output_files[0].parent == executor.output_dir
    assert executor.output_dir.parent == temp_dir
    assert executor.notebook.exists()
    assert executor.output_dir.stat().st_mode & 0o077 == 0


def test_the_current_directory_is_deprecated(output_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(output_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        executor = JupyterCodeExecutor(output_dir=".")
    with pytest.warns(DeprecationWarning, match="Using the current directory as output_dir is deprecated"):
        assert executor.output_dir == Path()


# Servers


async def test_executors_on_one_server_have_a_kernel_each(output_dir: Path) -> None:
    with LocalJupyterServer() as server:
        executors = [
            JupyterCodeExecutor(output_dir=output_dir, jupyter_server=server, notebook=f"agent-{n}") for n in range(3)
        ]
        await asyncio.gather(*(executor.start() for executor in executors))
        await asyncio.gather(*(run(executor, f"mine = {n}") for n, executor in enumerate(executors)))
        results = await asyncio.gather(*(run(executor, "print(mine)") for executor in executors))
        assert [result.output for result in results] == ["0\n", "1\n", "2\n"]
        assert [executor.notebook.name for executor in executors] == [f"agent-{n}.ipynb" for n in range(3)]
        await executors[0].stop()
        assert (await run(executors[1], "print(mine)")).output == "1\n"
        for executor in executors:
            await executor.stop()


@pytest.mark.parametrize("kind", ["server", "connection info", "URL", "URL with token", "AutoGen's connection info"])
async def test_a_server_can_be_given_as_url_connection_info_or_object(output_dir: Path, kind: str) -> None:
    with LocalJupyterServer() as server:
        info = server.connection_info
        known: dict[str, Callable[[], dict[str, Any]]] = {
            "server": lambda: {"jupyter_server": server},
            "connection info": lambda: {"jupyter_server": info},
            "URL": lambda: {"jupyter_server": info.url, "token": info.token},
            "URL with token": lambda: {"jupyter_server": f"{info.url}lab?token={info.token}"},
            "AutoGen's connection info": lambda: {
                "jupyter_server": AutoGenConnectionInfo(info.host, info.use_https, info.port, info.token)
            },
        }
        async with JupyterCodeExecutor(output_dir=output_dir, **known[kind]()) as executor:
            assert (await run(executor, "print(6 * 7)")).output == "42\n"
            assert len(code_cells(executor.notebook)) == 1
            if kind == "URL with token":
                with pytest.raises(ValueError, match="must not contain a token"):
                    executor.dump_component()


async def test_a_container_is_used_like_autogens_docker_executor(
    container: DockerJupyterServer, output_dir: Path
) -> None:
    executor = DockerJupyterCodeExecutor(container, timeout=2, output_dir=output_dir)
    try:
        late = await run(executor, SLEEPS)  # starts by itself
        assert late.exit_code == 124
        assert late.output.startswith("begun\n")
        assert "Timeout" in late.output
        result = await run(executor, "print(kept)\n_ = open('made.txt', 'w').write('x')")
        assert result == JupyterCodeResult(0, "7\n", [output_dir / "made.txt"])
        inside = await run(executor, "import os\nprint(os.path.exists('/.dockerenv'))")
        assert inside.output == "True\n"
    finally:
        await executor.stop()


def test_the_default_output_dir_is_the_mounted_directory_of_the_container(container: DockerJupyterServer) -> None:
    mounted = container._bind_dir
    assert mounted is not None
    assert DockerJupyterCodeExecutor(container).output_dir == mounted
    assert JupyterCodeExecutor(jupyter_server=container).notebook.parent == mounted


def test_a_docker_executor_never_runs_code_locally(temp_dir: Path) -> None:
    with pytest.raises(ValueError, match="jupyter_server= is missing"):
        DockerJupyterCodeExecutor(None)
    assert list(temp_dir.iterdir()) == []


# As a component


OPTIONS: dict[str, Any] = {
    "startup_timeout": 50.0,
    "interrupt_grace": 2.0,
    "max_output_chars": 500,
    "max_cell_chars": 1000,
    "max_notebook_chars": 5000,
    "extract": ["html"],
    "traceback": "full",
    "name_files": True,
    "record_messages": False,
    "agent": "coder",
}


async def test_a_dumped_component_is_loaded_unchanged(output_dir: Path) -> None:
    executor = JupyterCodeExecutor("python3", 30, output_dir, notebook="analysis", **OPTIONS)
    dumped = executor.dump_component()
    assert dumped.provider == "nbtape.integrations.autogen.JupyterCodeExecutor"
    assert dumped.component_type == "code_executor"
    known = {"kernel_name": "python3", "timeout": 30, "output_dir": str(output_dir), "notebook": "analysis"}
    assert dumped.config == {**known, **OPTIONS}

    read = ComponentModel.model_validate_json(dumped.model_dump_json())
    loaded = CodeExecutor.load_component(read)
    assert isinstance(loaded, JupyterCodeExecutor)
    assert loaded.dump_component() == dumped
    assert loaded.output_dir == output_dir
    async with loaded:
        assert (await run(loaded, SHOW_IMAGE)).output == "Image data saved to analysis_1_0.png"


def test_each_loaded_component_has_its_own_temporary_directory() -> None:
    executor = JupyterCodeExecutor()
    dumped = executor.dump_component()
    assert dumped.config == {
        "kernel_name": "python3",
        "timeout": 60,
        "name_files": False,
        "extract": ["html"],
        "traceback": "full",
    }
    assert JupyterCodeExecutor.load_component(dumped).output_dir != executor.output_dir


async def test_a_dump_of_autogens_own_executor_can_be_loaded(output_dir: Path) -> None:
    theirs = {"kernel_name": "python3", "timeout": 60, "output_dir": str(output_dir)}
    provider = "nbtape.integrations.autogen.JupyterCodeExecutor"
    async with JupyterCodeExecutor.load_component({"provider": provider, "config": theirs}) as executor:
        assert (await run(executor, "print(1)")).output == "1\n"


@pytest.mark.parametrize("face", [JupyterCodeExecutor, DockerJupyterCodeExecutor])
def test_the_url_of_a_server_is_dumped(face: type[JupyterCodeExecutor], output_dir: Path) -> None:
    executor = face(jupyter_server="https://hub.example.com/user/alice/lab?x=1", output_dir=output_dir)
    dumped = executor.dump_component()
    assert dumped.config["jupyter_server"] == "https://hub.example.com/user/alice/"
    assert type(CodeExecutor.load_component(dumped)) is face
    assert CodeExecutor.load_component(dumped).dump_component() == dumped


@pytest.mark.parametrize(
    "given",
    [
        {"jupyter_server": "http://127.0.0.1:8888/?token=mysecret"},
        {"jupyter_server": "http://127.0.0.1:8888/", "token": "mysecret"},
        {"jupyter_server": AutoGenConnectionInfo("127.0.0.1", False, 8888, "mysecret")},  # noqa: FBT003
        {"jupyter_server": LocalJupyterServer(token="mysecret")},
    ],
)
def test_a_token_is_never_dumped_and_the_error_names_the_remedy(given: dict[str, Any], output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir, **given)
    for dump in (executor.dump_component, PythonCodeExecutionTool(executor).dump_component):
        with pytest.raises(ValueError, match=r"(?i)create this executor in your program") as caught:
            dump()
        assert "mysecret" not in str(caught.value)


def test_a_function_is_not_dumped(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: None)
    with pytest.raises(ValueError, match="A component cannot contain the function on_output="):
        executor.dump_component()


def test_a_component_with_unknown_fields_is_rejected_without_showing_them(output_dir: Path) -> None:
    dumped = JupyterCodeExecutor(output_dir=output_dir).dump_component()
    dumped.config["token"] = "mysecret"
    with pytest.raises(ValidationError, match="token") as caught:
        JupyterCodeExecutor.load_component(dumped)
    assert "mysecret" not in str(caught.value)


async def test_agents_and_tools_are_dumped_with_their_executor(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir)
    context = NotebookContext(executor, BufferedChatCompletionContext(5))
    agent = CodeExecutorAgent("coder", executor, model_client=replays("Hello."), model_context=context)
    loaded = CodeExecutorAgent.load_component(agent.dump_component())
    assert loaded.dump_component() == agent.dump_component()
    assert isinstance(loaded.model_context, BufferedChatCompletionContext)

    tool = PythonCodeExecutionTool(executor)
    again = PythonCodeExecutionTool.load_component(tool.dump_component())
    assert again.dump_component() == tool.dump_component()


# Agents and tools


async def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both(output_dir: Path) -> None:
    decision = json.dumps({"retry": True, "reason": "Define it."})
    model = replays(FAILS, decision, WORKS, "The 14th Fibonacci number is 377.")
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        agent = CodeExecutorAgent(
            "coder", executor, model_client=model, max_retries_on_error=2, model_context=NotebookContext(executor)
        )
        events = [event async for event in agent.run_stream(task="What is the 14th Fibonacci number?")]
        result = events[-1]
        assert isinstance(result, TaskResult)

        attempts = [event for event in events if isinstance(event, CodeExecutionEvent)]
        assert [attempt.result.exit_code for attempt in attempts] == [1, 0]
        assert "trying\n" in attempts[0].result.output
        assert "NameError" in attempts[0].result.output
        assert attempts[1].result.output.strip() == "377"
        assert [event.model_dump()["result"]["exit_code"] for event in attempts] == [1, 0]
        assert sum(isinstance(event, CodeGenerationEvent) for event in events) == 3
        assert result.messages[-1].to_text() == "The 14th Fibonacci number is 377."

        # The agent's message is in place before the executor is stopped.
        assert told(executor.notebook) == [
            ("markdown", "I compute it with a helper."),
            ("code", 'kept = 14\nprint("trying", flush=True)\nfibonacci(kept)'),
            ("markdown", "Let us see."),
            ("markdown", "The helper was missing. `kept` is still there."),
            ("code", DEFINES),
            ("markdown", "Now with it:"),
            ("code", "print(fibonacci(kept))"),
            ("markdown", "The 14th Fibonacci number is 377."),
        ]
    assert statuses(executor.notebook) == ["error", "ok", "ok"]
    assert read_notebook(executor.notebook)["cells"][-1]["metadata"]["nbtape"]["agent"] == "coder"


async def test_an_agent_runs_code_as_a_tool_and_its_message_is_recorded(output_dir: Path) -> None:
    code = f"{DEFINES}\nprint(fibonacci(14))"
    model = replays(calls(code, "I compute it."), "The 14th Fibonacci number is 377.")
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        agent = AssistantAgent(
            "analyst",
            model,
            tools=[PythonCodeExecutionTool(executor)],
            reflect_on_tool_use=True,
            model_context=NotebookContext(executor),
        )
        result = await agent.run(task="What is the 14th Fibonacci number?")
        [event] = [message for message in result.messages if isinstance(message, ToolCallExecutionEvent)]
        assert event.content[0].content == "377\n"
        assert not event.content[0].is_error
        assert result.messages[-1].to_text() == "The 14th Fibonacci number is 377."
        assert told(executor.notebook) == [
            ("markdown", "I compute it."),
            ("code", code),
            ("markdown", "The 14th Fibonacci number is 377."),
        ]


async def test_a_tool_reports_success_and_keeps_the_state_of_the_last_call(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        tool = PythonCodeExecutionTool(executor)
        failed = await tool.run_json({"code": "a = 5\na / 0"}, CancellationToken())
        assert (failed.success, "ZeroDivisionError" in failed.output) == (False, True)
        again = await tool.run_json({"code": "print(a)"}, CancellationToken())
        assert (again.success, again.output) == (True, "5\n")


async def test_a_model_gets_a_timeout_and_the_output_before_it(output_dir: Path) -> None:
    model = replays(calls(SLEEPS, ""), calls("print(kept)", ""), "It is 7.")
    async with JupyterCodeExecutor(output_dir=output_dir, timeout=1) as executor:
        agent = AssistantAgent(
            "analyst",
            model,
            tools=[PythonCodeExecutionTool(executor)],
            max_tool_iterations=3,
        )
        result = await agent.run(task="Go.")
    late, after = [message.content[0] for message in result.messages if isinstance(message, ToolCallExecutionEvent)]
    assert late.is_error
    assert late.content.startswith("begun\n")
    assert "Timeout: stopped after 1 s. Variables are kept." in late.content
    assert (after.is_error, after.content) == (False, "7\n")
    assert statuses(executor.notebook) == ["timeout", "ok"]


async def test_cancelling_a_token_cancels_the_agents_run(output_dir: Path) -> None:
    token = CancellationToken()
    async with JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: token.cancel()) as executor:
        agent = CodeExecutorAgent("coder", executor, model_client=replays(f"```python\n{SLEEPS}\n```"))
        with pytest.raises(asyncio.CancelledError):
            await agent.run(task="Go.", cancellation_token=token)
        assert (await run(executor, "print(kept)")).output == "7\n"
        assert statuses(executor.notebook) == ["interrupted", "ok"]


async def test_cancelling_a_token_cancels_the_tool_call(output_dir: Path) -> None:
    # Not through AssistantAgent: it waits forever for any canceled tool (microsoft/autogen, issue 7956).
    token = CancellationToken()
    async with JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: token.cancel()) as executor:
        workbench = StaticWorkbench([PythonCodeExecutionTool(executor)])
        with pytest.raises(asyncio.CancelledError):
            await workbench.call_tool("CodeExecutor", {"code": SLEEPS}, token)
        again = await workbench.call_tool("CodeExecutor", {"code": "print(kept)"})
        assert (again.to_text(), again.is_error) == ("7\n", False)
        assert statuses(executor.notebook) == ["interrupted", "ok"]


async def test_a_team_of_a_writer_and_an_executor_is_recorded_with_the_writers_messages(output_dir: Path) -> None:
    model = replays(FAILS, WORKS)
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        writer = AssistantAgent("writer", model, model_context=NotebookContext(executor))
        team = RoundRobinGroupChat(
            [writer, CodeExecutorAgent("computer", executor, sources=["writer"])],
            termination_condition=MaxMessageTermination(5),
        )
        result = await team.run(task="What is the 14th Fibonacci number?")
        assert [message.source for message in result.messages] == ["user", "writer", "computer", "writer", "computer"]
        assert result.messages[-1].to_text().strip() == "377"
        kinds = [kind for kind, _ in told(executor.notebook)]
        assert kinds == ["markdown", "code", "markdown", "markdown", "code", "markdown", "code"]
        assert statuses(executor.notebook) == ["error", "ok", "ok"]


async def test_an_executor_agent_without_a_model_runs_the_code_it_is_sent(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        agent = CodeExecutorAgent("computer", executor)
        task = TextMessage(content="```python\nprint('hello')\n```\n```sh\necho there\n```", source="user")
        response = await agent.on_messages([task], CancellationToken())
    assert response.chat_message.to_text() == "hello\n\nthere\n"


# Messages of agents


async def said(context: ChatCompletionContext, *texts: str) -> None:
    for text in texts:
        await context.add_message(AssistantMessage(content=text, source="coder"))


async def test_code_that_was_not_approved_is_recorded_as_a_message(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        agent = CodeExecutorAgent(
            "coder",
            executor,
            model_client=replays("Gone:\n\n```python\nimport os\nos.abort()\n```", "Then not."),
            model_context=NotebookContext(executor),
            approval_func=lambda _: ApprovalResponse(approved=False, reason="No."),
        )
        await agent.run(task="Delete all.")
        assert told(executor.notebook) == [
            ("markdown", "Gone:\n\n```python\nimport os\nos.abort()\n```"),
            ("markdown", "Then not."),
        ]


async def test_a_message_without_a_run_is_recorded_by_the_stop(output_dir: Path) -> None:
    message = "Have a look:\n\n```python\nprint(1)\n```"
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        context = NotebookContext(executor)
        await said(context, message)
        await run(executor, "print('of somebody else')")
        await said(context, message, message)
    assert told(executor.notebook) == [
        ("markdown", message),
        ("code", "print('of somebody else')"),
        ("markdown", message),
        ("markdown", message),
    ]


async def test_messages_before_start_and_after_stop_start_nothing(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir)
    context = NotebookContext(executor)
    before = descendants()
    await said(context, "Hello.")
    assert descendants() == before
    async with executor:
        await run(executor, "print(1)")
    await said(context, "Goodbye.")
    assert descendants() == before
    assert told(executor.notebook) == [("code", "print(1)")]


async def test_recording_of_agent_messages_can_be_switched_off(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir, record_messages=False) as executor:
        await said(NotebookContext(executor), "Hello.", "Code:\n```python\nprint(1)\n```")
        await run(executor, "print(1)\n")
    assert told(executor.notebook) == [("code", "print(1)")]


async def test_only_messages_of_agents_are_recorded(output_dir: Path) -> None:
    async with JupyterCodeExecutor(output_dir=output_dir) as executor:
        context = NotebookContext(executor)
        await context.add_message(UserMessage(content="What is the price?", source="user"))
        call = FunctionCall(id="1", name="look_up", arguments="{}")
        await context.add_message(AssistantMessage(content=[call], source="coder"))
        await context.add_message(AssistantMessage(content="It is 7.", thought="Hm, 6 or 7?", source="coder"))
        await executor.add_markdown("# By hand")
    assert told(executor.notebook) == [("markdown", "It is 7."), ("markdown", "# By hand")]


async def test_a_recording_context_keeps_messages_like_its_inner_context(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir)
    within = BufferedChatCompletionContext(buffer_size=2)
    context = NotebookContext(executor, within)
    await said(context, "a", "b", "c")
    assert [message.content for message in await context.get_messages()] == ["b", "c"]
    assert context.dump_component() == within.dump_component()
    other = NotebookContext(executor)
    await other.load_state(await context.save_state())
    assert [message.content for message in await other.get_messages()] == ["a", "b", "c"]
    await context.clear()
    assert await within.get_messages() == []
    assert other.dump_component() == UnboundedChatCompletionContext().dump_component()
