"""What programs read: with `--json`, one document on standard output, and nothing else there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Goes up when a key goes away or means something else; new ones may come at any time.
DOCUMENT_VERSION: Final = 1


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
