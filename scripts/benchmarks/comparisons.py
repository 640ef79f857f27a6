"""What a row is: ways to do the same work, how often each is taken, and the goals; and what came of it."""

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
        label: Its name for people.
        does: What does it, `module:function` in `ways`.
        arguments: The function's; `{cells}` is the plan's.
        whole: A step is the whole work: a single one is taken.
        once: It is taken in the first round only, for it takes minutes.
    """

    key: str
    label: str
    does: str
    arguments: tuple[str, ...] = ()
    whole: bool = False
    once: bool = False

    @property
    def peer(self) -> str:
        """Who does it."""
        return self.does.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a way should reach.

    Args:
        way: The key of the way.
        most: The most that it may be: times, or what the figure is in where there is nothing beside it.
        beside: The key of the peer that it is compared with.
        of: The figure.
        difference: It is what it takes more than the peer, not how many times as much.
        full: It depends on the length of the work, and is judged in a full run only.
    """

    way: str
    most: float
    beside: str = ""
    of: str = "wall"
    difference: bool = False
    full: bool = False

    @property
    def is_ratio(self) -> bool:
        """Whether it is a number of times."""
        return bool(self.beside) and not self.difference


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        rounds: How often a row is taken, each time by fresh processes.
        steps: How often each way is taken in a round.
        batch: How often one way is, before it is the turn of the next.
        cells: The cells of a notebook that a step runs as a whole.
    """

    rounds: int
    steps: int
    batch: int = 1
    cells: int = 0


@dataclass(slots=True)
class Row:
    """What is compared with each other.

    Args:
        key: Its name for `--only`.
        title: Its name for people.
        ways: Who does the work. The goals say who is measured by whom.
        goals: What is to be reached.
        full: How much is measured.
        quick: The same with `--quick`.
        unit: What the table has the times in.
        process: Whether a process takes many steps, or each step a process of its own, imports included.
        total: Whether the steps are parts of one work, and their sum is what counts.
        docker: Whether it needs a Docker engine.
        rounds: What was measured, by way.
        failures: Why a way could not be measured.
        seconds: How long all of that took.
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
        """How much is measured now."""
        return self.quick if quick else self.full

    def label(self, key: str) -> str:
        """The name of a way for people."""
        return next(way.label for way in self.ways if way.key == key)

    def figures(self, key: str, of: str) -> list[list[float]]:
        """One figure of a way, round by round."""
        return [figures[key][of] for figures in self.rounds if figures.get(key, {}).get(of)]

    def values(self, goal: Goal) -> list[float]:
        """What each round says of a goal, by its medians: a machine that is slower in a round is so for both."""
        both = [key for key in (goal.way, goal.beside) if key]
        rounds = [figures for figures in self.rounds if all(figures.get(key, {}).get(goal.of) for key in both)]
        medians = [[median(figures[key][goal.of]) for key in both] for figures in rounds]
        if not goal.beside:
            return [ours for (ours,) in medians]
        return [ours - theirs if goal.difference else ours / theirs for ours, theirs in medians]

    def obstacle(self, goal: Goal) -> str:
        """Why nothing can be said of a goal; empty if something can."""
        failed = [key for key in (goal.way, goal.beside) if key in self.failures]
        return " and ".join(f"{self.label(key)}: {self.failures[key]}" for key in failed)

    def verdict(self, goal: Goal, *, quick: bool) -> Verdict:
        """Whether a goal is met. It is not where nothing can be said, but for what `--quick` does not ask."""
        if self.failures.get(goal.way) == NO_ENGINE and quick:
            return "not judged"
        values = self.values(goal)
        if self.obstacle(goal) or not values:
            return "MISSED"
        if goal.full and quick:
            return "not judged"
        return "met" if median(values) <= goal.most else "MISSED"
