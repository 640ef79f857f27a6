"""The environment of a kernel: Python, platform and package versions, as the kernel reports them and as JSON."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Keys of the metadata for where a kernel runs.
PLACE: Final = ("server", "image", "image_id")


#: Maximum number of packages, and characters of a text, that are accepted.
_MOST_PACKAGES: Final = 10_000
_LONGEST_TEXT: Final = 4096

#: Valid names and versions of packages, so that a line of a requirements file cannot become an option or a URL. See
#: https://packaging.python.org/en/latest/specifications/name-normalization/ and .../version-specifiers/.
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,198}[a-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_]{0,99}")

#: Code that may install packages: a call of an installer, in any language.
_INSTALLER: Final = re.compile(r"\b(?:pip3?|uv|conda|mamba|micromamba|pixi|poetry|apt|apt-get|(?:un)?install)\b")


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment of a kernel, as reported by the kernel.

    Args:
        python: The Python version.
        platform: The system, the processor and the distribution.
        packages: The version of each package, by its name in lower case with hyphens.
        local: Packages that were not installed from an index, but from a directory, a file or a repository.
        directory: The kernel's working directory, as a path on its own machine; empty if unknown.
        utc_offset: Seconds that its local time is ahead of UTC; None if unknown.
    """

    python: str
    platform: str
    packages: Mapping[str, str] = field(default_factory=dict)
    local: tuple[str, ...] = ()
    directory: str = ""
    utc_offset: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types; `read_environment` is the inverse."""
        return {
            "python": self.python,
            "platform": self.platform,
            "packages": dict(sorted(self.packages.items())),
            "local": sorted(self.local),
            "directory": self.directory,
            "utc_offset": self.utc_offset,
        }

    def requirements(self) -> str:
        """The installed packages as a requirements file; Python and packages that pip cannot fetch are comments.

        See https://pip.pypa.io/en/stable/reference/requirements-file-format/.
        """
        pins = {name: f"{name}=={version}" for name, version in sorted(self.packages.items())}
        lines = [f"# {pin}  (from no index)" if name in self.local else pin for name, pin in pins.items()]
        return "\n".join([f"# Python {_one_line(self.python)} on {_one_line(self.platform)}", *lines]) + "\n"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two environments. `str()` formats it, as in "pandas 2.3.1 → 3.1.1".

    Args:
        name: A package, `Python`, `platform`, `image` or `server`.
        before: The old value; None if the package was not installed, or without an image or server.
        after: The new value; None as for `before`.
    """

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        return f"{self.name} {self.before or 'none'} → {self.after or 'none'}"


@dataclass(frozen=True, slots=True)
class Installed:
    """The packages that a cell has installed or removed.

    Args:
        environment: The environment of the kernel after the cell.
        differences: The changes since before the cell.
    """

    environment: Environment
    differences: list[Difference]

    def metadata(self) -> dict[str, Any]:
        """The notebook's metadata for it, under `nbtape`."""
        return {"environment": self.environment.to_dict()}

    def cell_metadata(self) -> list[dict[str, Any]]:
        """The cell's metadata for it, under `installed`."""
        return [asdict(difference) for difference in self.differences]


def may_install(source: str) -> bool:
    """Whether code may install or remove packages. A false positive only costs a question to the kernel."""
    return _INSTALLER.search(source) is not None


def read_environment(told: Any) -> Environment | None:  # noqa: ANN401  (a file may have anything)
    """Read an environment from JSON; None if it is invalid. Packages with invalid names or versions are left out."""
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
    """The differences between two environments: Python, the platform, and packages."""
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
    value.encode()  # raises for text that no file can hold
    return value


def _offset(value: Any) -> float | None:  # noqa: ANN401
    """A number of seconds of less than a day."""
    day = 24 * 3600
    return float(value) if type(value) in {int, float} and -day < value < day else None


def _one_line(text: str) -> str:
    return " ".join(text.split())
