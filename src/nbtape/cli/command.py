"""What all commands share: the layout of the help, `--debug`, and a table of exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from nbtape.cli.defaults import give_way, has_defaults, project_defaults, read_from_environment
from nbtape.cli.display.log import show_log
from nbtape.cli.display.printing import echo
from nbtape.results import BUG, FAILED, INTERRUPTED, MEANINGS, REFUSED, UNREAD, WELL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: Increased when a key is removed or changes its meaning; keys may be added at any time.
DOCUMENT_VERSION: Final = 1

_COMMON_EXIT_CODES: Final = frozenset({WELL, REFUSED, BUG, INTERRUPTED, UNREAD})


def _debug(_: click.Context, __: click.Parameter, value: bool) -> None:  # noqa: FBT001  (click's)
    if value:
        show_log(everything=True)


class Command(click.Command):
    """A command whose help also has examples, tables of terms and meanings, and its exit codes.

    `failed` is what the exit code 1 means for this command.
    """

    def __init__(
        self,
        *names: Any,  # noqa: ANN401  (click's, like the options)
        examples: Sequence[str] = (),
        tables: Mapping[str, Mapping[str, str]] | None = None,
        exit_codes: Iterable[int] = (),
        failed: str = "",
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*names, **options)
        self.context_settings = {"help_option_names": ["-h", "--help"], **self.context_settings}
        self.examples = examples
        meanings = {**MEANINGS, FAILED: failed or MEANINGS[FAILED]}
        used = {*_COMMON_EXIT_CODES, *exit_codes, *([FAILED] if failed else [])}
        codes = {str(code): meanings[code] for code in sorted(used)}
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
                help="Log progress to standard error and show tracebacks.",
            )
        )

        read_from_environment(self.params)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401  (click's)
    ) -> click.Context:
        """Read the project's defaults if an option has one."""
        if has_defaults(self.params) and not extra.get("resilient_parsing"):  # not while a shell completes a line
            extra.setdefault("default_map", project_defaults(Path.cwd()))
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as exc:
            exc.ctx = exc.ctx or ctx  # click's parser does not set it
            raise
        for param in self.params:
            is_given = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
            if is_given and ctx.params.get(param.name or "") == "":
                name = param.opts[0] if isinstance(param, click.Option) else param.make_metavar(ctx)
                raise click.UsageError(f"{name} is empty. Give a value, or leave it out.", ctx)
        give_way(ctx)
        return rest

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Add the examples, which are never wrapped."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        """Add the tables."""
        for title, table in self.tables.items():
            with formatter.section(title):
                formatter.write_dl(list(table.items()))


class Group(Command, click.Group):
    """A command with subcommands, listed in the order in which they were added."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's)
        return list(self.commands)


def given_option(*names: str) -> str:
    """The first of these options that the command line has, such as `--base-image`; empty if it has none."""
    source = click.get_current_context().get_parameter_source
    given = (name for name in names if source(name) is ParameterSource.COMMANDLINE)
    return next((f"--{name.replace('_', '-')}" for name in given), "")


def timeout_option(default: int, meaning: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--timeout` of commands that run code."""
    return click.option(
        "--timeout", type=float, default=str(default), show_default=True, metavar="SECONDS", help=meaning
    )


def json_option(keys: str, **others: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--json`, whose help names the keys of the document, and the keys that other options add."""
    told = "".join(f"; with --{option}, {names}" for option, names in others.items())
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help=f"Print one JSON document instead of text. Its keys: version ({DOCUMENT_VERSION}), {keys}{told}.",
    )


def print_document(told: Mapping[str, Any]) -> None:
    """Print a JSON document on one line, with the version of its format."""
    # DEL is the only control character that json.dumps leaves.
    echo(json.dumps({"version": DOCUMENT_VERSION, **told}).replace("\x7f", "\\u007f"))
