"""Play one stress session in this process, which may be killed, and keep a journal of the results.

The journal is a file of JSON lines, each written at once. The first has the name of each executor's files, the last
what is left in this process after everything was stopped.
"""

# A program that __main__.py starts, and that belongs to no package.
# ruff: noqa: T201

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import faulthandler
import gc
import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy import Proxy
from reading import descendants, eventually

from nbtape import (
    AsyncJupyterCodeExecutor,
    CodeBlock,
    CodeResult,
    DockerJupyterServer,
    JupyterCodeExecutor,
    JupyterConnectionInfo,
    LocalJupyterServer,
)
from stress.sessions import Session
from stress.steps import KINDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterator

    from stress.steps import Block

#: Seconds for which no connection is accepted while the other end is "away".
_AWAY: Final = 1.0
#: Threads of each blocking executor: for two concurrent calls, and for what interrupts them.
_POOL: Final = 4


class Journal:
    """A journal of events, written as they happen.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def note(self, **facts: Any) -> None:  # noqa: ANN401  (JSON values)
        """Add a line."""
        os.write(self._file, json.dumps(facts).encode() + b"\n")


class Track:
    """One executor and its steps.

    Args:
        number: The number of the executor.
        session: The session to play.
        executor: The executor.
        journal: The journal for its results.
        proxy: The proxy for its connections, if any.
    """

    def __init__(
        self,
        number: int,
        session: Session,
        executor: JupyterCodeExecutor | AsyncJupyterCodeExecutor,
        journal: Journal,
        proxy: Proxy | None,
    ) -> None:
        self._number = number
        self._session = session
        self._executor = executor
        self._journal = journal
        self._proxy = proxy
        self._pool = ThreadPoolExecutor(_POOL, f"track-{number}")

    async def play(self) -> None:
        """Play all its steps, one more block that must be answered, and the stop."""
        for label, step in enumerate(self._session.steps):
            if step.track == self._number:
                await self._step(KINDS[step.name].act, step.blocks(str(label)), step.delay / 1000)
        await self._run(self._session.last_blocks(self._number))
        await self._try("stop", self._do("stop"))
        self._journal.note(track=self._number, notebook=str(self._executor.notebook))
        self._pool.shutdown()

    async def _step(self, act: str, blocks: list[Block], delay: float) -> None:
        if act in {"cut", "away", "tear", "die"}:
            await self._try("start", self._do("start"))  # the fault cuts a running session, not its start
        half = len(blocks) // 2 if blocks and blocks[-1].label.endswith("d") else len(blocks)
        calls = [asyncio.ensure_future(self._run(part)) for part in (blocks[:half], blocks[half:]) if part]
        await asyncio.sleep(delay)
        if act:
            await self._try(act, self._act(act, calls))
        await asyncio.wait(calls) if calls else None

    async def _act(self, act: str, calls: list[asyncio.Task[None]]) -> None:
        if act == "cancel":
            calls[0].cancel()
        elif act == "markdown":
            await self._do("add_markdown", "What a user said.")
        elif act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif act in {"cut", "away", "tear"}:
            assert self._proxy is not None
            await asyncio.to_thread(_break, self._proxy, act)
        else:
            await self._do(act)

    async def _run(self, blocks: list[Block]) -> None:
        """Run blocks in one call, and record the result that the caller gets."""
        if not blocks:
            return
        labels = [block.label for block in blocks]
        work = self._do("execute_code_blocks", [CodeBlock(block.code, block.language) for block in blocks])
        result = await self._try(f"the call of {', '.join(labels)}", work)
        if isinstance(result, CodeResult):
            for label, cell in zip(labels, result.cells, strict=True):
                facts = {"status": cell.status, "incomplete": cell.outputs_incomplete, "note": cell.note}
                self._journal.note(label=label, output=cell.output, epoch=cell.kernel_epoch, **facts)

    async def _try(self, what: str, work: Awaitable[Any]) -> Any:  # noqa: ANN401  (any result)
        """Await something; record an exception, and continue the session."""
        try:
            return await work
        except asyncio.CancelledError:
            self._journal.note(track=self._number, cancelled=what)
        except Exception as exc:  # noqa: BLE001  (recorded for the judge)
            self._journal.note(track=self._number, failed=what, error=f"{type(exc).__name__}: {exc}")

    def _do(self, name: str, *arguments: object) -> Awaitable[Any]:
        method = getattr(self._executor, name)
        if self._session.is_async:
            coroutine: Coroutine[Any, Any, Any] = method(*arguments)
            return coroutine
        return asyncio.get_running_loop().run_in_executor(self._pool, method, *arguments)


def _break(proxy: Proxy, how: str) -> None:
    if how != "away":
        getattr(proxy, how)()
        return
    proxy.close()
    proxy.cut()
    threading.Event().wait(_AWAY)
    proxy.open()


@contextlib.contextmanager
def _source(place: str, given: dict[str, Any]) -> Iterator[tuple[Any, Proxy | None]]:
    """Return the source of kernels for the executors, and the proxy before it."""
    if place == "local":
        yield None, None
    elif place == "server":
        with LocalJupyterServer() as server:
            yield server, None
    elif place == "server-proxy":
        with LocalJupyterServer() as server, Proxy(server.connection_info.port or 0) as proxy:
            yield dataclasses.replace(server.connection_info, port=proxy.port), proxy
    elif place == "plain":
        with Proxy(given["port"]) as proxy:
            yield JupyterConnectionInfo("127.0.0.1", use_https=False, port=proxy.port, token=given["token"]), proxy
    else:
        network = "none" if place == "docker-none" else None
        with DockerJupyterServer(base_image=given["base_image"], network=network) as container:
            yield container, None


async def _play(session: Session, given: dict[str, Any], directory: Path, journal: Journal) -> None:
    face = AsyncJupyterCodeExecutor if session.is_async else JupyterCodeExecutor
    with _source(session.place, given) as (source, proxy):
        tracks = []
        for number in session.tracks or [0]:
            home = directory / f"track{number}"
            executor = face(
                source,
                timeout=session.timeout,
                output_dir=home,
                notebook="stress",
                interrupt_grace=2,
                max_output_chars=10_000_000,
            )
            journal.note(track=number, notebook=str(home / "stress.ipynb"))
            tracks.append(Track(number, session, executor, journal, proxy))
        await asyncio.gather(*(track.play() for track in tracks))


def _open_files() -> dict[str, str]:
    """Return the open files of this process."""
    found = {}
    for link in Path("/proc/self/fd").glob("*"):  # only Linux reports them
        with contextlib.suppress(OSError):
            found[link.name] = str(link.readlink())
    return {number: what for number, what in found.items() if not what.startswith("/proc/")}


def _own_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()} - {"MainThread", "watchdog"}


def _left(files: dict[str, str]) -> list[str]:
    """Return what is left in this process that was not there before."""
    gc.collect()  # unreferenced objects are not leaks
    eventually(lambda: not descendants() and not _own_threads() and not _open_files().keys() - files.keys())
    opened = [what for number, what in _open_files().items() if number not in files]
    return [
        *(f"a process: {pid}" for pid in sorted(descendants())),
        *(f"a thread: {name}" for name in sorted(_own_threads())),
        *(f"an open file: {what}" for what in sorted(opened)),
    ]


def _watch(seconds: float) -> None:
    """Kill this process when it hangs, and report where: all threads, and the tasks of all event loops."""

    def dump() -> None:
        faulthandler.dump_traceback(all_threads=True)
        for task in [found for found in gc.get_objects() if isinstance(found, asyncio.Task) and not found.done()]:
            print(f"\n{task!r}", file=sys.stderr)
            task.print_stack(file=sys.stderr)
        sys.stderr.flush()
        os._exit(9)

    timer = threading.Timer(seconds, dump)
    timer.name, timer.daemon = "watchdog", True
    timer.start()


def main() -> None:
    """Play the session that `session.json` describes, in the directory of the argument."""
    directory = Path(sys.argv[1])
    given = json.loads((directory / "session.json").read_text())
    session = Session.from_line(given["session"])
    _watch(given["limit"])
    journal = Journal(directory / "journal.jsonl")
    files = _open_files()
    asyncio.run(_play(session, given, directory, journal))
    journal.note(left=_left(files))


if __name__ == "__main__":
    main()
