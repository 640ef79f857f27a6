"""What a kernel runs in: Python, the platform, packages and their versions; as it tells, and as JSON has it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What may be said of where kernels are.
PLACE: Final = ("server", "image", "image_id")


#: The most packages, and characters of a text, that are believed.
_MOST_PACKAGES: Final = 10_000
_LONGEST_TEXT: Final = 4096

#: What a package and its version may be called: what follows in a requirements file is to be no option and no URL. See
#: https://packaging.python.org/en/latest/specifications/name-normalization/ and .../version-specifiers/.
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,198}[a-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_]{0,99}")

#: Code that may change what is installed: some call of an installer, in whatever language.
_INSTALLER: Final = re.compile(r"\b(?:pip3?|uv|conda|mamba|micromamba|pixi|poetry|apt|apt-get|(?:un)?install)\b")


@dataclass(frozen=True, slots=True)
class Environment:
    """What a kernel runs in, by its own word.

    Args:
        python: The version of Python.
        platform: The system, the processor and the distribution.
        packages: The version of each package, by its name in lower case with hyphens.
        local: Those of them that came from no index: from a directory, a file or a repository.
        directory: Where the kernel works, as it calls that; empty if nobody knows.
        utc_offset: Seconds that its local time is ahead of UTC; None if nobody knows.
    """

    python: str
    platform: str
    packages: Mapping[str, str] = field(default_factory=dict)
    local: tuple[str, ...] = ()
    directory: str = ""
    utc_offset: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `read_environment` reads it again."""
        return {
            "python": self.python,
            "platform": self.platform,
            "packages": dict(sorted(self.packages.items())),
            "local": sorted(self.local),
            "directory": self.directory,
            "utc_offset": self.utc_offset,
        }

    def requirements(self) -> str:
        """A requirements file for pip: what is installed; as comments Python, and packages that pip could not fetch.

        See https://pip.pypa.io/en/stable/reference/requirements-file-format/.
        """
        pins = {name: f"{name}=={version}" for name, version in sorted(self.packages.items())}
        lines = [f"# {pin}  (from no index)" if name in self.local else pin for name, pin in pins.items()]
        return "\n".join([f"# Python {_one_line(self.python)} on {_one_line(self.platform)}", *lines]) + "\n"


@dataclass(frozen=True, slots=True)
class Difference:
    """What is another in a second environment. `str()` says it as in "pandas 2.3.1 → 3.1.1".

    Args:
        name: What: a package, `Python`, `platform`, `image` or `server`.
        before: What it was; None for a package that was not installed, and for no image or server.
        after: What it is.
    """

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        return f"{self.name} {self.before or 'none'} → {self.after or 'none'}"


@dataclass(frozen=True, slots=True)
class Installed:
    """What a cell has installed or removed.

    Args:
        environment: What its kernel runs in since.
        differences: What was another before.
    """

    environment: Environment
    differences: list[Difference]

    def metadata(self) -> dict[str, Any]:
        """What the notebook is to say of it, under `nbtape`."""
        return {"environment": self.environment.to_dict()}

    def cell_metadata(self) -> list[dict[str, Any]]:
        """What the cell is to say of it, under `installed`."""
        return [asdict(difference) for difference in self.differences]


def may_install(source: str) -> bool:
    """Whether other packages may be installed after this code. Wrong now and then, which costs a question."""
    return _INSTALLER.search(source) is not None


def read_environment(told: Any) -> Environment | None:  # noqa: ANN401  (a file may have anything)
    """An environment as JSON has it; None if it is none. Packages of odd names or versions are left out.

    Args:
        told: Anything.
    """
    try:
        packages = {name: version for name, version in told["packages"].items() if _is_package(name, version)}
        if len(packages) > _MOST_PACKAGES:
            return None
        return Environment(
            python=_text(told["python"]),
            platform=_text(told["platform"]),
            packages=packages,
            local=tuple(name for name in told["local"] if name in packages),
            directory=_text(told["directory"]),
            utc_offset=_offset(told["utc_offset"]),
        )
    except (TypeError, LookupError, AttributeError, UnicodeEncodeError):
        return None


def differences(before: Environment, after: Environment) -> list[Difference]:
    """What is another in the second: Python, the platform, packages that both have, and those that one has."""
    pairs = [("Python", before.python, after.python), ("platform", before.platform, after.platform)]
    common = before.packages.keys() & after.packages.keys()
    names = [*sorted(common), *sorted((before.packages.keys() | after.packages.keys()) - common)]
    packages = [(name, before.packages.get(name), after.packages.get(name)) for name in names]
    return [Difference(name, old, new) for name, old, new in (*pairs, *packages) if old != new]


def _is_package(name: Any, version: Any) -> bool:  # noqa: ANN401  (as above, as in the next ones)
    return all(
        isinstance(text, str) and pattern.fullmatch(text) for text, pattern in ((name, _NAME), (version, _VERSION))
    )


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise TypeError("no short text")
    value.encode()  # what no file could hold is no text
    return value


def _offset(value: Any) -> float | None:  # noqa: ANN401
    """Seconds, fewer than a day has."""
    day = 24 * 3600
    return float(value) if type(value) in {int, float} and -day < value < day else None


def _one_line(text: str) -> str:
    return " ".join(text.split())
