"""How the command ends: with an exit code, and one line on what could not be done."""

from __future__ import annotations

import os
import sys
import traceback

import click

from nbtape.cli.display.consoles import leave_closed_pipes, read_or_not
from nbtape.cli.display.log import is_debugging, show_log
from nbtape.cli.display.plain import plain
from nbtape.errors import NbtapeError
from nbtape.results import BUG, INTERRUPTED, REFUSED, UNREAD, WELL


def exit_code_of(command: click.Command) -> int:
    """Do what the command line says.

    Args:
        command: What has all commands. They return their exit code, or None if all is well.

    Returns:
        The exit code of the process.
    """
    show_log(everything=False)
    try:
        code = _do(command)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001  (all that can happen is told here)
        return _tell(exc)
    return code


def _do(command: click.Command) -> int:
    """What `click.Command.main` does, which has ways of its own to tell of a Ctrl-C and of a closed pipe."""
    try:
        with command.make_context("nbtape", sys.argv[1:]) as context:
            return command.invoke(context) or WELL
    except click.exceptions.Exit as exc:
        return exc.exit_code


def _tell(error: BaseException) -> int:
    """Say in a line what went wrong, and give the exit code of it."""
    if isinstance(error, BrokenPipeError) and leave_closed_pipes():
        return UNREAD
    code, line = _ending(error)
    with read_or_not():
        if is_debugging():
            click.echo(plain("".join(traceback.format_exception(error))), err=True, nl=False)
        click.echo(f"nbtape: {plain(line)}", err=True)
    return code


def _ending(error: BaseException) -> tuple[int, str]:
    match error:
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED, "Interrupted."
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "nbtape"
            return REFUSED, f"{_sentence(error.format_message())} `{path} --help` tells more."
        case click.ClickException():
            return REFUSED, _sentence(error.format_message())
        case OSError(filename=str() | os.PathLike() as name, strerror=str() as reason):
            return REFUSED, f"{os.fspath(name)}: {_sentence(reason)} Check the path, its permissions and its disk."
        case NbtapeError() | ValueError() | OSError():
            return REFUSED, str(error)
        case _:
            told = traceback.format_exception_only(error)[-1].strip()
            hint = "" if is_debugging() else " Run the same with --debug, and report what that says."
            return BUG, f"{_sentence(told)} This is a bug in nbtape.{hint}"


def _sentence(text: str) -> str:
    """A message of somebody else's in one line, with its full stop."""
    line = " ".join(text.split())
    return line if line.endswith((".", "?", "!")) else f"{line}."
