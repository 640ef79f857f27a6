"""Files are written whole or not at all, and never through a link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbtape.common.new_files import create_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "report").symlink_to(tmp_path / "mine")
    replace_file(tmp_path / "report", b"new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "report").is_symlink()
    assert (tmp_path / "report").read_bytes() == b"new"


@pytest.mark.parametrize("target", ["mine", "nowhere"])
def test_a_file_is_not_created_where_a_link_is(tmp_path: Path, target: str) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "new").symlink_to(tmp_path / target)
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "new", [b"content"])
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_of_a_file_that_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        create_file(tmp_path / "new", pieces())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_replaced_stays_and_no_draft_is_left(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match=r"."):
        replace_file(tmp_path / "directory", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]
