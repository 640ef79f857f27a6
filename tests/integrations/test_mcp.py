"""The MCP server as its clients see it: in memory, on standard input and output, on HTTP, and with other SDKs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import httpx
import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from calling import examples
from half_requests import BEGINNINGS, begin, held, is_closed
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, DeclinedElicitation, ElicitationResult
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import ElicitResult
from PIL import Image
from reading import code_cells, descendants, eventually, is_running, read_notebook, stream_text
from tool_runs import statuses

from nbtape import CodeBlock
from nbtape.integrations.mcp import NotebookServer
from nbtape.integrations.mcp.review import Review, answer_of
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import docker
    from mcp.types import CallToolResult

pytestmark = pytest.mark.usefixtures("leaves_nothing")

REPOSITORY = Path(__file__).parents[2]
SECRET = "a secret of this machine"
FIBONACCI = "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n"
PICTURE = "from PIL import Image\nImage.new('RGB', (3000, 1500), 'red')"
TOKEN = "sesame-of-the-mcp-server"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@contextlib.asynccontextmanager
async def connected(output_dir: Path, **options: Any) -> AsyncIterator[Client]:
    """Connect a client to a server in this process."""
    async with Client(NotebookServer(**{"output_dir": output_dir, "timeout": 30, **options})) as client:
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    return await client.call_tool(tool, arguments)


async def run(client: Client, code: str, **arguments: Any) -> CallToolResult:
    return await client.call_tool("run_code", {"code": code, **arguments})


def text(result: CallToolResult) -> str:
    """Return the text of a result."""
    return "".join(block.text for block in result.content if block.type == "text")


def images(result: CallToolResult) -> list[Image.Image]:
    found = [block for block in result.content if block.type == "image"]
    assert all(block.mime_type == "image/png" for block in found)
    return [Image.open(io.BytesIO(base64.b64decode(block.data))) for block in found]


def entries(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@dataclass
class Gate:
    """A file that code waits for.

    Args:
        path: The file, in a directory without a notebook, which would record it.
    """

    path: Path

    def open(self) -> None:
        """Let the code continue."""
        self.path.touch()

    @property
    def wait(self) -> str:
        """Return code that prints "begun" and waits."""
        return (
            "import os, time\nprint('begun', flush=True)\n"
            f"while not os.path.exists({str(self.path)!r}):\n    time.sleep(0.01)\n"
        )


async def has_begun(output_dir: Path, name: str = "session") -> None:
    """Wait until the notebook shows that the running block has printed something."""
    notebook = output_dir / f"{name}.ipynb"

    def begun() -> bool:
        cells = code_cells(notebook) if notebook.exists() else []
        return bool(cells) and cells[-1]["metadata"]["nbtape"]["status"] == "running" and bool(cells[-1]["outputs"])

    assert await asyncio.to_thread(eventually, begun, 30)


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate") / "open")


# What the tools do


async def test_the_tools_describe_their_use_and_their_side_effects(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools["run_code"].description == TOOL_DESCRIPTION
    assert {name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint} == {
        *("poll_code", "list_variables", "read_notebook", "list_files", "fetch_file"),
    }
    assert {name for name, tool in tools.items() if tool.annotations and tool.annotations.destructive_hint} == {
        *("run_code", "interrupt_kernel", "restart_kernel"),
    }
    assert all(tool.title and tool.description for tool in tools.values())
    assert tools["run_code"].input_schema["required"] == ["code"]
    assert tools["run_code"].input_schema["properties"]["timeout"]["default"] == 30
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())
    assert not any(tool.output_schema for tool in tools.values())


async def test_the_model_gets_the_name_of_another_kernel(output_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = output_dir / "jupyter" / "kernels" / "other"
    spec.mkdir(parents=True)
    described = {"argv": ["false", "{connection_file}"], "display_name": "Other", "language": "other"}
    (spec / "kernel.json").write_text(json.dumps(described))
    monkeypatch.setenv("JUPYTER_PATH", str(output_dir / "jupyter"))
    async with connected(output_dir, kernel_name="other") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "The kernel is 'other'" in str(tools["run_code"].description)
        failed = await run(client, "1")
    assert failed.is_error
    assert "kernel" in text(failed)


async def test_nothing_starts_before_the_first_use(output_dir: Path) -> None:
    before = descendants()
    async with connected(output_dir) as client:
        assert "no notebook yet" in text(await call(client, "read_notebook"))
        assert "no notebook yet" in text(await call(client, "list_files"))
        assert text(await call(client, "list_variables")) == "There are no variables."
        assert text(await call(client, "interrupt_kernel")) == "No code is running."
        assert "No code has been run yet" in text(await call(client, "poll_code"))
        assert (descendants(), entries(output_dir)) == (before, [])
        await run(client, "1")
        assert descendants() != before
    assert await asyncio.to_thread(eventually, lambda: descendants() == before)


async def test_a_failed_attempt_is_repaired_and_the_notebook_shows_both(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        await call(client, "add_markdown", text="# Fibonacci")
        failed = await run(client, f"{FIBONACCI}\nprint('ready')\nfibonaci(14)")
        repaired = await run(client, "fibonacci(14)")
    assert failed.is_error
    assert text(failed).startswith("ready\n")
    assert "NameError: name 'fibonaci' is not defined" in text(failed)
    assert (repaired.is_error, text(repaired)) == (False, "377")
    assert repaired.meta is not None
    told = [repaired.meta[f"nbtape/{name}"] for name in ("block", "status", "cells")]
    assert told == [2, "ok", [2]]
    assert statuses(output_dir / "session.ipynb") == ["error", "ok"]
    assert read_notebook(output_dir / "session.ipynb")["cells"][0]["source"] == "# Fibonacci"


async def test_a_plot_is_an_image_of_a_sensible_size(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        result = await run(client, PICTURE)
        fetched = await call(client, "fetch_file", name="session_1_0.png")
    assert [image.size for image in images(result)] == [(1024, 512)]
    assert text(result) == "Image data saved to session_1_0.png"
    assert [image.size for image in images(fetched)] == [(1024, 512)]
    with Image.open(output_dir / "session_1_0.png") as drawn:
        assert drawn.size == (3000, 1500)


async def test_a_plot_is_returned_together_with_an_error(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        result = await run(client, f"{PICTURE}.save('p.png')\n1/0")
    assert result.is_error
    assert [image.size for image in images(result)] == [(1024, 512)]
    assert "ZeroDivisionError" in text(result)


async def test_output_is_limited_and_the_notebook_is_complete(output_dir: Path, gate: Gate) -> None:
    async with connected(output_dir, max_output_chars=2000) as client:
        result = await run(client, "print('head', 'x' * 100_000, 'tail')")
        left = await run(client, f"print('y' * 100_000)\n{gate.wait}", wait=0)
        assert "still running" in text(left)
        await has_begun(output_dir)
        polled = await call(client, "poll_code", wait=0)
        read = await call(client, "read_notebook")
        gate.open()
        await call(client, "poll_code")
    for told in (result, polled, read):
        assert len(text(told)) < 2500
    assert text(result).startswith("head xxx")
    assert text(result).endswith("xxx tail")
    assert text(polled).endswith("begun")
    assert len(stream_text(code_cells(output_dir / "session.ipynb")[0])) > 100_000


async def test_a_long_block_keeps_running_and_can_be_polled(output_dir: Path, gate: Gate) -> None:
    async with connected(output_dir) as client:
        left = await run(client, f"{gate.wait}\nprint('done')", wait=0.5)
        assert not left.is_error
        assert "Block 1 is still running" in text(left)
        assert "poll_code" in text(left)
        await has_begun(output_dir)
        polled = await call(client, "poll_code", wait=0)
        assert "Its output so far:\nbegun" in text(polled)
        read = text(await call(client, "read_notebook"))
        assert "[0] block 1, running" in read
        gate.open()
        ended = await call(client, "poll_code", block=1)
        assert (ended.is_error, text(ended)) == (False, "begun\ndone")
        assert text(await call(client, "poll_code")) == "begun\ndone"  # and again for each poll
        assert text(await run(client, "print('next')")) == "next"
        assert text(await call(client, "poll_code", block=1)) == "begun\ndone"
        assert (await call(client, "poll_code", block=7)).is_error


async def test_calls_do_not_wait_for_a_block_that_was_left_running(output_dir: Path, gate: Gate) -> None:
    async with connected(output_dir) as client:
        await run(client, gate.wait, wait=0)
        for tool, arguments in (
            ("run_code", {"code": "print('second')"}),
            ("list_variables", {}),
            ("add_markdown", {"text": "meanwhile"}),
        ):
            refused = await client.call_tool(tool, arguments)
            assert refused.is_error
            assert "Block 1 is still running. Wait for it with poll_code" in text(refused)
        gate.open()
        await call(client, "poll_code")
        assert text(await run(client, "print('second')")) == "second"
    assert len(read_notebook(output_dir / "session.ipynb")["cells"]) == 2


async def test_simultaneous_calls_run_one_after_the_other(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        codes = ["n = [1]", "n.append(2)", "n.append(3)", "print(n)"]
        results = await asyncio.gather(*(run(client, code) for code in codes))
    assert text(results[-1]) == "[1, 2, 3]"
    assert statuses(output_dir / "session.ipynb") == ["ok"] * 4


async def test_an_interrupt_stops_the_running_block_and_keeps_variables(output_dir: Path, gate: Gate) -> None:
    async with connected(output_dir) as client:
        first = asyncio.ensure_future(run(client, f"kept = 7\n{gate.wait}"))
        await has_begun(output_dir)
        second = asyncio.ensure_future(run(client, "print('never')"))
        await asyncio.sleep(0)
        stopped = await call(client, "interrupt_kernel")
        assert not stopped.is_error
        assert "Block 1 was stopped. Interrupted. Variables are kept." in text(stopped)
        assert (await first).is_error
        assert text(await first).startswith("begun\n")
        assert (await second).is_error
        assert "not run" in text(await second)
        assert text(await run(client, "print(kept)")) == "7"
    assert statuses(output_dir / "session.ipynb") == ["interrupted", "not_run", "ok"]


async def test_a_restart_stops_the_running_block_and_reports_that_variables_are_gone(
    output_dir: Path, gate: Gate
) -> None:
    async with connected(output_dir) as client:
        await run(client, f"gone = 7\n{gate.wait}", wait=0)
        await has_begun(output_dir)
        restarted = await call(client, "restart_kernel")
        assert (restarted.is_error, text(restarted)) == (
            False,
            "A fresh kernel was started: variables are gone. The notebook continues.",
        )
        assert "Interrupted" in text(await call(client, "poll_code", block=1))
        after = await run(client, "print('gone' in globals())")
        assert "variables of earlier blocks are gone" in text(after)
        assert text(after).endswith("\nFalse")
    assert statuses(output_dir / "session.ipynb") == ["interrupted", "ok"]


async def test_a_timeout_is_reported_and_can_be_set_per_call(output_dir: Path, gate: Gate) -> None:
    async with connected(output_dir) as client:
        late = await run(client, f"kept = 7\n{gate.wait}", timeout=1)
        assert late.is_error
        assert text(late).startswith("begun\n")
        assert text(late).endswith("\nTimeout: stopped after 1 s. Variables are kept.")
        assert text(await run(client, "import time\ntime.sleep(1.2)\nprint(kept)")) == "7"
        assert (await run(client, "1", timeout=0)).is_error
    first, second = code_cells(output_dir / "session.ipynb")
    assert (first["metadata"]["nbtape"]["timeout"], second["metadata"]["nbtape"]["timeout"]) == (1, 30)


async def test_a_dead_kernel_is_reported_and_the_next_call_works(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        dead = await run(client, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
        assert dead.is_error
        assert text(dead).startswith("The kernel died.")
        after = await run(client, "print('alive')")
        assert (after.is_error, text(after).splitlines()[-1]) == (False, "alive")
        assert "variables of earlier blocks are gone" in text(after)
    assert statuses(output_dir / "session.ipynb") == ["kernel_died", "ok"]


async def test_progress_is_the_last_line_and_never_goes_back(output_dir: Path, gate: Gate) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))
        if message == "step 0":
            gate.open()

    code = f"print('step 0', flush=True)\n{gate.wait.replace('begun', '')}"
    async with connected(output_dir) as client:
        await client.call_tool("run_code", {"code": code}, progress_callback=hear)
        await client.call_tool(
            "run_code", {"code": "import time\nprint('y' * 5000)\ntime.sleep(1)"}, progress_callback=hear
        )
    assert "step 0" in [message for _, _, message in heard]
    assert {total for _, total, _ in heard} == {None}
    assert max(len(message or "") for _, _, message in heard) == 200
    last = [message for _, _, message in heard].index("y" * 200)
    for reports in (heard[:last], heard[last:]):
        assert [progress for progress, *_ in reports] == sorted({progress for progress, *_ in reports})


async def test_cancelling_a_call_interrupts_its_block_and_cancelling_a_poll_does_not(
    output_dir: Path, gate: Gate
) -> None:
    async with connected(output_dir) as client:
        running = asyncio.ensure_future(run(client, f"kept = 7\n{gate.wait}"))
        await has_begun(output_dir)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        left = await run(client, f"print(kept)\n{gate.wait}", wait=0)
        assert "Block 2 is still running" in text(left)
        polling = asyncio.ensure_future(call(client, "poll_code"))
        await has_begun(output_dir)
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling
        gate.open()
        assert text(await call(client, "poll_code")) == "7\nbegun"
    assert statuses(output_dir / "session.ipynb") == ["interrupted", "ok"]


async def test_variables_are_listed(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        await run(client, "import math\nn = 42\nwords = ['a\\nb', 'c']")
        listed = text(await call(client, "list_variables"))
    assert re.fullmatch(r"n \(int, \d+ bytes\) = 42\nwords \(list, 2, \d+ bytes\) = \['a\\nb', 'c'\]", listed), listed


async def test_lists_are_limited(output_dir: Path) -> None:
    code = "globals().update((f'n{i:03}', 'x' * 150) for i in range(150))\n"
    code += "for i in range(150):\n    open('y' * 150 + str(i), 'w').close()"
    async with connected(output_dir, max_output_chars=2000) as client:
        await run(client, code)
        for tool in ("list_variables", "list_files"):
            listed = text(await call(client, tool))
            assert 1000 < len(listed) <= 2000
            assert "characters left out" in listed


async def test_the_notebook_is_read_by_range(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        await call(client, "add_markdown", text="# Title")
        for n in range(1, 4):
            await run(client, f"print({n} * 11)")
        await run(client, PICTURE)
        whole = text(await call(client, "read_notebook"))
        part = text(await call(client, "read_notebook", first=1, count=2))
        last = text(await call(client, "read_notebook", first=-1))
        none = text(await call(client, "read_notebook", first=50))
    assert "has 5 cells, counted from 0; cells 0 to 4 are shown." in whole
    without_ids = re.sub(r", id [\w-]+", "", whole)
    assert "[0] markdown\n# Title\n\n[1] block 1, ok\nprint(1 * 11)\n--- output\n11\n\n[2]" in without_ids
    assert re.findall(r"^\[(\d)\]", part, re.MULTILINE) == ["1", "2"]
    assert re.findall(r"^\[(\d)\]", last, re.MULTILINE) == ["4"]
    assert "Saved as session_4_0.png" in last
    assert "no cells in this range" in none


async def test_cells_are_edited_deleted_and_moved_by_id_and_the_record_stays(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        unused = await call(client, "delete_cell", cell_id="x")
        assert unused.is_error
        assert "There is no notebook yet" in text(unused)
        ids = [(await run(client, f"print({n})")).meta["nbtape/cell_ids"][0] for n in range(3)]
        edited = text(await call(client, "edit_cell", cell_id=ids[0], source="print(10)"))
        assert "It was not run" in edited
        await call(client, "delete_cell", cell_id=ids[1])
        await call(client, "move_cell", cell_id=ids[2], position=0)
        unknown = await call(client, "move_cell", cell_id="nothing", position=0)
        assert unknown.is_error
        assert text(unknown).endswith(
            "The notebook has no cell with the id 'nothing'. Read its cells to see their ids."
        )
        shown = text(await call(client, "read_notebook"))
    heads = re.findall(r"^\[\d\] (.*), id ([\w-]+)$", shown, re.MULTILINE)
    assert [head for head, _ in heads] == [
        "block 1, ok, moved by the agent",
        "block 2, ok, source by the agent",
        "block 3, not_run, added by the agent, version of a recorded cell",
        "block 4, ok, deleted by the agent",
    ]
    assert [name for _, name in heads] == [ids[2], ids[0], heads[2][1], ids[1]]
    assert heads[2][1] in edited
    assert [stream_text(cell) for cell in code_cells(output_dir / "session.ipynb")] == ["2\n", "0\n", "", "1\n"]


@pytest.mark.parametrize(
    ("tool", "arguments", "error"),
    [
        (
            "run_code",
            {"code": "1", "wait": -1, "tmo": 5},
            "The arguments of run_code are invalid: wait: input should be greater than or equal to 0; 'tmo' is unknown",
        ),
        (
            "run_code",
            {"script": "1"},
            "The arguments of run_code are invalid: code is missing; 'script' is unknown",
        ),
        (
            "run_code",
            {"code": ["1"]},
            "The arguments of run_code are invalid: code: input should be a valid string",
        ),
        (
            "list_variables",
            {"x" * 500: 1},
            f"The arguments of list_variables are invalid: '{'x' * 50}' is unknown",
        ),
    ],
)
async def test_wrong_arguments_are_an_error_of_one_line(
    tool: str, arguments: dict[str, Any], error: str, output_dir: Path
) -> None:
    async with connected(output_dir) as client:
        result = await call(client, tool, **arguments)
    takes = "its arguments are code, timeout, wait" if tool == "run_code" else "it has no arguments"
    assert (result.is_error, text(result)) == (True, f"{error} ({takes}).")
    assert entries(output_dir) == []


async def test_prompts_help_people_to_begin(output_dir: Path) -> None:
    async with connected(output_dir) as client:
        prompts = (await client.list_prompts()).prompts
        assert [prompt.name for prompt in prompts] == ["try_kernel", "explore_data", "summarize_notebook"]
        assert all(prompt.title and prompt.description for prompt in prompts)
        asked = await client.get_prompt("explore_data", {"path": "sales.csv", "question": "Which month was best?"})
    (message,) = asked.messages
    assert message.role == "user"
    assert "sales.csv" in message.content.text
    assert "My question: Which month was best?" in message.content.text


async def test_files_are_listed_and_fetched(output_dir: Path) -> None:
    code = """
import os
os.mkdir('sub')
open('sub/table.csv', 'w').write('a,b\\n1,2\\n')
open('data.bin', 'wb').write(bytes(range(256)))
open('large.bin', 'wb').write(bytes(5_000_001))
open('long.txt', 'w').write('x' * 100_000)
open('no.png', 'w').write('no picture')
os.symlink('sub/table.csv', 'latest.csv')
"""
    async with connected(output_dir) as client:
        result = await run(client, code)
        assert not result.is_error, text(result)
        listed = text(await call(client, "list_files"))
        table = await call(client, "fetch_file", name="sub/table.csv")
        absolute = await call(client, "fetch_file", name=str(output_dir / "sub" / "table.csv"))
        linked = await call(client, "fetch_file", name="latest.csv")
        blob = await call(client, "fetch_file", name="data.bin")
        large = await call(client, "fetch_file", name="large.bin")
        long = await call(client, "fetch_file", name="long.txt")
        fake = await call(client, "fetch_file", name="no.png")
    assert listed.startswith(f"In the working directory ({output_dir} on the host):\nsession.ipynb (")
    assert {"sub/table.csv (8 bytes)", "data.bin (256 bytes)"} <= set(listed.splitlines())
    assert text(table) == text(absolute) == text(linked) == "a,b\n1,2\n"
    (content,) = blob.content
    assert content.type == "resource"
    assert content.resource.uri == (output_dir / "data.bin").as_uri()
    assert base64.b64decode(content.resource.blob) == bytes(range(256))
    assert large.is_error
    assert "has 5000001 bytes" in text(large)
    assert len(text(long)) < 21_000
    assert text(fake) == "no picture"


HOSTILE = """
import os
os.symlink({secret!r}, 'link.txt')
os.symlink({above!r}, 'directory')
os.symlink('link.txt', 'chain.txt')
os.symlink('loop', 'loop')
os.mkfifo('pipe')
os.mkdir('deep')
os.symlink('../../' + {secret!r}.rsplit('/', 1)[1], 'deep/up.txt')
"""


@pytest.mark.parametrize(
    "name",
    [
        *("../secret.txt", "{above}/secret.txt", "/etc/passwd", "deep/../../secret.txt", "link.txt", "chain.txt"),
        *(
            "directory/secret.txt",
            "deep/up.txt",
            "pipe",
            "loop",
            "deep",
            ".",
            "",
            "nothing",
            "a\0b",
            "\ud800",
            "x" * 5000,
        ),
    ],
)
async def test_only_files_of_the_output_directory_can_be_fetched(output_dir: Path, name: str) -> None:
    (output_dir / "secret.txt").write_text(SECRET)
    inside = output_dir / "inside"
    async with connected(inside) as client:
        made = await run(client, HOSTILE.format(secret=str(output_dir / "secret.txt"), above=str(output_dir)))
        assert not made.is_error, text(made)
        server_side = await client_refusal(client, name.replace("{above}", str(output_dir)))
        assert SECRET not in server_side
        assert "root:" not in server_side


async def client_refusal(client: Client, name: str) -> str:
    """Return the error with which fetching a file is rejected."""
    if name == "\ud800":  # JSON can carry it, but no client of the tests can send it
        name = json.loads('"\\ud800"')
        with contextlib.suppress(UnicodeEncodeError):
            refused = await call(client, "fetch_file", name=name)
            assert refused.is_error
            return text(refused)
        return ""
    refused = await call(client, "fetch_file", name=name)
    assert refused.is_error
    assert re.search("is not in the output directory|cannot be read", text(refused))
    return text(refused)


async def test_a_link_that_replaces_the_notebook_shows_no_other_file(output_dir: Path, gate: Gate) -> None:
    other = {"cells": [{"cell_type": "raw", "metadata": {}, "source": SECRET}], "metadata": {}}
    (output_dir / "other.ipynb").write_text(json.dumps({**other, "nbformat": 4, "nbformat_minor": 4}))
    inside = output_dir / "inside"
    swap = f"import os\nos.remove('session.ipynb')\nos.symlink({str(output_dir / 'other.ipynb')!r}, 'session.ipynb')\n"
    async with connected(inside) as client:
        await run(client, f"{swap}print(1)\n{gate.wait}", wait=0)
        assert await asyncio.to_thread(eventually, (inside / "session.ipynb").is_symlink)
        read = await call(client, "read_notebook")
        gate.open()
        assert SECRET not in text(read)
        await call(client, "poll_code")
    assert statuses(inside / "session.ipynb") == ["ok"]


async def test_a_failure_to_run_code_is_a_plain_tool_error(output_dir: Path) -> None:
    (output_dir / "parent").mkdir()
    async with connected(output_dir / "parent" / "runs") as client:
        (output_dir / "parent").rmdir()
        (output_dir / "parent").touch()
        failed = await run(client, "1")
        assert failed.is_error
        assert "Output directory" in text(failed)
        assert "Traceback" not in text(failed)
        (output_dir / "parent").unlink()
        assert text(await run(client, "1")) == "1"


async def test_a_block_that_ran_but_cannot_be_recorded_reports_both(output_dir: Path) -> None:
    async with connected(output_dir / "runs") as client:
        failed = await run(client, "import os, shutil\nprint('done', flush=True)\nshutil.rmtree(os.getcwd())")
        assert failed.is_error
        assert text(failed).startswith("done\n")
        assert "session.ipynb could not be written" in text(failed)
        assert "No such file" in text(await call(client, "read_notebook"))


def test_invalid_values_are_rejected_by_the_constructor(output_dir: Path) -> None:
    with pytest.raises(ValueError, match="timeout= must be a finite number of seconds, at least 1"):
        NotebookServer(output_dir=output_dir, timeout=0)
    (output_dir / "file").touch()
    with pytest.raises(ValueError, match="is a file, not a directory"):
        NotebookServer(output_dir=output_dir / "file" / "below")


async def test_the_users_on_output_gets_the_outputs(output_dir: Path) -> None:
    heard: list[str] = []
    async with connected(output_dir, on_output=lambda output: heard.append(output["text"])) as client:
        await run(client, "print('hello')")
    assert "".join(heard) == "hello\n"


# The command on standard input and output


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nbtape", "mcp", *arguments]


def stdio(output_dir: Path, *arguments: str) -> StdioServerParameters:
    program, *rest = command("--output-dir", str(output_dir), *arguments)
    return StdioServerParameters(command=program, args=rest, env={"TMPDIR": os.environ["TMPDIR"]})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_stdio_serves_a_client_of_each_protocol_version(output_dir: Path, gate: Gate, mode: str) -> None:
    reports: list[str | None] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        reports.append(message)

    async with Client(stdio(output_dir, "--notebook", "mine"), mode=mode) as client:
        assert client.server_info is not None
        assert client.server_info.name == "nbtape"
        failed = await run(client, f"{FIBONACCI}\nfibonaci(14)")
        assert failed.is_error
        code = "import sys, time\nprint('noise', file=sys.__stdout__, flush=True)\ntime.sleep(1.5)\nfibonacci(14)"
        repaired = await client.call_tool("run_code", {"code": code}, progress_callback=hear)
        assert text(repaired).endswith("377")
        assert reports
        cancelled = asyncio.ensure_future(run(client, gate.wait))
        await has_begun(output_dir, "mine")
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert text(await run(client, "print('next')")) == "next"
    assert statuses(output_dir / "mine.ipynb") == ["error", "ok", "interrupted", "ok"]


CLIENT = """#!/bin/sh
# What `claude mcp add` notes, and then does: it starts what stands behind the two dashes.
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a home directory with a client and the command."""
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(CLIENT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    (token := tmp_path / ".nbtape-token").write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    return tmp_path


@pytest.mark.parametrize("line", [line for line in examples("mcp") if line.startswith("claude ")])
async def test_an_example_of_the_help_serves_a_client(line: str, home: Path, request: pytest.FixtureRequest) -> None:
    if "--docker" in line:
        line = line.replace("--docker", f"--base-image {request.getfixturevalue('base_image')} --docker")
    async with Client(StdioServerParameters(command="sh", args=["-c", line], env=dict(os.environ))) as client:
        assert text(await run(client, "6 * 7")) == "42"
    assert statuses(home / "runs" / "session.ipynb") == ["ok"]


@pytest.mark.parametrize("line", [line for line in examples("mcp") if "--http" in line])
def test_an_example_of_the_help_serves_on_http(line: str, home: Path) -> None:
    line = line.replace("8931", "0")  # in case the port is in use
    with subprocess.Popen(["sh", "-c", f"exec {line}"], cwd=home, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert re.fullmatch(r"Serving MCP at http://127\.0\.0\.1:\d+/mcp\n", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130


class Wire:
    """A hand-written client of the protocol with a handshake, which sees every line.

    Args:
        output_dir: The server's output directory.
        arguments: More command-line arguments.
    """

    def __init__(self, output_dir: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            command("--output-dir", str(output_dir), *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._number = 0
        client = {"name": "by hand", "version": "1"}
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        self.send({"method": "notifications/initialized"})

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def post(self, tool: str, **arguments: Any) -> int:
        """Call a tool without waiting for the answer."""
        self._number += 1
        self.send({"id": self._number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
        return self._number

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self.send({"id": self._number, "method": method, "params": params})
        return self.answer(self._number)

    def answer(self, number: int) -> dict[str, Any]:
        """Return the answer to a request; everything before it must be valid protocol too."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            if message.get("id") == number:
                return message
        raise AssertionError("the server has ended")


@pytest.fixture
def wire(output_dir: Path) -> Iterator[Wire]:
    client = Wire(output_dir)
    with client.process:
        yield client
        client.process.kill()


def kernel_of(wire: Wire) -> int:
    (kernel,) = (
        child.pid
        for child in psutil.Process(wire.process.pid).children(recursive=True)
        if "ipykernel" in " ".join(child.cmdline())
    )
    return int(kernel)


@pytest.mark.parametrize("state", ["busy", "idle"])
@pytest.mark.parametrize("end", ["close", "vanish", signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_client_that_disconnects_and_a_signal_stop_the_kernel_and_complete_the_notebook(
    end: str | signal.Signals, state: str, wire: Wire, output_dir: Path, gate: Gate
) -> None:
    assert "result" in wire.answer(wire.post("run_code", code="print(1)"))
    if state == "busy":
        wire.post("run_code", code=gate.wait)
        asyncio.run(has_begun(output_dir))
    kernel = kernel_of(wire)
    assert wire.process.stdin is not None
    assert wire.process.stdout is not None
    if isinstance(end, signal.Signals):
        wire.process.send_signal(end)
    else:
        if end == "vanish":
            wire.process.stdout.close()
        wire.process.stdin.close()
    assert wire.process.wait(15) == (-end if isinstance(end, signal.Signals) else 0)
    assert not is_running(kernel)
    assert statuses(output_dir / "session.ipynb") == (["ok", "interrupted"] if state == "busy" else ["ok"])
    assert wire.process.stderr is not None
    assert "Traceback" not in wire.process.stderr.read()


STUBBORN = """
import time
print('begun', flush=True)
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print('no', flush=True)
"""


def test_a_second_signal_does_not_wait(wire: Wire, output_dir: Path) -> None:
    wire.post("run_code", code=STUBBORN)
    asyncio.run(has_begun(output_dir))
    kernel = kernel_of(wire)
    wire.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: "no" in stream_text(code_cells(output_dir / "session.ipynb")[0]))
    wire.process.send_signal(signal.SIGTERM)
    assert wire.process.wait(2) == -signal.SIGTERM
    assert eventually(lambda: not is_running(kernel))


@pytest.fixture
def silent(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a kernel spec whose kernels never answer; return the file that they create when they start."""
    jupyter = tmp_path_factory.mktemp("jupyter")
    directory = jupyter / "kernels" / "silent"
    directory.mkdir(parents=True)
    started = jupyter / "started"
    spec = {"argv": ["sh", "-c", f"echo $$ > {started}; sleep 600"], "display_name": "Silent", "language": "python"}
    (directory / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(jupyter))
    return started


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, "interrupt"])
def test_the_start_of_a_kernel_can_be_cancelled(end: str | signal.Signals, silent: Path, output_dir: Path) -> None:
    wire = Wire(output_dir, "--kernel", "silent")
    with wire.process:
        call = wire.post("run_code", code="print(1)")
        assert eventually(lambda: silent.exists() and silent.read_text().endswith("\n"))
        if isinstance(end, signal.Signals):
            wire.process.send_signal(end)
            assert wire.process.wait(5) == -end
        else:
            wire.post("interrupt_kernel")
            told = wire.answer(call)["result"]
            assert told["isError"]
            assert "was stopped before it started" in told["content"][0]["text"]
        assert eventually(lambda: not is_running(int(silent.read_text())))
        wire.process.kill()
    assert entries(output_dir) == []


def refused(*arguments: str, **environment: str) -> str:
    """Return the error with which the command rejects its arguments."""
    done = subprocess.run(
        command(*arguments), env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_conflicting_options_are_rejected(output_dir: Path) -> None:
    assert "--allow-remote needs --http" in refused("--allow-remote")
    assert "is not [HOST:]PORT" in refused("--http", "localhost:http")
    assert "Use one of them" in refused("--docker", "--server", "http://127.0.0.1:1/")
    assert "can be reached from other machines" in refused("--http", "0.0.0.0:0")
    assert "cannot listen on" in refused("--http", "192.0.2.1:0", "--allow-remote")
    (output_dir / "file").touch()
    assert "is a file, not a directory" in refused("--output-dir", str(output_dir / "file"))
    assert "is not installed" in refused("--kernel", "no-such-kernel")
    assert "NBTAPE_MCP_TOKEN is empty" in refused("--http", "0", NBTAPE_MCP_TOKEN="")
    assert "needs --http" in refused("--token-file", "x")
    assert "Use one of them" in refused("--http", "0", "--token-file", "x", "--token-fd", "3")
    assert "cannot be read: No such file" in refused("--http", "0", "--token-file", str(output_dir / "none"))
    assert "cannot be read: Is a directory" in refused("--http", "0", "--token-file", str(output_dir))
    assert "cannot be read: Bad file descriptor" in refused("--http", "0", "--token-fd", "999")
    assert "holds no valid token" in refused("--http", "0", "--token-fd", "0")


@pytest.mark.parametrize("content", ["", "\n", "two words", "two\nlines", "ünicode", "\0", "x" * 5000])
def test_a_token_file_without_a_token_is_rejected(content: str, output_dir: Path) -> None:
    (file := output_dir / "token").write_text(content)
    assert "holds no valid token. Write one line" in refused("--http", "0", "--token-file", str(file)).splitlines()[-1]


def test_without_the_sdk_the_error_names_the_extra_to_install() -> None:
    code = "import sys\nsys.modules['mcp'] = None\nsys.argv[1:] = ['mcp']\nfrom nbtape.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'nbtape[mcp]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# The command on streamable HTTP


class Served:
    """The server on HTTP, in a separate process.

    Args:
        output_dir: Its output directory.
        endpoint: The address to listen on.
        arguments: More command-line arguments.
        token: The value of the variable; None to let the server generate one.
        files: The number of files it may open.
        stdin: Its standard input.
    """

    def __init__(
        self,
        output_dir: Path,
        endpoint: str,
        *arguments: str,
        token: str | None = TOKEN,
        files: int = 1024,
        stdin: IO[str] | None = None,
    ) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "NBTAPE_MCP_TOKEN"}
        if token is not None:
            environment["NBTAPE_MCP_TOKEN"] = token
        self.log = output_dir.with_name(f"{output_dir.name}.log")
        line = command("--output-dir", str(output_dir), "--http", endpoint, *arguments)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *line],
                env=environment,
                stdin=stdin,
                stdout=log,
                stderr=log,
            )
        found = eventually(lambda: re.search(r"Serving MCP at (\S+)\n", self.log.read_text()), 60)
        assert found, self.log.read_text()
        self.url = re.findall(r"Serving MCP at (\S+)\n", self.log.read_text())[0]
        self.port = httpx.URL(self.url).port or 0
        assert eventually(self._answers, 60), self.log.read_text()

    def _answers(self) -> bool:
        try:
            httpx.get(self.url, timeout=5, trust_env=False)
        except httpx.TransportError:
            return False
        return True

    @contextlib.asynccontextmanager
    async def client(self, token: str = TOKEN, **options: Any) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            create_mcp_http_client(headers) as http,
            Client(streamable_http_client(self.url, http_client=http), **options) as client,
        ):
            yield client


@pytest.fixture
def served(output_dir: Path) -> Iterator[Served]:
    server = Served(output_dir, "0")
    with server.process:
        yield server
        server.process.kill()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer \xe9"}, 401),
        ({**BEARER, "Host": "evil.example"}, 403),
        ({**BEARER, "Host": "evil.example:{port}"}, 403),
        ({**BEARER, "Host": "localhost.evil.example"}, 403),
        ({**BEARER, "Host": "127.0.0.1@evil.example"}, 403),
        ({**BEARER, "Host": "192.0.2.1:{port}"}, 403),
        ({**BEARER, "Host": ""}, 403),
        ({**BEARER, "Origin": "http://evil.example"}, 403),
        ({**BEARER, "Origin": "http://127.0.0.1:1"}, 403),
        ({**BEARER, "Origin": "null"}, 403),
        ({**BEARER, "Origin": "file://127.0.0.1:{port}"}, 403),
        ({"Host": "evil.example"}, 403),
        ({**BEARER, "Host": "localhost:{port}"}, 200),
        ({**BEARER, "Host": "[::1]:{port}"}, 200),
        ({**BEARER, "Host": "LOCALHOST"}, 200),
        ({**BEARER, "Origin": "http://127.0.0.1:{port}"}, 200),
        (BEARER, 200),
    ],
)
def test_only_local_requests_with_the_token_are_accepted(headers: dict[str, str], status: int, shared: Served) -> None:
    port = str(shared.port)
    sent = [(name.encode(), value.replace("{port}", port).encode("latin-1")) for name, value in headers.items()]
    answer = opening(shared.url, [(b"Accept", ACCEPT["Accept"].encode()), *sent])
    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    for method in ("GET", "DELETE"):
        if status != 200:
            assert httpx.request(method, shared.url, headers=sent, trust_env=False).status_code == status
    assert httpx.get(str(httpx.URL(shared.url).copy_with(path="/")), trust_env=False).status_code == 401
    assert TOKEN not in shared.log.read_text()


def opening(url: str, headers: Any) -> httpx.Response:
    """Return the answer to the first request of a client of the protocol with a handshake."""
    return httpx.post(url, json=INITIALIZE, headers=headers, trust_env=False)


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "by hand", "version": "1"},
    },
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Share a server on which no code runs."""
    server = Served(tmp_path_factory.mktemp("shared"), "127.0.0.1:0")
    with server.process:
        yield server
        server.process.kill()


def test_duplicate_headers_are_rejected(shared: Served) -> None:
    twice = [*ACCEPT.items(), ("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]
    assert opening(shared.url, twice).status_code == 401
    origins = [
        *ACCEPT.items(),
        *BEARER.items(),
        ("Origin", "http://evil.example"),
        ("Origin", f"http://127.0.0.1:{shared.port}"),
    ]
    assert opening(shared.url, origins).status_code == 403


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_http_serves_a_client_of_each_protocol_version(served: Served, output_dir: Path, mode: str) -> None:
    reports: list[str | None] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        reports.append(message)

    async with served.client(mode=mode) as client:
        assert (await run(client, f"{FIBONACCI}\nfibonaci(14)")).is_error
        code = "import time\nprint('slowly', flush=True)\ntime.sleep(1.5)\nfibonacci(14)"
        repaired = await client.call_tool("run_code", {"code": code}, progress_callback=hear)
        assert text(repaired) == "slowly\n377"
        assert "slowly" in reports
        assert [image.size for image in images(await run(client, PICTURE))] == [(1024, 512)]
    async with served.client() as another:
        assert text(await run(another, "import os\nfibonacci(14), os.environ.get('NBTAPE_MCP_TOKEN')")) == "(377, None)"
    assert statuses(output_dir / "session.ipynb") == ["error", "ok", "ok", "ok"]
    assert TOKEN not in served.log.read_text()


async def test_a_call_can_be_cancelled_over_http_in_each_protocol_version(
    served: Served, output_dir: Path, gate: Gate
) -> None:
    for count, mode in enumerate(("auto", "legacy"), 1):
        async with served.client(mode=mode) as client:
            cancelled = asyncio.ensure_future(run(client, f"kept = 7\n{gate.wait}"))
            await has_begun(output_dir)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert text(await run(client, "print(kept)")) == "7"
        assert statuses(output_dir / "session.ipynb") == ["interrupted", "ok"] * count


async def test_a_block_continues_when_its_client_disconnects(served: Served, output_dir: Path, gate: Gate) -> None:
    arguments = {"code": f"{gate.wait}\nprint('done')"}
    called = {"name": "run_code", "arguments": arguments, "_meta": {"progressToken": 1}}
    async with httpx.AsyncClient(headers={**ACCEPT, **BEARER}, timeout=60, trust_env=False) as http:
        opened = await http.post(served.url, json=INITIALIZE)
        http.headers["Mcp-Session-Id"] = opened.headers["Mcp-Session-Id"]
        await http.post(served.url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": called}
        async with http.stream("POST", served.url, json=request):
            await has_begun(output_dir)
    async with served.client() as client:
        polled = await call(client, "poll_code", wait=0)
        assert "Block 1 is still running" in text(polled)
        gate.open()
        assert text(await call(client, "poll_code")) == "begun\ndone"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_server_despite_open_requests(
    served: Served, output_dir: Path, gate: Gate, end: signal.Signals
) -> None:
    started = served.process.pid
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.suppress(Exception):  # any error that a client raises when its server is gone
            client = await stack.enter_async_context(served.client(mode="legacy"))
            asked = asyncio.ensure_future(run(client, gate.wait))
            await has_begun(output_dir)
            processes = descendants(started)
            assert processes
            served.process.send_signal(end)
            code = await asyncio.to_thread(served.process.wait, 15)
            asked.cancel()
            await asyncio.wait({asked})
    assert code == (-end if end == signal.SIGTERM else 130)
    assert eventually(lambda: not any(map(is_running, processes)))
    assert statuses(output_dir / "session.ipynb") == ["interrupted"]
    assert "Traceback" not in served.log.read_text()


async def test_a_token_is_generated_and_printed_once(output_dir: Path) -> None:
    server = Served(output_dir, "127.0.0.1:0", token=None)
    with server.process:
        (token,) = re.findall(r"shown only once: (\S+)\n", server.log.read_text())
        async with server.client(token) as client:
            assert text(await run(client, "6 * 7")) == "42"
        assert opening(server.url, ACCEPT).status_code == 401
        server.process.terminate()
        server.process.wait(15)
    assert server.log.read_text().count(token) == 1


#: Prints the processes in whose environment or command line the token is found.
LOOK_FOR_TOKEN = f"""
import glob, os
found = []
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        with open(path, "rb") as file:
            if bytes.fromhex("{TOKEN.encode().hex()}") in file.read():
                found.append(path)
    except OSError:
        pass
print(found, os.environ.get("NBTAPE_MCP_TOKEN"))
"""


@pytest.mark.parametrize("way", ["variable", "file", "descriptor"])
async def test_a_kernel_sees_no_token(way: str, output_dir: Path) -> None:
    file = output_dir.with_name(f"{output_dir.name}.token")
    file.write_text(f"{TOKEN}\n")
    arguments = {"variable": [], "file": ["--token-file", str(file)], "descriptor": ["--token-fd", "0"]}[way]
    with file.open() as stdin:
        server = Served(output_dir, "0", *arguments, token=TOKEN if way == "variable" else "another", stdin=stdin)
    with server.process:
        async with server.client() as client:
            found = text(await run(client, LOOK_FOR_TOKEN))
        server.process.terminate()
        server.process.wait(15)
    assert found == "[] None"
    assert ("can be read by other users" in server.log.read_text()) == (way != "variable")
    assert TOKEN not in server.log.read_text()


async def test_requests_from_other_machines_need_the_token_too(output_dir: Path) -> None:
    server = Served(output_dir, "0.0.0.0:0", "--allow-remote")
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    with server.process:
        assert opening(server.url, ACCEPT).status_code == 401
        for host, status in (("192.0.2.1:80", 200), ("evil.example", 403)):
            headers = {**ACCEPT, **BEARER, "Host": host}
            assert opening(server.url, headers).status_code == status
        async with server.client() as client:
            assert text(await run(client, "6 * 7")) == "42"
        server.process.terminate()
        server.process.wait(15)


@pytest.mark.parametrize("beginning", BEGINNINGS)
async def test_idle_connections_do_not_block_other_clients(beginning: str, output_dir: Path) -> None:
    server = Served(output_dir, "0", files=256)
    with server.process, held(server.port, BEGINNINGS[beginning], 300) as connections:
        async with server.client() as client:
            assert text(await run(client, "6 * 7")) == "42"
            with held(server.port, BEGINNINGS[beginning], 300):
                assert text(await run(client, "6 * 8")) == "48"
        assert len(open_files(server)) < 200
        assert eventually(lambda: all(map(is_closed, connections)), 30)
        server.process.terminate()
        assert server.process.wait(15) == -signal.SIGTERM
    assert statuses(output_dir / "session.ipynb") == ["ok", "ok"]
    assert "Traceback" not in server.log.read_text()


def open_files(server: Served) -> list[int]:
    return [int(path.name) for path in Path(f"/proc/{server.process.pid}/fd").iterdir()]


def test_running_out_of_file_descriptors_is_survived(output_dir: Path) -> None:
    server = Served(output_dir, "0")
    with server.process:
        its = psutil.Process(server.process.pid)
        its.rlimit(psutil.RLIMIT_NOFILE, (max(open_files(server)) + 3, 1024))
        with held(server.port, BEGINNINGS["half a header"], 20):
            assert opening(server.url, {**ACCEPT, **BEARER}).status_code == 200
        assert opening(server.url, {**ACCEPT, **BEARER}).status_code == 200
        its.rlimit(psutil.RLIMIT_NOFILE, (max(open_files(server)) + 1, 1024))
        with begin(server.port, BEGINNINGS["a whole request"]) as waiting:
            its.rlimit(psutil.RLIMIT_NOFILE, (1024, 1024))
            assert waiting.recv(100).startswith(b"HTTP/1.1 401 ")
        server.process.terminate()
        assert server.process.wait(15) == -signal.SIGTERM


def test_an_incomplete_body_times_out_even_with_the_token(shared: Served) -> None:
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    with begin(shared.port, head + b"Content-Length: 9\r\n\r\n{") as connection:
        assert eventually(lambda: is_closed(connection), 30)


@pytest.mark.parametrize("length", [b"Content-Length: 5000000", b"Transfer-Encoding: chunked"])
def test_a_body_that_is_too_large_is_rejected(length: bytes, shared: Served) -> None:
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    chunk = b" " * 1_000_000
    body = chunk * 5 if b"Content" in length else (b"f4240\r\n" + chunk + b"\r\n") * 5 + b"0\r\n\r\n"
    with begin(shared.port, head + length + b"\r\n\r\n" + body) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert opening(shared.url, {**ACCEPT, **BEARER}).status_code == 200


def test_headers_are_limited_in_size(shared: Served) -> None:
    with begin(shared.port, b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX: " + b"x" * 1_000_000) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


# Clients of other projects, each in its own environment

FASTMCP = """
import asyncio, json, sys
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

async def main(where, *rest):
    if where.startswith("http"):
        transport = StreamableHttpTransport(where, headers={"Authorization": "Bearer " + rest[0]})
    else:
        transport = StdioTransport(where, list(rest))
    reports = []
    async def hear(progress, total, message):
        reports.append(message)
    async with Client(transport, progress_handler=hear) as client:
        async def run(code, **more):
            result = await client.call_tool("run_code", {"code": code, **more}, raise_on_error=False)
            texts = [block.text for block in result.content if block.type == "text"]
            kinds = [block.type for block in result.content]
            return {"error": result.is_error, "text": "".join(texts), "kinds": kinds}
        codes = json.loads(sys.stdin.read())
        names = [tool.name for tool in await client.list_tools()]
        results = [await run(code) for code in codes]
        left = await run("import time\\ntime.sleep(1)\\nprint('late')", wait=0)
        polled = await client.call_tool("poll_code", {})
    print(json.dumps({"names": names, "results": results, "left": left["text"], "polled": polled.content[0].text,
                      "reports": reports}))

asyncio.run(main(*sys.argv[1:]))
"""

TYPESCRIPT = """
import { readFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [where, ...rest] = process.argv.slice(2);
const transport = where.startsWith("http")
  ? new StreamableHTTPClientTransport(new URL(where), {
      requestInit: { headers: { Authorization: `Bearer ${rest[0]}` } },
    })
  : new StdioClientTransport({ command: where, args: rest, env: process.env });
const client = new Client({ name: "other", version: "1" });
await client.connect(transport);
const reports = [];
async function run(code, more) {
  const options = { onprogress: (report) => reports.push(report.message), resetTimeoutOnProgress: true };
  const called = { name: "run_code", arguments: { code, ...more } };
  const result = await client.callTool(called, undefined, options);
  const texts = result.content.filter((block) => block.type === "text").map((block) => block.text);
  return { error: result.isError ?? false, text: texts.join(""), kinds: result.content.map((block) => block.type) };
}
const names = (await client.listTools()).tools.map((tool) => tool.name);
const results = [];
for (const code of JSON.parse(readFileSync(0, "utf8"))) results.push(await run(code));
const left = await run("import time\\ntime.sleep(1)\\nprint('late')", { wait: 0 });
const polled = await client.callTool({ name: "poll_code", arguments: {} });
await client.close();
console.log(JSON.stringify({ names, results, left: left.text, polled: polled.content[0].text, reports }));
"""


def environment(name: str, *steps: list[str]) -> Path:
    """Create a directory below .venv once, with commands that run in it."""
    directory = REPOSITORY / ".venv" / name
    stamp, wanted = directory / "nbtape.stamp", repr(steps)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for step in steps:
            subprocess.run(step, cwd=directory, check=True)
        stamp.write_text(wanted)
    return directory


@pytest.fixture(params=["fastmcp", "typescript"], scope="module")
def other_client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command of a client with its own SDK."""
    if request.param == "fastmcp":
        pip = ["bin/python", "-m", "pip", "install", "--quiet", "fastmcp-slim[client]>=4.1,<5"]
        directory = environment("mcp-fastmcp", [sys.executable, "-m", "venv", "."], pip)
        script = tmp_path_factory.mktemp("fastmcp") / "client.py"
        script.write_text(FASTMCP)
        return [str(directory / "bin" / "python"), str(script)]
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("There is no npm for the SDK for TypeScript: install Node.js 18 or newer.")
    sdk = "@modelcontextprotocol/sdk@1"
    directory = environment("mcp-typescript", [npm, "install", "--silent", "--no-save", "--prefix", ".", sdk])
    (directory / "client.mjs").write_text(TYPESCRIPT)
    return [str(shutil.which("node")), str(directory / "client.mjs")]


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_client_of_another_project_can_use_all_tools(
    other_client: list[str], output_dir: Path, transport: str
) -> None:
    slow = "import time\nprint('slowly', flush=True)\ntime.sleep(1.5)\nfibonacci(14)"
    codes = json.dumps([f"{FIBONACCI}\nfibonaci(14)", slow, PICTURE])
    with contextlib.ExitStack() as stack:
        where = command("--output-dir", str(output_dir))
        if transport == "http":
            server = Served(output_dir, "0")
            stack.enter_context(server.process)
            stack.callback(server.process.terminate)
            where = [server.url, TOKEN]
        done = subprocess.run(
            [*other_client, *where], input=codes, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"run_code", "poll_code", "interrupt_kernel", "fetch_file"} <= set(told["names"])
    failed, repaired, drawn = told["results"]
    assert failed["error"]
    assert "NameError" in failed["text"]
    assert (repaired["error"], repaired["text"]) == (False, "slowly\n377")
    assert drawn["kinds"] == ["text", "image"]
    assert "slowly" in told["reports"]
    assert "still running" in told["left"]
    assert told["polled"] == "late"
    assert statuses(output_dir / "session.ipynb") == ["error", "ok", "ok", "ok"]


# In a container


def containers(client: docker.DockerClient, directory: Path) -> set[str]:
    """Return the containers in which a directory is mounted."""
    running = client.containers.list(all=True, ignore_removed=True)
    return {
        str(container.id)
        for container in running
        if str(directory) in {mount.get("Source") for mount in container.attrs.get("Mounts", [])}
    }


async def test_code_runs_in_a_container_that_stops_with_the_server(
    output_dir: Path, base_image: str, docker_client: docker.DockerClient
) -> None:
    arguments = ("--docker", "--base-image", base_image, "--network", "none")
    async with Client(stdio(output_dir, *arguments), read_timeout_seconds=240) as client:
        result = await run(client, "import os\nopen('made.txt', 'w').write('in a container')\nos.getcwd()", wait=200)
        assert "/workspace" in text(result)
        assert "File written:" in text(result)
        assert text(await call(client, "fetch_file", name="made.txt")) == "in a container"
        outside = await run(client, "import os\nos.symlink('/etc/passwd', 'link.txt')\nos.path.exists('/.dockerenv')")
        assert text(outside).splitlines()[0] == "True"
        assert (await call(client, "fetch_file", name="link.txt")).is_error
        assert len(containers(docker_client, output_dir)) == 1
    assert await asyncio.to_thread(eventually, lambda: not containers(docker_client, output_dir))
    assert statuses(output_dir / "session.ipynb") == ["ok", "ok"]


@contextlib.asynccontextmanager
async def reviewed(
    output_dir: Path, answer: ElicitResult | None, **options: Any
) -> AsyncIterator[tuple[Client, list[str]]]:
    """Connect a client whose person gives an answer, or that cannot ask; yield it with what the person read."""
    read: list[str] = []

    async def review(_: Any, params: Any) -> ElicitResult:
        read.append(params.message)
        assert answer is not None
        return answer

    callback = None if answer is None else review
    server = NotebookServer(output_dir=output_dir, timeout=30, ask=True)
    async with Client(server, elicitation_callback=callback, **options) as client:
        yield client, read


ACCEPTED = ElicitResult(action="accept", content={"replacement": "print(2)"})


@pytest.mark.parametrize(
    ("mode", "answer", "told", "status"),
    [
        ("auto", ACCEPTED, "This ran instead:\nprint(2)\n2", "ok"),
        ("legacy", ElicitResult(action="decline"), "The user declined to run it.", "not_run"),
        ("auto", None, "this MCP client cannot ask", "not_run"),
    ],
)
async def test_the_person_at_the_client_reviews_the_code(
    mode: str, answer: ElicitResult | None, told: str, status: str, output_dir: Path
) -> None:
    async with reviewed(output_dir, answer, mode=mode) as (client, read):
        result = await run(client, "print(1)  # \u202e")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert told in text(result)
    assert statuses(output_dir / "session.ipynb") == [status]
    assert read == ([] if answer is None else ["Run this code?\n\nprint(1)  # \\u202e"])
    assert set(tools["run_code"].input_schema["properties"]) == {"code", "timeout", "wait"}


@pytest.mark.parametrize(
    ("review", "answer"),
    [
        (AcceptedElicitation(data=Review()), True),
        (AcceptedElicitation(data=Review(replacement="x = 1")), CodeBlock("x = 1", "")),
        (AcceptedElicitation(data=Review(run=False, replacement="x = 1")), False),
        (AcceptedElicitation(data=Review(run=False, reason="Too long.")), "Too long."),
        (DeclinedElicitation(), "The user declined to run it."),
        (CancelledElicitation(), "The user dismissed the question."),
    ],
)
def test_the_form_of_a_review_allows_refuses_or_replaces(review: ElicitationResult[Review], answer: object) -> None:
    assert answer_of(review) == answer
