"""A row: the ways to do the same work, how often each is measured, the goals, and the results."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Verdict = Literal["met", "MISSED", "not judged"]

NO_ENGINE: Final = "no Docker engine answers"

Figures = dict[str, list[float]]
"""What was measured of a way in a round, by name: seconds (`wall`, `cpu`, `stop`) or bytes (`growth`, `uss`)."""


@dataclass(frozen=True, slots=True)
class Way:
    """One of the ways that a row compares.

    Args:
        key: Its name in the row.
        label: Its name in the table.
        does: The code that does it, `module:function` in `ways`.
        arguments: The function's arguments; `{cells}` stands for the plan's.
        whole: A step is the whole work, so only one step is taken.
        once: It is measured in the first round only, because it takes minutes.
    """

    key: str
    label: str
    does: str
    arguments: tuple[str, ...] = ()
    whole: bool = False
    once: bool = False

    @property
    def peer(self) -> str:
        """The peer that does it."""
        return self.does.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a way should reach.

    Args:
        way: The key of the way.
        most: The maximum: a ratio, or a value in the unit of the figure if there is no peer.
        beside: The key of the peer that it is compared with.
        of: The figure.
        difference: Compare the difference to the peer instead of the ratio.
        full: It depends on the length of the work, and is checked in a full run only.
    """

    way: str
    most: float
    beside: str = ""
    of: str = "wall"
    difference: bool = False
    full: bool = False

    @property
    def is_ratio(self) -> bool:
        """Whether it is a ratio."""
        return bool(self.beside) and not self.difference


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        rounds: How often a row is measured, each time with fresh processes.
        steps: How many steps each way takes in a round.
        batch: How many steps one way takes before the next way continues.
        cells: The cells of a notebook that a step runs as a whole.
    """

    rounds: int
    steps: int
    batch: int = 1
    cells: int = 0


@dataclass(slots=True)
class Row:
    """One comparison.

    Args:
        key: Its name for `--only`.
        title: Its name in the table.
        ways: The ways to do the work. The goals name the ways to compare.
        goals: The goals to reach.
        full: How much is measured.
        quick: The same with `--quick`.
        unit: The unit of the times in the table.
        process: Whether one process takes many steps, or a fresh one each step, including imports.
        total: Whether the steps are parts of one task, and their sum is the result.
        docker: Whether it needs a Docker engine.
        rounds: The measurements of each round, by way.
        failures: Why a way could not be measured.
        seconds: How long the whole row took.
    """

    key: str
    title: str
    ways: Sequence[Way]
    goals: Sequence[Goal]
    full: Plan
    quick: Plan
    unit: Literal["ms", "s"] = "ms"
    process: Literal["warm", "fresh"] = "warm"
    total: bool = False
    docker: bool = False
    rounds: list[Mapping[str, Figures]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def plan(self, *, quick: bool) -> Plan:
        """Return how much is measured in this run."""
        return self.quick if quick else self.full

    def label(self, key: str) -> str:
        """Return the label of a way."""
        return next(way.label for way in self.ways if way.key == key)

    def figures(self, key: str, of: str) -> list[list[float]]:
        """Return one figure of a way, for each round."""
        return [figures[key][of] for figures in self.rounds if figures.get(key, {}).get(of)]

    def values(self, goal: Goal) -> list[float]:
        """Return the value of a goal for each round, by medians: a slow machine affects both ways of a round alike."""
        both = [key for key in (goal.way, goal.beside) if key]
        rounds = [figures for figures in self.rounds if all(figures.get(key, {}).get(goal.of) for key in both)]
        medians = [[median(figures[key][goal.of]) for key in both] for figures in rounds]
        if not goal.beside:
            return [ours for (ours,) in medians]
        return [ours - theirs if goal.difference else ours / theirs for ours, theirs in medians]

    def obstacle(self, goal: Goal) -> str:
        """Return why a goal cannot be evaluated; empty if it can."""
        failed = [key for key in (goal.way, goal.beside) if key in self.failures]
        return " and ".join(f"{self.label(key)}: {self.failures[key]}" for key in failed)

    def verdict(self, goal: Goal, *, quick: bool) -> Verdict:
        """Return whether a goal is met. One that cannot be evaluated is not, unless `--quick` does not require it."""
        if self.failures.get(goal.way) == NO_ENGINE and quick:
            return "not judged"
        values = self.values(goal)
        if self.obstacle(goal) or not values:
            return "MISSED"
        if goal.full and quick:
            return "not judged"
        return "met" if median(values) <= goal.most else "MISSED"
