"""Directories that hostile code can write are copied within limits, without following links."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from nbtape.common import tree_copy
from nbtape.common.tree_copy import COPY_PREFIX, CanceledError, Limits, TooLargeError, copy, plan
from nbtape.common.untrusted_files import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

#: The user without rights.
NOBODY = 65534


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (directory := tmp_path / "source").mkdir()
    return directory


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (directory := tmp_path / "target").mkdir()
    return directory


def copied(source: Path, target: Path, created: tuple[tuple[str, ...], ...] = (), without: str = "") -> list[str]:
    """Copy a directory and return the paths in the copy."""
    with Directory(source) as old, Directory(target) as new:
        copy(old, new, plan(old, lambda path: path[-1] == without, created))
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*"))


def write(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_files_are_copied_with_their_times_and_permissions(source: Path, target: Path) -> None:
    write(source / "a" / "b.csv", "1\n" * 1_000_000)
    write(script := source / "run.sh").chmod(0o750)
    os.utime(script, ns=(1, 2_000_000_001))
    (source / "empty").mkdir(mode=0o755)
    assert copied(source, target) == ["a", "a/b.csv", "empty", "run.sh"]
    assert (target / "a" / "b.csv").read_bytes() == (source / "a" / "b.csv").read_bytes()
    status = (target / "run.sh").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o750, 2_000_000_001)
    assert (target / "empty").stat().st_mode == (source / "empty").stat().st_mode
    (target / "a" / "b.csv").write_text("changed")
    assert (source / "a" / "b.csv").stat().st_size == 2_000_000, "they are two files"


def test_environments_caches_sockets_fifos_and_other_copies_are_left_out(source: Path, target: Path) -> None:
    for name in ("env/pyvenv.cfg", "env/lib/x.py", "conda/conda-meta/history", "a/__pycache__/x.pyc", ".git/HEAD"):
        write(source / name)
    write(source / f"{COPY_PREFIX}1" / "x")
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "socket"))
        assert copied(source, target) == [".git", ".git/HEAD", "a"]


@pytest.mark.parametrize(
    ("place", "link", "is_kept"),
    [
        ("l", "data.csv", True),
        ("l", ".", True),
        ("l", "nowhere", True),
        ("sub/l", "../data.csv", True),
        ("sub/l", "..", True),
        ("l", "../source/data.csv", False),
        ("sub/l", "../../secret", False),
        ("l", "/etc/passwd", False),
        ("l", "up/../../secret", False),
        ("l", "..", False),
    ],
)
def test_links_are_kept_only_if_they_lead_inside(
    source: Path, target: Path, place: str, link: str, *, is_kept: bool
) -> None:
    write(source / "data.csv")
    (source / "sub").mkdir()
    (source / "up").symlink_to(".")
    (source / place).symlink_to(link)
    copied(source, target)
    assert (target / place).is_symlink() == is_kept
    if is_kept:
        assert (target / place).resolve().is_relative_to(target)


def test_an_absolute_link_into_the_directory_leads_into_the_copy(source: Path, target: Path) -> None:
    write(source / "data.csv", "here")
    (source / "sub").mkdir()
    (source / "sub" / "l").symlink_to(source / "data.csv")
    copied(source, target)
    assert (target / "sub" / "l").resolve() == target / "data.csv"


def test_links_that_are_left_out_are_reported(source: Path) -> None:
    (source / "data").symlink_to("/mnt/data")
    with Directory(source) as old:
        assert plan(old, lambda _: False).outside == [("data",)]


def test_new_directories_are_left_out_with_everything_in_them_and_old_ones_kept(source: Path, target: Path) -> None:
    for name in ("new/deep/out", "mixed/out", "mixed/kept", "old/out"):
        write(source / name)
    assert copied(source, target, (("new",), ("mixed",)), without="out") == ["mixed", "mixed/kept", "old"]


def test_files_with_several_links_are_copied(source: Path, target: Path) -> None:
    os.link(write(source / "a", "both"), source / "b")
    assert copied(source, target) == ["a", "b"]
    assert (target / "b").read_text() == "both"


def sparse(source: Path) -> None:
    with (source / "huge").open("wb") as file:
        file.truncate(4 << 40)


def many(source: Path) -> None:
    for n in range(1001):
        (source / str(n)).touch()


def deep(source: Path) -> None:
    (source / "/".join("d" * 101)).mkdir(parents=True)


@pytest.mark.parametrize(
    ("fill", "limits", "why"),
    [
        (sparse, Limits(), "has more than 1 GB"),
        (many, Limits(entries=1000), "has too many files"),
        (deep, Limits(), "has more than 100 nested directories"),
    ],
)
def test_limits_are_checked_before_anything_is_copied(
    source: Path, fill: Callable[[Path], None], limits: Limits, why: str
) -> None:
    fill(source)
    with Directory(source) as old, pytest.raises(TooLargeError, match=why):
        plan(old, lambda _: False, limits=limits)


def test_a_file_that_becomes_something_else_after_the_listing_is_left_out(source: Path, target: Path) -> None:
    for name in ("gone", "link", "fifo", "grown", "kept"):
        write(source / name)
    write(source / "sub" / "file")
    with Directory(source) as old, Directory(target) as new:
        planned = plan(old, lambda _: False)
        for name in ("gone", "link", "fifo"):
            (source / name).unlink()
        (source / "link").symlink_to("/etc/passwd")
        os.mkfifo(source / "fifo")
        write(source / "grown", "x" * 100)
        (source / "sub").rename(source / "moved")
        (source / "sub").symlink_to("moved")
        copy(old, new, planned)
    assert sorted(path.name for path in target.iterdir()) == ["grown", "kept", "sub"]
    assert (target / "grown").read_text() == "x"
    assert not (target / "sub").is_symlink()
    assert list((target / "sub").iterdir()) == []


def test_a_copy_can_be_canceled_and_reports_its_progress(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_copy, "_is_cloned", lambda *_: False)
    monkeypatch.setattr(tree_copy, "_CHUNK_BYTES", 10)
    write(source / "a", "x" * 100)
    told: list[tuple[int, int]] = []
    with Directory(source) as old, Directory(target) as new:
        planned = plan(old, lambda _: False)
        with pytest.raises(CanceledError):
            copy(old, new, planned, lambda *done: told.append(done), lambda: len(told) == 3)
    assert told == [(10, 100), (20, 100), (30, 100)]


@contextlib.contextmanager
def ordinary_user(*directories: Path) -> Iterator[None]:
    """Give directories to a user who may not read everything, and act as that user."""
    if os.geteuid() != 0:
        yield
        return
    for directory in directories:
        os.chown(directory, NOBODY, -1)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unreadable_files_are_left_out(temp_dir: Path) -> None:
    temp_dir.chmod(0o711)  # so that the user can pass
    source, target = temp_dir / "source", temp_dir / "target"
    target.mkdir()
    write(source / "secret").chmod(0)
    write(source / "open").chmod(0o644)
    with ordinary_user(source, target):
        assert copied(source, target) == ["open"]


def test_a_tree_is_removed_however_deep_and_inaccessible_it_is(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "kept")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.symlink(outside.parent, "l", dir_fd=below)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0, dir_fd=below))
        os.close(descriptor)
        descriptor = below
    os.fchmod(descriptor, 0)
    os.close(descriptor)
    with Directory(tmp_path) as directory:
        directory.remove_tree("d")
        directory.remove_tree("missing")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert outside.exists()
