"""Build the image for kernels once, from nbtape's Dockerfile and gateway, and tag it with their hash."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import logging
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from docker.errors import ImageNotFound

from nbtape.errors import ServerError
from nbtape.servers.docker.engine import LABEL, Engine
from nbtape.servers.docker.isolation import NOBODY, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

logger = logging.getLogger(__name__)

DEFAULT_DOCKERFILE: Final = Path(__file__).with_name("Dockerfile").read_text(encoding="utf-8")
DEFAULT_BASE_IMAGE: Final = "python:3.12-slim"

_PACKAGE: Final = Path(__file__).parents[2]

#: The modules of nbtape that the image needs, in addition to the modules that they import.
_RUN_IN_IMAGE: Final = (
    "servers/process/gateway.py",
    "kernels/inside/environment_probe.py",
    "kernels/inside/ipykernel_config.py",
    "kernels/inside/compat_ipykernel.py",
    "kernels/inside/script_habits.py",
)
#: What an engine reports if it cannot connect to a registry.
_UNREACHABLE: Final = re.compile(r'"(https?://[^"]+)": .*(?:dial tcp|proxyconnect|timeout|deadline|request canceled)')

#: The number of log lines in the error of a failed build.
_SHOWN_LINES: Final = 15


@dataclass(frozen=True)
class Recipe:
    """The parameters of an image: base image, additional Python packages (as pip arguments), and user."""

    base_image: str = DEFAULT_BASE_IMAGE
    packages: Sequence[str] = ()
    user: User = NOBODY

    @property
    def arguments(self) -> dict[str, str]:
        """The values of the Dockerfile's `ARG`s."""
        return {
            "BASE_IMAGE": self.base_image,
            "PACKAGES": " ".join(self.packages),
            "USER_ID": str(self.user.number),
            "GROUP_ID": str(self.user.group),
        }

    @property
    def tag(self) -> str:
        """The name of the image, with a hash of everything in it."""
        content_hash = hashlib.sha256(json.dumps(self.arguments, sort_keys=True).encode())
        for name, content in _files():
            content_hash.update(f"{name} {len(content)} ".encode() + content)
        return f"nbtape-kernel:{content_hash.hexdigest()[:16]}"


def have_image(
    engine: Engine,
    recipe: Recipe,
    *,
    platform: str | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> str:
    """Build the image of a recipe for a platform, unless it exists, and return its tag. A build takes half a minute.

    Raises:
        ServerError: It cannot be built.
    """
    tag = recipe.tag if platform is None else f"{recipe.tag}-{platform.replace('/', '-')}"
    with engine.refusals("look up an image"):
        try:
            engine.docker.api.inspect_image(tag)
        except ImageNotFound:
            _build(engine, recipe, tag, platform, on_progress or (lambda _: None))
    return tag


def _build(engine: Engine, recipe: Recipe, tag: str, platform: str | None, on_progress: Callable[[str], None]) -> None:
    logger.info("Building the image %s on %s", tag, recipe.base_image)
    on_progress(f"Building the image {tag} on {recipe.base_image} (only once; takes at least 30 seconds)")
    lines: list[str] = []
    for event in engine.docker.api.build(
        fileobj=_context(),
        custom_context=True,
        tag=tag,
        buildargs=recipe.arguments,
        labels={LABEL: "image"},
        platform=platform,
        rm=True,
        forcerm=True,
        decode=True,
    ):
        if "error" in event:
            logger.info("%s", event["error"])
            raise ServerError(_why_not_built(recipe, str(event["error"]).strip(), lines))
        line = str(event.get("stream") or event.get("status") or "").strip()
        if line:
            lines.append(line)
            logger.info("%s", line)
            if line.startswith("Step "):
                on_progress(line)


def _why_not_built(recipe: Recipe, error: str, lines: Sequence[str]) -> str:
    if not any(line.startswith("Step 3/") for line in lines):  # it failed at FROM
        return f"Cannot pull the base image {recipe.base_image}: {_why_not_pulled(error)}"
    last = "\n".join(lines[-_SHOWN_LINES:])
    return f"The image could not be built on {recipe.base_image}: {error}\nThe end of the build log:\n{last}"


def _why_not_pulled(error: str) -> str:
    """The cause and the remedy, by the engine's message."""
    if found := _UNREACHABLE.search(error):
        host = urlsplit(found[1]).hostname
        return f"{host} cannot be reached. Check the network or the proxy, or name a local image with base_image=."
    return f"{error.rstrip('.')}. Check the name, or name a local image (see `docker images`) with base_image=."


def _context() -> io.BytesIO:
    """The build context as a tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in _files():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return archive


def _files() -> Iterator[tuple[str, bytes]]:
    """The Dockerfile, and the modules of nbtape that the server in the image needs."""
    yield "Dockerfile", DEFAULT_DOCKERFILE.encode()
    yield "nbtape/__init__.py", b""  # nbtape's own would import the whole package
    waiting = [_PACKAGE / name for name in _RUN_IN_IMAGE]
    found: dict[str, bytes] = {}
    while waiting:
        path = waiting.pop()
        name = f"nbtape/{path.relative_to(_PACKAGE).as_posix()}"
        if name not in found:
            found[name] = path.read_bytes()
            waiting += _imported(found[name])
    yield from sorted(found.items())


def _imported(source: bytes) -> Iterator[Path]:
    """The files of the nbtape modules that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("nbtape."):
            module = _PACKAGE.joinpath(*node.module.split(".")[1:])
            paths = [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]
            yield from (path for path in paths if path.is_file())
