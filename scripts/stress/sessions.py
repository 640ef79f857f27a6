"""A stress session as data: drawn at random from a seed, written as one line, and read from it again."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from stress.steps import KINDS, LONG_TIMEOUT, SHORT_TIMEOUT, Block

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The sources of kernels, and which of them can be behind a proxy.
PLACES: Final = ("local", "server", "docker", "docker-none", "server-proxy", "plain")
PROXIED: Final = frozenset({"server-proxy", "plain"})

#: The most steps that are drawn for one session.
_LONGEST: Final = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Args:
        name: Its kind, one of `KINDS`.
        size: Its size, mostly a number of lines.
        delay: Milliseconds until its fault.
        track: The number of the executor, of those that run concurrently.
    """

    name: str
    size: int = 0
    delay: int = 0
    track: int = 0

    def blocks(self, label: str) -> list[Block]:
        """Return its code blocks."""
        return KINDS[self.name].write(label, self.size)


@dataclass(frozen=True, slots=True)
class Session:
    """The steps of concurrent executors on one server, or on local kernels.

    Args:
        place: The source of kernels, one of `PLACES`.
        is_async: Whether the executors are `AsyncJupyterCodeExecutor` instead of the blocking ones.
        steps: The steps; those of one track run one after the other.
    """

    place: str
    is_async: bool
    steps: tuple[Step, ...]

    @classmethod
    def draw(cls, seed: int, place: str) -> Self:
        """Return the session of a seed, which is always the same."""
        chance = random.Random(f"{seed} {place}")  # noqa: S311  (must be reproducible)
        is_async = chance.random() < 0.5  # noqa: PLR2004  (a coin)
        surroundings = {"async"} if is_async else set()
        is_slow = chance.random() < 0.25  # noqa: PLR2004  (deadlines take time)
        # Recovery from a cut takes seconds, which slow sessions with their short timeouts do not have.
        surroundings |= {"slow"} if is_slow else {"proxy"} if place in PROXIED else set()
        surroundings |= {"ours"} if place != "plain" else set()
        cuts = "proxy" in surroundings
        # If the connection drops while a kernel is being created, it may keep running: allow only one executor.
        tracks = 1 if cuts else chance.choice((1, 1, 2, 3))
        steps = [cls._draw_step(chance, surroundings, tracks) for _ in range(chance.randint(3, _LONGEST))]
        if chance.random() < 0.1:  # noqa: PLR2004  (the playing process is killed in one of ten)
            steps.append(Step("die", chance.randint(100, 2000), chance.randint(0, 1500)))
        return cls(place, is_async, tuple(steps))

    @staticmethod
    def _draw_step(chance: random.Random, surroundings: set[str], tracks: int) -> Step:
        names = [name for name, kind in KINDS.items() if kind.needs <= surroundings]
        (name,) = chance.choices(names, [KINDS[name].weight for name in names])
        kind = KINDS[name]
        return Step(name, chance.randint(*kind.sizes), chance.randint(*kind.delays), chance.randrange(tracks))

    @property
    def timeout(self) -> int:
        """Return the seconds that each block has."""
        return SHORT_TIMEOUT if any("slow" in KINDS[step.name].needs for step in self.steps) else LONG_TIMEOUT

    @property
    def tracks(self) -> list[int]:
        """Return the numbers of the executors."""
        return sorted({step.track for step in self.steps})

    @property
    def faults(self) -> int:
        """Return how many of its steps are faults."""
        return sum(KINDS[step.name].is_fault for step in self.steps)

    def blocks(self, track: int) -> list[Block]:
        """Return all blocks of an executor, including the one at the end that must be answered."""
        written = [(str(n), step) for n, step in enumerate(self.steps) if step.track == track]
        return [block for label, step in written for block in step.blocks(label)] + self.last_blocks(track)

    def last_blocks(self, track: int) -> list[Block]:
        """Return the blocks that every executor must answer after any fault."""
        return [] if any(step.name == "die" for step in self.steps) else Step("recall").blocks(f"end{track}")

    def having(self, steps: Iterable[Step]) -> Session:
        """Return the same session with other steps."""
        return Session(self.place, self.is_async, tuple(steps))

    def to_line(self) -> str:
        """Return the session as JSON, for `--replay`."""
        steps = [[step.name, step.size, step.delay, step.track] for step in self.steps]
        return json.dumps({"place": self.place, "async": self.is_async, "steps": steps})

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read the session that `to_line` wrote.

        Raises:
            ValueError: The line is not a session.
        """
        try:
            told: dict[str, Any] = json.loads(line)
            session = cls(str(told["place"]), bool(told["async"]), tuple(Step(*step) for step in told["steps"]))
        except (KeyError, TypeError) as exc:
            raise ValueError(f"not a valid session: {exc!r}") from exc
        unknown = {step.name for step in session.steps} - KINDS.keys()
        if unknown or session.place not in PLACES:
            raise ValueError(f"unknown: {', '.join(unknown) or session.place}")
        return session
