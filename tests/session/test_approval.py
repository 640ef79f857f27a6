"""The function `approve` sees each block before it runs."""

from __future__ import annotations

import asyncio
import json
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from reading import code_cells

from nbtape import AsyncJupyterCodeExecutor, CodeBlock, JupyterCodeExecutor
from nbtape.session.approval import Decision, decide

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = CodeBlock("print(1)", "python")


async def decision(approve: Any) -> Decision:
    decided = await decide(approve, BLOCK, asyncio.Event())
    assert decided is not None
    return decided


async def test_a_block_is_allowed_refused_or_replaced() -> None:
    assert await decision(lambda _: True) == Decision(BLOCK)
    assert (await decision(lambda _: False)).note == "Not run: it was refused."
    assert (await decision(lambda _: "It deletes files.")).note == "Not run: it was refused. It deletes files."
    other = CodeBlock("print(2)", "python")
    replaced = await decision(lambda _: other)
    assert (replaced.block, replaced.original) == (other, BLOCK)
    assert await decision(lambda block: CodeBlock(block.code, block.language)) == Decision(BLOCK)


async def test_a_coroutine_function_may_decide() -> None:
    async def approve(block: CodeBlock) -> str:
        await asyncio.sleep(0)
        return f"no {block.language}"

    class Policy:
        async def __call__(self, block: CodeBlock) -> str:
            return await approve(block)

    for asked in (approve, Policy(), partial(approve)):
        assert (await decision(asked)).refusal == "it was refused. no python"


@pytest.mark.parametrize("answer", [None, 1, 0, "", b"x", ["print(1)"], object()])
async def test_only_true_allows(answer: object) -> None:
    assert (await decision(lambda _: answer)).refusal


@pytest.mark.parametrize("error", [ValueError("broken"), StopIteration(), SystemExit(1)])
async def test_a_question_that_fails_is_a_refusal(error: BaseException) -> None:
    def approve(_: CodeBlock) -> bool:
        raise error

    assert "approve= failed with" in (await decision(approve)).refusal


async def test_a_stop_does_not_wait_for_the_answer() -> None:
    release, stop = threading.Event(), asyncio.Event()

    def approve(_: CodeBlock) -> bool:
        asyncio.run_coroutine_threadsafe(_set(stop), loop)
        return release.wait(30)

    loop = asyncio.get_running_loop()
    assert await decide(approve, BLOCK, stop) is None
    release.set()


async def _set(event: asyncio.Event) -> None:
    event.set()


def policy(block: CodeBlock) -> bool | str | CodeBlock:
    if "secret" in block.code:
        return "Secrets are off limits."
    return CodeBlock("x = 2", "python") if block.code == "x = 1" else True


def facts(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text())["cells"]
    return [{"source": "".join(cell["source"]), **cell["metadata"]["nbtape"]} for cell in cells]


def test_the_record_has_each_decision_and_both_sources_of_a_replacement(output_dir: Path) -> None:
    blocks = [CodeBlock(code, "python") for code in ("x = 1", "print(x)", "secret = 3", "print('rest')")]
    with JupyterCodeExecutor(output_dir=output_dir, approve=policy) as executor:
        result = executor.execute_code_blocks(blocks)
    assert [cell.status for cell in result.cells] == ["ok", "ok", "not_run", "not_run"]
    assert [cell.output for cell in result.cells] == [
        "The code was replaced before it ran. This ran instead:\nx = 2\n",
        "2\n",
        "Not run: it was refused. Secrets are off limits.",
        "",
    ]
    replaced, allowed, refused, rest = facts(result.notebook)  # type: ignore[arg-type]
    assert (replaced["source"], replaced["replaced"]) == ("x = 2", {"source": "x = 1", "language": "python"})
    assert [each.get("approval") for each in (replaced, allowed, refused, rest)] == [
        "replaced",
        "allowed",
        "refused",
        None,
    ]
    assert (refused["status"], refused["note"]) == ("not_run", "Not run: it was refused. Secrets are off limits.")


async def test_an_interrupt_while_a_person_decides_leaves_the_block_not_run(output_dir: Path) -> None:
    asked = asyncio.Event()

    async def approve(_: CodeBlock) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    async with AsyncJupyterCodeExecutor(output_dir=output_dir, approve=approve) as executor:
        call = asyncio.ensure_future(executor.run("print(1)"))
        await asked.wait()
        await executor.interrupt()
        result = await call
    assert (result.status, result.output) == ("not_run", "Not run: interrupted before it started.")
    assert len(code_cells(executor.notebook)) == 1
