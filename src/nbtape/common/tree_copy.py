"""Copy a directory that hostile code can write: bounded, without following links, and as a reflink where possible.

The directory is listed first, and then copied. What disappears or becomes something else in between is left out, and a
file is copied up to the size that it had.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from nbtape.common.untrusted_files import Directory, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

#: The names of a path below the copied directory.
Parts = tuple[str, ...]

#: How the names of copies begin; a copy has no other copies.
COPY_PREFIX: Final = ".nbtape-copy-"

_CHUNK_BYTES: Final = 1 << 20

#: Linux's request to share the blocks of another file, see ioctl_ficlone(2).
_FICLONE: Final = 0x40049409

#: Marks a virtual environment (PEP 405) or an environment of conda.
_ENVIRONMENTS: Final = frozenset({"pyvenv.cfg", "conda-meta"})

#: Caches of tools, which make them again.
_CACHES: Final = frozenset(
    {"__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox"}
)

#: Directory entries between two checks of the limits.
_BATCH_ENTRIES: Final = 1000


class TooLargeError(Exception):
    """A directory exceeds the limits of a copy; the text is a predicate such as "has more than 1 GB"."""


class CanceledError(Exception):
    """The copy was canceled."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum size of a copy: bytes, as the sizes of files add up, entries, and nested directories."""

    size: int = 1_000_000_000
    entries: int = 100_000
    depth: int = 100


@dataclass(slots=True)
class Plan:
    """What to copy: directories (parents first), files with their sizes, and links with their targets.

    `outside` has the links that are not copied, because they lead out of the directory.
    """

    size: int = 0
    directories: list[Parts] = field(default_factory=list)
    files: list[tuple[Parts, int]] = field(default_factory=list)
    links: list[tuple[Parts, str]] = field(default_factory=list)
    outside: list[Parts] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.directories) + len(self.files) + len(self.links)


def plan(
    source: Directory,
    leave_out: Callable[[Parts], bool],
    created: Collection[Parts] = (),
    limits: Limits | None = None,
    is_canceled: Callable[[], bool] = lambda: False,
) -> Plan:
    """List what a copy of `source` has: no sockets, devices, caches, virtual environments and links that lead outside.

    Args:
        source: The directory.
        leave_out: Whether to leave out the file or the directory of a path.
        created: Directories that are left out if nothing else is left in them.
        limits: The limits.
        is_canceled: Whether to stop.

    Raises:
        TooLargeError: It exceeds the limits.
        CanceledError: It was canceled.
        OSError: The directory cannot be listed.
    """
    limits = limits or Limits()
    found = Plan()
    pending: list[Parts] = [()]
    with contextlib.closing(Tree(source)) as tree:
        while pending:
            parts = pending.pop()
            try:
                entries = _entries(tree, parts, limits.entries - len(found), is_canceled)
            except OSError:
                if not parts:
                    raise
                continue  # not readable for the code either, or gone
            if parts and not _ENVIRONMENTS.isdisjoint(entries):
                continue
            if parts:
                found.directories.append(parts)
            for name, entry in entries.items():
                _add(found, pending, (*parts, name), entry, leave_out, source)
            _check(found, parts, limits)
    _drop_emptied(found, created)
    return found


def _entries(tree: Tree, parts: Parts, limit: int, is_canceled: Callable[[], bool]) -> dict[str, tuple[int, int]]:
    """Mode and size of the entries of a directory, by name; raises TooLargeError if there are more than `limit`."""
    found: dict[str, tuple[int, int]] = {}
    with tree.entries(parts) as entries:
        for entry in entries:
            if len(found) % _BATCH_ENTRIES == 0 and is_canceled():
                raise CanceledError
            if len(found) >= max(limit, 0):
                raise TooLargeError("has too many files")
            with contextlib.suppress(OSError):  # deleted meanwhile
                status = entry.stat(follow_symlinks=False)
                found[entry.name] = (status.st_mode, status.st_size)
    return found


def _add(
    found: Plan,
    pending: list[Parts],
    path: Parts,
    entry: tuple[int, int],
    leave_out: Callable[[Parts], bool],
    source: Directory,
) -> None:
    mode, size = entry
    if leave_out(path):
        return
    if stat.S_ISDIR(mode):
        if path[-1] not in _CACHES and not path[-1].startswith(COPY_PREFIX):
            pending.append(path)
    elif stat.S_ISREG(mode):
        found.files.append((path, size))
        found.size += size
    elif stat.S_ISLNK(mode):
        target = _target_inside(source, path)
        if target is None:
            found.outside.append(path)
        else:
            found.links.append((path, target))


def _target_inside(source: Directory, path: Parts) -> str | None:
    """The target of a link relative to its directory; None if it leads outside of `source`.

    A target may leave directories only at its start: after another link, `..` could lead anywhere.
    """
    try:
        with source.below(*path[:-1]) as directory:
            target = PurePosixPath(directory.link_target(path[-1]))
    except OSError:
        return None
    if target.is_absolute():
        if not target.is_relative_to(source.path):
            return None
        names, level = target.relative_to(source.path).parts, len(path) - 1
    else:
        names = target.parts
        level = next((n for n, name in enumerate(names) if name != ".."), len(names))
        if level > len(path) - 1:
            return None
        names = names[level:]
    if ".." in names:
        return None
    return "/".join([*[".."] * level, *names]) or "."


def _check(found: Plan, parts: Parts, limits: Limits) -> None:
    if found.size > limits.size:
        raise TooLargeError(f"has more than {limits.size / 1e9:g} GB")
    if len(found) > limits.entries:
        raise TooLargeError(f"has more than {limits.entries:,} files")
    if len(parts) > limits.depth:
        raise TooLargeError(f"has more than {limits.depth} nested directories")


def _drop_emptied(found: Plan, created: Collection[Parts]) -> None:
    """Leave out the directories in or below those in `created` that have nothing to copy."""
    if not created:
        return
    roots = set(created)
    content = Counter(path[:-1] for path in (*found.directories, *(path for path, _ in (*found.files, *found.links))))
    kept = []
    for path in sorted(found.directories, key=len, reverse=True):
        if not content[path] and any(path[:length] in roots for length in range(1, len(path) + 1)):
            content[path[:-1]] -= 1
        else:
            kept.append(path)
    found.directories = sorted(kept, key=len)


def copy(
    source: Directory,
    target: Directory,
    planned: Plan,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    is_canceled: Callable[[], bool] = lambda: False,
) -> None:
    """Copy what was planned into an empty directory, with times, permissions and, as root, owners.

    Args:
        source: The directory.
        target: The empty directory.
        planned: What to copy.
        on_progress: Called with the bytes that are done and their total.
        is_canceled: Whether to stop.

    Raises:
        CanceledError: It was canceled.
        OSError: The copy cannot be written.
    """
    done = 0
    with contextlib.ExitStack() as stack:
        here, there = _Cursor(source, stack), _Cursor(target, stack)
        for path in planned.directories:
            if is_canceled():
                raise CanceledError
            there.at(path[:-1]).make_new(path[-1], 0o700)
        for path, size in planned.files:
            for count in _copy_file(here, there, path, size):
                if is_canceled():
                    raise CanceledError
                done += count
                on_progress(done, planned.size)
        for path, link in planned.links:
            there.at(path[:-1]).link(path[-1], link)
        for path in reversed(planned.directories):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = here.at(path[:-1]).status(path[-1])
                if status is not None and stat.S_ISDIR(status.st_mode):
                    # The user must be able to remove it afterwards.
                    there.at(path).take_over(status, stat.S_IMODE(status.st_mode) & 0o777 | stat.S_IRWXU)


class _Cursor:
    """The directory below a root that was used last."""

    def __init__(self, root: Directory, stack: contextlib.ExitStack) -> None:
        self._root = root
        self._parts: Parts = ()
        self._last = root
        stack.callback(self._leave)

    def at(self, parts: Parts) -> Directory:
        if parts != self._parts:
            self._leave()
            self._last, self._parts = self._root.below(*parts), parts
        return self._last

    def _leave(self) -> None:
        if self._last is not self._root:
            self._last.close()
        self._last, self._parts = self._root, ()


def _copy_file(here: _Cursor, there: _Cursor, path: Parts, size: int) -> Iterator[int]:
    """Copy a file chunk by chunk, and yield the bytes of each; yields nothing for one that is gone or unreadable."""
    try:
        descriptor = here.at(path[:-1]).open(path[-1], linked=True)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as old:
        status = os.fstat(old.fileno())
        made = there.at(path[:-1]).new(path[-1], os.O_WRONLY, stat.S_IMODE(status.st_mode) & 0o777)
        with os.fdopen(made, "wb") as new:
            if _is_cloned(old.fileno(), new.fileno()):
                if os.fstat(new.fileno()).st_size > size:  # it has grown since it was listed
                    new.truncate(size)
                yield size
            else:
                yield from _copy_content(old, new, size)
            if hasattr(os, "fchown") and os.geteuid() == 0:
                os.fchown(new.fileno(), status.st_uid, status.st_gid)
            os.utime(new.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_content(old: BinaryIO, new: BinaryIO, size: int) -> Iterator[int]:
    left = size
    while left > 0 and (chunk := old.read(min(left, _CHUNK_BYTES))):
        new.write(chunk)
        left -= len(chunk)
        yield len(chunk)
    new.flush()


def _is_cloned(old: int, new: int) -> bool:
    """Share the blocks of a file, if the file system can."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(new, _FICLONE, old)
    except OSError:
        return False
    return True
