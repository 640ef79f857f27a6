"""Where the time of nbtape's own process goes: each thread of a probe under cProfile, by package and by function."""

# A program that prints.
# ruff: noqa: T201

from __future__ import annotations

import contextlib
import cProfile
import io
import os
import pstats
import re
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.comparisons import Plan, Row

#: The variable that names the file to which a probe writes its profile; `probe` asks for it, too.
_TARGET: Final = "NBTAPE_BENCH_PROFILE"

#: What costs no time of a processor.
_WAITS: Final = re.compile(r"'(poll|select|acquire|join|wait|get|recv)' of|time\.sleep|_queue|acquire_lock")

_FUNCTIONS: Final = 20

_Function = tuple[str, int, str]


@contextlib.contextmanager
def profiled() -> Iterator[None]:
    """Profile this thread and all that are started meanwhile, and write the sum to the file."""
    profiles = [cProfile.Profile()]

    def begin(*_: object) -> None:
        """What a new thread calls at its first call or return."""
        sys.setprofile(None)
        profiles.append(profile := cProfile.Profile())
        profile.enable()

    threading.setprofile(begin)  # cProfile knows one thread only
    profiles[0].enable()
    try:
        yield
    finally:
        profiles[0].disable()
        threading.setprofile(None)
        pstats.Stats(*profiles, stream=io.StringIO()).dump_stats(os.environ[_TARGET])


def tell(row: Row, plan: Plan, fill: Callable[[str], str]) -> None:
    """Take the steps of a round of nbtape's way, and print where they spend their time."""
    from benchmarks.sessions import Session

    way = next(way for way in row.ways if way.peer == "nbtape")
    with tempfile.TemporaryDirectory(prefix="nbtape-bench-") as directory:
        os.environ[_TARGET] = str(target := Path(directory) / "profile")
        with Session(way, [fill(argument) for argument in way.arguments]) as session:
            count = 1 if way.whole or row.process == "fresh" else plan.steps
            session.take(count)
            session.stop()
        stats: dict[_Function, tuple[int, int, float, float, object]] = pstats.Stats(str(target)).stats  # type: ignore[attr-defined]
    spent = {function: own for function, (_, _, own, _, _) in stats.items() if not _WAITS.search(function[2])}
    total = sum(spent.values())
    print(f"{row.key}: {row.title}; {way.label}")
    print(f"  {total / count * 1e3:.2f} ms a step, waiting apart, of {count}; cProfile makes all of it slower")
    by_package: Counter[str] = Counter()
    for function, own in spent.items():
        by_package[_package(function)] += own  # type: ignore[assignment]  # seconds
    for name, own in by_package.most_common(12):
        print(f"  {own / total:6.1%}  {name}")
    print("  of which")
    for function in sorted(spent, key=spent.__getitem__, reverse=True)[:_FUNCTIONS]:
        calls = stats[function][1] / count
        print(f"  {spent[function] / total:6.1%}  {calls:8.1f} calls  {_name(function)}")


def _package(function: _Function) -> str:
    """Whose code it is: the package, or for what is written in C that."""
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
