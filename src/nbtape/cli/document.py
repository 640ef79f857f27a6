"""What programs read: with `--json`, one document on standard output, and nothing else there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Goes up when a key goes away or means something else; new ones may come at any time.
DOCUMENT_VERSION: Final = 1


def print_document(told: Mapping[str, Any]) -> None:
    """Print what is told, in a line, under the version of its form."""
    click.echo(json.dumps({"version": DOCUMENT_VERSION, **told}))
