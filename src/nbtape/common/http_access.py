"""Checks of the Host and Origin headers and the token of a local server.

A web page can reach a server on loopback under any name that resolves to 127.0.0.1 (DNS rebinding), so other names and
other origins are refused.
"""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def name_in(host: str) -> str | None:
    """The name or address in a Host header; None if it is not valid."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def is_same_origin(origin: str, host: str) -> bool:
    """Whether the Origin header of a page names the server in the Host header."""
    scheme, _, netloc = origin.partition("://")
    return scheme in {"http", "https"} and netloc == host


def check_token(token: str | None) -> None:
    """Raise ValueError for an empty token. None means that nbtape generates one."""
    if token is not None and not token:
        raise ValueError("An empty token would let anyone run code. Leave out token= to generate one.")


def make_token() -> str:
    return secrets.token_urlsafe(32)
