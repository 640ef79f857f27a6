"""Code that sabotages the output directory changes and reads nothing outside it, and no call hangs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from nbtape import CodeBlock, JupyterCodeExecutor, NbtapeError
from nbtape.common.untrusted_files import replace_file
from nbtape.export.write import write
from nbtape.integrations._answers import pictures
from nbtape.notebook.output_path import output_path
from nbtape.notebook.read import read_document
from nbtape.summary.outline import read_outline
from nbtape.summary.run_summary import summarise
from nbtape.watch.follow import newest_notebook
from nbtape.watch.snapshots import SnapshotReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbtape.kernels.sources import Server

SECRET: Final = "canary-7f3a"

#: The limit for every call, in seconds. Blocks have 5 seconds; an interrupt and a save come on top.
CALL_SECONDS: Final = 60.0

IMAGE: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

SABOTEUR: Final = r'''
import ctypes, fcntl, os, random, socket, stat, threading, time

class Saboteur(threading.Thread):
    """Does something bad to a random file every few milliseconds. Its own acts never follow a link out of here."""

    def __init__(self, seed, canary, root, steps, seconds):
        super().__init__(daemon=True)
        self.draw, self.canary, self.root = random.Random(seed), canary, root
        self.steps, self.held = 0, []
        self.last, self.end = steps, time.monotonic() + seconds
        self.libc = ctypes.CDLL(None)

    def run(self):
        while self.steps < self.last or time.monotonic() < self.end:
            try:
                self.step()
            except OSError:
                pass
            self.steps += 1
            time.sleep(self.draw.choice([0, 0.001, 0.005, 0.02]))
        self.tidy()
        os.mkdir(f"over-{self.steps}")

    def names(self):
        here = os.listdir(".")
        ours = [name for name in here if name.startswith((".session", "session"))]
        return ours * 3 + here + ["session.ipynb", ".session.ipynb.journal", "report.html", "session_1_0.png", "sub"]

    def step(self):
        name, other = self.draw.choice(self.names()), self.draw.choice(self.names())
        act = self.draw.choice(ACTS)
        getattr(self, "do_" + act)(name, other)

    def put(self, name, make):
        self.steps_name = f"x{self.steps}"
        make(self.steps_name)
        self.clear(name)
        os.rename(self.steps_name, name)

    def clear(self, name):
        if os.path.isdir(name) and not os.path.islink(name):
            os.rename(name, f"dir{self.steps}")

    def is_plain(self, name):
        info = os.lstat(name)
        return stat.S_ISREG(info.st_mode) and info.st_nlink == 1

    def do_link(self, name, other):
        goal = self.draw.choice([
            self.canary + "/secret.ipynb", self.canary + "/secret.png", self.canary + "/new", self.canary,
            "/dev/zero", "/dev/null", "/dev/tty", name, ".", other,
        ])
        self.put(name, lambda at: os.symlink(goal, at))

    def do_hard_link(self, name, other):
        goal = self.draw.choice([other, self.canary + "/secret.ipynb", self.canary + "/secret.png"])
        self.put(name, lambda at: os.link(goal, at, follow_symlinks=False))

    def do_fifo(self, name, other):
        self.put(name, os.mkfifo)

    def do_socket(self, name, other):
        def bind(at):
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(at)
        self.put(name, bind)

    def do_directory(self, name, other):
        os.mkdir(f"d{self.steps}")
        open(f"d{self.steps}/inner.txt", "w").close()
        os.rename(name, f"old{self.steps}")
        os.rename(f"d{self.steps}", name)

    def do_rename(self, name, other):
        self.clear(other)
        os.rename(name, other)

    def do_exchange(self, name, other):
        self.libc.renameat2(-100, name.encode(), -100, other.encode(), 2)

    def do_mode(self, name, other):
        if self.is_plain(name):
            os.chmod(name, self.draw.choice([0, 0o200, 0o444, 0o600, 0o644, 0o777, 0o4755]))

    def do_delete(self, name, other):
        os.unlink(name)

    def do_truncate(self, name, other):
        if self.is_plain(name):
            os.truncate(name, self.draw.choice([0, 1, os.lstat(name).st_size // 2, 1 << 42]))

    def do_garbage(self, name, other):
        if self.is_plain(name):
            with open(name, "r+b") as file:
                file.seek(self.draw.randrange(1 + min(10_000, os.lstat(name).st_size)))
                file.write(b"garbage")

    def do_lock(self, name, other):
        if self.is_plain(name):
            self.held.append(open(name, "rb"))
            fcntl.flock(self.held[-1], self.draw.choice([fcntl.LOCK_SH, fcntl.LOCK_EX]) | fcntl.LOCK_NB)
        if len(self.held) > 5:
            self.held.pop(0).close()

    def do_swap_directory(self, name, other):
        os.makedirs(f"sub{self.steps}/deep")
        open(f"sub{self.steps}/deep/secret.png", "w").close()
        if self.draw.random() < 0.5:
            os.rename(f"sub{self.steps}", "sub")
            return
        os.rename("sub", f"old{self.steps}")
        os.symlink(self.canary, "sub")

    def do_move_root(self, name, other):
        if self.root is None:
            return
        os.rename(self.root, self.root + ".away")
        try:
            os.symlink(self.canary, self.root)
            time.sleep(self.draw.choice([0, 0.01, 0.3]))
            os.unlink(self.root)
        finally:
            os.rename(self.root + ".away", self.root)

    def tidy(self):
        """Leave only what a save can replace."""
        for file in self.held:
            file.close()
        for name in os.listdir("."):
            try:
                self.tidy_up(name)
            except FileNotFoundError:  # nbtape has renamed it meanwhile
                pass

    def tidy_up(self, name):
        if os.path.isdir(name) and not os.path.islink(name) and name.endswith((".ipynb", ".journal")):
            os.rename(name, f"last-{self.steps}-{name.strip('.')}")
        elif self.is_plain(name) and os.lstat(name).st_uid == os.getuid():
            os.chmod(name, 0o644)

ACTS = [act.removeprefix("do_") for act in dir(Saboteur) if act.startswith("do_")]
'''

BLOCKS: Final = [
    "print({number})",
    "import time\nfor n in range(5):\n    print(n, flush=True)\n    time.sleep(0.06)",
    f"from IPython.display import display\ndisplay({{{{'image/png': '{IMAGE}'}}}}, raw=True)",
    "open('made-{number}.txt', 'w').write('x' * 1000)",
    "1 / 0",
    "print('x' * 200_000)",
]


@pytest.fixture
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Create a tree of the same user outside the output directory, which must not change."""
    canary = tmp_path_factory.mktemp("canary")
    nbformat.write(new_notebook(cells=[new_code_cell(f"print('{SECRET}')")]), canary / "secret.ipynb")
    (canary / "secret.png").write_text(SECRET)
    (canary / "deep").mkdir()
    (canary / "deep" / f"{SECRET}.txt").write_text(SECRET)
    before = state(canary)
    yield canary
    assert state(canary) == before


def state(directory: Path) -> dict[str, Any]:
    """Return everything about a tree except the number of hard links, which the saboteur may create."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        info = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else sorted(os.listdir(path))  # noqa: PTH208  (names)
        found[str(path)] = (info.st_ino, info.st_mode, info.st_uid, info.st_mtime_ns, content)
    return found


class Recorder:
    """One session and all other readers and writers of its directory; each call has a time limit."""

    def __init__(self, executor: JupyterCodeExecutor, seed: int, *, looks: bool) -> None:
        self.executor = executor
        self.looks = looks
        self.draw = random.Random(seed)
        self.seen: list[str] = []
        self.errors: list[str] = []
        self.directory = executor.notebook.parent
        self._watcher = SnapshotReader(executor.notebook)
        self._pool = ThreadPoolExecutor(1)

    def call(self, work: Callable[[], object]) -> object:
        """Do something that may be rejected but must not hang."""
        try:
            return self._pool.submit(work).result(timeout=CALL_SECONDS)
        except TimeoutError:
            pytest.fail(f"{work} has not returned after {CALL_SECONDS:g} s")
        except (NbtapeError, OSError, ValueError) as exc:
            self.errors.append(f"{type(exc).__name__}: {exc}")
            return None

    def run(self, code: str) -> str:
        def work() -> str:
            result = self.executor.execute_code_blocks([CodeBlock(code, "python")])
            self.seen += [result.output, *(path.removeprefix(str(self.directory)) for path in result.output_files)]
            self.seen += [str(picture.content) for picture in pictures(result)] if self.looks else []
            return result.output

        return str(self.call(work) or "")

    def look(self) -> None:
        """Do something that other commands do in the directory."""
        if not self.looks:
            return
        notebook = self.executor.notebook
        work: list[Callable[[], object]] = [
            lambda: self.note(read_document(notebook)),
            lambda: self.note(self._watcher.read()),
            lambda: self.note(summarise(read_outline(notebook))),
            lambda: newest_notebook(self.directory),
            lambda: replace_file(self.directory / "report.html", b"report", [self.directory]),
            lambda: replace_file(self.directory / "sub" / "report.html", b"report", [self.directory]),
            lambda: write(read_document(notebook), "x", "md", output_path(notebook, None, "", ".md")),
        ]
        self.call(self.draw.choice(work))

    def note(self, found: object) -> None:
        self.seen.append(str(found))


def ends(directory: Path) -> list[Path]:
    """Return what the saboteur reports after all its steps; empty while it has moved the directory away."""
    with contextlib.suppress(FileNotFoundError):
        return [path for path in directory.glob("over-*") if not directory.is_symlink()]
    return []


def sabotage(server: Server, output_dir: Path, canary: Path, steps: int, seconds: float, *, moves_root: bool) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  (to repeat a failure)
    with JupyterCodeExecutor(server, output_dir=output_dir, timeout=5, startup_timeout=120) as executor:
        # A new command may follow a user's link on the way to a directory; a running session does not.
        recorder = Recorder(executor, seed, looks=not moves_root)
        root = repr(str(output_dir)) if moves_root else None
        start = f"{SABOTEUR}\nSaboteur({seed}, {str(canary)!r}, {root}, {steps}, {seconds}).start()"
        kernel, number, began = -1, 0, time.monotonic()
        while not (over := ends(output_dir)):
            if executor.kernel_epoch != kernel:  # the saboteur dies with its kernel
                recorder.run(start)
                kernel = executor.kernel_epoch
            recorder.run(recorder.draw.choice(BLOCKS).format(number=number))
            recorder.look()
            number += 1
            assert time.monotonic() - began < 60 + seconds + steps, recorder.errors[-3:]
        print(f"{over[0].name}, {number} blocks, {len(recorder.errors)} errors: {set(recorder.errors)}")  # noqa: T201  (on failure)
        # The obstacles are gone: the record can be completed, including what was recorded in the meantime.
        time.sleep(1.5)  # a half-written file counts as one that is still being written
        recorder.errors.clear()
        assert executor.execute_code_blocks([CodeBlock("print('last')", "python")]).status == "ok"
        recorder.call(executor.stop)
        assert recorder.errors == []
    cells = read_document(executor.notebook)["cells"]
    assert [cell["outputs"][0]["text"] for cell in cells if cell["source"] == "print('last')"] == ["last\n"]
    assert SECRET not in json.dumps(cells)
    assert not [text for text in recorder.seen if SECRET in text]
    assert all(len(error) < 1000 for error in recorder.errors)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moves_root", [False, True])
def test_sabotage_from_a_local_kernel(
    output_dir: Path,
    canary: Path,
    full: bool,  # noqa: FBT001  (a fixture)
    moves_root: bool,  # noqa: FBT001  (a fixture)
) -> None:
    directory = output_dir / "coding"
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        steps, seconds = (2000, 0) if full else (100, 10)
        sabotage(None, directory, canary, steps, seconds, moves_root=moves_root)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_sabotage_from_a_container(base_image: str, tmp_path_factory: pytest.TempPathFactory, canary: Path) -> None:
    from nbtape import DockerJupyterServer

    directory = tmp_path_factory.mktemp("coding")
    directory.chmod(stat.S_IRWXU)
    with DockerJupyterServer(base_image=base_image, network="none", bind_dir=directory) as server:
        sabotage(server, directory, canary, 500, 0, moves_root=False)
