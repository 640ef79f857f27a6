"""Open, create, replace, list and remove files in directories that hostile code can write, without following links.

A directory is opened component by component, and then used by its descriptor. So code cannot redirect an access by
replacing a directory or a file with a link. Only regular files with one link and a limited size are read. A file is
written as a private temporary file (`O_EXCL`) and published by a rename.

Windows has no such descriptors. There, paths are used, and links are not followed if Python can detect them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
import uuid
import weakref
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_HAS_DIR_FD: Final = {os.open, os.stat, os.unlink, os.mkdir, os.rename, os.link} <= os.supports_dir_fd

_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
#: O_NONBLOCK, because opening a pipe would wait for a writer, and opening a file with a lease for its holder.
_READ: Final = (
    os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
)
_CREATE: Final = os.O_CREAT | os.O_EXCL | _NOFOLLOW | getattr(os, "O_BINARY", 0)
_LIST: Final = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_DIRECTORY", 0)
#: For parent directories, which may be searchable but not readable.
_PASS: Final = _LIST | getattr(os, "O_PATH", 0)

#: Maximum links that are followed to reach a directory, as in Linux.
_MAX_LINKS: Final = 40

#: Maximum directories that a `Tree` holds open.
_MAX_HELD: Final = 32

#: Maximum passes over a tree that is removed; each removes one level, and what was created meanwhile.
_MAX_REMOVAL_PASSES: Final = 10_000

#: How long a file with a second link counts as one that is being published by `Directory.publish_new`.
_PUBLISHING_SECONDS: Final = 0.002

_OBSTACLES: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

#: Identifies a file or directory while it exists.
_Identity = tuple[int, int]


class ObstacleError(OSError):
    """Something other than a regular file or directory is in the way; `strerror` has the cause and the remedy."""


class Directory:
    """A directory that hostile code can write.

    Links in its path are followed the first time if the user or root owns them. After that, it stays the same
    directory, or one that was recreated at the same path. Names are those of entries and have no separator.

    Only one thread may use it at a time; other threads use a `copy`. It holds at most one descriptor, until it is
    garbage-collected.

    Args:
        path: Its path, which need not exist yet.
        untrusted: Directories in which code may have created links; links below them are not followed.
    """

    def __init__(self, path: Path, untrusted: Iterable[Path] = ()) -> None:
        self.path = path
        self._real: Path | None = None
        self._untrusted = tuple(untrusted)
        self._descriptor: int | None = None
        self._identity: _Identity | None = None
        self._close: Callable[[], object] = lambda: None

    @classmethod
    def of(cls, place: Directory | Path) -> Directory:
        """The directory at a path."""
        return place if isinstance(place, Directory) else cls(place)

    def copy(self) -> Directory:
        """The same directory, for another thread."""
        copy = Directory(self.path, self._untrusted)
        copy._real = self._real
        return copy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; the next call opens the directory again."""
        self._close()
        self._descriptor = None

    def refresh(self) -> None:
        """Reopen the directory if its path has a new one; raises OSError if it is missing or a link.

        Call this before each use of a long-lived directory, because users remove and recreate directories.
        """
        if self._real is None or not _HAS_DIR_FD:
            self._open()
            return
        found = self._real.lstat()
        if self._descriptor is None or _identity(found) != self._identity:
            self._open()

    def _open(self) -> int | None:
        if not _HAS_DIR_FD:
            self._real = self.path.resolve(strict=True)
            return None
        descriptor, real = _open_directory(self.path if self._real is None else self._real, self._links_from())
        self.close()
        self._real, self._descriptor = real, descriptor
        self._identity = _identity(os.fstat(descriptor))
        self._close = weakref.finalize(self, os.close, descriptor)
        return descriptor

    def _links_from(self) -> set[_Identity] | None:
        """The directories below which links are not followed; None if links are not followed anywhere."""
        if self._real is not None:
            return None
        found = set()
        for path in self._untrusted:
            with contextlib.suppress(OSError):
                found.add(_identity(path.stat()))
        return found

    def _at(self, name: str) -> tuple[str, int | None]:
        """The arguments of a system call for an entry: a path, and the descriptor that it is relative to."""
        _check_name(name)
        if not _HAS_DIR_FD:
            return str(self.path / name), None
        return name, self._opened()

    def _opened(self) -> int | None:
        return self._open() if self._descriptor is None else self._descriptor

    def status(self, name: str) -> os.stat_result | None:
        """The status of an entry, of a link itself rather than its target; None if it is missing."""
        entry, directory = self._at(name)
        try:
            return os.stat(entry, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open(self, name: str, *, linked: bool = False) -> int:
        """Open a regular file with one link for reading, and return its descriptor.

        Args:
            name: Its name.
            linked: Whether it may have several hard links. Give its content to no one who cannot read it.

        Raises:
            ObstacleError: It is something else.
            OSError: It does not exist, or cannot be opened.
        """
        entry, directory = self._at(name)
        # Merely opening a device can have an effect.
        _check_kind(os.stat(entry, dir_fd=directory, follow_symlinks=False))
        try:
            descriptor = os.open(entry, _READ, dir_fd=directory)
        except OSError as exc:
            raise _refusal(exc) from exc
        try:
            if linked:
                _check_kind(os.fstat(descriptor))
            else:
                _check_opened(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str, limit: int) -> bytes:
        """The content of a file with at most `limit` bytes; raises as `open`, and ObstacleError for a larger one."""
        with self.reading(name, limit) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size + 1)  # `limit + 1` would allocate as much
            while len(content) > size:  # it has grown in the meantime
                if len(content) > limit:
                    raise _too_large(len(content), limit)
                size = min(limit, 2 * len(content))
                content += file.read(size + 1 - len(content))
        return content

    @contextlib.contextmanager
    def reading(self, name: str, limit: int) -> Iterator[BinaryIO]:
        """Open a file with at most `limit` bytes for reading; raises as `read`."""
        with os.fdopen(self.open(name), "rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > limit:
                raise _too_large(size, limit)
            yield file

    def new(self, name: str, flags: int, mode: int | None = None) -> int:
        """Create a file under a free name, which not even a link has, and return its descriptor.

        Args:
            name: Its name.
            flags: Those of `os.open` for writing.
            mode: Permissions; None for those of any new file.

        Raises:
            FileExistsError: There is something.
            OSError: It cannot be created.
        """
        entry, directory = self._at(name)
        descriptor = os.open(entry, flags | _CREATE, 0o666 if mode is None else 0o600, dir_fd=directory)
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(descriptor, mode & 0o777)
        return descriptor

    def write_new(
        self, name: str, chunks: Iterable[bytes | memoryview], *, size: int | None = None, mode: int | None = None
    ) -> os.stat_result:
        """Create a file under a free name and return its status; leaves nothing behind if it cannot be written.

        Args:
            name: The name of a draft, because readers may see the file half-written.
            chunks: The content.
            size: Bytes to reserve first: a full disk is an error at once, and a rename on ext4 takes 0.1 ms, not 2.5.
            mode: Permissions; None for those of any new file.

        Raises:
            FileExistsError: There is something of that name.
            OSError: It cannot be written.
        """
        descriptor = self.new(name, os.O_WRONLY, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if size is not None and hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                file.writelines(chunks)
                file.flush()
                return os.fstat(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(name)
            raise

    def create(self, name: str, content: bytes) -> None:
        """Publish a new file; raises FileExistsError and changes nothing if the name is taken."""
        if self.status(name) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        self._publish(name, content, None, self.publish_new)

    def replace(self, name: str, content: bytes) -> None:
        """Replace a file or link, or create one, atomically; it keeps its permissions.

        Raises ObstacleError for a directory, FIFO, socket or device, and leaves it alone. If the new content cannot be
        written, the old content stays.
        """
        found = self.status(name)
        mode = None
        if found is not None and not stat.S_ISLNK(found.st_mode):
            _check_kind(found)
            mode = stat.S_IMODE(found.st_mode)
        self._publish(name, content, mode, self.rename)

    def _publish(self, name: str, content: bytes, mode: int | None, move: Callable[[str, str], None]) -> None:
        draft = draft_of(name)
        self.write_new(draft, [content], mode=mode)
        try:
            move(draft, name)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(draft)
            raise

    def rename(self, old: str, new: str) -> None:
        """Rename an entry, replacing any entry of the new name that is not a directory."""
        source, directory = self._at(old)
        os.replace(source, self._at(new)[0], src_dir_fd=directory, dst_dir_fd=directory)

    def publish_new(self, old: str, new: str) -> None:
        """Rename a file to a free name; raises FileExistsError if the name is taken."""
        source, directory = self._at(old)
        target, _ = self._at(new)
        try:
            os.link(source, target, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # a file system without hard links
            os.close(self.new(new, os.O_WRONLY))
            os.replace(source, target, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            self.remove(old)

    def remove(self, name: str) -> None:
        """Remove an entry that is not a directory; does nothing if it is missing."""
        entry, directory = self._at(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(entry, dir_fd=directory)

    def names(self) -> list[str]:
        """The names of its entries."""
        with contextlib.closing(Tree(self)) as tree, tree.entries(()) as entries:
            return [entry.name for entry in entries]

    def make(self, name: str) -> None:
        """Make a directory in this one; does nothing if the name is taken."""
        with contextlib.suppress(FileExistsError):
            self.make_new(name, 0o777)

    def make_new(self, name: str, mode: int) -> None:
        """Make a directory in this one; raises FileExistsError if the name is taken."""
        entry, directory = self._at(name)
        os.mkdir(entry, mode, dir_fd=directory)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link in this directory; raises FileExistsError if the name is taken."""
        entry, directory = self._at(name)
        os.symlink(target, entry, dir_fd=directory)

    def link_target(self, name: str) -> str:
        """The target of a symbolic link; raises OSError if it is not one."""
        entry, directory = self._at(name)
        return os.readlink(entry, dir_fd=directory)

    def take_over(self, status: os.stat_result, mode: int) -> None:
        """Set the permissions of this directory and, as root, the owner that `status` has."""
        if not _HAS_DIR_FD:
            return
        descriptor = os.open(".", _LIST, dir_fd=self._opened())
        try:
            if os.geteuid() == 0:
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def remove_tree(self, name: str) -> None:
        """Remove a directory with everything in it, however deep; does nothing if it is missing.

        Raises OSError if something cannot be removed, for example because a process keeps creating files.
        """
        if (found := self.status(name)) is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            self.remove(name)
            return
        if not _HAS_DIR_FD:
            shutil.rmtree(self.path / name)
            return
        entry, parent = self._at(name)
        assert parent is not None, "it is open"
        _remove_tree(entry, parent)

    def below(self, *names: str) -> Directory:
        """A directory below this one, reached without links.

        Raises OSError if a link or a file is in the path, or if the directory does not exist.
        """
        for name in names:
            _check_name(name)
        found = Directory(self.path.joinpath(*names))
        if self._real is None:
            self._open()
        assert self._real is not None, "it was opened"
        found._real = self._real.joinpath(*names)
        found._open()
        return found

    def read_below(self, parts: Sequence[str], limit: int) -> bytes:
        """`read` a file below this directory, given the parts of its path."""
        *above, name = parts
        if not above:
            return self.read(name, limit)
        with self.below(*above) as directory:
            return directory.read(name, limit)

    def temporary_file(self) -> IO[bytes]:
        """An unbuffered file without a name, which is gone when it is closed."""
        name = draft_of("nbtape")
        if hasattr(os, "O_TMPFILE") and _HAS_DIR_FD:
            with contextlib.suppress(OSError):  # the file system has no such files
                return os.fdopen(os.open(".", os.O_RDWR | os.O_TMPFILE, 0o600, dir_fd=self._opened()), "w+b", 0)
        file = os.fdopen(self.new(name, os.O_RDWR | getattr(os, "O_TEMPORARY", 0), 0o600), "w+b", 0)
        if not hasattr(os, "O_TEMPORARY"):
            self.remove(name)
        return file


class Tree:
    """The directories below one, opened in any order and without following links; close it after use."""

    def __init__(self, root: Directory) -> None:
        self._root = root
        # The parents of the last directory, with their names, and the last directory itself if it is below them.
        self._held: list[tuple[str, int]] = []
        self._last: int | None = None
        root.refresh()

    def entries(self, parts: Sequence[str]) -> Any:  # noqa: ANN401  (typeshed's context manager is private)
        """`os.scandir` a directory, given the parts of its path; raises OSError if it cannot be listed."""
        if not _HAS_DIR_FD:
            return os.scandir(os.path.join(self._root.path, *parts))  # noqa: PTH118  (Path would lose names like "a:")
        return os.scandir(self._open(parts))

    def _open(self, parts: Sequence[str]) -> int:
        common = 0
        while common < min(len(parts), len(self._held) - 1) and self._held[common + 1][0] == parts[common]:
            common += 1
        self._close_last()
        while len(self._held) > common + 1:
            os.close(self._held.pop()[1])
        if not self._held:
            self._held.append(("", os.open(".", _LIST, dir_fd=self._root._opened())))  # noqa: SLF001  (of this module)
        for part in parts[common:_MAX_HELD]:
            self._held.append((part, os.open(part, _LIST, dir_fd=self._held[-1][1])))
        current = self._held[-1][1]
        for part in parts[_MAX_HELD:]:
            below = os.open(part, _LIST, dir_fd=current)
            self._close_last()
            self._last = current = below
        return current

    def _close_last(self) -> None:
        if self._last is not None:
            os.close(self._last)
            self._last = None

    def close(self) -> None:
        self._close_last()
        while self._held:
            os.close(self._held.pop()[1])


def read_file(path: Path, limit: int) -> bytes:
    """The content of a regular file with at most `limit` bytes; see `Directory.read`."""
    with Directory(path.parent) as directory:
        return directory.read(path.name, limit)


def replace_file(path: Path, content: bytes, untrusted: Iterable[Path] = ()) -> None:
    """Replace a file atomically; see `Directory` and `Directory.replace`."""
    with Directory(path.parent, untrusted) as directory:
        directory.replace(path.name, content)


def make_directories(path: Path, untrusted: Iterable[Path] = ()) -> None:
    """Make a directory and its missing parents; nothing happens if it exists.

    Links on the way to the first missing one are followed as by `Directory`, and none below it.

    Raises:
        ObstacleError: A link of another user is in the way.
        OSError: A file is in the way, or a directory cannot be made.
    """
    existing, missing = existing_part(path)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(Directory(existing, untrusted))
        directory.refresh()
        for name in missing:
            directory.make(name)
            directory = stack.enter_context(directory.below(name))


def existing_part(path: Path) -> tuple[Path, list[str]]:
    """Split an absolute or relative path into what exists, if only as a link, and the names below that."""
    existing, missing, left_again = path.absolute(), deque[str](), 0
    while existing != existing.parent and status_of(existing) is None:
        if existing.name == "..":
            left_again += 1
        elif left_again:
            left_again -= 1
        else:
            missing.appendleft(existing.name)
        existing = existing.parent
    return existing.joinpath(*[".."] * left_again), [*missing]


def status_of(path: Path) -> os.stat_result | None:
    """The status of a path, of a link itself rather than its target; None if it is missing."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def draft_of(name: str) -> str:
    """A hidden, random name for a file that is to be published as `name`."""
    return f".{name}.{uuid.uuid4().hex[:12]}.tmp"


def _remove_tree(name: str, parent: int) -> None:
    """Remove a directory level by level: its directories lose their files and move their own directories up to it."""
    _make_writable(name, parent)
    root = os.open(name, _LIST, dir_fd=parent)
    try:
        for _ in range(_MAX_REMOVAL_PASSES):
            if not (below := _empty(root, root, is_top=True)):
                break
            for each in below:
                _make_writable(each, root)
                directory = os.open(each, _LIST, dir_fd=root)
                try:
                    _empty(directory, root)
                finally:
                    os.close(directory)
                with contextlib.suppress(OSError):  # a process has created something: the next pass removes that
                    os.rmdir(each, dir_fd=root)
    finally:
        os.close(root)
    os.rmdir(name, dir_fd=parent)


def _empty(directory: int, top: int, *, is_top: bool = False) -> list[str]:
    """Remove the files in a directory and move its directories to the directory `top`; return their names there."""
    below = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=directory)
                continue
            name = entry.name
            if not is_top:
                _make_writable(name, directory)
                name = draft_of("removed")
                os.rename(entry.name, name, src_dir_fd=directory, dst_dir_fd=top)
            below.append(name)
    return below


def _make_writable(name: str, parent: int) -> None:
    """Let the user list and change a directory, which may be inaccessible."""
    descriptor = os.open(name, _PASS, dir_fd=parent)
    try:
        if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            if hasattr(os, "O_PATH"):
                Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IRWXU)
            else:
                os.fchmod(descriptor, stat.S_IRWXU)
    finally:
        os.close(descriptor)


def _open_directory(path: Path, strict_below: set[_Identity] | None) -> tuple[int, Path]:
    """Open a directory component by component; return its descriptor and its resolved path.

    Follows links that the user or root owns, except below the directories `strict_below`; None follows no links.
    """
    absolute = path.absolute()
    pending, real, links = deque(absolute.parts[1:]), Path(absolute.anchor), 0
    current = os.open(absolute.anchor, _PASS)
    try:
        is_strict = strict_below is None
        while pending:
            part = pending.popleft()
            is_strict = is_strict or _identity(os.fstat(current)) in (strict_below or ())
            try:
                below = os.open(part, _PASS, dir_fd=current)
            except OSError as exc:
                target = _followed(part, current, exc, is_strict=is_strict)
                links += 1
                if links > _MAX_LINKS:
                    raise
                pending.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
                if not target.is_absolute():
                    continue
                below, real = os.open(target.anchor, _PASS), Path(target.anchor)
            else:
                real = real.parent if part == ".." else real / part
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current, real


def _followed(name: str, directory: int, error: OSError, *, is_strict: bool) -> Path:
    """The target of a link; raises the error of opening it as a directory if it must not be followed."""
    if error.errno not in {errno.ENOTDIR, errno.ELOOP, getattr(errno, "EMLINK", errno.ELOOP)}:
        raise error
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        raise error
    if is_strict:
        raise ObstacleError(errno.ELOOP, f"its parent {name} is a link: remove the link, or use another path")
    if found.st_uid not in {0, os.geteuid()}:
        raise ObstacleError(errno.ELOOP, f"its parent {name} is a link that belongs to another user: use another path")
    return Path(os.readlink(name, dir_fd=directory))


def _check_name(name: str) -> None:
    if name in {"", ".", ".."} or "/" in name or os.sep in name or "\0" in name:
        raise ObstacleError(errno.EINVAL, f"{name!r} is not a file name: name a file in the directory")


def _check_kind(found: os.stat_result) -> None:
    """Raise ObstacleError unless it is a regular file."""
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        return
    code = {stat.S_IFDIR: errno.EISDIR, stat.S_IFLNK: errno.ELOOP}.get(kind, errno.EINVAL)
    advice = {stat.S_IFLNK: "name the file it leads to", stat.S_IFDIR: "use another path"}.get(
        kind, "use another path" if kind in {stat.S_IFCHR, stat.S_IFBLK} else "remove it, or use another path"
    )
    raise ObstacleError(code, f"it is {_OBSTACLES.get(kind, 'not a file')}, not a regular file: {advice}")


def _check_opened(descriptor: int) -> None:
    """Raise ObstacleError unless an open file is regular and has one link."""
    found = os.fstat(descriptor)
    _check_kind(found)
    if found.st_nlink > 1:
        time.sleep(_PUBLISHING_SECONDS)
        found = os.fstat(descriptor)
    if found.st_nlink > 1:
        raise ObstacleError(
            errno.EMLINK, f"it has {found.st_nlink} hard links, so it may be a file from elsewhere: make a copy of it"
        )


def _refusal(exc: OSError) -> OSError:
    """The error to raise when a file that was regular can no longer be opened."""
    if exc.errno in {errno.ELOOP, errno.EMLINK}:
        return ObstacleError(errno.ELOOP, "it is a link, not a regular file: name the file it leads to")
    if exc.errno == errno.ENXIO:
        return ObstacleError(errno.EINVAL, "it is a socket or a FIFO, not a regular file: remove it")
    if exc.errno == errno.EAGAIN:
        return ObstacleError(errno.EBUSY, "another process holds a lease on it: stop that process")
    return exc


def _too_large(size: int, limit: int) -> ObstacleError:
    advice = "remove it, or make it smaller"
    return ObstacleError(errno.EFBIG, f"it has {size:,} bytes, more than the limit of {limit:,}: {advice}")


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino
