"""ag2 up to 0.14: its agents use nbtape's executor unchanged, and the old executor name runs a local kernel."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from autogen import ConversableAgent, GroupChat, GroupChatManager
from autogen.coding import CodeBlock as HostCodeBlock
from autogen.coding import CodeExecutorFactory
from autogen.coding import MarkdownCodeExtractor as HostExtractor
from autogen.coding.base import CodeExecutor
from message_corpus import CORPUS, Message, ours, read_by
from reading import code_cells, descendants, eventually, is_running, read_notebook, stream_text

from nbtape import CODE_WRITER_SYSTEM_MESSAGE, JupyterCodeExecutor, LocalJupyterServer, MarkdownCodeExtractor
from nbtape.session.blocking import EmbeddedIPythonCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from autogen import Agent

pytestmark = pytest.mark.usefixtures("leaves_nothing")

TASK = "Write Python code to calculate the 14th Fibonacci number."

FAILS = """\
I define the function, and try it out.

```python
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
```

Now the number:

```python
print(fibonaci(14))
```
"""

REPAIRS = """\
That was a typing error. The function is still there, so only the call is sent again.

```python
print(fibonacci(14))
```
"""

ENDS = "The 14th Fibonacci number is 377.\n\nTERMINATE"

SHOW_IMAGE = """\
import base64
from IPython.display import Image, display
picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
display(Image(data=base64.b64decode(picture), format="png"))
"""


class Model:
    """A stub of OpenAI's HTTP API that returns scripted answers.

    Args:
        answers: Its answers, in order.
    """

    def __init__(self, *answers: str) -> None:
        self.requests: list[dict[str, Any]] = []
        self._answers = iter(answers)

    @contextmanager
    def serving(self) -> Iterator[dict[str, Any]]:
        """Serve on a local port and return the `llm_config` for agents that use it."""
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.requests.append(asked)
                message = {"role": "assistant", "content": next(model._answers)}
                answer = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": asked["model"],
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                }
                content = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's name)
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield {
                    "config_list": [
                        {
                            "model": "stub",
                            "api_key": "none",
                            "base_url": f"http://127.0.0.1:{server.server_port}/v1",
                            "price": [0, 0],
                        }
                    ],
                    "cache_seed": None,
                }
            finally:
                server.shutdown()
                thread.join()


def is_the_end(message: dict[str, Any]) -> bool:
    return "TERMINATE" in (message.get("content") or "")


def runner_of(executor: Any, name: str = "code_executor", **options: Any) -> ConversableAgent:
    return ConversableAgent(
        name,
        llm_config=False,
        code_execution_config={"executor": executor, **options},
        human_input_mode="NEVER",
        is_termination_msg=is_the_end,
    )


def writer_of(llm_config: dict[str, Any]) -> ConversableAgent:
    return ConversableAgent(
        "code_writer",
        system_message=CODE_WRITER_SYSTEM_MESSAGE,
        llm_config=llm_config,
        code_execution_config=False,
        human_input_mode="NEVER",
    )


def reply(agent: ConversableAgent, message: str) -> str:
    """Return an agent's reply to a message, with an executor."""
    sender = ConversableAgent("sender", llm_config=False, code_execution_config=False, human_input_mode="NEVER")
    replied: Any = agent.generate_reply([{"role": "user", "content": message}], sender=sender)
    return str(replied)


def python(*codes: str) -> str:
    return "\n".join(f"```python\n{code}\n```" for code in codes)


@pytest.fixture
def executor(output_dir: Path) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30, agent="code_writer") as executor:
        yield executor


# The contract


@pytest.mark.parametrize("kind", [JupyterCodeExecutor, EmbeddedIPythonCodeExecutor])
def test_the_executor_implements_autogens_protocol(kind: Callable[..., Any], output_dir: Path) -> None:
    executor = kind(output_dir=output_dir)
    assert isinstance(kind, CodeExecutor), "as autogen's own tests ask"
    assert isinstance(executor, CodeExecutor)
    assert CodeExecutorFactory.create({"executor": executor}) is executor
    assert runner_of(executor).code_executor is executor


def test_the_executor_runs_autogens_code_blocks(executor: JupyterCodeExecutor) -> None:
    result = executor.execute_code_blocks([HostCodeBlock(code="print('Hello, World!')", language="python")])
    assert str(result) == "exit_code=0 output='Hello, World!\\n' output_files=[]"


@pytest.mark.parametrize("message", [FAILS, REPAIRS, ENDS, "~~~\nno fence of theirs\n~~~", "```\nprint(1)\n```"])
def test_the_extractor_finds_the_same_blocks_as_autogens(message: str) -> None:
    ours = [(block.language, block.code.strip()) for block in MarkdownCodeExtractor().extract_code_blocks(message)]
    theirs = [(block.language, block.code.strip()) for block in HostExtractor().extract_code_blocks(message)]
    assert [block for block in ours if block[1] != "no fence of theirs"] == theirs


def test_no_message_is_read_worse_than_by_autogens_extractor(capsys: pytest.CaptureFixture[str]) -> None:
    def theirs(message: Message) -> list[tuple[str, str]]:
        return [(block.language, block.code) for block in HostExtractor().extract_code_blocks(message.text)]

    by_us, by_ag2 = read_by(ours), read_by(theirs)
    with capsys.disabled():
        print(f"\nof {len(CORPUS)} messages, nbtape reads {len(by_us)} right, ag2 {len(by_ag2)}")  # noqa: T201
    assert by_ag2 - by_us == set()


def test_the_content_of_a_message_can_be_a_list_of_parts(executor: JupyterCodeExecutor) -> None:
    sender = ConversableAgent("sender", llm_config=False, code_execution_config=False)
    parts = [{"type": "text", "text": "Look:"}, {"type": "text", "text": python("print(6 * 7)")}]
    replied: Any = runner_of(executor).generate_reply([{"role": "user", "content": parts}], sender=sender)
    assert replied == "exitcode: 0 (execution succeeded)\nCode output: 42\n"


# The documented chat of two agents


def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both(executor: JupyterCodeExecutor) -> None:
    model = Model(FAILS, REPAIRS, ENDS)
    with model.serving() as llm_config:
        chat = runner_of(executor).initiate_chat(writer_of(llm_config), message=TASK)
    _, _, failed, _, succeeded, _ = [message["content"] for message in chat.chat_history]
    assert failed.startswith("exitcode: 1 (execution failed)\nCode output: ")
    assert "NameError: name 'fibonaci' is not defined" in failed
    assert succeeded == "exitcode: 0 (execution succeeded)\nCode output: 377\n"
    cells = read_notebook(executor.notebook)["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code"] * 3
    assert [cell["source"] for cell in cells[::2]] == [
        "I define the function, and try it out.",
        "Now the number:",
        "That was a typing error. The function is still there, so only the call is sent again.",
    ]
    assert {cell["metadata"]["nbtape"]["agent"] for cell in cells[::2]} == {"code_writer"}
    assert [cell["metadata"]["nbtape"]["status"] for cell in cells[1::2]] == ["ok", "error", "ok"]
    assert stream_text(cells[5]) == "377\n"


def test_the_model_gets_instructions_and_the_result_of_its_code(executor: JupyterCodeExecutor) -> None:
    model = Model(FAILS, REPAIRS, ENDS)
    with model.serving() as llm_config:
        runner_of(executor).initiate_chat(writer_of(llm_config), message=TASK)
    assert [request["messages"][0]["content"] for request in model.requests] == [CODE_WRITER_SYSTEM_MESSAGE] * 3
    assert model.requests[0]["messages"][-1]["content"] == TASK
    assert "NameError" in model.requests[1]["messages"][-1]["content"]
    assert model.requests[2]["messages"][-1]["content"].endswith("Code output: 377\n")


async def test_the_chat_also_runs_on_an_event_loop(executor: JupyterCodeExecutor) -> None:
    with Model(FAILS, REPAIRS, ENDS).serving() as llm_config:
        chat = await runner_of(executor).a_initiate_chat(writer_of(llm_config), message=TASK)
    assert chat.chat_history[-2]["content"] == "exitcode: 0 (execution succeeded)\nCode output: 377\n"
    assert len(code_cells(executor.notebook)) == 3


def test_agents_that_share_a_server_each_have_their_own_kernel(output_dir: Path) -> None:
    (output_dir / "one").mkdir()
    with (
        LocalJupyterServer() as server,
        JupyterCodeExecutor(server, output_dir=output_dir / "one") as one,
        JupyterCodeExecutor(server, output_dir=output_dir / "two") as two,
    ):
        first, second = runner_of(one, "first"), runner_of(two, "second")
        assert reply(first, python("import os\nkept = 7\nprint(os.getpid())")).startswith("exitcode: 0")
        assert reply(second, python("import os\nprint(os.getpid())")).startswith("exitcode: 0")
        assert stream_text(code_cells(one.notebook)[0]) != stream_text(code_cells(two.notebook)[0])
        assert reply(first, python("print(kept)")).endswith("Code output: 7\n")
        assert "NameError" in reply(second, python("print(kept)"))


def test_the_code_of_a_group_chat_is_run(executor: JupyterCodeExecutor) -> None:
    def next_speaker(last: Agent, group: GroupChat) -> Agent:
        return group.agents[1] if last is group.agents[0] else group.agents[0]

    with Model(FAILS, REPAIRS, ENDS).serving() as llm_config:
        runner, writer = runner_of(executor), writer_of(llm_config)
        group = GroupChat([runner, writer], messages=[], max_round=8, speaker_selection_method=next_speaker)
        manager = GroupChatManager(group, llm_config=False, human_input_mode="NEVER", is_termination_msg=is_the_end)
        runner.initiate_chat(manager, message=TASK)
    assert [message["content"][:11] for message in group.messages if message["name"] == "code_executor"][1:] == [
        "exitcode: 1",
        "exitcode: 0",
    ]
    assert stream_text(code_cells(executor.notebook)[-1]) == "377\n"


# State


def test_a_reset_agent_keeps_its_kernel(executor: JupyterCodeExecutor) -> None:
    """ag2 0.14 restarts no executor, despite the docstring of its Protocol; the executor keeps its state."""
    agent = runner_of(executor)
    reply(agent, python("kept = 7"))
    agent.reset()
    assert reply(agent, python("print(kept)")).endswith("Code output: 7\n")


def test_a_restart_by_the_host_gives_a_fresh_kernel_in_the_same_notebook(executor: JupyterCodeExecutor) -> None:
    agent = runner_of(executor)
    reply(agent, python("kept = 7"))
    agent.code_executor.restart()
    assert "NameError" in reply(agent, python("print(kept)"))
    assert [cell["metadata"]["nbtape"]["kernel_epoch"] for cell in code_cells(executor.notebook)] == [1, 2]


def test_a_timeout_is_reported_as_a_failure_and_the_state_is_kept(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=1) as executor:
        agent = runner_of(executor)
        told = reply(agent, python("kept = 7\nprint('begun', flush=True)\nimport time; time.sleep(60)"))
        assert told.startswith("exitcode: 124 (execution failed)\nCode output: begun\n")
        assert told.endswith("Timeout: stopped after 1 s. Variables are kept.")
        assert reply(agent, python("print(kept)")).endswith("Code output: 7\n")


def test_a_dead_kernel_is_reported_as_a_failure_and_the_next_message_gets_a_fresh_one(
    executor: JupyterCodeExecutor,
) -> None:
    agent = runner_of(executor)
    told = reply(agent, python("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"))
    assert told.startswith("exitcode: 137 (execution failed)\nCode output: The kernel died.")
    after = reply(agent, python("print('alive')"))
    assert after.startswith("exitcode: 0")
    assert "variables of earlier blocks are gone" in after


# The old name


def test_the_old_name_has_the_old_arguments_and_defaults(output_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(output_dir)
    executor = EmbeddedIPythonCodeExecutor()
    assert (executor.timeout, executor.kernel_name, executor.output_dir) == (60, "python3", Path())
    (output_dir / "out").mkdir()
    executor = EmbeddedIPythonCodeExecutor(timeout=10, kernel_name="python3", output_dir="out")
    assert (executor.timeout, executor.kernel_name, executor.output_dir) == (10, "python3", Path("out"))
    assert executor.notebook == output_dir / "out" / "session.ipynb"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout= must be a finite number of seconds, at least 1"),
        ({"output_dir": "/invalid/directory"}, r"Output directory .* does not exist\."),
        ({"kernel_name": "invalid_kernel_name"}, r"Kernel .* is not installed\."),
    ],
)
def test_the_old_name_rejects_the_same_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmbeddedIPythonCodeExecutor(**options)


def test_the_old_name_needs_no_ag2() -> None:
    code = (
        "import sys; from nbtape import EmbeddedIPythonCodeExecutor; "
        "sys.exit(any(name in sys.modules for name in ('autogen', 'ag2', 'pydantic')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_old_name_runs_the_same_code(output_dir: Path) -> None:
    """What ag2's test/coding/test_embedded_ipython_code_executor.py promises, in other words."""
    with EmbeddedIPythonCodeExecutor(timeout=30, output_dir=str(output_dir)) as executor:

        def run(*codes: str, language: str = "python") -> Any:
            return executor.execute_code_blocks([HostCodeBlock(code=code, language=language) for code in codes])

        assert "246" in run("import sys\na = 123 + 123\n", "print(a)").output
        assert "854" in run("def add(a, b):\n    return a + b", "add(431, 423)").output
        assert run('!echo "hello world!"', language="bash").output.replace("\r", "") == "hello world!\n"
        assert run("!pip install --no-index pip").output.strip() == ""
        failed = run("!pip install --no-index /no/such/package")
        assert (failed.exit_code, "ERROR: " in failed.output) == (0, True)
        image = run(SHOW_IMAGE)
        assert image.output == f"Image data saved to {image.output_files[0]}"
        assert Path(image.output_files[0]).read_bytes().startswith(b"\x89PNG")
        page = run("from IPython.display import HTML\nHTML('<h1>Grüße, 世界 😀</h1>')")
        assert f"HTML data saved to {page.output_files[0]}" in page.output
        assert Path(page.output_files[0]).read_bytes().endswith("<h1>Grüße, 世界 😀</h1>".encode())
        executor.restart()
        gone = run("print(a)")
        assert (gone.exit_code, "NameError" in gone.output) == (1, True)


def test_two_blocks_of_one_message_share_a_kernel_under_the_old_name(output_dir: Path) -> None:
    with EmbeddedIPythonCodeExecutor(output_dir=output_dir) as executor:
        told = reply(runner_of(executor), python("def times(a, b):\n    return a * b", "print(times(123, 4))"))
    assert told == "exitcode: 0 (execution succeeded)\nCode output: \n492\n"


# Shutdown


def test_the_kernel_stops_when_an_agent_and_its_executor_are_garbage_collected(output_dir: Path) -> None:
    before = descendants()
    agent = runner_of(EmbeddedIPythonCodeExecutor(output_dir=output_dir))
    assert descendants() == before, "it starts at the first use"
    assert reply(agent, python("print(1)")).startswith("exitcode: 0")
    assert descendants() > before
    del agent
    gc.collect()
    assert eventually(lambda: descendants() == before)


PROGRAM = """
import os, signal, sys
from autogen import ConversableAgent
from nbtape import EmbeddedIPythonCodeExecutor

code = "import os\\nopen('pid', 'w').write(str(os.getpid()))"
runner = ConversableAgent(
    "runner",
    llm_config=False,
    code_execution_config={"executor": EmbeddedIPythonCodeExecutor(output_dir=sys.argv[1])},
    human_input_mode="NEVER",
)
writer = ConversableAgent(
    "writer",
    llm_config=False,
    default_auto_reply=f"```python\\n{code}\\n```",
    human_input_mode="NEVER",
    max_consecutive_auto_reply=1,
)
runner.initiate_chat(writer, message="Go.", max_turns=2)
END
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [("pass", 0), ("raise ValueError('a fault')", 1), ("os.kill(os.getpid(), signal.SIGKILL)", -9)],
)
def test_a_chat_that_never_stops_its_executor_leaves_no_kernel_behind(output_dir: Path, end: str, status: int) -> None:
    program = [sys.executable, "-c", PROGRAM.replace("END", end), str(output_dir)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    pid = int((output_dir / "pid").read_text())
    assert eventually(lambda: not is_running(pid))
    assert [cell["metadata"]["nbtape"]["status"] for cell in code_cells(output_dir / "session.ipynb")] == ["ok"]
