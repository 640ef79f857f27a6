"""What a shell offers for an argument: files of some kinds, directories, kernel specs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Candidates = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

#: The type of an item that stands for files: those that end in one of its `suffixes`, and directories.
FILES = "files"


def files(*suffixes: str) -> Candidates:
    """The files that end in one of `suffixes`, and directories, in which there may be some."""
    return lambda _context, _parameter, begun: [CompletionItem(begun, type=FILES, suffixes=suffixes)]


notebooks = files(".ipynb")
sources = files(".md", ".markdown", ".py", ".txt")
directories = files()


def argument(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """What the command is about: it may stand behind an option whose own value may be left out."""
    arguments = (each for each in context.command.params if isinstance(each, click.Argument))
    return [item for each in arguments for item in each.shell_complete(context, begun)]


def kernels(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The kernel specs of this machine, where jupyter_client finds them, whose import takes too long for a shell."""
    from jupyter_core.paths import jupyter_path

    specs = (spec for place in jupyter_path("kernels") for spec in Path(place).glob("*/kernel.json"))
    names = {"python3", *(spec.parent.name.lower() for spec in specs)}
    return [CompletionItem(name) for name in sorted(names) if name.startswith(begun)]


def paths(item: CompletionItem) -> Iterator[str]:
    """The names that an item for files stands for, directories with a slash, hidden ones where a dot is begun."""
    head, slash, tail = item.value.rpartition("/")
    try:
        entries = sorted(Path(head + slash).expanduser().iterdir())
    except (OSError, RuntimeError):  # it is not there, or not ours to see; nobody's home
        return
    for entry in entries:
        name = entry.name
        if not name.startswith(tail) or not name.isprintable() or (name.startswith(".") and not tail):
            continue
        if entry.is_dir():
            yield f"{head}{slash}{name}/"
        elif name.lower().endswith(item.suffixes):
            yield f"{head}{slash}{name}"
