"""The generated parts of the reference, as Markdown.

A page names a part in a comment: `<!-- generated: commands -->`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

import nbtape
import nbtape.errors
import nbtape.notebook.document
from benchmarks.rows import rows
from benchmarks.telling import goals_list
from nbtape.cli.commands import nbtape as command_line
from nbtape.results import EXIT_CODES, MEANINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_MARK: Final = re.compile(r"<!-- generated: ([\w-]+) -->")

#: Characters that Markdown reads as markup.
_MARKUP: Final = re.compile(r"([\\`*_<>\[\]|#])")

#: Code in help texts: options, variables and nbtape's own commands.
_CODE: Final = re.compile(r"(?<![\w`])(--[a-z][\w-]*|-[a-z](?![\w-])|[A-Z]+_[A-Z_]+|nbtape\[\w+\])")


#: A link to the table of faults, which a page of the reference includes.
_FAULTS: Final = re.compile(r"\]\((?:\.\./)+tests/faults\.md(?=[)#])")


def fill(page: str) -> str:
    """Replace the comments of a page with the parts that they name, and point its links at the site.

    Raises:
        KeyError: There is no such part.
    """
    return _FAULTS.sub("](/reference/faults.md", _MARK.sub(lambda mark: GENERATED[mark[1]](), page))


def all_commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Return `nbtape` and its commands, in the order of the help."""
    yield from _walk(click.Context(command_line, info_name="nbtape", **command_line.context_settings))


def _walk(context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    command = context.command
    if command.hidden:
        return
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, "it is in the list"
            yield from _walk(click.Context(inner, parent=context, info_name=name, **inner.context_settings))


def commands() -> str:
    """Return a section for each command: usage, help, options, tables and examples."""
    return "\n".join(_command(context, command) for context, command in all_commands())


def _command(context: click.Context, command: click.Command) -> str:
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"## `{context.command_path}`", f"```text\n{usage}\n```", *_paragraphs(command.help or "")]
    if examples := getattr(command, "examples", ()):
        parts.append("```console\n" + "".join(f"$ {example}\n" for example in examples) + "```")
    records = [option.get_help_record(context) for option in command.get_params(context)]
    # A hidden option has no record; an argument has one without a description.
    parts.append(_definitions("Options", [record for record in records if record and record[1]]))
    if isinstance(command, click.Group):
        inner = {name: command.commands[name].get_short_help_str(limit=200) for name in command.list_commands(context)}
        parts.append(_definitions("Commands", inner.items()))
    for title, table in getattr(command, "tables", {}).items():
        if title == "Exit codes":
            own = {code: f" ({_plain(meaning)})" for code, meaning in table.items() if meaning not in MEANINGS.values()}
            codes = ", ".join(f"`{code}`{own.get(code, '')}" for code in table)
            parts.append(f"[Exit codes](exit-codes.md): {codes}.")
        else:
            parts.append(_definitions(title, table.items()))
    return "\n\n".join(parts) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    """Return the paragraphs of a help text; click keeps the line breaks of one that begins with a backspace."""
    for paragraph in text.replace("\f", "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield f"```text\n{paragraph.removeprefix(chr(8)).strip(chr(10))}\n```"
        elif paragraph.strip():
            yield _plain(paragraph)


def _definitions(title: str, terms: Iterable[tuple[str, str]]) -> str:
    return "\n\n".join([f"**{_plain(title)}**", *(f"`{term}`\n: {_plain(meaning)}" for term, meaning in terms)])


def _plain(text: str) -> str:
    """Return help text as one line of Markdown, with options, variables and text in backticks as code."""
    pieces = re.split(r"(`[^`]+`)", " ".join(text.split()))
    return "".join(piece if index % 2 else _escaped(piece) for index, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    pieces = _CODE.split(text)
    return "".join(f"`{piece}`" if index % 2 else _MARKUP.sub(r"\\\1", piece) for index, piece in enumerate(pieces))


def option_variables() -> dict[str, list[str]]:
    """Return the options that each environment variable sets, each with its command."""
    found: dict[str, list[str]] = {}
    for context, command in all_commands():
        for option in command.get_params(context):
            for variable in [option.envvar] if isinstance(option.envvar, str) else option.envvar or ():
                found.setdefault(variable, []).append(f"`{context.command_path} {max(option.opts, key=len)}`")
    return found


def variables() -> str:
    """Return a table of the environment variables that set options."""
    commands_of_all = len(list(all_commands()))
    rows_ = []
    for variable, options in option_variables().items():
        names = {option.strip("`").rpartition(" ")[2] for option in options}
        everywhere = len(options) == commands_of_all and len(names) == 1
        rows_.append((f"`{variable}`", f"`{names.pop()}` of every command" if everywhere else ", ".join(options)))
    return _table(("Variable", "Option"), rows_)


def exit_codes() -> str:
    """Return a table of the exit codes: meaning, statuses that cause it, and commands that use it."""
    rows_ = []
    for code, meaning in MEANINGS.items():
        statuses = [f"`{status}`" for status, its_code in EXIT_CODES.items() if its_code == code]
        users = [
            context.command_path.removeprefix("nbtape ")
            for context, command in all_commands()
            if context.parent and str(code) in getattr(command, "tables", {}).get("Exit codes", {})
        ]
        everyone = len(users) == len(list(all_commands())) - 1
        rows_.append((f"`{code}`", _plain(meaning), ", ".join(statuses), "all" if everyone else ", ".join(users)))
    return _table(("Exit code", "Meaning", "Status of a block", "Commands"), rows_)


def metadata() -> str:
    """Return tables of the keys that nbtape adds to a notebook, from the docstring of the module that writes them."""
    _, _, text = (nbtape.notebook.document.__doc__ or "").partition("\n\n")  # without the line for developers
    return "\n\n".join(_metadata_parts(text))


def _metadata_parts(text: str) -> Iterator[str]:
    for part in re.split(r"\n\n", text.strip()):
        if part.startswith("    "):
            yield _table(("Key", "Value"), _keys(part.splitlines()))
        else:
            yield re.sub(r"https://[^\s)]+", r"<\g<0>>", " ".join(part.split()))


def _keys(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return table rows for indented lines `key   meaning`; deeper lines continue a meaning or name inner keys."""
    found: list[tuple[str, list[str]]] = []
    outer = ""
    for line in lines:
        indent = len(line) - len(line.lstrip())
        key, _, meaning = line.strip().partition("  ")
        if indent <= 4:  # noqa: PLR2004  (the indent of a literal block)
            outer = key
            found.append((key, [meaning]))
        elif indent <= 6:  # noqa: PLR2004  (that of keys in a value)
            found.append((f"{outer}.{key}", [meaning]))
        else:
            found[-1][1].append(line)
    return [(f"`{key}`", _plain(re.sub("(?:, and|:)$", "", " ".join(meaning)))) for key, meaning in found]


def benchmarks() -> str:
    """Return what `scripts/bench` measures, row by row, and the goals."""
    lines = []
    for line in goals_list(rows()).splitlines():
        if line.startswith(" " * 5):
            lines.append(f"  - {_plain(line)}")
        else:
            key, _, title = line.strip().partition(" ")
            lines += ["", f"`{key}`", f": {_plain(title)}", ""]
    return "\n".join(lines)


def errors() -> str:
    """Return an entry for each class of nbtape.errors, in the order of its tree."""
    classes = [each for each in vars(nbtape.errors).values() if isinstance(each, type)]
    names = [each.__name__ for each in classes if each.__module__ == "nbtape.errors"]
    entries = "".join(f".. autoexception:: {name}\n\n" for name in names)
    return f"```{{eval-rst}}\n.. py:currentmodule:: nbtape\n\n{entries}```"


def system_message() -> str:
    """Return `CODE_WRITER_SYSTEM_MESSAGE`, word for word."""
    return f"````text\n{nbtape.CODE_WRITER_SYSTEM_MESSAGE.strip()}\n````"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


#: The parts by name.
GENERATED: Final[Mapping[str, Callable[[], str]]] = {
    "commands": commands,
    "variables": variables,
    "exit-codes": exit_codes,
    "metadata": metadata,
    "benchmarks": benchmarks,
    "errors": errors,
    "system-message": system_message,
}
