"""What an AutoGen executor was given: an executor of it, and a component to be written down and loaded elsewhere."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from nbtape.kernels.remote.connection import JupyterConnectionInfo
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.session.executor import AsyncJupyterCodeExecutor

if TYPE_CHECKING:
    from pathlib import Path

    from nbtape.kernels.sources import Server
    from nbtape.session.options import Options

_NO_SECRETS: Final = (
    "A component is read by others, so no token goes into it. Make this executor in your program, where the token is, "
    "and hand it to what you load."
)


class JupyterCodeExecutorConfig(BaseModel):
    """What `dump_component` writes down; the options are those of `nbtape.Options`, None where not given."""

    # An error that shows what it was given could show a token.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kernel_name: str = DEFAULT_KERNEL
    timeout: float = 60
    output_dir: str | None = None
    jupyter_server: str | None = None
    notebook: str | None = None
    startup_timeout: float | None = None
    interrupt_grace: float | None = None
    max_output_chars: int | None = None
    max_cell_chars: int | None = None
    max_notebook_chars: int | None = None
    name_files: bool | None = None
    record_messages: bool | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What an executor was given."""

    kernel_name: str
    timeout: float
    output_dir: Path | str | None
    jupyter_server: Server
    notebook: str | None
    options: Options

    def make(self, output_dir: Path) -> AsyncJupyterCodeExecutor:
        """The executor that does the work.

        Raises:
            ValueError: A value that cannot work.
        """
        with contextlib.suppress(OSError):  # the executor says what is wrong with a directory
            output_dir.mkdir(parents=True, exist_ok=True)
        return AsyncJupyterCodeExecutor(
            _server(self.jupyter_server),
            self.kernel_name,
            self.timeout,
            output_dir,
            notebook=self.notebook,
            **self.options,
        )

    def config(self) -> JupyterCodeExecutorConfig:
        """The same, to be written down.

        Raises:
            ValueError: It cannot be, or must not be.
        """
        options: dict[str, Any] = {**self.options}
        if options.pop("on_output", None) is not None:
            raise ValueError(
                "on_output is a function, which no component can hold: leave it out to dump this executor."
            )
        if options.pop("token", None) is not None:
            raise ValueError(_NO_SECRETS)
        return JupyterCodeExecutorConfig(
            kernel_name=self.kernel_name,
            timeout=self.timeout,
            output_dir=None if self.output_dir is None else str(self.output_dir),
            jupyter_server=_address(self.jupyter_server),
            notebook=self.notebook,
            **options,
        )


def _server(jupyter_server: Any) -> Server:  # noqa: ANN401  (AutoGen's own classes too)
    """AutoGen's connection info as ours; all else as it is."""
    is_info = hasattr(jupyter_server, "host") and not hasattr(jupyter_server, "connection_info")
    return JupyterConnectionInfo.of(jupyter_server) if is_info else jupyter_server


def _address(jupyter_server: Server) -> str | None:
    """What a component says of a server.

    Raises:
        ValueError: It cannot be written down, or must not be.
    """
    if isinstance(jupyter_server, str):
        info = JupyterConnectionInfo.from_url(jupyter_server)
        if info.token is not None:
            raise ValueError(_NO_SECRETS)
        return info.url
    if jupyter_server is not None:
        raise ValueError(
            f"A {type(jupyter_server).__name__} cannot be written into a component. Give jupyter_server the URL of a "
            "server that runs, without a token; or make this executor in your program and hand it to what you load."
        )
    return None
