"""Hide nbtape's tokens in the environment from the code that it runs, which could use them to reach the servers.

Code in a local kernel runs as the same user. It can read the environment that its parent was started with, in
`/proc/<parent>/environ` on Linux, so a token is also erased there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: The tokens of `nbtape mcp --http`, of a Jupyter server that nbtape connects to, and of one that it starts.
OWN_TOKENS: Final = ("NBTAPE_MCP_TOKEN", "JUPYTER_TOKEN", "KG_AUTH_TOKEN")

#: Fields of /proc/self/stat after the name of the program: where the initial environment begins and ends, see proc(5).
_ENV_START: Final = 47
_ENV_END: Final = 48


def without_own_tokens(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of an environment without the tokens, for the code that nbtape runs."""
    return {name: value for name, value in environment.items() if name not in OWN_TOKENS}


def take_token(name: str) -> str | None:
    """Remove a token from the environment of this process and return it; None if it is not set."""
    hide_own_tokens()
    return os.environ.pop(name, None)


def hide_own_tokens() -> None:
    """Erase the tokens from the environment that this process was started with; `os.environ` keeps them."""
    names = [name for name in OWN_TOKENS if name in os.environ]
    for name in names:
        os.environ[name] = os.environ[name]  # moves the value to new memory
    if names:
        _erase([os.fsencode(name) for name in names])


def _erase(names: Collection[bytes]) -> None:
    """Overwrite variables in the memory behind /proc/self/environ, on systems that have it."""
    import ctypes

    with suppress(OSError, IndexError, ValueError):
        fields = Path("/proc/self/stat").read_bytes().rpartition(b") ")[2].split()
        start, end = int(fields[_ENV_START]), int(fields[_ENV_END])
        initial = Path("/proc/self/environ").read_bytes()
        if not start or end - start != len(initial):
            return
        at = start
        for variable in initial.split(b"\0"):
            if variable.partition(b"=")[0] in names:
                ctypes.memset(at, 0, len(variable))
            at += len(variable) + 1
