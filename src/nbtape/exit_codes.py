"""The exit codes of the command, each with its meaning: there is no other list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

WELL: Final = 0
FAILED: Final = 1
REFUSED: Final = 2
#: EX_SOFTWARE of sysexits.h: what scripts read as 1 or 2 it is not.
BUG: Final = 70
#: As timeout(1) has it.
TIMEOUT: Final = 124
#: As a shell has it of a process that SIGINT, SIGKILL or SIGPIPE ended.
INTERRUPTED: Final = 130
KERNEL_DIED: Final = 137
UNREAD: Final = 141

MEANINGS: Final[Mapping[int, str]] = {
    WELL: "all is well",
    FAILED: "it ran, and a block failed, a cell is not as recorded, or a clean export does not work",
    REFUSED: "it could not be run: the command line, a file, the kernel or the server",
    BUG: "a bug in nbtape",
    TIMEOUT: "a block ran into its timeout",
    INTERRUPTED: "interrupted (Ctrl-C)",
    KERNEL_DIED: "the kernel died",
    UNREAD: "whoever read the output has gone",
}
