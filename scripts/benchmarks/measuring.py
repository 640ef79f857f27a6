"""Measure the rounds of a row: the ways alternate, in fresh processes, after warm-up steps."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from benchmarks.comparisons import NO_ENGINE
from benchmarks.sessions import ProbeError, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.comparisons import Figures, Plan, Row, Way

#: The most steps that warm up a process: notebooks that are saved as a whole cost more with each cell.
_WARM_UP: Final = 5


def measure(row: Row, plan: Plan, fill: Callable[[str], str]) -> None:
    """Measure all rounds of a row.

    Args:
        row: The row to measure; it stores the results.
        plan: How much to measure.
        fill: Replaces placeholders in the arguments of a way.
    """
    if row.docker and not _engine_answers():
        row.failures = {way.key: NO_ENGINE for way in row.ways}
        return
    for number in range(plan.rounds):
        print(f"{row.key}: round {number + 1} of {plan.rounds}", file=sys.stderr, flush=True)  # noqa: T201
        ways = []
        for way in row.ways:
            if way.key not in row.failures and not (way.once and number):
                with _recording_failures(row, way):
                    ways.append((way, [fill(argument) for argument in way.arguments]))
        take = _take_fresh if row.process == "fresh" else _take_warm
        figures = take(row, plan, ways)
        if row.total:
            figures = {key: _summed(by_name) for key, by_name in figures.items()}
        row.rounds.append(figures)


def _take_fresh(row: Row, plan: Plan, ways: Sequence[tuple[Way, list[str]]]) -> dict[str, Figures]:
    """Take each step in a process of its own. The first step of each way is not counted: it warms up the disk cache."""
    taken: dict[str, Figures] = {way.key: {} for way, _ in ways}
    for number in range(plan.steps + 1):
        for way, arguments in _by_turns(ways, number):
            if way.key in row.failures:
                continue
            with _recording_failures(row, way):
                with Session(way, arguments) as session:
                    figures = {**session.take(1), "stop": [session.stop()]}
                if number:
                    _extend(taken[way.key], figures)
    return taken


def _take_warm(row: Row, plan: Plan, ways: Sequence[tuple[Way, list[str]]]) -> dict[str, Figures]:
    """Take all steps of a way in one process, in batches, after a few warm-up steps."""
    taken: dict[str, Figures] = {way.key: {} for way, _ in ways}
    with contextlib.ExitStack() as stack:
        sessions: dict[str, Session] = {}
        memory: dict[str, float] = {}
        for way, arguments in ways:
            with _recording_failures(row, way):
                sessions[way.key] = stack.enter_context(Session(way, arguments))
        for number in range(1 + plan.steps // plan.batch):
            for way, _ in _by_turns(ways, number):
                if way.key in row.failures or (way.whole and number != 1):
                    continue
                with _recording_failures(row, way):
                    session = sessions[way.key]
                    if number == 1:
                        memory[way.key] = session.memory()
                    batch = plan.batch if number else min(plan.batch, _WARM_UP)
                    figures = session.take(1 if way.whole else batch)
                    if number:
                        _extend(taken[way.key], figures)
        for way, _ in ways:
            if way.key not in row.failures:
                with _recording_failures(row, way):
                    taken[way.key]["growth"] = [sessions[way.key].memory() - memory[way.key]]
                    sessions[way.key].stop()
    return taken


@contextlib.contextmanager
def _recording_failures(row: Row, way: Way) -> Iterator[None]:
    """Record the failure of one way in the row, and continue with the others."""
    try:
        yield
    except (ProbeError, OSError, subprocess.SubprocessError) as exc:
        row.failures[way.key] = str(exc)
        print(f"{row.key}: {way.label}: {exc}", file=sys.stderr)  # noqa: T201


def _by_turns(ways: Sequence[tuple[Way, list[str]]], number: int) -> Sequence[tuple[Way, list[str]]]:
    """Yield the ways, reversed every other time: A B, B A, A B."""
    return ways if number % 2 else ways[::-1]


def _extend(taken: Figures, figures: Figures) -> None:
    for name, values in figures.items():
        taken.setdefault(name, []).extend(values)


def _summed(figures: Figures) -> Figures:
    return {name: [sum(values)] for name, values in figures.items()}


def _engine_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0  # noqa: S603
