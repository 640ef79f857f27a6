"""Measures nbtape against its goals; `scripts/bench --help` says what. Runs in an environment that has nbtape.

The times come from probes: fresh processes, most of them this program again, which print their times as JSON. Probes
import what they measure; the program itself imports the standard library only.
"""

# A program that prints and starts itself, and belongs to no package.
# ruff: noqa: S603, T201

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from nbtape import LocalJupyterServer

    Step = Callable[[], Awaitable[None]]

Times = dict[str, list[float]]
"""Seconds, by what took them."""

REPO: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = (
    "nbtape",
    "ipykernel",
    "jupyter_client",
    "nbclient",
    "nbformat",
    "papermill",
    "pyzmq",
    "jupyter_kernel_gateway",
    "websockets",
)

#: Seconds after which a probe is taken to hang.
PROBE_LIMIT: Final = 900
#: Cells that run one way before it is the other's turn.
BATCH: Final = 25


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        rounds: How often everything is measured.
        imports: Interpreters of each kind in a round.
        starts: Kernels of each kind in a round.
        cells: Warm cells of each kind in a round.
        long_rounds: Rounds in which long notebooks are recorded as well.
        long_cells: The cells of a long notebook.
        plots: The cells of a notebook of plots.
    """

    rounds: int
    imports: int
    starts: int
    cells: int
    long_rounds: int
    long_cells: int
    plots: int


FULL: Final = Plan(rounds=5, imports=20, starts=8, cells=300, long_rounds=3, long_cells=1000, plots=100)
QUICK: Final = Plan(rounds=3, imports=8, starts=4, cells=150, long_rounds=1, long_cells=200, plots=40)


@dataclass(frozen=True, slots=True)
class Way:
    """One of the ways that a row compares.

    Args:
        key: Its name in the answer of a probe.
        label: Its name for people.
        goal: The most that it may be over the row's floor: times, or seconds more where the row takes differences.
    """

    key: str
    label: str
    goal: float | None = None


@dataclass(slots=True)
class Row:
    """What is compared with each other.

    Args:
        title: Its name.
        ways: The floor, and what is measured against it.
        differences: Whether that is by difference, not by ratio.
        unit: What the table has it in, ms or s.
        rounds: The times of each round.
    """

    title: str
    ways: Sequence[Way]
    differences: bool = False
    unit: str = "ms"
    rounds: list[Times] = field(default_factory=list)

    def times(self, way: Way) -> list[float]:
        """All times of one way."""
        return [seconds for times in self.rounds for seconds in times[way.key]]

    def over_floor(self, way: Way) -> float:
        """The median of the rounds' ratios (or differences), as it is printed: to two digits, or to a millisecond."""
        return round(median(self._over_floor(way)), 3 if self.differences else 2)

    def spread(self, way: Way) -> tuple[float, float]:
        """The lowest and the highest of the rounds' ratios (or differences)."""
        return min(self._over_floor(way)), max(self._over_floor(way))

    def _over_floor(self, way: Way) -> list[float]:
        """Each round's, of its medians: a machine that is slower in one round is so for both."""
        medians = [(median(times[way.key]), median(times[self.ways[0].key])) for times in self.rounds]
        return [ours - floor if self.differences else ours / floor for ours, floor in medians]

    def is_met(self, way: Way) -> bool | None:
        """Whether the goal is met; None if there is none."""
        return None if way.goal is None else self.over_floor(way) <= way.goal


# Processes


def python(arguments: Sequence[str], directory: Path) -> str:
    """Run our Python in a directory and return what it prints.

    Raises:
        SystemExit: It failed, and said why.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=directory,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=PROBE_LIMIT,
        )
    except subprocess.SubprocessError as exc:
        raise SystemExit(f"scripts/bench: nothing can be measured, for this failed: {exc}") from exc
    return done.stdout


def probe(name: str, numbers: Iterable[int], directory: Path) -> Times:
    """Run one of the `PROBES` in a process of its own."""
    times: Times = json.loads(python([str(Path(__file__).resolve()), "--probe", name, *map(str, numbers)], directory))
    return times


def in_turn(measures: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    """Take each measure so many times: A B, B A, A B, …; once more in the beginning, which is not counted."""
    times: Times = {key: [] for key in measures}
    for number in range(rounds + 1):
        for key in by_turns(measures, number):
            seconds = measures[key]()
            if number:
                times[key].append(seconds)
    return times


def by_turns(keys: Iterable[str], number: int) -> list[str]:
    """The keys, every other time from the last to the first."""
    return list(keys) if number % 2 else list(keys)[::-1]


# Import


def measure_imports(count: int, directory: Path) -> Times:
    """Whole interpreters, with and without `import nbtape`."""

    def interpreter(program: str) -> float:
        began = time.perf_counter()
        python(["-c", program], directory)
        return time.perf_counter() - began

    return in_turn({"empty": lambda: interpreter("pass"), "import": lambda: interpreter("import nbtape")}, count)


# First result

#: The clock runs from before the first import; only what an empty interpreter has anyway is there before.
COLD: Final = """
import time
began = time.perf_counter()
from nbtape import CodeBlock, JupyterCodeExecutor
executor = JupyterCodeExecutor()
result = executor.execute_code_blocks([CodeBlock(language="python", code="print(1)")])
print(time.perf_counter() - began if result.output == "1\\n" else result)
executor.stop()
"""


def measure_starts(count: int, directory: Path) -> Times:
    """From nothing to a first result: the floor, ours, and ours with the imports."""
    times = probe("starts", [count], directory)
    return times | in_turn({"cold": lambda: float(python(["-c", COLD], directory))}, max(2, count // 2))


def probe_starts(count: int) -> Times:
    """Kernels in turn, from a process that has imported everything and run one of each."""
    return in_turn({"bare": start_bare, "nbtape": start_nbtape}, count)


def start_bare() -> float:
    """Seconds from the start of a bare kernel process to its first reply, over a unix socket: what is quickest."""
    import zmq
    from jupyter_client.connect import write_connection_file
    from jupyter_client.session import Session

    session = Session()
    place = str(Path("bare").absolute())
    path, connection = write_connection_file(f"{place}.json", key=session.key, transport="ipc", ip=place)
    with zmq.Context() as context, context.socket(zmq.DEALER) as shell:
        shell.linger = 0
        # The kernel binds late. It is tried every few milliseconds, and then finds the request waiting.
        shell.reconnect_ivl = 5
        began = time.perf_counter()
        kernel = subprocess.Popen(
            [sys.executable, "-m", "ipykernel_launcher", "-f", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            shell.connect(f"ipc://{place}-{connection['shell_port']}")
            session.send(shell, "kernel_info_request")
            _, reply = session.recv(shell, mode=0) if shell.poll(60_000) else (None, None)
            seconds = time.perf_counter() - began
        finally:
            kernel.kill()
            kernel.wait()
            Path(path).unlink()
    if reply is None or reply["msg_type"] != "kernel_info_reply":
        raise SystemExit(f"a bare ipykernel_launcher answers {reply}")
    return seconds


def probe_servers(count: int) -> Times:
    """Kernels of this machine and of a server in turn, and servers with their first kernel."""
    from nbtape import LocalJupyterServer

    def start_server() -> float:
        began = time.perf_counter()
        with LocalJupyterServer() as server:
            begun = time.perf_counter() - began
            return begun + start_nbtape(server)

    with LocalJupyterServer() as running:
        ways = {"local": start_nbtape, "second": lambda: start_nbtape(running), "server": start_server}
        return in_turn(ways, count)


def start_nbtape(server: LocalJupyterServer | None = None) -> float:
    """Seconds from the constructor to the result of `print(1)`."""
    from nbtape import CodeBlock, JupyterCodeExecutor

    began = time.perf_counter()
    executor = JupyterCodeExecutor(server)
    result = executor.execute_code_blocks([CodeBlock(language="python", code="print(1)")])
    seconds = time.perf_counter() - began
    executor.stop()
    if result.output != "1\n":
        raise SystemExit(f"nbtape answers {result}")
    return seconds


# Cells


def probe_cells(count: int) -> Times:
    """Warm cells of both kinds, batches of each in turn."""
    return asyncio.run(run_cells({"nbclient": by_nbclient(None), "nbtape": by_nbtape()}, count, BATCH))


def probe_channels(count: int) -> Times:
    """Warm cells of ours on a local kernel and on a server's, batches of each in turn."""
    from nbtape import LocalJupyterServer

    with LocalJupyterServer() as server:
        return asyncio.run(run_cells({"local": by_nbtape(), "server": by_nbtape(server)}, count, BATCH))


def probe_long(count: int) -> Times:
    """Long notebooks, a tenth of each in turn: total times."""
    ways = {"nbclient": by_nbclient(None), "nbtape": by_nbtape(), "write": by_nbclient(Path("written.ipynb"))}
    times = asyncio.run(run_cells(ways, count, count // 10))
    return {key: [sum(seconds)] for key, seconds in times.items()}


def probe_replay(count: int) -> Times:
    """A notebook of `x=1` run again in each way: total times, kernel included."""
    return {key: [run_again(key, ["x=1"] * count)] for key in ("nbclient", "nbtape", "papermill")}


def probe_plots(count: int) -> Times:
    """The same of a notebook of plots, but for its first cell."""
    plot = "plt.plot(range(100), [n**1.5 for n in range(100)])\nplt.show()"
    codes = ["import matplotlib.pyplot as plt", *[plot] * (count - 1)]
    return {key: [run_again(key, codes)] for key in ("written", "nbtape", "papermill")}


def run_again(way: str, codes: Sequence[str]) -> float:
    """The seconds of a notebook with these cells."""
    import nbformat
    import papermill  # type: ignore[import-untyped]
    from nbclient import NotebookClient

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, "recorded.ipynb")
    began = time.perf_counter()
    if way in {"nbtape", "papermill"}:
        engine = "nbtape" if way == "nbtape" else None
        papermill.execute_notebook("recorded.ipynb", f"{way}.ipynb", engine_name=engine, progress_bar=False)
    else:
        client = NotebookClient(notebook)
        if way == "written":
            client.on_cell_executed = lambda **_: nbformat.write(notebook, "written.ipynb")
        client.execute(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


async def run_cells(ways: Mapping[str, contextlib.AbstractAsyncContextManager[Step]], count: int, batch: int) -> Times:
    """The seconds of `count` cells run in each way, and one batch more in the beginning, which is not counted."""
    times: Times = {key: [] for key in ways}
    async with contextlib.AsyncExitStack() as stack:
        steps = {key: await stack.enter_async_context(way) for key, way in ways.items()}
        for number in range(1 - (-count // batch)):
            for key in by_turns(steps, number):
                times[key] += [await _seconds(steps[key]) for _ in range(batch)]
    return {key: seconds[batch : batch + count] for key, seconds in times.items()}


async def _seconds(step: Step) -> float:
    began = time.perf_counter()
    await step()
    return time.perf_counter() - began


@contextlib.asynccontextmanager
async def by_nbclient(path: Path | None) -> AsyncIterator[Step]:
    """The way of nbclient to run a cell, with `nbformat.write` after each if there is a path."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook()
    client = NotebookClient(notebook)

    async def step() -> None:
        # Not new_code_cell, which validates: nobody need pay that on the way.
        cell = nbformat.from_dict(
            {
                "id": f"cell-{len(notebook.cells)}",
                "cell_type": "code",
                "metadata": {},
                "source": "x=1",
                "outputs": [],
                "execution_count": None,
            }
        )
        notebook.cells.append(cell)
        await client.async_execute_cell(cell, len(notebook.cells) - 1)
        if path is not None:
            nbformat.write(notebook, path)

    async with client.async_setup_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield step


@contextlib.asynccontextmanager
async def by_nbtape(server: LocalJupyterServer | None = None) -> AsyncIterator[Step]:
    """The way of nbtape to run a cell."""
    from nbtape import AsyncJupyterCodeExecutor, CodeBlock

    async with AsyncJupyterCodeExecutor(server) as executor:

        async def step() -> None:
            result = await executor.execute_code_blocks([CodeBlock(language="python", code="x=1")])
            if result.status != "ok":
                raise SystemExit(f"nbtape answers {result}")

        yield step


PROBES: Final[Mapping[str, Callable[[int], Times]]] = {
    "starts": probe_starts,
    "servers": probe_servers,
    "cells": probe_cells,
    "channels": probe_channels,
    "long": probe_long,
    "replay": probe_replay,
    "plots": probe_plots,
}


# All of it


def measure(plan: Plan) -> list[Row]:
    """Measure everything, round by round."""
    imports = Row(
        "import",
        [Way("empty", "python -c pass"), Way("import", "python -c 'import nbtape'", goal=0.1)],
        differences=True,
    )
    starts = Row(
        "first result",
        [
            Way("bare", "bare ipykernel_launcher, to kernel_info_reply"),
            Way("nbtape", "JupyterCodeExecutor, print(1)", goal=1.3),
            Way("cold", "the same, imports included"),
        ],
    )
    cells = Row(
        "warm cell x=1",
        [Way("nbclient", "nbclient, not saved"), Way("nbtape", "AsyncJupyterCodeExecutor, recorded", goal=1.3)],
    )
    servers = Row(
        "first result on a server",
        [
            Way("local", "JupyterCodeExecutor(), print(1)"),
            Way("second", "JupyterCodeExecutor(server), the server runs", goal=2),
            Way("server", "the same with LocalJupyterServer()"),
        ],
    )
    channels = Row(
        "warm cell x=1 on a server",
        [Way("local", "a local kernel, recorded"), Way("server", "LocalJupyterServer, recorded", goal=1.6)],
    )
    long = Row(
        f"{plan.long_cells:,} cells x=1",
        [
            Way("nbclient", "nbclient, not saved"),
            Way("nbtape", "AsyncJupyterCodeExecutor, recorded"),
            Way("write", "nbclient, nbformat.write after each"),
        ],
        unit="s",
    )
    replay = Row(
        f"replay of {plan.long_cells:,} cells x=1",
        [
            Way("nbclient", "nbclient, not saved"),
            Way("nbtape", "papermill --engine nbtape", goal=1.5),
            Way("papermill", "papermill with its own engine"),
        ],
        unit="s",
    )
    plots = Row(
        f"replay of {plan.plots} cells with plots",
        [
            Way("written", "nbclient, nbformat.write after each"),
            Way("nbtape", "papermill --engine nbtape", goal=1),
            Way("papermill", "papermill with its own engine"),
        ],
        unit="s",
    )
    for number in range(plan.rounds):
        take_round(number, plan, imports, lambda to: measure_imports(plan.imports, to))
        take_round(number, plan, starts, lambda to: measure_starts(plan.starts, to))
        take_round(number, plan, servers, lambda to: probe("servers", [max(2, plan.starts // 2)], to))
        take_round(number, plan, cells, lambda to: probe("cells", [plan.cells], to))
        take_round(number, plan, channels, lambda to: probe("channels", [plan.cells], to))
        if number < plan.long_rounds:
            take_round(number, plan, long, lambda to: probe("long", [plan.long_cells], to))
            take_round(number, plan, plots, lambda to: probe("plots", [plan.plots], to))
        if number == 0:  # papermill's own engine takes minutes
            take_round(number, plan, replay, lambda to: probe("replay", [plan.long_cells], to))
    return [imports, starts, servers, cells, channels, long, replay, plots]


def take_round(number: int, plan: Plan, row: Row, take: Callable[[Path], Times]) -> None:
    """Take one round of a row, in a directory that is new."""
    print(f"round {number + 1} of {plan.rounds}: {row.title}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="nbtape-bench-") as directory:
        row.rounds.append(take(Path(directory)))


def set_surroundings(profile: str) -> None:
    """Have every process run under the same conditions: nobody's IPython profile, byte code kept."""
    os.environ["IPYTHONDIR"] = profile
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# What it was measured with


def versions() -> dict[str, str]:
    """The versions of what was measured."""
    found = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    if commit := _said("git", "-C", str(REPO), "describe", "--always", "--dirty"):
        found["nbtape"] += f" ({commit})"
    return found


def machine() -> dict[str, str]:
    """The machine, as far as it tells."""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "os": f"{_os()}, {platform.system()} {platform.release()}",
        "file system": f"{_file_system(Path(tempfile.gettempdir()))} ({tempfile.gettempdir()})",
    }


def _said(*command: str) -> str:
    """What a command prints; nothing if there is no such command, or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return _said("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def _os() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"macOS {platform.mac_ver()[0]}" if sys.platform == "darwin" else platform.system()


def _file_system(path: Path) -> str:
    """The type of the file system that holds `path`: of the mounts above it, the nearest."""
    if sys.platform == "darwin":  # /dev/disk1 on / (apfs, local, journaled)
        mounts = [line.partition(" on ")[2].rpartition(" (") for line in _said("mount").splitlines()]
        types = {place: options.partition(",")[0] for place, _, options in mounts}
    else:  # /dev/vda / ext4 rw 0 0
        types = {fields[1]: fields[2] for fields in map(str.split, _said("cat", "/proc/mounts").splitlines())}
    path = path.resolve()
    return next((types[str(place)] for place in [path, *path.parents] if str(place) in types), "unknown")


# Telling


def table(rows: Sequence[Row]) -> str:
    """The times and what they come to, for people."""
    lines = [f"{'':50}{'min':>8}{'median':>9}{'max':>9}     over the first (rounds)          goal"]
    for row in rows:
        lines += ["", row.title, *(_line(row, way) for way in row.ways)]
    return "\n".join(lines)


def _line(row: Row, way: Way) -> str:
    times = row.times(way)
    factor, digits = (1, 2) if row.unit == "s" else (1000, 1)
    told = "".join(f"{value * factor:>9.{digits}f}" for value in (min(times), median(times), max(times)))
    line = f"  {way.label:47}{told} {row.unit:2}"
    if way is row.ways[0]:
        return line.rstrip()
    low, high = (_told(row, value) for value in row.spread(way))
    line += f"  {_told(row, row.over_floor(way)):>8}  {f'({low} to {high})':22}"
    if way.goal is not None:
        line += f"{'at most ' + _told(row, way.goal):17}{'met' if row.is_met(way) else 'MISSED'}"
    return line.rstrip()


def _told(row: Row, value: float) -> str:
    return f"{value * 1000:+.0f} ms" if row.differences else f"{value:.2f}"


def missed(rows: Iterable[Row]) -> list[str]:
    """A sentence for each goal that is missed."""
    return [
        f"{row.title}: {way.label}: {_told(row, row.over_floor(way))}, and the goal is at most {_told(row, way.goal)}"
        for row in rows
        for way in row.ways
        if way.goal is not None and not row.is_met(way)
    ]


def as_json(rows: Iterable[Row], plan: Plan, facts: Mapping[str, Mapping[str, str]]) -> str:
    """All that the table says, and each single time; in seconds."""
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
        "plan": asdict(plan),
        "rows": [{"title": row.title, "ways": [_facts(row, way) for way in row.ways]} for row in rows],
    }
    return json.dumps(report, indent=1) + "\n"


def _facts(row: Row, way: Way) -> dict[str, Any]:
    times = row.times(way)
    facts = {"label": way.label, "min": min(times), "median": median(times), "max": max(times)}
    if way is not row.ways[0]:
        kind = "difference" if row.differences else "ratio"
        facts |= {kind: row.over_floor(way), f"{kind}_of_rounds": row.spread(way)}
    if way.goal is not None:
        facts |= {"goal": way.goal, "met": row.is_met(way)}
    return {**facts, "rounds": [times[way.key] for times in row.rounds]}


# Arguments


def main() -> None:
    """Measure, tell, and judge if asked to; or be a probe."""
    arguments = parsed()
    if arguments.probe:
        name, number = arguments.probe
        print(json.dumps(PROBES[name](int(number))))
        return
    plan = QUICK if arguments.quick else FULL
    facts = {"versions": versions(), "machine": machine()}
    with tempfile.TemporaryDirectory(prefix="nbtape-bench-") as profile:
        set_surroundings(profile)
        before = os.getloadavg()[0]
        rows = measure(plan)
        facts["machine"]["load"] = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(table(rows), *(f"\n{kind}: {_listed(facts[kind])}" for kind in facts), sep="\n")
    if arguments.json:
        arguments.json.write_text(as_json(rows, plan, facts), encoding="utf-8")
    if failures := missed(rows):
        print(*(f"\nMISSED: {failure}" for failure in failures), sep="", file=sys.stderr)
        sys.exit(1 if arguments.check else 0)


def parsed() -> argparse.Namespace:
    """The arguments, for which `scripts/bench --help` has the words."""
    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--probe", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no directory {arguments.json.absolute().parent}: make it, or name another file")
    return arguments


def _listed(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
