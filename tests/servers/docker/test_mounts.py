"""Which directories a container may mount."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nbtape import DockerJupyterServer, JupyterCodeExecutor, ServerError
from nbtape.servers.docker.isolation import User
from nbtape.servers.docker.mounts import give, mountable, refusal

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root makes files of other users")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that may be mounted, by its canonical path."""
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
def test_system_and_home_directories_are_rejected(path: str) -> None:
    directory = Path(path).expanduser()
    if not directory.is_dir():
        pytest.skip(f"there is no {path} on this machine")
    with pytest.raises(ServerError, match=r"must not mount .*: it .*\. Use a separate directory"):
        mountable(directory)
    with pytest.raises(ValueError, match="must not mount"):
        DockerJupyterServer(bind_dir=directory)
    with pytest.raises(ValueError, match="must not mount"):
        JupyterCodeExecutor(DockerJupyterServer(), output_dir=directory)


def test_the_home_directory_in_the_environment_is_rejected(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@as_root
def test_a_link_in_a_directory_that_only_root_can_write_is_followed(place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    (place / "absolute").symlink_to(place / "real")
    for name in ("link", "absolute", "link/../absolute", "link/."):
        assert mountable(place / name) == place / "real"
    (place / "system").symlink_to("/etc")
    assert "system directory" in refusal(place / "system")
    (place / "round").symlink_to("round")
    assert "form a loop" in refusal(place / "round")


@as_root
@pytest.mark.parametrize(("owner", "mode"), [(0, 0o777), (0, 0o1777), (0, 0o775), (1000, 0o755), (61_000, 0o700)])
def test_a_link_that_another_user_could_have_made_is_rejected(owner: int, mode: int, place: Path) -> None:
    (place / "real" / "runs").mkdir(parents=True)
    (place / "shared").mkdir()
    (place / "shared" / "link").symlink_to(place / "real")
    (place / "shared").chmod(mode)
    os.chown(place / "shared", owner, owner)
    for name in ("link", "link/runs"):
        assert f"If you trust it, use its target, {place / 'real'}" in refusal(place / "shared" / name)


@as_root
def test_a_directory_below_one_of_another_user_may_be_mounted(place: Path) -> None:
    (place / "theirs" / "runs").mkdir(parents=True)
    os.chown(place / "theirs", 61_000, 61_000)
    assert refusal(place / "theirs" / "runs") == ""


def test_a_directory_is_checked_before_it_is_made(place: Path) -> None:
    JupyterCodeExecutor(DockerJupyterServer(), output_dir=place / "a" / "b")
    (place / "elsewhere").mkdir()
    place.chmod(0o777)
    (place / "link").symlink_to("elsewhere")
    for directory, why in ((place / "link" / "a" / "b", "symbolic link"), (Path("/etc/a/b"), "in a system directory")):
        with pytest.raises(ValueError, match=f"must not mount .*{why}"):
            JupyterCodeExecutor(DockerJupyterServer(), output_dir=directory)


def test_a_file_and_a_missing_path_are_rejected(place: Path) -> None:
    (place / "file").touch()
    assert "not a directory" in refusal(place / "file")
    assert "No such file" in refusal(place / "none")


@as_root
def test_a_directory_of_root_is_given_to_the_user_of_the_container(place: Path) -> None:
    (place / "file").touch()
    give(place, place, User(61_000, 61_000))
    give(place, place, User(61_001, 61_001))
    assert (place.stat().st_uid, (place / "file").stat().st_uid) == (61_000, 0)
    for closed, owner in ((0o755, 0), (0o700, 61_000)):
        (place / "closed").mkdir(mode=closed)
        (place / "closed" / "below").mkdir()
        give(place, place / "closed" / "below", User(61_000, 61_000))
        assert (place / "closed").stat().st_uid == owner
        assert (place / "closed" / "below").stat().st_uid == 61_000
        shutil.rmtree(place / "closed")


@as_root
@pytest.mark.parametrize("name", ["link", "link/below", "below/link", "file"])
def test_ownership_of_files_outside_the_mount_is_not_changed(name: str, place: Path, tmp_path: Path) -> None:
    (outside := tmp_path / "outside" / "below").mkdir(parents=True)
    (place / "below").mkdir()
    (place / "file").touch()
    for link in (place / "link", place / "below" / "link"):
        link.symlink_to(outside.parent)
    with pytest.raises(ServerError, match="cannot be made writable"):
        give(place, place / name, User(61_000, 61_000))
    assert {path.stat().st_uid for path in (outside, outside.parent, place / "file")} == {0}
