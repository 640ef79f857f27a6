"""Defaults of options, from environment variables and from [tool.nbtape] in the nearest pyproject.toml.

An option on the command line comes first, then the environment, then the table. The server is not in the table: a
project from someone else must not choose where your token and your code are sent.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from nbtape.common.untrusted_files import ObstacleError, read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The environment variable of each option, by the name of the option's parameter.
VARIABLES: Final[Mapping[str, str]] = {
    "output_dir": "NBTAPE_OUTPUT_DIR",
    "timeout": "NBTAPE_TIMEOUT",
    "kernel": "NBTAPE_KERNEL",
    "server": "NBTAPE_SERVER",
}

#: The keys of the table, with the types of their values.
SETTINGS: Final[Mapping[str, tuple[type, ...]]] = {"output-dir": (str,), "timeout": (int, float), "kernel": (str,)}

#: Options that exclude a default: if one is given, the default is dropped.
_EXCLUDED_BY: Final[Mapping[str, tuple[str, ...]]] = {"server": ("docker", "python"), "output_dir": ("resume",)}

_MAX_FILE_BYTES: Final = 1 << 20


def has_defaults(options: Iterable[click.Parameter]) -> bool:
    """Whether one of the options can be in the table."""
    return bool({option.name for option in options} & {key.replace("-", "_") for key in SETTINGS})


def read_from_environment(options: Iterable[click.Parameter]) -> None:
    """Let options take their defaults from the environment."""
    for option in options:
        if isinstance(option, click.Option) and option.name in VARIABLES:
            option.envvar = VARIABLES[option.name]
            told, default, rest = (option.help or "").partition("  [default: ")
            option.help = f"{told}  [env var: {option.envvar}; default: {rest}" if default else told
            option.show_envvar = not default


def project_defaults(directory: Path) -> dict[str, Any]:
    """The values of [tool.nbtape] in the pyproject.toml of a directory, or of the nearest one above that has the table.

    Raises:
        click.UsageError: The table has another key, or a value of another type.
    """
    for file in (place / "pyproject.toml" for place in (directory, *directory.parents)):
        if (table := _table(file)) is not None:
            return {key.replace("-", "_"): _checked(file, key, value) for key, value in table.items()}
    return {}


def _checked(file: Path, key: str, value: object) -> object:
    if key not in SETTINGS:
        raise click.UsageError(f"[tool.nbtape] in {file} has {key}. Use {', '.join(SETTINGS)}.")
    if isinstance(value, bool) or not isinstance(value, SETTINGS[key]):
        kind = "a string" if str in SETTINGS[key] else "a number"
        raise click.UsageError(f"{key} of [tool.nbtape] in {file} must be {kind}.")
    if key != "output-dir":
        return value
    output_dir = Path(os.path.normpath(file.parent / str(value)))
    if not output_dir.is_relative_to(file.parent):
        raise click.UsageError(f"output-dir of [tool.nbtape] in {file} must be in the directory of that file.")
    return str(output_dir)


def _table(file: Path) -> dict[str, Any] | None:
    """The table in a file; None if the file is missing, cannot be read, or has no such table."""
    try:
        content = read_file(file, _MAX_FILE_BYTES)
    except (OSError, ObstacleError):
        return None
    if b"nbtape" not in content:
        return None
    import tomllib

    try:
        tools = tomllib.loads(content.decode()).get("tool")
    except ValueError as exc:
        raise click.UsageError(f"{file} is not valid TOML ({exc}). Correct it, or remove [tool.nbtape].") from exc
    table = tools.get("nbtape") if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        raise click.UsageError(f"tool.nbtape in {file} must be a table, [tool.nbtape].")
    return table


def give_way(context: click.Context) -> None:
    """Drop defaults that the command line excludes."""
    for name, others in _EXCLUDED_BY.items():
        is_default = context.get_parameter_source(name) in {ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP}
        if is_default and any(context.params.get(other) is not None for other in others):
            context.params[name] = None
