"""Profile nbtape's own process: each thread of a probe under cProfile, by package and by function."""

# A program that prints.
# ruff: noqa: T201

from __future__ import annotations

import contextlib
import cProfile
import os
import pstats
import re
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from benchmarks.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.comparisons import Plan, Row, Way

T = TypeVar("T")

#: The variable that names the file to which a probe writes its profile; `probe` reads it too.
_TARGET: Final = "NBTAPE_BENCH_PROFILE"

#: Functions that wait and use no processor time.
_WAITS: Final = re.compile(r"'(poll|select|acquire|join|wait|get|recv)' of|time\.sleep|_queue|acquire_lock")

#: Printed lines.
_PACKAGES: Final = 12
_FUNCTIONS: Final = 20

_Function = tuple[str, int, str]


@contextlib.contextmanager
def profiled() -> Iterator[None]:
    """Profile this thread and all threads that start in the meantime, and write the sum to the file."""
    profiles = [cProfile.Profile()]

    def begin(*_: object) -> None:
        """Start the profile of a new thread, at its first call or return."""
        sys.setprofile(None)
        profiles.append(profile := cProfile.Profile())
        profile.enable()

    threading.setprofile(begin)  # cProfile covers one thread only
    profiles[0].enable()
    try:
        yield
    finally:
        profiles[0].disable()
        threading.setprofile(None)
        pstats.Stats(*profiles).dump_stats(os.environ[_TARGET])


def tell(row: Row, plan: Plan, fill: Callable[[str], str]) -> None:
    """Take the steps of a round in nbtape's way, which the goals are for, and print where it spends its time."""
    way = next(way for way in row.ways if way.key == row.goals[0].way)
    count = 1 if way.whole or row.process == "fresh" else plan.steps
    stats = _taken(way, [fill(argument) for argument in way.arguments], count)
    spent = {function: own for function, (_, _, own, *_) in stats.items() if not _WAITS.search(function[2])}
    total = sum(spent.values())
    print(f"{row.key}: {row.title}; {way.label}")
    print(f"  {total / count * 1e3:.2f} ms a step, without waiting, over {count} steps; cProfile slows them down")
    for name, seconds in _most(_by_package(spent), _PACKAGES):
        print(f"  {seconds / total:6.1%}  {name}")
    print("  of which")
    for function, seconds in _most(spent, _FUNCTIONS):
        print(f"  {seconds / total:6.1%}  {stats[function][1] / count:8.1f} calls  {_name(function)}")


def _taken(way: Way, arguments: list[str], count: int) -> dict[_Function, Any]:
    """Take the steps in a profiled process; return the `pstats` data of each function."""
    with tempfile.TemporaryDirectory(prefix="nbtape-bench-") as directory:
        os.environ[_TARGET] = str(Path(directory) / "profile")
        with Session(way, arguments) as session:
            session.take(count)
            session.stop()
        stats: dict[_Function, Any] = pstats.Stats(os.environ.pop(_TARGET)).stats  # type: ignore[attr-defined]
    return stats


def _by_package(spent: Mapping[_Function, float]) -> dict[str, float]:
    packages: defaultdict[str, float] = defaultdict(float)
    for function, seconds in spent.items():
        packages[_package(function)] += seconds
    return packages


def _most(spent: Mapping[T, float], count: int) -> list[tuple[T, float]]:
    return sorted(spent.items(), key=lambda item: -item[1])[:count]


def _package(function: _Function) -> str:
    """Return the package of a function; for C code, a common name."""
    path = Path(function[0])
    if path.name == "~":
        return "written in C"
    parts = path.parts
    for place in ("site-packages", "src"):
        if place in parts:
            return parts[parts.index(place) + 1].removesuffix(".py")
    return path.parent.name if path.parent.name in {"asyncio", "json"} else "the standard library"


def _name(function: _Function) -> str:
    file, line, name = function
    return name if file == "~" else f"{name} ({'/'.join(Path(file).parts[-2:])}:{line})"
