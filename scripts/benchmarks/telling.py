"""Print the results: a table, JSON, and a sentence for each missed goal."""

from __future__ import annotations

from itertools import chain
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.comparisons import Goal, Row, Way

#: The figures in bytes; all others are in seconds.
_BYTES = ("growth", "uss")


def goals_list(rows: Iterable[Row]) -> str:
    """Return the rows and their goals, for `--help`."""
    lines = []
    for row in rows:
        lines += [f"    {row.key:22}{row.title}"]
        lines += [f"{'':28}{_subject(row, goal)}{_demand(row, goal)}" for goal in row.goals]
    return "\n".join(lines)


def table(rows: Iterable[Row], *, quick: bool) -> str:
    """Return the table of the times and the goals."""
    return "\n".join(chain.from_iterable(_table_of(row, quick=quick) for row in rows)).strip("\n")


def _table_of(row: Row, *, quick: bool) -> Iterator[str]:
    yield f"\n{row.key}: {row.title}"
    if any(row.figures(way.key, "wall") for way in row.ways):
        yield f"  {'':42}{'min':>9}{'median':>10}{'max':>10}{'CPU':>13}"
    for way in row.ways:
        yield _line(row, way)
    for goal in row.goals:
        finding = _finding(row, goal) if row.values(goal) else "not measured"
        demand = f"at most {_value(goal, goal.most)}"
        yield f"    {_subject(row, goal)}{finding:64} {demand:18} {row.verdict(goal, quick=quick)}"


def _subject(row: Row, goal: Goal) -> str:
    """Return the way that a goal is for, if a row has goals for more than one."""
    return f"{row.label(goal.way)}: " if len({goal.way for goal in row.goals}) > 1 else ""


def _line(row: Row, way: Way) -> str:
    walls = list(chain.from_iterable(row.figures(way.key, "wall")))
    if not walls or way.key in row.failures:
        return f"  {way.label:42}{'not measured: ' + row.failures.get(way.key, 'nothing came of it')}"
    factor, digits = (1, 2) if row.unit == "s" else (1000, 1)
    cpu = list(chain.from_iterable(row.figures(way.key, "cpu")))
    told = "".join(f"{value * factor:>10.{digits}f}" for value in (min(walls), median(walls), max(walls)))
    line = f"  {way.label:41}{told} {row.unit:2}{sum(cpu) / len(cpu) * factor:>10.{digits}f} {row.unit:2}"
    others = {"stop": " stop", "uss": " USS", "growth": " more memory"}
    shown = {goal.of for goal in row.goals} & others.keys()
    for of in sorted(shown):
        line += f"  {_told(median(chain.from_iterable(row.figures(way.key, of))), of)}{others[of]}"
    return line.rstrip()


def _finding(row: Row, goal: Goal) -> str:
    """Return the result for a goal: the median of the rounds and their range."""
    values = row.values(goal)
    if not values:
        return row.obstacle(goal)
    low, middle, high = (_value(goal, value) for value in (min(values), median(values), max(values)))
    spread = f" ({low} to {high})" if len(values) > 1 else ""
    return f"{middle}{spread}{_beside(row, goal)}"


def _demand(row: Row, goal: Goal) -> str:
    return f"at most {_value(goal, goal.most)}{_beside(row, goal)}"


def _beside(row: Row, goal: Goal) -> str:
    of = {"stop": ", stopped", "uss": ", memory of its own", "growth": " more memory"}.get(goal.of, "")
    if not goal.beside:
        return of
    return f" {'over' if goal.difference else 'of'} {row.label(goal.beside)}{of}"


def _value(goal: Goal, value: float) -> str:
    if not goal.is_ratio:
        return f"{'+' if goal.difference else ''}{_told(value, goal.of)}"
    return f"{value:.2f}" if value >= 0.4 or value <= 0 else f"1/{1 / value:.1f}".removesuffix(".0")  # noqa: PLR2004


def _told(value: float, of: str) -> str:
    if of in _BYTES:
        return f"{value / 1e6:.1f} MB"
    return f"{value:.2f} s" if abs(value) >= 1 else f"{value * 1000:.1f} ms"


def missed(rows: Iterable[Row], *, quick: bool) -> list[str]:
    """Return a sentence for each missed goal."""
    return [
        f"{row.key}: {_subject(row, goal)}{_finding(row, goal)}, and the goal is {_demand(row, goal)}"
        for row in rows
        for goal in row.goals
        if row.verdict(goal, quick=quick) == "MISSED"
    ]


def as_dict(row: Row, *, quick: bool) -> dict[str, Any]:
    """Return all measurements, in seconds and bytes."""
    return {
        "row": row.key,
        "title": row.title,
        "seconds": round(row.seconds),
        "ways": [_way_as_dict(row, way) for way in row.ways],
        "goals": [
            {
                "way": goal.way,
                "beside": goal.beside,
                "of": goal.of,
                "is": "ratio" if goal.is_ratio else "difference" if goal.difference else "value",
                "most": goal.most,
                "median": median(row.values(goal)) if row.values(goal) else None,
                "rounds": row.values(goal),
                "verdict": row.verdict(goal, quick=quick),
            }
            for goal in row.goals
        ],
    }


def _way_as_dict(row: Row, way: Way) -> dict[str, Any]:
    names = sorted({name for figures in row.rounds for name in figures.get(way.key, {})})
    figures = {name: row.figures(way.key, name) for name in names}
    medians = {name: median(chain.from_iterable(rounds)) for name, rounds in figures.items()}
    return {
        "way": way.key,
        "label": way.label,
        **({"failure": row.failures[way.key]} if way.key in row.failures else {}),
        "medians": medians,
        "rounds": figures,
    }
