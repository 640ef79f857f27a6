"""Decide which local directories a container may mount, and who owns them meanwhile."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nbtape.common.untrusted_files import existing_part
from nbtape.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbtape.servers.docker.isolation import User

#: Directories that must not be mounted, nor their contents, nor their parents.
_SYSTEM: Final = (
    *map(Path, ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin")),
    *map(Path, ("/sys", "/usr", "/var", "/Library", "/System", "/private/etc", "/private/var")),
)
#: Exceptions in them, for files of users.
_PLACES_IN_SYSTEM: Final = tuple(
    map(Path, ("/dev/shm", "/run/user", "/var/tmp", "/var/folders", "/private/var/tmp", "/private/var/folders"))  # noqa: S108
)
#: Directories that must not be mounted themselves, nor their parents.
_ROOTS: Final = (
    *map(Path, ("/home", "/root", "/opt", "/srv", "/mnt", "/media", "/tmp", "/snap", "/Users", "/Applications")),  # noqa: S108
    *_PLACES_IN_SYSTEM,
)
#: Entries of a home directory that give access to other machines and accounts.
_SECRETS: Final = (".ssh", ".gnupg", ".aws", ".azure", ".config", ".docker", ".kube", ".password-store")

_MAX_LINKS: Final = 40

_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def refusal(directory: Path) -> str:
    """The end of a sentence on why a container must not mount a directory; empty if it may."""
    return _examine(directory)[1]


def check_place(directory: Path) -> None:
    """Raise ServerError for a directory that a container must not mount; it may be missing and is made later."""
    try:
        existing, missing = existing_part(directory)
    except OSError as exc:
        why = exc.strerror or str(exc)
    else:
        _, why = _examine(existing, missing)
    if why:
        raise ServerError(_must_not(directory, why))


def mountable(directory: Path) -> Path:
    """The resolved path of a directory that a container may mount.

    Raises:
        ServerError: It must not.
    """
    path, why = _examine(directory)
    if why:
        raise ServerError(_must_not(directory, why))
    return path


def _must_not(directory: Path, why: str) -> str:
    return f"A container must not mount {directory}: {why}. Use a separate directory."


def _examine(directory: Path, missing: Sequence[str] = ()) -> tuple[Path, str]:
    """The resolved path, and why a container must not mount it; mount this path, because it is the one examined.

    The names in `missing` are those of directories below it that do not exist yet.
    """
    try:
        path = Path(_resolve(directory))
        return path, _refusal_of(path.joinpath(*missing), path.stat().st_uid)
    except _UnsafePathError as exc:
        return directory, str(exc)
    except OSError as exc:
        return directory, f"{exc.strerror or exc}"


def _refusal_of(path: Path, owner: int) -> str:
    homes = [home for home in _homes(owner) if home != Path("/")]
    if any(path == home or path in home.parents for home in homes):
        return "it is a home directory, or contains one"
    if any(path.is_relative_to(home / name) for home in homes for name in _SECRETS):
        return "it contains credentials or settings of its user"
    if any(path == root or path in root.parents for root in (*_SYSTEM, *_ROOTS)):
        return "it is a system directory, or contains one"
    places = (*_PLACES_IN_SYSTEM, *homes)
    if any(path.is_relative_to(root) for root in _SYSTEM) and not any(path.is_relative_to(place) for place in places):
        return "it is in a system directory"
    return ""


def give(mounted: Path, directory: Path, user: User) -> None:
    """Change the owner of a root-owned directory to the user of its container; its contents keep their owner.

    No container with a writable mount runs as root. The directory is the mounted one or is below it, where code may
    have created links; links are not followed. Directories in between that other users cannot enter change their owner
    too.

    Raises:
        ServerError: The owner cannot be changed, or a container must not mount the directory.
    """
    if os.getuid() != 0 or user.number == 0:
        return
    root = mountable(mounted)
    try:
        below = Path(os.path.realpath(directory)).relative_to(root)
        with contextlib.ExitStack() as stack:
            opened = [_open_directory(str(root), None, stack)]
            for name in below.parts:
                opened.append(_open_directory(name, opened[-1], stack))
            for descriptor in opened:
                status = os.fstat(descriptor)
                is_closed = not status.st_mode & stat.S_IXOTH
                if status.st_uid == 0 and (is_closed or descriptor == opened[-1]):
                    os.fchown(descriptor, user.number, user.group)
    except (OSError, ValueError) as exc:
        raise ServerError(
            f"{directory} cannot be made writable for the container's user ({exc}). Use another directory."
        ) from exc


def _open_directory(name: str, parent: int | None, stack: contextlib.ExitStack) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


class _UnsafePathError(Exception):
    """Another user, or code that ran earlier, can redirect a path, or the path is not a directory."""


def _homes(owner: int) -> Iterator[Path]:
    """The home directories of this user, of root, and of the owner of a directory."""
    import pwd  # not on Windows

    if home := os.environ.get("HOME"):
        yield Path(os.path.realpath(home))
    for user in {os.getuid(), 0, owner}:
        try:
            yield Path(os.path.realpath(pwd.getpwuid(user).pw_dir))
        except KeyError:
            continue


def _resolve(directory: Path) -> str:
    """Resolve a path component by component, like the operating system; follow only links that only root can create."""
    pending = list(reversed(directory.absolute().parts[1:]))
    path, links = "/", 0
    while pending:
        name = pending.pop()
        if name == "..":
            path = os.path.dirname(path)  # noqa: PTH120  (it has no links)
            continue
        parent, path = path, os.path.join(path, name)  # noqa: PTH118  (as above)
        if stat.S_ISLNK(os.lstat(path).st_mode):
            _check_link(path, parent)
            if (links := links + 1) > _MAX_LINKS:
                raise _UnsafePathError("its symbolic links form a loop")
            target = os.readlink(path)  # noqa: PTH115  (as above)
            path = "/" if target.startswith("/") else parent
            pending += [part for part in reversed(target.split("/")) if part not in {"", "."}]
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise _UnsafePathError("it is not a directory")
    return path


def _check_link(path: str, parent: str) -> None:
    """Refuse a link in a directory where others than root can create links, such as code in an earlier container."""
    status = os.lstat(parent)
    if status.st_uid != 0 or status.st_mode & _WRITABLE_BY_OTHERS:
        raise _UnsafePathError(
            f"{path} is a symbolic link that other users, or code in a container, could have created. If you trust "
            f"it, use its target, {os.path.realpath(path)}"
        )
