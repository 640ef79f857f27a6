"""Turn the `jupyter_server` argument of the caller into a kernel source."""

from __future__ import annotations

import os
import re
from inspect import getattr_static
from typing import TYPE_CHECKING, Final, TypeAlias

from nbtape.common.untrusted_files import existing_part
from nbtape.errors import OutputDirectoryError
from nbtape.kernels.protocols import KernelProvider, KernelSource

if TYPE_CHECKING:
    from pathlib import Path

    from nbtape.kernels.remote.jupyter_server import ConnectionInfoProvider, JupyterServer


#: The origin of kernels: local (None), a server, its URL or connection info, or a pool.
Server: TypeAlias = "KernelSource | KernelProvider | JupyterServer | ConnectionInfoProvider | str | None"

#: The default kernel spec.
DEFAULT_KERNEL: Final = "python3"


def checked_source(
    jupyter_server: Server,
    kernel_name: str,
    token: str | None,
    directory: Path,
    python: Path | str | None = None,
) -> KernelSource:
    """Return the kernel source for a session that works in `directory`. Starts nothing.

    Raises:
        ValueError: The URL is invalid, the token does not go with a URL, kernels cannot work in `directory`, or
            `python` is missing or not for a local kernel.
        TypeError: `jupyter_server` is not a source of kernels.
    """
    if token is not None and not isinstance(jupyter_server, str):
        raise ValueError(
            "token= is only for the URL of a server. Set the token of a JupyterConnectionInfo or a server on that "
            "object."
        )
    if python is not None:
        from nbtape.kernels.local.manager import LocalPython

        if jupyter_server is not None:
            raise ValueError(
                "python= is only for local kernels. Leave it out: servers and pools choose the Python of their kernels."
            )
        return LocalPython(python).kernels_for(kernel_name, directory)
    if jupyter_server is None:
        from nbtape.kernels.local.manager import LocalKernels

        return LocalKernels(kernel_name)
    if isinstance(jupyter_server, KernelProvider):
        return jupyter_server.kernels_for(kernel_name, directory)
    if isinstance(jupyter_server, KernelSource):
        return jupyter_server
    from nbtape.kernels.remote.manager import RemoteKernels

    return RemoteKernels(_server(jupyter_server, token).for_directory(directory), kernel_name)


def _server(named: JupyterServer | ConnectionInfoProvider | str, token: str | None) -> JupyterServer:
    from nbtape.kernels.remote.connection import JupyterConnectionInfo
    from nbtape.kernels.remote.jupyter_server import ForeignServer, JupyterServer

    if isinstance(named, os.PathLike) or (isinstance(named, str) and not re.search("[:@]", named)):
        raise ValueError(
            f"jupyter_server= must be the URL of a server, such as http://localhost:8888, not {str(named)!r:.100}. To "
            "choose the directory of the notebook, use output_dir=."
        )
    if isinstance(named, str):
        named = JupyterConnectionInfo.from_url(named, token)
    if isinstance(named, JupyterServer):
        return named
    # Reading connection_info may start the server, so check only whether the attribute exists.
    if getattr_static(named, "connection_info", None) is not None:
        return ForeignServer(named)
    raise TypeError(
        f"{type(named).__name__} is not a source of kernels. Leave out jupyter_server= for local kernels, or pass a "
        "URL, a JupyterConnectionInfo, or a server (an object with a connection_info)."
    )


def checked_directory(directory: Path) -> Path:
    """Return the absolute path of a directory that exists or can be created.

    Raises:
        OutputDirectoryError: It is not a directory, or one of its parents is not.
    """
    try:
        absolute = directory.absolute()
    except FileNotFoundError:
        raise OutputDirectoryError(
            directory, "is relative, and the current directory was removed. Use an absolute path."
        ) from None
    try:
        existing, missing = existing_part(absolute)
    except ValueError as exc:
        raise OutputDirectoryError(directory, "has a null character in its name. Choose another one.") from exc
    except OSError as exc:
        raise OutputDirectoryError(directory, f"cannot be used ({exc.strerror or exc}). Choose another one.") from exc
    if existing.is_dir():
        return absolute
    what = "a broken link" if existing.is_symlink() else "a file"
    where = f"cannot be created: {existing} is" if missing else "is"
    raise OutputDirectoryError(directory, f"{where} {what}, not a directory. Choose another one.")
