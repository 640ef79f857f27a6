"""Turn the arguments of an AutoGen executor into an executor of nbtape, or the config of a component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from nbtape.kernels.remote.connection import JupyterConnectionInfo
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.session.executor import AsyncJupyterCodeExecutor
from nbtape.session.options import TracebackForm  # noqa: TC001  (pydantic evaluates it)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbtape.kernels.sources import Server

_NO_SECRETS: Final = (
    "A component must not contain a token. Create this executor in your program "
    "and pass it to the component that you load."
)


class JupyterCodeExecutorConfig(BaseModel):
    """The config that `dump_component` writes. Options are those of `nbtape.Options`; None if not given."""

    # Errors do not show the input, which may contain a token.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kernel_name: str = DEFAULT_KERNEL
    timeout: float = 60
    output_dir: str | None = None
    jupyter_server: str | None = None
    notebook: str | None = None
    python: str | None = None
    startup_timeout: float | None = None
    interrupt_grace: float | None = None
    max_output_chars: int | None = None
    traceback: TracebackForm | None = None
    max_cell_chars: int | None = None
    max_notebook_chars: int | None = None
    extract: list[str] | None = None
    name_files: bool | str | None = None
    record_messages: bool | None = None
    agent: str | None = None
    code_tags: list[str] | None = None


def make_executor(output_dir: Path, arguments: Mapping[str, Any]) -> AsyncJupyterCodeExecutor:
    """Create an executor with these arguments."""
    jupyter_server = _server(arguments["jupyter_server"])
    return AsyncJupyterCodeExecutor(**{**arguments, "jupyter_server": jupyter_server, "output_dir": output_dir})


def make_config(arguments: Mapping[str, Any]) -> JupyterCodeExecutorConfig:
    """The config of an executor; raises ValueError for an argument that cannot be serialized or is secret."""
    values = dict(arguments)
    for name in ("on_output", "approve"):
        if values.pop(name, None) is not None:
            raise ValueError(f"A component cannot contain the function {name}=. Leave it out to dump this executor.")
    if values.pop("token", None) is not None:
        raise ValueError(_NO_SECRETS)
    for name in ("output_dir", "python"):
        if values.get(name) is not None:
            values[name] = str(values[name])
    return JupyterCodeExecutorConfig(**{**values, "jupyter_server": _address(values["jupyter_server"])})


def _server(jupyter_server: Any) -> Server:  # noqa: ANN401  (AutoGen's own classes too)
    """Convert AutoGen's connection info."""
    is_info = hasattr(jupyter_server, "host") and not hasattr(jupyter_server, "connection_info")
    return JupyterConnectionInfo.of(jupyter_server) if is_info else jupyter_server


def _address(jupyter_server: Server) -> str | None:
    if jupyter_server is None:
        return None
    if isinstance(jupyter_server, str):
        info = JupyterConnectionInfo.from_url(jupyter_server)
        if info.token is not None:
            raise ValueError(_NO_SECRETS)
        return info.url
    raise ValueError(
        f"A {type(jupyter_server).__name__} cannot be written into a component. Set jupyter_server= to the URL of a "
        "running server, without a token; or create this executor in your program and pass it to the component that "
        "you load."
    )
