"""Measure nbtape and its peers; `scripts/bench` starts this in nbtape's environment, and its `--help` has the rows.

The times come from probes: processes in the environments of the peers. This program imports only the standard library
and psutil.
"""

# A program that prints.
# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import images, profiling, telling
from benchmarks.machine import machine, versions
from benchmarks.measuring import measure
from benchmarks.rows import AUTOGEN_IMAGE, BASE_IMAGE, CELLS, SMOLAGENTS_IMAGE, rows
from benchmarks.sessions import PEERS, environment_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.comparisons import Plan, Row


def main() -> None:
    """Measure and print the results, and check the goals if asked; or list the rows or peers."""
    arguments = parsed()
    wanted: list[Row] = arguments.only
    if arguments.list:
        print(telling.goals_list(wanted))
    elif arguments.peers:
        print(*map(environment_name, [] if arguments.profile else peers_of(wanted)), sep="\n")
    elif arguments.profile:
        for row in wanted:
            plan = row.plan(quick=arguments.quick)
            profiling.tell(row, plan, partial(fill, plan=plan, base_image=arguments.base_image))
    else:
        sys.exit(run(wanted, arguments))


def peers_of(wanted: Iterable[Row]) -> list[str]:
    """Return the peers whose environments are needed."""
    used = {way.peer for row in wanted for way in row.ways}
    return [peer for peer in PEERS if peer in used]


def run(wanted: Sequence[Row], arguments: argparse.Namespace) -> int:
    """Measure the requested rows, print the results and return the exit code."""
    quick: bool = arguments.quick
    # A shell that starts this in the background makes all its processes ignore Ctrl-C; ag2's server is stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    facts: dict[str, Any] = {"machine": machine()}
    before = os.getloadavg()[0]
    for row in wanted:
        plan = row.plan(quick=quick)
        began = time.monotonic()
        measure(row, plan, partial(fill, plan=plan, base_image=arguments.base_image))
        row.seconds = time.monotonic() - began
    facts["machine"]["load"] = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
    facts["versions"] = versions(peers_of(wanted))
    print(telling.table(wanted, quick=quick))
    print(f"\nit took {sum(row.seconds for row in wanted) / 60:.0f} minutes")
    print(f"machine: {_listed(facts['machine'])}")
    print(*(f"versions, {name}: {_listed(found)}" for name, found in facts["versions"].items()), sep="\n")
    if arguments.json:
        report = as_report(wanted, facts, quick=quick)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    failures = telling.missed(wanted, quick=quick)
    print(*(f"\nMISSED: {failure}" for failure in failures), sep="", end="\n" if failures else "", file=sys.stderr)
    return 1 if failures and arguments.check else 0


def fill(argument: str, plan: Plan, base_image: str) -> str:
    """Replace a placeholder by a value that is known only at run time."""
    match argument:
        case _ if argument == CELLS:
            return str(plan.cells)
        case _ if argument == BASE_IMAGE:
            return base_image
        case _ if argument == AUTOGEN_IMAGE:
            return images.build("autogen", base_image)
        case _ if argument == SMOLAGENTS_IMAGE:
            return images.build("smolagents", base_image)
    return argument


def as_report(wanted: Iterable[Row], facts: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    """Return the content of the table, and every single measurement."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        **facts,
        "rows": [{**telling.as_dict(row, quick=quick), "plan": asdict(row.plan(quick=quick))} for row in wanted],
    }


def parsed() -> argparse.Namespace:
    """Return the arguments, which `scripts/bench --help` describes."""
    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", type=_named_rows, default=rows(), metavar="ROW[,ROW]")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--base-image", default="nbtape-base:trixie", metavar="NAME")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peers", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no directory {arguments.json.absolute().parent}: make it, or name another file")
    return arguments


def _named_rows(names: str) -> list[Row]:
    known = {row.key: row for row in rows()}
    for name in names.split(","):
        if name not in known:
            raise argparse.ArgumentTypeError(f"there is no row {name}: name some of {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def _listed(facts: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
