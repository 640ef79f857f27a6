"""Where the token of `nbtape mcp --http` comes from."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

import click

from nbtape.cli.command import given_option
from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.status_line import say
from nbtape.common.own_tokens import take_token

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN_VARIABLE: Final = "NBTAPE_MCP_TOKEN"  # noqa: S105  (its name)

_MAX_TOKEN_BYTES: Final = 4096


def token_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options that name the token."""
    command = click.option(
        "--token-fd",
        type=click.IntRange(min=0),
        metavar="N",
        help="With --http: read the token from an open file descriptor, such as a pipe.",
    )(command)
    return click.option(
        "--token-file",
        metavar="FILE",
        help="With --http: read the token from a file that only you can read. Code on a local kernel runs as your user "
        "and can read it too.",
    )(command)


def given_token(file: str | None, descriptor: int | None, *, is_http: bool) -> str | None:
    """Read the token from the options or the environment, and remove it from the environment; None if none is given.

    Raises:
        click.UsageError: Options exclude each other.
        ValueError: The token cannot be read, or is not a token.
    """
    variable = take_token(TOKEN_VARIABLE)
    if not is_http and (option := given_option("token_file", "token_fd")):
        raise click.UsageError(f"{option} needs --http.")
    if file is not None and descriptor is not None:
        raise click.UsageError("--token-file and --token-fd cannot be combined. Use one of them.")
    if file is not None:
        return _read(file, f"--token-file {plain_line(file)}")
    if descriptor is not None:
        return _read(descriptor, f"--token-fd {descriptor}")
    if is_http and variable == "":
        raise ValueError(f"{TOKEN_VARIABLE} is empty: anyone could run code. Set a token, or unset it for a new one.")
    return variable


def _read(source: str | int, name: str) -> str:
    """The token in a file or a descriptor; closes the descriptor."""
    content = b""
    try:
        with open(source, "rb", buffering=0) as stream:  # noqa: PTH123  (or a descriptor)
            status = os.fstat(stream.fileno())
            while len(content) <= _MAX_TOKEN_BYTES and (piece := stream.read(_MAX_TOKEN_BYTES)):
                content += piece
    except OSError as exc:
        raise ValueError(f"{name} cannot be read: {exc.strerror or exc}. Name one that holds the token.") from exc
    if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
        say(f"{name} can be read by other users. Run chmod 600 on it.")
    token = content.decode("latin-1").strip()
    if not (token.isascii() and token.isprintable()) or " " in token or not 0 < len(token) <= _MAX_TOKEN_BYTES:
        raise ValueError(
            f"{name} holds no valid token. Write one line of ASCII without spaces, at most {_MAX_TOKEN_BYTES} bytes."
        )
    return token
