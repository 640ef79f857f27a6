"""A process that takes steps of one way on request, seen from outside: its answers, CPU time and memory."""

from __future__ import annotations

import ast
import contextlib
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.comparisons import Figures, Way

REPO: Final = Path(__file__).resolve().parents[2]
#: Peers with an environment of their own. All others run in nbtape's.
PEERS: Final = ("autogen", "ag2", "smolagents", "jupyter_kernel_client")

#: Seconds after which a step counts as hanging. The longest takes eight minutes on an idle machine.
_LIMIT: Final = 2400


class ProbeError(Exception):
    """A way could not be measured, with the reason."""


def environment_name(peer: str) -> str:
    """Return a peer's name as used in the name of its environment."""
    return peer.replace("_", "-")


def python_of(peer: str) -> Path:
    """Return the Python of the environment in which the ways of a peer run."""
    if peer not in PEERS:
        return Path(sys.executable)
    return REPO / ".venv" / f"bench-{environment_name(peer)}" / "bin" / "python"


class Session:
    """One process, from when it is ready for steps until it exits.

    Args:
        way: The work that it does.
        arguments: The arguments of the way.

    Raises:
        ProbeError: It failed, here or in any method.
    """

    def __init__(self, way: Way, arguments: list[str]) -> None:
        self._way = way
        self._arguments = arguments
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        python = python_of(self._way.peer)
        if not python.exists():
            raise ProbeError(f"there is no {python}: let scripts/bench make it")
        with self._stack:
            directory = self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="nbtape-bench-", ignore_cleanup_errors=True)
            )
            self._errors = self._stack.enter_context(tempfile.TemporaryFile("w+"))
            self._process = subprocess.Popen(  # noqa: S603  (ours)
                [python, Path(__file__).with_name("probe.py"), self._way.does, *self._arguments],
                cwd=directory,
                env=_surroundings(python, Path(directory)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                # Ctrl-C is for this process, which then stops the probe as usual.
                start_new_session=True,
            )
            self._stack.callback(self._end)
            self._answer()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, traceback)

    def take(self, count: int) -> Figures:
        """Take some steps; return the measurements of each, and their mean CPU time."""
        before = self._cpu()
        self._input.write(f"{count}\n")
        self._input.flush()
        steps: list[dict[str, float]] = self._answer()
        figures = {name: [step[name] for step in steps] for name in steps[0]}
        return {**figures, "cpu": [(self._cpu() - before) / count] * count}

    def stop(self) -> float:
        """Stop it, and return the seconds that the way took for that."""
        self._input.close()
        return float(self._answer())

    def memory(self) -> float:
        """Return the bytes that the process has in memory, without its kernels."""
        import psutil  # type: ignore[import-untyped,unused-ignore]

        return float(psutil.Process(self._process.pid).memory_info().rss)

    @property
    def _input(self) -> Any:  # noqa: ANN401  (a pipe)
        return self._process.stdin

    def _answer(self) -> Any:  # noqa: ANN401  (answer of a probe)
        """Return the next line of the process."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _LIMIT)
        if not ready:
            raise ProbeError(f"it took more than {_LIMIT} seconds")
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["the process ended without a word"]
            raise ProbeError(said[-1][:300])
        return ast.literal_eval(line)

    def _cpu(self) -> float:
        """Return the CPU seconds of the process and its children, running or waited for."""
        import psutil

        seconds = 0.0
        process = psutil.Process(self._process.pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
        return seconds

    def _end(self) -> None:
        """Let it exit, or kill it."""
        with contextlib.suppress(OSError):
            self._input.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _surroundings(python: Path, directory: Path) -> dict[str, str]:
    """Return the same environment for all: no IPython profile, byte code kept, the environment of the peer active."""
    variables = {**os.environ, "IPYTHONDIR": str(directory / "ipython")}
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        variables.pop(name, None)
    prefix = python.parent.parent
    # IPython adds the packages of the environment in VIRTUAL_ENV.
    return {**variables, "VIRTUAL_ENV": str(prefix), "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}"}
