"""What every command has: help of one form, `--debug`, and a table of its exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli.display.log import show_log
from nbtape.results import BUG, INTERRUPTED, MEANINGS, REFUSED, UNREAD, WELL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    #: Words, each with its meaning.
    Table = Mapping[str, str]

#: Goes up when a key goes away or means something else; new ones may come at any time.
DOCUMENT_VERSION: Final = 1


#: The exit codes that any command may have.
_COMMON = {WELL, REFUSED, BUG, INTERRUPTED, UNREAD}


def _debug(_: click.Context, __: click.Parameter, value: bool) -> None:  # noqa: FBT001  (click's)
    if value:
        show_log(everything=True)


class _Common(click.Command):
    """A command as ours are.

    Args:
        examples: Command lines, each of which works where the files are that it names.
        tables: What else there is to tell, by title.
        exit_codes: Those that it may have besides those that any may have.
        options: What click takes.
    """

    def __init__(
        self,
        *names: Any,  # noqa: ANN401  (click's, like the options)
        examples: Sequence[str] = (),
        tables: Mapping[str, Table] | None = None,
        exit_codes: Iterable[int] = (),
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*names, **options)
        self.context_settings = {"help_option_names": ["-h", "--help"], **self.context_settings}
        self.examples = examples
        codes = {str(code): MEANINGS[code] for code in sorted(_COMMON | set(exit_codes))}
        self.tables = {**(tables or {}), "Exit codes": codes}
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

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The text, and the examples, which are never broken into lines."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        """The tables."""
        for title, table in self.tables.items():
            with formatter.section(title):
                formatter.write_dl(list(table.items()))


class Command(_Common):
    """A command."""


class Group(_Common, click.Group):
    """A command that has others."""

    command_class = Command

    def __init__(self, *names: Any, **options: Any) -> None:  # noqa: ANN401  (click's)
        super().__init__(*names, no_args_is_help=False, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's)
        """In the order in which they were added."""
        return list(self.commands)


def timeout_option(default: int, meaning: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option of commands that run code.

    Args:
        default: Seconds.
        meaning: What they are for.
    """
    return click.option(
        "--timeout", type=float, default=str(default), show_default=True, metavar="SECONDS", help=meaning
    )


def json_option(keys: str, **others: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--json`, whose help says which keys a document has.

    Args:
        keys: Their names, but for that of the version.
        others: For another option, the names of those that it changes them to.
    """
    told = "".join(f"; with --{option}, {names}" for option, names in others.items())
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help=f"Print one JSON document, and nothing else. Its keys: version ({DOCUMENT_VERSION}), {keys}{told}.",
    )


def print_document(told: Mapping[str, Any]) -> None:
    """Print what is told, in a line, under the version of its form."""
    click.echo(json.dumps({"version": DOCUMENT_VERSION, **told}))
