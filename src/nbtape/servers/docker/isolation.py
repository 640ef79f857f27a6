"""The permissions of a container as arguments for the Docker engine: only what a kernel needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docker.types import LogConfig, Mount

from nbtape.servers.docker.engine import LABEL, OWNER_LABEL, owner

if TYPE_CHECKING:
    from collections.abc import Mapping


_NUMBERS: Final = re.compile(r"(\d+)(?::(\d+))?")


#: In a container: the server's port, the kernels' working directory and home, and, without a network, the directory of
#: the server's socket.
PORT: Final = 8888
WORKSPACE: Final = "/workspace"
HOME: Final = "/home/nbtape"
SOCKETS: Final = "/run/nbtape"

#: The allowed system calls: those of the engine's default profile, except that files cannot get a set-user-ID or
#: set-group-ID bit (in the mode arguments of chmod, open, mknod and similar calls). Other local users could run such a
#: file as its owner, even while the container runs, and no mount option would prevent that.
SECCOMP_PROFILE: Final = Path(__file__).with_name("seccomp.json").read_text(encoding="utf-8")

#: Limits the output of a container that the engine writes to disk. nbtape itself reads the stream.
_LOG_LIMITS: Final = {"max-size": "1m", "max-file": "2"}

#: Runs the image's own command until it exits or its standard input is closed by nbtape: a process that is killed
#: cannot stop its container. SIGTERM goes to the init process, which passes it on; then everything is killed.
_STOP_WITH_OWNER: Final = """
exec 3<&0
( while read -r _ <&3; do :; done; kill -TERM 1; sleep 5; kill -KILL -1 ) >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""


@dataclass(frozen=True)
class User:
    """The numeric ids of a user and a group."""

    number: int
    group: int

    @classmethod
    def of(cls, text: str) -> User | None:
        """Parse `1000:100`, or `1000` for a group with the same id; None for any other text."""
        found = _NUMBERS.fullmatch(text)
        return cls(int(found[1]), int(found[2] or found[1])) if found else None

    def __str__(self) -> str:
        return f"{self.number}:{self.group}"


#: The user of containers that root starts. It owns nothing else: no system assigns this id (see
#: https://systemd.io/UIDS-GIDS), and engines that map user ids can map it.
NOBODY: Final = User(61_000, 61_000)


@dataclass(frozen=True, kw_only=True)
class ContainerOptions:
    """The options of containers apart from mounts; the fields are arguments of `DockerJupyterServer`."""

    token: str = field(repr=False)  # empty if each container gets its own
    name: str | None
    memory: int  # in bytes
    cpus: float
    pids: int
    read_only: bool
    network: str | None
    auto_remove: bool
    stop_container: bool
    environment: Mapping[str, str] = field(repr=False)
    more: Mapping[str, Any]
    startup_timeout: float

    @property
    def is_cut_off(self) -> bool:
        """Whether it has no network and is reached through a socket in a shared directory."""
        return self.network == "none"


def arguments(
    options: ContainerOptions, image: Image, user: str, mounts: Mapping[str, str], reach: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of docker-py's `containers.create`.

    `mounts` are the engine's paths by their path in the container; `reach` is the arguments for network and ports.
    """
    ours = {
        "image": image.name,
        "name": options.name,
        "entrypoint": ["/bin/sh", "-c", _STOP_WITH_OWNER, "nbtape"] if options.stop_container else None,
        "command": _command(options, image),
        "init": True,
        "stdin_open": options.stop_container,
        "auto_remove": options.auto_remove,
        "environment": _environment(options),
        "labels": {LABEL: "kernels"}
        | ({OWNER_LABEL: owner()} if options.stop_container and options.auto_remove else {}),
        "user": user or None,
        "working_dir": WORKSPACE,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true", f"seccomp={SECCOMP_PROFILE}"],
        "log_config": LogConfig(type=LogConfig.types.JSON, config=_LOG_LIMITS),
        "mem_limit": options.memory,
        "memswap_limit": options.memory,
        # A quota, because the engine refuses more nano_cpus than it has CPUs.
        "cpu_period": 100_000,
        "cpu_quota": int(options.cpus * 100_000),
        "pids_limit": options.pids,
        "read_only": options.read_only,
        "tmpfs": _temporary(user, mounts),
        "mounts": [Mount(inside, outside, type="bind") for inside, outside in mounts.items()],
        "healthcheck": {"test": ["NONE"]} if options.is_cut_off else None,
        **reach,
    }
    return {name: value for name, value in {**ours, **options.more}.items() if value is not None}


@dataclass(frozen=True)
class Image:
    """An image as described by the engine."""

    name: str
    command: tuple[str, ...]
    is_ours: bool  # built from nbtape's Dockerfile, or from such an image
    user: str = ""

    @classmethod
    def of(cls, name: str, description: Mapping[str, Any]) -> Image:
        """Read the engine's description of an image."""
        config = description["Config"]
        command = (*(config.get("Entrypoint") or []), *(config.get("Cmd") or []))
        return cls(name, command, "nbtape.gateway" in (config.get("Labels") or {}), config.get("User") or "")

    def runs_as_root(self, user: str) -> bool:
        """Whether its processes run as root if `user` is given, or as the image's own user if it is empty."""
        return (user or self.user).partition(":")[0] in {"", "0", "root"}


def _command(options: ContainerOptions, image: Image) -> list[str] | None:
    if options.is_cut_off:
        return [*image.command, f"--socket={SOCKETS}/socket"]
    return list(image.command) if options.stop_container else None


def _environment(options: ContainerOptions) -> dict[str, str]:
    return {
        "HOME": HOME,
        "USER": "nbtape",
        "LOGNAME": "nbtape",
        "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",  # noqa: S108  (its own)
        # The variables from which nbtape's image, AutoGen's image and Jupyter itself read the token.
        **dict.fromkeys(("KG_AUTH_TOKEN", "TOKEN", "JUPYTER_TOKEN"), options.token),
        **options.environment,
    }


def _temporary(user: str, mounts: Mapping[str, str]) -> dict[str, str]:
    """The in-memory file systems, on which installed programs must be executable."""
    known = User.of(user)
    ownership = f"uid={known.number},gid={known.group}," if known else ""
    temporary = {"/tmp": "exec,mode=1777,size=1g", HOME: f"exec,{ownership}mode=755,size=1g"}  # noqa: S108  (its own)
    if WORKSPACE not in mounts:
        temporary[WORKSPACE] = f"exec,{ownership}mode=755,size=1g"
    return temporary
