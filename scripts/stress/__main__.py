"""Stress test: random sessions with random faults; `scripts/stress-test --help` has the options.

It runs in an environment that has nbtape and what its tests need.

Each session runs in a process of its own (`play.py`), because it may be killed or hang; its remains are checked
here.
"""

# A program that prints and starts itself, and belongs to no package.
# ruff: noqa: T201

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

REPO: Final = Path(__file__).resolve().parents[2]
#: The tests have helpers for servers and notebooks; the processes that play import them from there too.
sys.path.append(str(REPO / "tests" / "support"))

import docker  # noqa: E402  (like the rest, after the path)
import docker.errors  # noqa: E402
import psutil  # type: ignore[import-untyped,unused-ignore]  # noqa: E402
from jupyter_servers import TOKEN, kernels_of, plain_server  # noqa: E402
from reading import eventually  # noqa: E402

from nbtape import DockerJupyterServer, JupyterConnectionInfo  # noqa: E402
from nbtape.kernels.processes import sweep  # noqa: E402
from stress.judge import Breach, Played, judge, judge_process, read_journal, read_truth  # noqa: E402
from stress.sessions import PLACES, Session  # noqa: E402
from stress.shrink import shrink  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Seconds until a session counts as hanging: for the session, and for each of its steps.
_LIMIT: Final = 60
_STEP_LIMIT: Final = 20
#: Seconds between lines of progress; seconds to shorten one session; tries for each shorter one.
_PROGRESS: Final = 10
_SHRINK_LIMIT: Final = 180
_TRIES: Final = 3
#: How many sessions with the same breach are shortened, so that one that breaks everything is not repeated.
_SHRUNK: Final = 5


@dataclass(slots=True)
class Tally:
    """The progress so far, for each place."""

    sessions: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    breaches: Counter[str] = field(default_factory=Counter)

    def add(self, session: Session, breaches: list[Breach]) -> None:
        """Count a session."""
        self.sessions[session.place] += 1
        self.steps[session.place] += len(session.steps)
        self.faults[session.place] += session.faults
        self.breaches[session.place] += bool(breaches)

    def line(self) -> str:
        """Return the totals in one line."""
        places = ", ".join(f"{place} {count}" for place, count in self.sessions.items())
        total = f"{self.sessions.total()} sessions, {self.steps.total()} steps, {self.faults.total()} faults"
        return f"{total} ({places}), {self.breaches.total()} with breaches"

    def table(self) -> str:
        """Return the totals for the end."""
        counters = (self.sessions, self.steps, self.faults)
        places = [(place, [counter[place] for counter in counters], self.breaches[place]) for place in self.sessions]
        rows = [*places, ("all", [counter.total() for counter in counters], self.breaches.total())]
        head = f"{'':14}{'sessions':>10}{'steps':>10}{'faults':>10}{'with breaches':>16}"
        return "\n".join(
            [head, *(f"{name:14}{''.join(f'{count:>10}' for count in counts)}{bad:>16}" for name, counts, bad in rows)]
        )


class Machine:
    """The places where this machine can play sessions.

    Args:
        home: The directory for the files of sessions.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._numbers = itertools.count()
        self._docker: docker.DockerClient | None = None
        self._base_image = ""
        with contextlib.suppress(docker.errors.DockerException):
            self._docker = docker.from_env()
            names = [tag for image in self._docker.images.list("nbtape-base") for tag in image.tags]
            self._base_image = names[0] if names else ""

    @property
    def places(self) -> list[str]:
        """Return the places where sessions can be played."""
        return [place for place in PLACES if self._docker is not None or not place.startswith("docker")]

    def prepare(self) -> None:
        """Build the image, so that no session has to."""
        if self._docker is not None:
            with DockerJupyterServer(base_image=self._base_image or None):
                pass

    def play(self, session: Session) -> tuple[list[Breach], Path]:
        """Play a session; return its breaches and the directory of its files."""
        directory = self._home / str(next(self._numbers))
        temp = directory / "tmp"
        temp.mkdir(parents=True)
        with self._given(session, directory) as given:
            code = self._run(session, directory, temp, given)
            journal = read_journal(directory / "journal.jsonl")
            breaches = judge_process(session, journal, code)
            breaches += self._judge_machine(session, directory, temp, given)
        notebooks = {line["track"]: Path(line["notebook"]) for line in journal if "notebook" in line}
        results = {line["label"]: line for line in journal if "label" in line}
        for track, notebook in notebooks.items():
            labels = {block.label for block in session.blocks(track)}
            truth = read_truth(directory / "server" / "files" if session.place == "plain" else notebook.parent)
            truth = {name: count for name, count in truth.items() if name.partition(".")[0].rstrip("t") in labels}
            mine = {label: line for label, line in results.items() if label in labels}
            breaches += judge(Played(session, track, notebook, truth, mine))
        return breaches, directory

    @contextlib.contextmanager
    def _given(self, session: Session, directory: Path) -> Iterator[dict[str, Any]]:
        """Return what the playing process needs to know besides the session."""
        limit = _LIMIT + _STEP_LIMIT * len(session.steps)
        given = {"session": session.to_line(), "limit": limit, "base_image": self._base_image or None}
        if session.place != "plain":
            yield given
            return
        with plain_server(directory / "server", "--ZMQChannelsWebsocketConnection.limit_rate=False") as port:
            yield {**given, "port": port, "token": TOKEN}

    @staticmethod
    def _run(session: Session, directory: Path, temp: Path, given: Mapping[str, Any]) -> int:
        """Play it in a separate process and return the exit code."""
        (directory / "session.json").write_text(json.dumps(given))
        for track in session.tracks:
            (directory / f"track{track}").mkdir()
        path = os.pathsep.join(str(REPO / part) for part in ("scripts", "tests/support"))
        with (directory / "log.txt").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  (ourselves)
                [sys.executable, str(REPO / "scripts" / "stress" / "play.py"), str(directory)],
                env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(temp)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            # It kills itself when it hangs, and reports where; this is for a process that cannot do even that.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(given["limit"] + 30)
            process.kill()
            return process.wait()

    def _judge_machine(self, session: Session, directory: Path, temp: Path, given: Mapping[str, Any]) -> list[Breach]:
        """Check what is left on this machine after the process has exited."""
        if any(step.name == "die" for step in session.steps):
            eventually(lambda: not _processes(temp))
            sweep(temp)  # as the next start does for killed processes
        elif session.place == "plain":
            info = JupyterConnectionInfo("127.0.0.1", use_https=False, port=given["port"], token=TOKEN)
            eventually(lambda: not kernels_of(info))
            if kernels := kernels_of(info):
                return [Breach("nothing is left", "the server", "no kernel", str(kernels))]
        eventually(lambda: not self._left(directory, temp))
        left = self._left(directory, temp)
        for process in _processes(temp):  # so that no other session is affected
            with contextlib.suppress(psutil.Error):
                process.kill()
        return [Breach("nothing is left", "the machine", "nothing", what) for what in left]

    def _left(self, directory: Path, temp: Path) -> list[str]:
        left = [f"the process {process}" for process in _processes(temp)]
        left += [f"the file {path}" for path in temp.glob("nbtape-*")]
        if self._docker is not None:
            for container in self._docker.api.containers(all=True, filters={"label": "nbtape"}):
                if any(str(mount.get("Source", "")).startswith(f"{directory}/") for mount in container["Mounts"]):
                    left.append(f"the container {container['Names']} ({container['Status']})")
        return left


def _processes(temp: Path) -> list[psutil.Process]:
    """Return the processes of a session: those that have its temporary directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("TMPDIR") == str(temp):
                found.append(process)
    return found


class StressTest:
    """Run sessions one after the other, until the time is over.

    Args:
        machine: Where they are played.
        tally: Counts the results.
    """

    def __init__(self, machine: Machine, tally: Tally) -> None:
        self._machine = machine
        self._tally = tally
        self._told = 0

    def run(self, seed: int, places: list[str], seconds: float, count: int | None) -> None:
        """Draw sessions and play them on each place in turn, until the time or the number of sessions is reached."""
        end = time.monotonic() + seconds
        told = 0.0
        for number in itertools.count() if count is None else range(count):
            place = places[number % len(places)]
            self.try_session(Session.draw(seed + number, place), f"--seed {seed + number} --place {place} --sessions 1")
            if time.monotonic() - told > _PROGRESS:
                told = time.monotonic()
                print(f"{max(0, end - told):5.0f} s left: {self._tally.line()}", flush=True)
            if time.monotonic() > end:
                return

    def try_session(self, session: Session, drawn: str) -> None:
        """Play a session and report a breach."""
        breaches, directory = self._machine.play(session)
        self._tally.add(session, breaches)
        if not breaches:
            shutil.rmtree(directory)
            return
        print(f"\nBREACH: scripts/stress-test {drawn}\n  what was left: {directory}")
        _tell(breaches)
        self._told += 1
        if self._told <= _SHRUNK:
            self._shorten(session, breaches)

    def _shorten(self, session: Session, breaches: list[Breach]) -> None:
        """Find a shorter session with the same breach, and report it."""
        promises = {breach.promise for breach in breaches}
        end = time.monotonic() + _SHRINK_LIMIT
        last: list[tuple[list[Breach], Path]] = []

        def shows(shorter: Session) -> bool:
            for _ in range(_TRIES):
                if time.monotonic() > end:
                    return False
                found, directory = self._machine.play(shorter)
                if promises & {breach.promise for breach in found}:
                    last[:] = [(found, directory)]
                    return True
                shutil.rmtree(directory)
            return False

        shortest = shrink(session, shows)
        print(f"  shortest: scripts/stress-test --replay '{shortest.to_line()}'")
        for found, directory in last:
            print(f"  what that left: {directory}")
            _tell(found)
        print(flush=True)


def _tell(breaches: list[Breach]) -> None:
    for breach in breaches[:10]:
        print(f"  - {breach}"[:1500])


def parsed() -> argparse.Namespace:
    """Return the arguments, which `scripts/stress-test --help` describes."""
    parser = argparse.ArgumentParser(prog="scripts/stress-test", add_help=False)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--place", action="append", choices=PLACES)
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--replay", type=Session.from_line)
    return parser.parse_args()


def main() -> int:
    """Run the stress test; return 1 if a promise was broken."""
    arguments = parsed()
    # A shell that starts this in the background lets it and all its kernels ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops servers on the way out
    home = Path(tempfile.mkdtemp(prefix="nbtape-stress-"))
    machine, tally = Machine(home), Tally()
    stress = StressTest(machine, tally)
    wanted = arguments.place or PLACES
    places = [place for place in wanted if place in machine.places]
    if len(places) < len(wanted):
        print("Kernels in containers are left out, for no Docker engine answers")
    machine.prepare()
    seed = time.time_ns() % (1 << 32) if arguments.seed is None else arguments.seed
    try:
        if arguments.replay:
            stress.try_session(arguments.replay, "--replay …")
        else:
            print(f"Seed {seed}, {arguments.minutes:g} minutes", flush=True)
            stress.run(seed, places, 60 * arguments.minutes, arguments.sessions)
    finally:
        print(f"\n{tally.table()}")
        if not any(home.iterdir()):
            home.rmdir()
    return 1 if tally.breaches.total() else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
