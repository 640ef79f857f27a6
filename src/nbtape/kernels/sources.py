"""Where kernels come from: whatever the caller names becomes a kernel source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, cast

from nbtape.errors import OutputDirectoryError

if TYPE_CHECKING:
    from pathlib import Path

    from nbtape.kernels.protocols import KernelProvider, KernelSource
    from nbtape.kernels.remote.connection import JupyterConnectionInfo
    from nbtape.kernels.remote.manager import JupyterServer


#: What kernels can be had from: this machine (None), a server, what is known of a server, or its URL, and a pool.
Server: TypeAlias = "KernelSource | JupyterServer | JupyterConnectionInfo | KernelProvider | str | None"

#: The kernel spec where nobody names one.
DEFAULT_KERNEL: Final = "python3"


def checked_source(jupyter_server: Server, kernel_name: str, token: str | None, directory: Path) -> KernelSource:
    """Where kernels come from, whatever says so; they are to work in `directory`, if they can.

    Raises:
        ValueError: A URL that is none, or a token for what takes none.
        TypeError: Nothing that kernels come from.
    """
    if token is not None and not isinstance(jupyter_server, str):
        raise ValueError("token goes with the URL of a server; JupyterConnectionInfo and the servers have their own.")
    if jupyter_server is None:
        from nbtape.kernels.local.manager import LocalKernels

        return LocalKernels(kernel_name)
    if isinstance(jupyter_server, str):
        from nbtape.kernels.remote.connection import JupyterConnectionInfo

        jupyter_server = JupyterConnectionInfo.from_url(jupyter_server, token)
    if callable(kernels_for := getattr(jupyter_server, "kernels_for", None)):  # a pool
        return cast("KernelSource", kernels_for(kernel_name, directory))
    if callable(getattr(jupyter_server, "manager", None)):
        return cast("KernelSource", jupyter_server)
    # Asked of the class: a server's connection_info may start it, and nothing starts here.
    if hasattr(type(jupyter_server), "connection_info") or "connection_info" in getattr(jupyter_server, "__dict__", {}):
        from nbtape.kernels.remote.manager import RemoteKernels

        # A server that has to know where its kernels are to work offers another one for each directory.
        serving = getattr(jupyter_server, "serving", None)
        server = serving(directory) if callable(serving) else jupyter_server
        return RemoteKernels(cast("JupyterServer", server), kernel_name)
    raise TypeError(
        f"No kernel can be had from {type(jupyter_server).__name__}. Leave jupyter_server out for kernels of this "
        "machine, or give a URL, a JupyterConnectionInfo, or a server (an object with a connection_info)."
    )


def checked_directory(directory: Path) -> Path:
    """The directory, absolute: it exists, or its parent does.

    Raises:
        OutputDirectoryError: Neither does.
    """
    absolute = directory.absolute()
    if absolute.is_dir():
        return absolute
    if absolute.exists():
        raise OutputDirectoryError(directory, "There is a file of that name: name another directory.")
    if not absolute.parent.is_dir():
        raise OutputDirectoryError(directory, f"Neither does {absolute.parent}: make it, or name another directory.")
    return absolute
