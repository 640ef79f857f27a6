"""Files where hostile code can write: all or nothing, no links followed, no waiting, whatever the obstacle."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest

from nbtape.common import untrusted_files
from nbtape.common.untrusted_files import (
    Directory,
    ObstacleError,
    Tree,
    draft_of,
    make_directories,
    read_file,
    replace_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(30)

SECRET = b"precious"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that must not change, with a file that must not be read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    before = snapshot(outside)
    yield outside
    assert snapshot(outside) == before


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory that hostile code can write to."""
    here = tmp_path / "here"
    here.mkdir()
    return here


def snapshot(directory: Path) -> dict[str, Any]:
    return {
        path.name: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(directory.rglob("*"))
    }


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(path.parent):
        bound.bind(path.name)


OBSTACLES: dict[str, Callable[[Path, Path], object]] = {
    "a FIFO": lambda path, _: os.mkfifo(path),
    "a socket": lambda path, _: bind(path),
    "a directory": lambda path, _: path.mkdir(),
    "a link to a file": lambda path, outside: path.symlink_to(outside / "secret"),
    "a link to a directory": lambda path, outside: path.symlink_to(outside),
    "a dangling link": lambda path, outside: path.symlink_to(outside / "nowhere"),
    "a link to /dev/zero": lambda path, _: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path, _: path.symlink_to(path.name),
    "a hard link": lambda path, outside: path.hardlink_to(outside / "secret"),
}


@pytest.fixture(params=OBSTACLES)
def obstacle(request: pytest.FixtureRequest, here: Path, outside: Path) -> Path:
    """An obstacle at the path of a file."""
    OBSTACLES[request.param](here / "file", outside)
    return here / "file"


# Obstacles at every step


def test_no_obstacle_is_read(obstacle: Path) -> None:
    with pytest.raises(ObstacleError) as caught:
        read_file(obstacle, 100)
    assert ": " in str(caught.value.strerror)  # What happened, and what to do.


def test_a_file_is_not_created_over_an_obstacle(obstacle: Path) -> None:
    before = obstacle.lstat()
    with pytest.raises(FileExistsError):
        Directory(obstacle.parent).create(obstacle.name, b"new")
    assert obstacle.lstat() == before
    assert names(obstacle.parent) == ["file"]


def test_an_obstacle_is_replaced_or_rejected_but_never_written_through(obstacle: Path) -> None:
    with contextlib.suppress(ObstacleError):
        replace_file(obstacle, b"new")
    found = obstacle.lstat()
    if stat.S_ISREG(found.st_mode):
        assert obstacle.read_bytes() == b"new"
        assert found.st_nlink == 1
    assert names(obstacle.parent) == ["file"]


def test_an_obstacle_at_the_path_of_a_draft_is_not_written_through(
    here: Path, obstacle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted_files, "draft_of", lambda _: "file")
    before = obstacle.lstat()
    with pytest.raises(FileExistsError):
        replace_file(here / "report", b"new")
    assert obstacle.lstat() == before
    assert not os.path.lexists(here / "report")


def test_an_obstacle_that_replaces_a_file_after_the_check_is_not_read(
    here: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open
    for name, put in OBSTACLES.items():
        path = here / "file"
        path.write_bytes(b"mine")

        def swap_and_open(*args: Any, path: Path = path, put: Any = put, **options: Any) -> int:
            if args[0] == "file":
                path.unlink()
                put(path, outside)
            return really_open(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", swap_and_open)
            with pytest.raises(OSError, match=r"."):
                read_file(path, 100)
        path.rmdir() if name == "a directory" else path.unlink()


@pytest.mark.parametrize("kind", [kind for kind in OBSTACLES if kind != "a directory"])
def test_an_obstacle_in_a_parent_path_is_not_entered(here: Path, outside: Path, kind: str) -> None:
    (outside / "secret.ipynb").write_bytes(SECRET)
    OBSTACLES[kind](here / "below", outside)
    with Directory(here) as directory:
        with pytest.raises(OSError, match=r"."):
            directory.below("below")
        with pytest.raises(OSError, match=r"."):
            directory.read_below(("below", "secret.ipynb"), 100)
    with contextlib.closing(Tree(Directory(here))) as tree, pytest.raises(OSError, match=r"."):
        tree.entries(("below",))
    (outside / "secret.ipynb").unlink()
    os.utime(outside)


def test_a_directory_that_becomes_a_link_while_in_use_is_not_followed(here: Path, outside: Path) -> None:
    with Directory(here) as directory:
        directory.create("first", b"1")
        moved = here.rename(here.with_name("moved"))
        here.symlink_to(outside)
        with pytest.raises(OSError, match=r"."):
            directory.refresh()
        directory.create("second", b"2")  # Without `refresh`, it is still the same directory.
    assert names(moved) == ["first", "second"]
    with pytest.raises(OSError, match=r"."):
        directory.create("third", b"3")


def test_a_recreated_directory_is_used_after_refresh(here: Path) -> None:
    with Directory(here) as directory:
        directory.create("first", b"1")
        (here / "first").unlink()
        here.rmdir()
        with pytest.raises(FileNotFoundError):
            directory.refresh()
        here.mkdir()
        directory.refresh()
        directory.create("second", b"2")
    assert names(here) == ["second"]


# Links in parent directories


def test_the_users_own_links_in_a_path_are_followed(tmp_path: Path, here: Path) -> None:
    (tmp_path / "link").symlink_to("here")
    (tmp_path / "absolute").symlink_to(tmp_path / "link" / ".." / "link")
    for way in ("link", "absolute", "here/../link/."):
        replace_file(tmp_path / way / "file", way.encode())
        assert (here / "file").read_bytes() == way.encode()
        assert read_file(tmp_path / way / "file", 100) == way.encode()


def test_no_link_is_followed_below_a_directory_of_code(tmp_path: Path, here: Path, outside: Path) -> None:
    (here / "reports").symlink_to(outside)
    (tmp_path / "link").symlink_to(here)
    for way in (here / "reports", tmp_path / "link" / "reports"):
        with pytest.raises(ObstacleError, match="its parent reports is a link: remove the link"):
            replace_file(way / "report.html", b"new", [here])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_a_link_of_another_user_in_a_path_is_not_followed(tmp_path: Path, here: Path) -> None:
    (tmp_path / "link").symlink_to(here)
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(ObstacleError, match="its parent link is a link that belongs to another user"):
        replace_file(tmp_path / "link" / "file", b"new")
    assert names(here) == []


def test_circular_links_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=r"."):
        read_file(tmp_path / "a" / "file", 100)


@pytest.mark.parametrize("name", ["", ".", "..", "../outside/secret", "/etc/passwd", "a\0b"])
def test_a_path_is_rejected_as_a_file_name(here: Path, name: str) -> None:
    with Directory(here) as directory:
        for call in (directory.open, directory.status, directory.remove, directory.make, directory.below):
            with pytest.raises(ObstacleError, match="is not a file name"):
                call(name)
        for write in (directory.create, directory.replace):
            with pytest.raises(ObstacleError, match="is not a file name"):
                write(name, b"")


# Limits


def test_a_file_that_is_too_large_is_not_read(here: Path) -> None:
    (here / "sparse").touch()
    os.truncate(here / "sparse", 1 << 42)
    with pytest.raises(ObstacleError, match="it has 4,398,046,511,104 bytes, more than the limit of 100") as caught:
        read_file(here / "sparse", 100)
    assert caught.value.errno == errno.EFBIG


def test_reading_uses_memory_for_the_file_and_not_for_the_limit(here: Path) -> None:
    (here / "file").write_bytes(1000 * b"x")
    tracemalloc.start()
    try:
        assert len(read_file(here / "file", 1 << 30)) == 1000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_grows_past_the_limit_while_it_is_read_is_an_error(here: Path) -> None:
    (here / "log").write_bytes(b"x" * 100)
    with Directory(here) as directory, directory.reading("log", 100):
        (here / "log").write_bytes(b"x" * 1000)
        with pytest.raises(ObstacleError, match="more than the limit of 100"):
            directory.read("log", 100)


def test_a_file_that_is_being_published_is_read(here: Path) -> None:
    (here / "draft").write_bytes(b"new")
    (here / "file").hardlink_to(here / "draft")
    publishing = threading.Timer(untrusted_files._PUBLISHING_SECONDS / 4, (here / "draft").unlink)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nbtape.common.untrusted_files.time.sleep", lambda _: publishing.join())
        publishing.start()
        assert read_file(here / "file", 100) == b"new"


def test_a_lease_on_a_file_is_an_error_and_not_a_wait(here: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_SETLEASE"):
        pytest.skip("there are no leases on this system")
    (here / "file").write_bytes(b"mine")
    with (here / "file").open("r+b") as held:
        import signal

        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        try:
            fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            with pytest.raises(ObstacleError, match="another process holds a lease on it"):
                read_file(here / "file", 100)
        finally:
            fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, before)


def test_deep_directories_are_listed_with_few_open_files(here: Path) -> None:
    deep = here
    for _ in range(100):
        deep = deep / "d"
        deep.mkdir()
        (deep / "file").touch()
    before = psutil.Process().num_fds()
    with Directory(here) as root, contextlib.closing(Tree(root)) as tree:
        for depth in [*range(101), 3, 100, 0, 50]:
            with tree.entries(("d",) * depth) as entries:
                expected = ({"d"} if depth < 100 else set()) | ({"file"} if depth else set())
                assert {entry.name for entry in entries} == expected
            assert psutil.Process().num_fds() - before <= 40
    assert psutil.Process().num_fds() <= before


def test_a_forgotten_directory_leaves_no_file_open(here: Path) -> None:
    before = psutil.Process().num_fds()
    for _ in range(20):
        Directory(here).create(draft_of("x"), b"")
    assert psutil.Process().num_fds() <= before


# Writing


def test_a_link_is_replaced_and_its_target_is_unchanged(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "report").symlink_to(tmp_path / "mine")
    replace_file(tmp_path / "report", b"new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "report").is_symlink()
    assert (tmp_path / "report").read_bytes() == b"new"


@pytest.mark.parametrize("target", ["mine", "nowhere"])
def test_a_file_is_not_created_through_a_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "new").symlink_to(tmp_path / target)
    with pytest.raises(FileExistsError):
        Directory(tmp_path).create("new", b"content")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise OSError("the source is gone")

    with Directory(tmp_path) as directory, pytest.raises(OSError, match="the source is gone"):
        directory.write_new("new", pieces())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_leaves_the_target_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match=r"."):
        replace_file(tmp_path / "directory", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


@pytest.mark.parametrize("has_links", [True, False])
def test_only_one_of_two_creators_gets_the_file(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_links: bool,  # noqa: FBT001
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(PermissionError(1, "no links")))
    with Directory(here) as directory:
        directory.create("file", b"first")
        monkeypatch.setattr(Directory, "status", lambda *_: None)  # Simulates that it was free when it was checked.
        with pytest.raises(FileExistsError):
            directory.create("file", b"second")
    assert (here / "file").read_bytes() == b"first"
    assert names(here) == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o4755])
def test_a_replaced_file_keeps_its_permissions_except_set_uid(here: Path, mode: int) -> None:
    (here / "file").touch()
    (here / "file").chmod(mode)
    replace_file(here / "file", b"new")
    assert stat.S_IMODE((here / "file").stat().st_mode) == mode & 0o777


def test_a_private_file_is_private_from_its_creation(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").touch(0o600)
    modes = []
    really_open = os.open

    def open_and_look(*args: Any, **options: Any) -> int:
        opened = really_open(*args, **options)
        modes.append(stat.S_IMODE(os.fstat(opened).st_mode)) if args[1] & os.O_CREAT else None
        return opened

    monkeypatch.setattr(os, "open", open_and_look)
    replace_file(here / "file", b"new")
    assert modes == [0o600]


def test_a_temporary_file_has_no_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        with Directory(here) as directory, directory.temporary_file() as file:
            file.write(b"x")
            assert names(here) == []
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)


# Directories that are made


@pytest.mark.parametrize("path", ["a", "a/b/c", "a/../d/e", "here/a/../../d", "link/a/b", "here", "link"])
def test_a_directory_is_made_with_its_parents(tmp_path: Path, here: Path, path: str) -> None:
    (tmp_path / "link").symlink_to(here)
    make_directories(tmp_path / path)
    make_directories(tmp_path / path)
    assert Path(os.path.normpath(tmp_path / path)).is_dir()


@pytest.mark.parametrize("path", ["file", "file/a/b", "broken", "broken/a"])
def test_no_directory_is_made_through_a_file_or_a_broken_link(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("none")
    with pytest.raises(OSError, match=r"."):
        make_directories(tmp_path / path)
    assert names(tmp_path) == ["broken", "file"]


def test_no_directory_is_made_through_a_link_below_a_directory_of_code(here: Path, outside: Path) -> None:
    (here / "link").symlink_to(outside)
    with pytest.raises(ObstacleError, match="its parent link is a link"):
        make_directories(here / "link" / "a" / "b", [here])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_no_directory_is_made_through_a_link_of_another_user(tmp_path: Path, here: Path) -> None:
    (tmp_path / "link").symlink_to(here)
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(ObstacleError, match="its parent link is a link that belongs to another user"):
        make_directories(tmp_path / "link" / "a" / "b")
    assert names(here) == []
