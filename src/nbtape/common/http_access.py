"""What a browser says of who calls a server of this machine, judged: pure.

A page in a browser reaches what listens on loopback, under any name that its DNS server says is 127.0.0.1 (DNS
rebinding): a name that is not ours is refused, and so is a page that is not from here.
"""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import urlsplit

#: What a client on this machine calls it.
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def name_in(host: str) -> str | None:
    """The name or address in a Host header; None if it makes no sense."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a page is from the server that it calls.

    Args:
        origin: The page's, as its Origin header has it.
        host: The server's, as the Host header has it.
    """
    scheme, _, netloc = origin.partition("://")
    return scheme in {"http", "https"} and netloc == host


def check_token(token: str | None) -> None:
    """Refuse a token that lets anybody in; None is for one that is made.

    Raises:
        ValueError: It is empty.
    """
    if token is not None and not token:
        raise ValueError("A server without a token would let anybody run code: leave token out to have one made.")


def make_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(32)
