"""Turn results and errors into an exit code and one line on standard error."""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from typing import Final

import click
from click.core import ParameterSource

from nbtape.cli.display.consoles import leave_closed_pipes, read_or_not
from nbtape.cli.display.log import is_debugging, show_log
from nbtape.cli.display.plain import plain_code, plain_line
from nbtape.cli.display.printing import echo
from nbtape.cli.option_names import as_options
from nbtape.errors import NbtapeError
from nbtape.kernels.processes import has_current_directory
from nbtape.results import BUG, INTERRUPTED, REFUSED, UNREAD, WELL


def exit_code_of(command: click.Command) -> int:
    """Run the command line, and return the exit code of the process."""
    show_log(everything=False)
    try:
        code = _run(command)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001  (every error is reported here)
        return _report(exc)
    return code


def _run(command: click.Command) -> int:
    """Do what `click.Command.main` does, except that Ctrl-C and closed pipes are handled here."""
    try:
        with command.make_context("nbtape", sys.argv[1:]) as context:
            return command.invoke(context) or WELL
    except click.exceptions.Exit as exc:
        return exc.exit_code


def _report(error: BaseException) -> int:
    """Print an error in one line, and return its exit code."""
    if isinstance(error, BrokenPipeError) and leave_closed_pipes():
        return UNREAD
    if isinstance(error, KeyboardInterrupt):
        warnings.simplefilter("ignore")  # about coroutines that were made and not begun
    code, line = ending(error)
    with read_or_not():
        if is_debugging():
            echo(plain_code("".join(traceback.format_exception(error))), err=True, end="")
        echo(plain_code(f"nbtape: {line}"), err=True)
    return code


def ending(error: BaseException) -> tuple[int, str]:
    """The exit code for an error, and what is printed about it."""
    if isinstance(error.__cause__, KeyboardInterrupt):  # as Python does while it creates a class
        error = error.__cause__
    match error:
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED, "Interrupted."
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "nbtape"
            return REFUSED, f"{_sentence(_plainly(error))} See `{path} --help`."
        case click.ClickException():
            return REFUSED, _sentence(error.format_message())
        case OSError(filename=str() | os.PathLike() as name, strerror=str() as reason):
            return (
                REFUSED,
                f"{plain_line(os.fsdecode(name))}: {_sentence(reason)} Check the path and its permissions.",
            )
        case FileNotFoundError(filename=None) if not has_current_directory():
            return REFUSED, "The current directory was removed. Change to another directory."
        case NbtapeError() | ValueError() | OSError():
            told = getattr(error, "strerror", None)
            return REFUSED, as_options(_sentence(str(told)) if told else str(error))
        case _:
            told = traceback.format_exception_only(error)[-1].strip()
            hint = "" if is_debugging() else " Run it again with --debug and report the output."
            return BUG, f"{_sentence(told)} This is a bug in nbtape.{hint}"


#: What click says, and what a person would.
_WORDINGS: Final = {
    r"is not a valid (integer|integer range)\b": "is not a whole number",
    r"is not a valid (float|float range)\b": "is not a number",
    r"is not in the range (\S+)<=x<=(\S+?)(?=\.|$)": r"is not from \1 to \2",
    r"is not in the range x>=(\S+?)(?=\.|$)": r"is less than \1",
    r"Invalid value for '\{\S+\}': ('.*') is not one of (.*)": r"Invalid argument \1. Choose one of \2",
    r"Option '(\S+)' requires an argument": r"\1 needs a value",
    r"Option '(-p|--parameter)' requires 2 arguments": r"\1 needs a name and a value, as in \1 n 20",
}


def _plainly(error: click.UsageError) -> str:
    """What click says, without Python's names of types, and with the environment variable only if that is wrong."""
    message = error.format_message()
    for pattern, wording in _WORDINGS.items():
        message = re.sub(pattern, wording, message)
    if error.ctx is not None and isinstance(error, click.BadParameter) and error.param is not None:
        source = error.ctx.get_parameter_source(error.param.name or "")
        if source is ParameterSource.COMMANDLINE:
            message = re.sub(r" \(env var: '\w+'\)", "", message)
    return message


def _sentence(text: str) -> str:
    """A message of another library in one line, with a full stop."""
    line = " ".join(text.split())
    return line if line.endswith((".", "?", "!")) else f"{line}."
