"""A stress session as data: drawn by chance from a seed, written as one line, and read from it again."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from stress.steps import KINDS, LONG_TIMEOUT, SHORT_TIMEOUT, Block

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What kernels can be had from, and which of them a proxy can stand before.
PLACES: Final = ("local", "server", "docker", "docker-none", "server-proxy", "plain")
PROXIED: Final = frozenset({"server-proxy", "plain"})

#: The most steps that are drawn for one session.
_LONGEST: Final = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Args:
        name: Its kind, one of `KINDS`.
        size: How much of it, mostly lines.
        delay: Milliseconds until something is done to it.
        track: Whose it is, of the executors that work side by side.
    """

    name: str
    size: int = 0
    delay: int = 0
    track: int = 0

    def blocks(self, label: str) -> list[Block]:
        """Its code blocks."""
        return KINDS[self.name].write(label, self.size)


@dataclass(frozen=True, slots=True)
class Session:
    """What is done to one server, or none, by executors that work side by side.

    Args:
        place: What the kernels come from, one of `PLACES`.
        is_async: Whether the executors are `AsyncJupyterCodeExecutor`, and not the blocking ones.
        steps: The steps; those of one track run one after the other.
    """

    place: str
    is_async: bool
    steps: tuple[Step, ...]

    @classmethod
    def draw(cls, seed: int, place: str) -> Self:
        """The session of a seed, which is always the same."""
        chance = random.Random(f"{seed} {place}")  # noqa: S311  (it is to be had again)
        is_async = chance.random() < 0.5  # noqa: PLR2004  (a coin)
        surroundings = {"async"} if is_async else set()
        is_slow = chance.random() < 0.25  # noqa: PLR2004  (deadlines take time)
        # A cut takes seconds to mend: not where blocks have but few.
        surroundings |= {"slow"} if is_slow else {"proxy"} if place in PROXIED else set()
        surroundings |= {"ours"} if place != "plain" else set()
        cuts = "proxy" in surroundings
        # A server's answer to the wish for a kernel may be lost with the connection: only one executor asks there.
        tracks = 1 if cuts else chance.choice((1, 1, 2, 3))
        steps = [cls._draw_step(chance, surroundings, tracks) for _ in range(chance.randint(3, _LONGEST))]
        if chance.random() < 0.1:  # noqa: PLR2004  (our own process is killed in every tenth)
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
        """Seconds that each block has."""
        return SHORT_TIMEOUT if any("slow" in KINDS[step.name].needs for step in self.steps) else LONG_TIMEOUT

    @property
    def tracks(self) -> list[int]:
        """The executors."""
        return sorted({step.track for step in self.steps})

    @property
    def faults(self) -> int:
        """How many of its steps break something."""
        return sum(KINDS[step.name].is_fault for step in self.steps)

    def blocks(self, track: int) -> list[Block]:
        """All blocks of an executor, the one that must be answered at the end included."""
        written = [(str(n), step) for n, step in enumerate(self.steps) if step.track == track]
        return [block for label, step in written for block in step.blocks(label)] + self.last_blocks(track)

    def last_blocks(self, track: int) -> list[Block]:
        """What every executor must answer, whatever was done to it."""
        return [] if any(step.name == "die" for step in self.steps) else Step("recall").blocks(f"end{track}")

    def having(self, steps: Iterable[Step]) -> Session:
        """The same with other steps."""
        return Session(self.place, self.is_async, tuple(steps))

    def to_line(self) -> str:
        """Itself as JSON, for `--replay`."""
        steps = [[step.name, step.size, step.delay, step.track] for step in self.steps]
        return json.dumps({"place": self.place, "async": self.is_async, "steps": steps})

    @classmethod
    def from_line(cls, line: str) -> Self:
        """The session that `to_line` wrote.

        Raises:
            ValueError: The line is none.
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
