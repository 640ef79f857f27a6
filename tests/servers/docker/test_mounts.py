"""Which directories a container may mount."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbtape import DockerJupyterServer, JupyterCodeExecutor, ServerError
from nbtape.servers.docker.isolation import User
from nbtape.servers.docker.mounts import hand_over, mountable, refusal

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root makes files of other users")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that may be mounted, by its only name."""
    (place := tmp_path.resolve() / "place").mkdir()
    return place


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/etc", "/etc/cron.d", "/usr", "/usr/local", "/bin", "/lib", "/boot", "/dev", "/proc", "/proc/self"),
        *("/sys", "/run", "/var", "/var/lib", "/var/spool", "/var/log", "/home", "/root", "/opt", "/srv", "/tmp"),
        *("/var/tmp", "/dev/shm", "/var/../etc", "//etc/", "/tmp/../../etc", "~", "~/.."),
    ],
)
def test_system_and_home_directories_are_refused(path: str) -> None:
    directory = Path(path).expanduser()
    if not directory.is_dir():
        pytest.skip(f"there is no {path} on this machine")
    with pytest.raises(ServerError, match=r"must not mount .*: it .*\. Use another directory"):
        mountable(directory)
    with pytest.raises(ValueError, match="must not mount"):
        DockerJupyterServer(bind_dir=directory)
    with pytest.raises(ValueError, match="must not mount"):
        JupyterCodeExecutor(DockerJupyterServer(), output_dir=directory)


def test_the_home_directory_of_the_environment_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mountable(place) == place
    for home in (place, place / "below", place / ".." / "place"):
        home.mkdir(exist_ok=True)
        monkeypatch.setenv("HOME", str(home))
        assert "home directory" in refusal(place)
    (place / ".ssh" / "keys").mkdir(parents=True)
    (place / "runs").mkdir()
    assert "credentials" in refusal(place / ".ssh")
    assert "credentials" in refusal(place / ".ssh" / "keys")
    assert refusal(place / "runs") == ""


def test_a_link_of_ours_is_followed_where_only_we_make_links(place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    (place / "absolute").symlink_to(place / "real")
    for name in ("link", "absolute", "link/../absolute", "link/."):
        assert mountable(place / name) == place / "real"
    (place / "system").symlink_to("/etc")
    assert "system directory" in refusal(place / "system")
    (place / "round").symlink_to("round")
    assert "circle" in refusal(place / "round")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_link_where_others_can_make_links_is_refused(mode: int, place: Path) -> None:
    (place / "real").mkdir()
    (place / "shared").mkdir()
    (place / "shared" / "link").symlink_to(place / "real")
    (place / "shared").chmod(mode)
    assert refusal(place / "shared" / "link") != ""


def test_a_directory_that_every_user_can_replace_is_refused(place: Path) -> None:
    (place / "shared" / "runs").mkdir(parents=True)
    assert refusal(place / "shared" / "runs") == ""
    (place / "shared").chmod(0o1777)
    assert refusal(place / "shared" / "runs") == ""
    (place / "shared").chmod(0o777)
    assert "every user" in refusal(place / "shared" / "runs")


@as_root
def test_what_another_user_can_change_on_the_way_is_refused(place: Path) -> None:
    (place / "theirs" / "runs").mkdir(parents=True)
    (place / "link").symlink_to("theirs")
    os.chown(place / "theirs", 61_000, 61_000)
    assert "another user" in refusal(place / "theirs" / "runs")
    assert refusal(place / "theirs") == ""
    os.lchown(place / "link", 61_000, 61_000)
    assert "another user" in refusal(place / "link")


def test_a_file_and_nothing_are_refused(place: Path) -> None:
    (place / "file").touch()
    assert "not a directory" in refusal(place / "file")
    assert "No such file" in refusal(place / "none")


@as_root
def test_a_directory_of_root_is_given_to_the_user_of_the_container(place: Path) -> None:
    (place / "file").touch()
    hand_over(place, place, User(61_000, 61_000))
    hand_over(place, place, User(61_001, 61_001))
    assert (place.stat().st_uid, (place / "file").stat().st_uid) == (61_000, 0)
    (place / "below").mkdir()
    hand_over(place, place / "below", User(61_000, 61_000))
    assert (place / "below").stat().st_uid == 61_000


@as_root
@pytest.mark.parametrize("name", ["link", "link/below", "below/link", "file"])
def test_nothing_outside_of_the_mount_is_given_away(name: str, place: Path, tmp_path: Path) -> None:
    (outside := tmp_path / "outside" / "below").mkdir(parents=True)
    (place / "below").mkdir()
    (place / "file").touch()
    for link in (place / "link", place / "below" / "link"):
        link.symlink_to(outside.parent)
    with pytest.raises(ServerError, match="cannot be given"):
        hand_over(place, place / name, User(61_000, 61_000))
    assert {path.stat().st_uid for path in (outside, outside.parent, place / "file")} == {0}
