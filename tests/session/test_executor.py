"""What the async executor checks before it starts anything, and how it behaves on an event loop."""

from __future__ import annotations

import asyncio
import math
import resource
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from reading import code_cells, descendants, eventually, read_notebook

from nbtape import (
    AsyncJupyterCodeExecutor,
    CodeBlock,
    JupyterCodeExecutor,
    JupyterConnectionInfo,
    KernelNotInstalledError,
    MarkdownCodeExtractor,
    OutputDirectoryError,
)
from nbtape.kernels.local.manager import LocalKernels
from nbtape.kernels.protocols import KernelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nbtape import CodeResult
    from nbtape.kernels.protocols import KernelManager, KernelSpec

pytestmark = pytest.mark.usefixtures("leaves_nothing")

BOTH = pytest.mark.parametrize("face", [AsyncJupyterCodeExecutor, JupyterCodeExecutor])


def python(*codes: str) -> list[CodeBlock]:
    return [CodeBlock(code, "python") for code in codes]


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def run(executor: AsyncJupyterCodeExecutor, *codes: str) -> CodeResult:
    return await executor.execute_code_blocks(python(*codes))


async def test_a_listener_may_be_a_coroutine_function_in_both(output_dir: Path) -> None:
    heard: list[str] = []

    async def listen(output: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        heard.append(output["text"])

    code = "for n in range(3):\n    print(n, flush=True)"
    async with AsyncJupyterCodeExecutor(output_dir=output_dir, on_output=listen) as executor:
        await run(executor, code)
        assert "".join(heard) == "0\n1\n2\n"
    with JupyterCodeExecutor(output_dir=output_dir, on_output=listen) as blocking:
        blocking.run(code)
    assert "".join(heard) == 2 * "0\n1\n2\n"


# A constructor stores and checks; it starts nothing


@BOTH
def test_a_constructor_starts_nothing_and_writes_nothing(face: Any, tmp_path: Path, temp_dir: Path) -> None:
    before = descendants()
    executor = face(output_dir=tmp_path / "coding")
    assert executor.notebook == tmp_path / "coding" / "session.ipynb"
    assert executor.kernel_epoch == 0
    assert descendants() == before
    assert list(tmp_path.iterdir()) == list(temp_dir.iterdir()) == []


@BOTH
@pytest.mark.parametrize("timeout", [0, -1, 0.99, math.nan, math.inf, -math.inf])
def test_an_invalid_timeout_is_rejected(face: Any, output_dir: Path, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout= must be a finite number of seconds, at least 1"):
        face(timeout=timeout, output_dir=output_dir)


@BOTH
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("file", "is a file, not a directory"),
        ("file/below/it", "cannot be created: .*/file is a file, not a directory"),
        ("broken", "is a broken link, not a directory"),
        ("broken/below", "cannot be created: .*/broken is a broken link, not a directory"),
        ("a\0b", "has a null character in its name"),
        ("a" * 300, "cannot be used"),
    ],
)
def test_a_directory_that_cannot_be_created_is_rejected(face: Any, tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("none")
    with pytest.raises(OutputDirectoryError, match=rf"Output directory .* {why}.*\. Choose another one\.") as caught:
        face(output_dir=tmp_path / name)
    assert isinstance(caught.value, ValueError)
    assert caught.value.directory == tmp_path / name


@BOTH
def test_a_kernel_that_is_not_installed_is_rejected_with_the_installed_ones(face: Any, output_dir: Path) -> None:
    with pytest.raises(KernelNotInstalledError, match=r"Kernel nokernel is not installed\.") as caught:
        face(kernel_name="nokernel", output_dir=output_dir)
    assert isinstance(caught.value, ValueError)
    assert "python3" in str(caught.value)
    assert "python3" in caught.value.available


@BOTH
@pytest.mark.parametrize("name", ["../x", "a/b", "/abs", "..", ".", ".ipynb", "a\\b", "nul\0", "x" * 300])
def test_a_notebook_name_outside_the_directory_is_rejected(face: Any, output_dir: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid notebook name"):
        face(output_dir=output_dir, notebook=name)


@BOTH
def test_an_unknown_option_is_rejected_with_the_valid_ones(face: Any, output_dir: Path) -> None:
    with pytest.raises(TypeError, match=r"max_output_char\b.*max_output_chars"):
        face(output_dir=output_dir, max_output_char=5)


@BOTH
@pytest.mark.parametrize("option", ["startup_timeout", "interrupt_grace", "max_output_chars", "max_cell_chars"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_an_invalid_option_is_rejected(face: Any, output_dir: Path, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        face(output_dir=output_dir, **{option: value})


@BOTH
def test_the_code_extractor_finds_what_the_executor_runs(face: Any, output_dir: Path) -> None:
    extractor = face(output_dir=output_dir).code_extractor
    assert isinstance(extractor, MarkdownCodeExtractor)
    assert extractor.extract_code_blocks("```python\nx\n```") == [CodeBlock("x", "python")]


@BOTH
def test_the_code_extractor_reads_elements_with_the_code_tags_of_the_options(face: Any, output_dir: Path) -> None:
    extractor = face(output_dir=output_dir, code_tags=["execute_ipython"]).code_extractor
    assert extractor.extract_code_blocks("<execute_ipython>\nx\n</execute_ipython>") == [CodeBlock("x", "python")]
    with pytest.raises(ValueError, match="code_tags"):
        face(output_dir=output_dir, code_tags="execute_ipython")


# The location of the recording


@pytest.mark.parametrize("name", ["analysis", "analysis.ipynb"])
async def test_a_notebook_has_the_requested_name(output_dir: Path, name: str) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir, notebook=name) as executor:
        assert executor.notebook == output_dir / "analysis.ipynb"
        assert read_notebook(executor.notebook)["cells"] == []


async def test_a_missing_directory_is_created(tmp_path: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=tmp_path / "coding") as executor:
        result = await run(executor, "print(1)")
    assert result.notebook == tmp_path / "coding" / "session.ipynb"
    assert result.notebook.exists()


async def test_an_existing_recording_is_not_changed(output_dir: Path) -> None:
    (output_dir / "session.ipynb").write_text("mine")
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        assert executor.notebook == output_dir / "session-2.ipynb"
    assert (output_dir / "session.ipynb").read_text() == "mine"


# Blocks


async def test_anything_with_code_and_language_is_a_block(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        foreign: Any = SimpleNamespace(code="print(1)", language="python")
        assert (await executor.execute_code_blocks([foreign])).output == "1\n"


@pytest.mark.parametrize("block", [(b"print(1)", "python"), (None, "python"), ("print(1)", None), (1, "python")])
async def test_code_that_is_not_a_string_is_rejected_before_any_block_runs(output_dir: Path, block: Any) -> None:
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)
    with pytest.raises(TypeError, match="must be strings"):
        await executor.execute_code_blocks([*python("print('never')"), CodeBlock(*block)])
    assert names(output_dir) == []


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ("print(1)", r"list of CodeBlock, not a string\. Call run\('print\(1\)'\) for code, or run_message\(text\)"),
        (["print(1)"], r"Write CodeBlock\('print\(1\)', 'python'\)"),
        (["pass\n" * 40], r"Write CodeBlock\(code, 'python'\)"),
        (CodeBlock("print(1)", "python"), "Put a block into a list"),
        ([1], "1 is not a CodeBlock"),
    ],
)
async def test_an_argument_that_is_not_a_list_of_blocks_is_rejected(
    blocks: Any, message: str, output_dir: Path
) -> None:
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)
    with pytest.raises(TypeError, match=message):
        await executor.execute_code_blocks(blocks)


async def test_a_block_with_code_and_language_swapped_is_not_run_and_explained(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        swapped = (await executor.execute_code_blocks([CodeBlock("python", "print(1)")])).output
        unknown = (await executor.execute_code_blocks([CodeBlock("print(1)", "cobol")])).output
    assert swapped.startswith("Not run: the code and the language are swapped.")
    assert swapped.endswith("CodeBlock('print(1)', 'python').")
    assert "swapped" not in unknown


async def test_a_message_runs_as_it_reads(output_dir: Path) -> None:
    message = "First:\n\n```python\nx = 2\n```\n\nThen:\n\n```python\nx + 1\n```\n\nDone."
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        result = await executor.run_message(message, "coder")
        assert (result.status, result.output.strip()) == ("ok", "3")
        parts = [{"type": "text", "text": "No code."}]
        assert (await executor.run_message(parts)).cells == []
    assert [(kind, source) for kind, source, _ in described(executor.notebook)] == [
        ("markdown", "First:"),
        ("code", "x = 2"),
        ("markdown", "Then:"),
        ("code", "x + 1"),
        ("markdown", "Done."),
        ("markdown", "No code."),
    ]
    assert described(executor.notebook)[0][2] == "coder"


async def test_code_that_utf8_cannot_encode_is_not_run(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        result = await run(executor, "print('\udc80')", "print('rest')")
        assert [cell.status for cell in result.cells] == ["not_run", "not_run"]
        assert "surrogate" in result.output
        assert len(code_cells(executor.notebook)) == 2
        assert (await run(executor, "print('next')")).output == "next\n"


async def test_code_with_control_characters_is_recorded_as_it_ran(output_dir: Path) -> None:
    code = "print(len('\x00\x0c\x7f'))"
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        result = await run(executor, code)
        assert result.status in {"ok", "error"}  # Python itself refuses NUL in source
        assert code_cells(executor.notebook)[0]["source"] == code
        assert (await run(executor, "print('next')")).output == "next\n"


async def test_skipped_blocks_are_recorded_with_the_reason(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        result = await executor.skip_code_blocks(python("import os", "os.abort()"), note="Not run: policy.")
        assert (result.status, result.exit_code) == ("not_run", 1)
        assert "Not run: policy." in result.output
        cells = code_cells(executor.notebook)
        assert [cell["metadata"]["nbtape"]["status"] for cell in cells] == ["not_run", "not_run"]
        assert (await run(executor, "print('alive')")).output == "alive\n"


# Lifecycle


async def test_the_first_use_starts_the_executor(output_dir: Path) -> None:
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)
    try:
        await executor.add_markdown("# First")
        assert executor.kernel_epoch == 1
        assert (await run(executor, "print(1)")).output == "1\n"
    finally:
        await executor.stop()


async def test_a_second_start_is_harmless(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        await run(executor, "x = 1")
        await asyncio.gather(executor.start(), executor.start())
        assert (await run(executor, "print(x)")).output == "1\n"
        assert executor.kernel_epoch == 1


async def test_a_stop_before_the_start_is_harmless(output_dir: Path) -> None:
    await AsyncJupyterCodeExecutor(output_dir=output_dir).stop()
    assert names(output_dir) == []


async def test_gathered_calls_run_one_after_the_other(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        await run(executor, "n = 0")
        step = "m = n\nfor _ in range(1000):\n    pass\nn = m + 1\nprint(n)"
        results = await asyncio.gather(*(run(executor, step) for _ in range(10)))
        assert [result.output for result in results] == [f"{n}\n" for n in range(1, 11)]


@pytest.fixture
def usual_limit() -> Iterator[None]:
    """Limit open files to the default of Linux, on top of those that the tests have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    usual = 1024 + psutil.Process().num_fds()
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual if hard == resource.RLIM_INFINITY else min(usual, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("usual_limit")
async def test_fifty_concurrent_sessions_each_keep_their_own_state(output_dir: Path) -> None:
    async def session(number: int) -> list[str]:
        async with AsyncJupyterCodeExecutor(output_dir=output_dir, notebook=f"session-{number}") as executor:
            await run(executor, f"mine = {number}")
            return [(await run(executor, f"print(mine, {cell})")).output for cell in range(10)]

    outputs = await asyncio.gather(*map(session, range(50)))
    assert outputs == [[f"{number} {cell}\n" for cell in range(10)] for number in range(50)]
    assert len({name for name in names(output_dir) if name.endswith(".ipynb")}) == 50


async def test_the_loop_stays_free_while_a_block_runs(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir) as executor:
        call = asyncio.ensure_future(run(executor, "for n in range(3000):\n    print(n, flush=True)"))
        longest, last = 0.0, asyncio.get_running_loop().time()
        while not call.done():
            await asyncio.sleep(0.001)
            now = asyncio.get_running_loop().time()
            longest, last = max(longest, now - last), now
        assert (await call).status == "ok"
        assert longest < 1


async def test_an_error_in_a_with_body_stops_the_kernel_and_is_raised(output_dir: Path) -> None:
    before = descendants()
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)

    async def session() -> None:
        async with executor:
            await run(executor, "print(1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await session()
    assert eventually(lambda: descendants() == before)
    assert len(code_cells(executor.notebook)) == 1


class ThreeMembers(KernelSource):
    """A source of kernels with only the members that the interface requires."""

    def __init__(self) -> None:
        self._kernels = LocalKernels("python3")

    def check(self) -> None:
        self._kernels.check()

    async def spec(self) -> KernelSpec:
        return await self._kernels.spec()

    def manager(self) -> KernelManager:
        return self._kernels.manager()


async def test_a_source_needs_only_the_three_members_of_the_interface(output_dir: Path) -> None:
    async def session() -> None:
        async with AsyncJupyterCodeExecutor(ThreeMembers(), output_dir=output_dir) as executor:
            assert (await run(executor, "print(1)")).output == "1\n"
            await executor.restart()
            assert (await run(executor, "print(2)")).output.endswith("2\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await session()


@pytest.mark.parametrize("server", [8888, object(), ["http://127.0.0.1:8888/"]])
def test_an_invalid_source_is_rejected_with_the_valid_kinds(output_dir: Path, server: Any) -> None:
    with pytest.raises(TypeError, match="Leave out jupyter_server= for local kernels, or pass a URL"):
        AsyncJupyterCodeExecutor(server, output_dir=output_dir)


@pytest.mark.parametrize("server", [None, JupyterConnectionInfo("localhost", use_https=False)])
def test_a_token_without_a_url_is_rejected(output_dir: Path, server: Any) -> None:
    with pytest.raises(ValueError, match="token= is only for the URL"):
        AsyncJupyterCodeExecutor(server, output_dir=output_dir, token="sesame")


def test_the_constructor_sends_no_request_to_the_server(output_dir: Path) -> None:
    class Server:
        @property
        def connection_info(self) -> JupyterConnectionInfo:
            raise AssertionError("nothing starts here")

    AsyncJupyterCodeExecutor(Server(), output_dir=output_dir)
    AsyncJupyterCodeExecutor("http://127.0.0.1:1/", token="sesame", output_dir=output_dir)


async def test_an_output_directory_that_can_no_longer_be_created_is_reported(output_dir: Path) -> None:
    (output_dir / "parent").mkdir()
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir / "parent" / "runs")
    (output_dir / "parent").rmdir()
    (output_dir / "parent").touch()
    before = descendants()
    with pytest.raises(OutputDirectoryError, match="cannot be created"):
        await executor.start()
    assert descendants() == before


MESSAGE = "I count first.\n\n```python\nprint(1)\n```\n\nThen I divide.\n\n```python\n1 / 0\n```\n\nThat is all."


def described(notebook: Path) -> list[tuple[str, str, Any]]:
    """Return the cells: their type, their source and their author."""
    cells = read_notebook(notebook)["cells"]
    return [(cell["cell_type"], cell["source"], cell["metadata"].get("nbtape", {}).get("agent")) for cell in cells]


async def test_an_agents_text_around_its_code_is_recorded(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir, agent="coder") as executor:
        blocks = executor.code_extractor.extract_code_blocks(MESSAGE)
        result = await executor.execute_code_blocks(blocks)
        await executor.add_markdown("Well.", "critic")
        await executor.add_markdown("Hm.")
    assert [cell.index for cell in result.cells] == [1, 3]
    assert described(executor.notebook) == [
        ("markdown", "I count first.", "coder"),
        ("code", "print(1)", None),
        ("markdown", "Then I divide.", "coder"),
        ("code", "1 / 0", None),
        ("markdown", "That is all.", "coder"),
        ("markdown", "Well.", "critic"),
        ("markdown", "Hm.", None),
    ]


async def test_recording_of_agent_messages_can_be_switched_off(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir, record_messages=False) as executor:
        await executor.execute_code_blocks(executor.code_extractor.extract_code_blocks(MESSAGE))
    assert [kind for kind, *_ in described(executor.notebook)] == ["code", "code"]


async def test_naming_of_files_can_be_switched_off(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir, name_files=False) as executor:
        result = await run(executor, "from PIL import Image\nImage.new('RGB', (10, 10))")
    assert result.output == "<PIL.Image.Image image mode=RGB size=10x10>"
    assert result.output_files == [str(output_dir / "session_1_0.png")]


async def test_the_outputs_of_a_cell_can_be_read(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir, max_cell_chars=1000) as executor:
        result = await run(executor, "display({'a': 1}, raw=False)\n'x' * 5000")
        shown, told = executor.outputs(result.cells[0])
        assert shown["data"] == {"text/plain": "{'a': 1}"}
        assert "left out" in told["text"]
        assert result.cells[0].left_out >= 5000
        assert executor.options["max_cell_chars"] == 1000
        executor.options["max_cell_chars"] = 1
        assert executor.options["max_cell_chars"] == 1000


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(3)"])
def test_a_program_that_never_stops_its_executor_exits(output_dir: Path, end: str) -> None:
    program = f"""
import asyncio
from nbtape import AsyncJupyterCodeExecutor, CodeBlock

async def main():
    global executor
    executor = AsyncJupyterCodeExecutor(output_dir={str(output_dir)!r})
    print((await executor.execute_code_blocks([CodeBlock("print(1)", "python")])).output, end="", flush=True)
    {end}

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "1\n"
    assert done.returncode == (3 if "SystemExit" in end else 0)


async def test_a_block_can_name_its_author(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(output_dir=output_dir, agent="coder") as executor:
        await executor.execute_code_blocks([CodeBlock("1", "python", said_before="Mine.", said_by="planner")])
        await executor.skip_code_blocks([CodeBlock("2", "python", said_before="Also.")], note="A policy forbids it.")
    assert described(executor.notebook) == [
        ("markdown", "Mine.", "planner"),
        ("code", "1", None),
        ("markdown", "Also.", "coder"),
        ("code", "2", None),
    ]
