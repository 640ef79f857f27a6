"""`nbtape completion`: what a shell runs to complete a command line, and what it is then told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import get_completion_class

from nbtape.cli.candidates import FILES, paths
from nbtape.cli.command import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.shell_completion import CompletionItem

_SHELLS: Final = ("bash", "zsh", "fish")


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
@click.option("--answer", is_flag=True, hidden=True, help="Print what completes the line that the shell tells of.")
def completion(*, shell: str, answer: bool) -> None:
    """Print what has a shell complete your lines.

    Add it to what your shell reads when it starts; it counts from the next one on. Commands, options, notebooks,
    scripts, kernels and formats are completed. It takes bash 4.4, and that of macOS is older.
    """
    if not answer:
        script = Path(__file__).with_name("shells") / f"nbtape.{shell}"
        click.echo(script.read_text(encoding="utf-8"), nl=False)
        return
    for item in _completions(shell):
        for line in _lines(shell, item):
            click.echo("\t".join(line))


def _completions(shell: str) -> list[CompletionItem]:
    """What click finds for the line in the variables COMP_WORDS and COMP_CWORD."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows all that the argument takes"
    line = kind(click.get_current_context().find_root().command, {}, "nbtape", "")
    words, begun = line.get_completion_args()
    # To bash, what stands before the value of --to=html is a word.
    return line.get_completions([word for word in words if word != "="], begun)


def _lines(shell: str, item: CompletionItem) -> Iterator[tuple[str, str, str]]:
    """What the script of a shell is told of an item: its kind, its value, and what it means."""
    if item.type != FILES:
        yield "plain", item.value, " ".join((item.help or "").split())
    elif shell == "zsh":  # finds files itself, in ways that people have configured
        yield "pattern", " ".join(f"*{suffix}" for suffix in item.suffixes) or "*(-/)", ""
    else:
        for path in paths(item):
            yield "path", path, ""
