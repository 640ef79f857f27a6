"""What every command has: `--debug`, and a table of its exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nbtape.cli.log import show_log
from nbtape.exit_codes import BUG, INTERRUPTED, MEANINGS, REFUSED, UNREAD, WELL

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The exit codes that any command may have.
_COMMON = {WELL, REFUSED, BUG, INTERRUPTED, UNREAD}


def _debug(_: click.Context, __: click.Parameter, value: bool) -> None:  # noqa: FBT001  (click's)
    if value:
        show_log(everything=True)


class _Common(click.Command):
    """A command as ours are.

    Args:
        exit_codes: Those that it may have besides those that any may have.
        options: What click takes.
    """

    def __init__(self, *names: Any, exit_codes: Iterable[int] = (), **options: Any) -> None:  # noqa: ANN401  (click's)
        super().__init__(*names, **options)
        self.context_settings = {"help_option_names": ["-h", "--help"], **self.context_settings}
        self.epilog = "\n\n".join(filter(None, [self.epilog, exit_code_table(_COMMON | set(exit_codes))]))
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                envvar="NBTAPE_DEBUG",
                show_envvar=True,
                callback=_debug,
                help="Tell on standard error what happens, and of an error where it arose.",
            )
        )


class Command(_Common):
    """A command."""


class Group(_Common, click.Group):
    """A command that has others."""

    command_class = Command

    def __init__(self, *names: Any, **options: Any) -> None:  # noqa: ANN401  (click's)
        super().__init__(*names, no_args_is_help=False, **options)


def exit_code_table(codes: Iterable[int]) -> str:
    """Exit codes with their meaning, as click's help takes it."""
    rows = [f"  {code:<4} {MEANINGS[code]}" for code in sorted(codes)]
    return "\n".join(["\b", "Exit codes:", *rows])
