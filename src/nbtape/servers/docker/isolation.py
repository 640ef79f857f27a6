"""What a container may do, as arguments for the Docker engine: as little as a kernel can live with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from docker.types import Mount

from nbtape.servers.docker.engine import LABEL, OWNER_LABEL, owner

if TYPE_CHECKING:
    from collections.abc import Mapping


_NUMBERS: Final = re.compile(r"(\d+)(?::(\d+))?")


#: Where the server listens in a container, where its kernels work, where they are at home, and where the socket lies
#: of one without a network.
PORT: Final = 8888
WORKSPACE: Final = "/workspace"
HOME: Final = "/home/nbtape"
SOCKETS: Final = "/run/nbtape"

#: Runs the image's own command until that ends or nobody holds our end of the standard input any more: a client that
#: is killed cannot stop its container. The signal goes to the init process, which passes it on; then all is killed.
_LEASH: Final = """
exec 3<&0
( while read -r _ <&3; do :; done; kill -TERM 1; sleep 5; kill -KILL -1 ) >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""


@dataclass(frozen=True)
class User:
    """A user and its group.

    Args:
        number: The user's number.
        group: The group's.
    """

    number: int
    group: int

    @classmethod
    def of(cls, text: str) -> User | None:
        """The user of `1000:1000`, or of `1000`, whose group has the same number; None of any other text."""
        found = _NUMBERS.fullmatch(text)
        return cls(int(found[1]), int(found[2] or found[1])) if found else None

    def __str__(self) -> str:
        return f"{self.number}:{self.group}"


#: Who it is where there is nobody whose files it would write.
NOBODY: Final = User(1000, 1000)


@dataclass(frozen=True, kw_only=True)
class ContainerOptions:
    """How containers are made, whatever is mounted in them.

    Args:
        token: What lets a client in; empty where each container is to get its own.
        name: The container's name; None for one that the engine makes up.
        memory: The most memory of all its processes, temporary files included, in bytes.
        cpus: The most processors that it may use at once.
        pids: The most processes and threads.
        read_only: Whether all but temporary files and mounts is read-only.
        network: The network that it is on; "none" for none at all; None for the engine's default.
        removed: Whether the engine removes it when it has ended.
        leashed: Whether it ends with us.
        environment: More of its environment.
        more: Other arguments of docker-py's `containers.create`, which win over ours.
        startup_timeout: Seconds that it has until kernels can be had.
    """

    token: str = field(repr=False)
    name: str | None
    memory: int
    cpus: float
    pids: int
    read_only: bool
    network: str | None
    removed: bool
    leashed: bool
    environment: Mapping[str, str] = field(repr=False)
    more: Mapping[str, Any]
    startup_timeout: float

    @property
    def is_cut_off(self) -> bool:
        """Whether it has no network, and is reached through a socket in a directory that it shares with us."""
        return self.network == "none"


def arguments(
    options: ContainerOptions, image: Image, user: str, mounts: Mapping[str, str], reach: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of docker-py's `containers.create`.

    Args:
        options: What was asked for.
        image: What runs.
        user: The user and group of its processes, as `1000:1000`; empty for the image's own.
        mounts: What is mounted, by where.
        reach: The arguments that say how it is reached.
    """
    ours = {
        "image": image.name,
        "name": options.name,
        "entrypoint": ["/bin/sh", "-c", _LEASH, "nbtape"] if options.leashed else None,
        # Where the leash runs it, it has to be said.
        "command": _command(options, image),
        "init": True,
        "stdin_open": options.leashed,
        "auto_remove": options.removed,
        "environment": _environment(options),
        "labels": {LABEL: "kernels"} | ({OWNER_LABEL: owner()} if options.leashed and options.removed else {}),
        "user": user or None,
        "working_dir": WORKSPACE,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": options.memory,
        "memswap_limit": options.memory,
        # A quota, and not nano_cpus: the engine refuses more of those than it has processors.
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
    """An image, as the engine describes it.

    Args:
        name: Its name.
        command: What it runs.
        is_ours: Whether it is made by our Dockerfile, or from an image that is.
    """

    name: str
    command: tuple[str, ...]
    is_ours: bool

    @classmethod
    def of(cls, name: str, description: Mapping[str, Any]) -> Image:
        """An image of which the engine says this."""
        config = description["Config"]
        command = (*(config.get("Entrypoint") or []), *(config.get("Cmd") or []))
        return cls(name, command, "nbtape.gateway" in (config.get("Labels") or {}))


def _command(options: ContainerOptions, image: Image) -> list[str] | None:
    if options.is_cut_off:
        return [*image.command, f"--socket={SOCKETS}/socket"]
    return list(image.command) if options.leashed else None


def _environment(options: ContainerOptions) -> dict[str, str]:
    return {
        "HOME": HOME,
        "USER": "nbtape",
        "LOGNAME": "nbtape",
        "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",  # noqa: S108  (its own)
        # By the names from which our image, AutoGen's, and Jupyter itself take it.
        **dict.fromkeys(("KG_AUTH_TOKEN", "TOKEN", "JUPYTER_TOKEN"), options.token),
        **options.environment,
    }


def _temporary(user: str, mounts: Mapping[str, str]) -> dict[str, str]:
    """The file systems in memory: what is installed there must be allowed to run."""
    known = User.of(user)
    whose = f"uid={known.number},gid={known.group}," if known else ""
    temporary = {"/tmp": "exec,mode=1777,size=1g", HOME: f"exec,{whose}mode=755,size=1g"}  # noqa: S108  (its own)
    if WORKSPACE not in mounts:
        temporary[WORKSPACE] = f"exec,{whose}mode=755,size=1g"
    return temporary
