"""`nbtape completion`: print completion scripts for shells, and answer their requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from nbtape.cli.command import Command
from nbtape.cli.display.printing import echo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Candidates = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

#: The type of a completion item for directories and for files that end in one of its `suffixes`.
FILES: Final = "files"

_SHELLS: Final = ("bash", "zsh", "fish")


def files(*suffixes: str) -> Candidates:
    """Complete directories, and files that end in one of `suffixes`."""
    return lambda _context, _parameter, begun: [CompletionItem(begun, type=FILES, suffixes=suffixes)]


notebooks = files(".ipynb")
sources = files(".md", ".markdown", ".py", ".txt")
directories = files()


@click.command(
    cls=Command,
    examples=[
        "nbtape completion bash >> ~/.bashrc",
        "nbtape completion zsh >> ~/.zshrc",
        "mkdir -p ~/.config/fish/completions",
        "nbtape completion fish > ~/.config/fish/completions/nbtape.fish",
    ],
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.option(
    "--answer", is_flag=True, hidden=True, help="Print the completions of the line in COMP_WORDS and COMP_CWORD."
)
def completion(*, shell: str, answer: bool) -> None:
    """Print a shell completion script.

    Add it to your shell's startup file; new shells then complete commands, options, notebooks, scripts, kernels and
    formats. Bash must be 4.4 or newer; macOS ships an older one.
    """
    if not answer:
        script = Path(__file__).with_name("shells") / f"nbtape.{shell}"
        echo(script.read_text(encoding="utf-8"), end="")
        return
    for item in _completions(shell):
        for fields in _answers(shell, item):
            echo("\t".join(fields))


def _completions(shell: str) -> list[CompletionItem]:
    """The completions that click finds for the line in the variables COMP_WORDS and COMP_CWORD."""
    kind = get_completion_class(shell)
    assert kind is not None, "click supports each of our shells"
    line = kind(click.get_current_context().find_root().command, {}, "nbtape", "")
    words, begun = line.get_completion_args()
    # In bash, the = of --to=html is a word.
    return line.get_completions([word for word in words if word != "="], begun)


def _answers(shell: str, item: CompletionItem) -> Iterator[tuple[str, str, str]]:
    """The answers to a shell's script for one item: kind, value and help."""
    if item.type != FILES:
        yield "plain", item.value, " ".join((item.help or "").split())
    elif shell == "zsh":  # zsh completes files itself, as the user has configured
        yield "pattern", " ".join(f"*{suffix}" for suffix in item.suffixes) or "*(-/)", ""
    else:
        for path in paths(item):
            yield "path", path, ""


def argument(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the command's arguments, which may follow an option whose value is optional."""
    arguments = (each for each in context.command.params if isinstance(each, click.Argument))
    return [item for each in arguments for item in each.shell_complete(context, begun)]


def kernels(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete local kernel specs. Importing jupyter_client, which also finds them, takes too long here."""
    from jupyter_core.paths import jupyter_path

    specs = (spec for place in jupyter_path("kernels") for spec in Path(place).glob("*/kernel.json"))
    names = {"python3", *(spec.parent.name.lower() for spec in specs)}
    return [CompletionItem(name) for name in sorted(names) if name.startswith(begun) and name.isprintable()]


def paths(item: CompletionItem) -> Iterator[str]:
    """The paths for an item of type FILES: directories with a slash, hidden entries only after a dot."""
    head, slash, tail = item.value.rpartition("/")
    try:
        entries = sorted(Path(head + slash).expanduser().iterdir())
    except (OSError, RuntimeError):  # missing, not readable, or the home directory of an unknown user
        return
    for entry in entries:
        name = entry.name
        if not name.startswith(tail) or not name.isprintable() or (name.startswith(".") and not tail):
            continue
        if entry.is_dir():
            yield f"{head}{slash}{name}/"
        elif name.lower().endswith(item.suffixes):
            yield f"{head}{slash}{name}"
