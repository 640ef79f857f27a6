"""Address, token and TLS settings of a Jupyter server."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from nbtape.common.argument_checks import check_instance, path_argument, text_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_LOOKS_LIKE_ADDRESS: Final = re.compile(r".*:.*|\d+(\.\d+){3}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"([\x21-\x7e]+( +[\x21-\x7e]+)*)?")
_HIGHEST_PORT: Final = 65535

#: A URL without its scheme, such as `localhost:8888/base/`.
_ADDRESS: Final = re.compile(r"(localhost|[A-Za-z0-9.-]+:\d{1,5})(/.*)?")

#: The pages in Jupyter's own links, below the server's base path. A user of JupyterHub may have the same name as one.
_PAGES: Final = re.compile(r"(?<!/user)/(lab|tree|notebooks|doc)(/.*)?$")


@dataclass(frozen=True)
class JupyterConnectionInfo:
    """How to reach a running Jupyter server: jupyter_server, Kernel Gateway, a user's server on JupyterHub, ...

    Args:
        host: The host name or IP address, without scheme and port.
        use_https: Whether the server uses TLS.
        port: The port; None for the default of the scheme (80, 443).
        token: The server's token. It is sent only in the `Authorization` header.
        base_path: The path below which the server's API is (`/user/alice/` on JupyterHub).
        ca_file: A PEM file of certificate authorities to trust instead of the system's.
        verify: Whether to check the server's certificate. Without the check, others may read and change the traffic.
        headers: Additional headers for every request (`{"Cookie": ...}`), kept secret like the token.
        kernel_env: Environment variables of the kernels, for servers that accept them (Enterprise Gateway needs
            `KERNEL_USERNAME`). Leave it out for Kernel Gateway, which then drops the kernel's own environment.
        local_root: The local directory that is the server's root, if the server can access your files. Kernels then
            work in the executor's `output_dir` if that is below it. None: the server decides.
        unix_socket: The unix socket that the server listens on, if any; host and port are then only names.

    Raises:
        ValueError: An argument is invalid.
    """

    host: str
    use_https: bool
    port: int | None = None
    token: str | None = field(default=None, repr=False)
    base_path: str = "/"
    ca_file: Path | str | None = None
    verify: bool = True
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    kernel_env: Mapping[str, str] | None = field(default=None, repr=False)
    local_root: Path | None = None
    unix_socket: Path | None = None

    def __post_init__(self) -> None:
        text_argument("host", self.host)
        check_instance("use_https", self.use_https, bool)
        text_argument("base_path", self.base_path)
        if self.port is not None:
            check_instance("port", self.port, int)
        if self.token is not None:
            text_argument("token", self.token)
        if not _is_host(self.host):
            raise ValueError(
                f"{self.host!r} is not a host name or address. Use use_https=, port= and base_path= for the rest of "
                "a URL."
            )
        if self.port is not None and not 0 < self.port <= _HIGHEST_PORT:
            raise ValueError(f"{self.port} is not a port. Use a number from 1 to {_HIGHEST_PORT}.")
        if self.ca_file is not None and not Path(self.ca_file).is_file():
            raise ValueError(
                f"The file {self.ca_file} does not exist. Set ca_file= to the PEM file of a certificate authority."
            )
        for name, value in self.secret_headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                # Do not show the value, which may be the token.
                raise ValueError(f"The header {name!r} cannot be sent. Headers and tokens must be one line of ASCII.")
        object.__setattr__(self, "base_path", f"/{self.base_path.strip('/')}/".replace("//", "/"))
        for name in ("local_root", "unix_socket"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, path_argument(name, path))

    @classmethod
    def from_url(cls, url: str, token: str | None = None) -> JupyterConnectionInfo:
        """Parse the URL of a server, as printed by Jupyter or shown by a browser.

        Args:
            url: `http://` or `https://`, host, port, base path. A token in it is removed and sent as a header.
            token: The server's token, if the URL does not contain it.

        Raises:
            ValueError: The URL is invalid.
        """
        parts = _split(text_argument("url", url))
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(_refusal(url))
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "Jupyter accepts no user and password in a URL. Remove them, and set token= (or headers= of "
                "JupyterConnectionInfo)."
            )
        tokens = parse_qs(parts.query).get("token", [])
        return cls(
            host=parts.hostname,
            use_https=parts.scheme == "https",
            port=parts.port,
            token=token or (tokens[0] if tokens else None),
            base_path=_PAGES.sub("/", parts.path),
        )

    @classmethod
    def of(cls, info: object) -> JupyterConnectionInfo:
        """Convert the connection info of another library, such as AutoGen.

        Raises:
            TypeError: It has no `host`.
        """
        if isinstance(info, JupyterConnectionInfo):
            return info
        known: dict[str, Any] = {
            name: getattr(info, name) for name in ("host", "use_https", "port", "token") if hasattr(info, name)
        }
        if not isinstance(known.get("host"), str):
            raise TypeError(
                f"{type(info).__name__} is not a connection info. It needs the attributes host, use_https, port and "
                "token."
            )
        known.setdefault("use_https", False)
        return cls(**known)

    @property
    def connection_info(self) -> JupyterConnectionInfo:
        """This object, so that it can be used like a server."""
        return self

    @property
    def url(self) -> str:
        """The URL of the server without secrets, for display."""
        return f"{'https' if self.use_https else 'http'}://{self._address}{self.base_path}"

    @property
    def page(self) -> str:
        """The URL of the server as a browser needs it, with special characters quoted."""
        return f"{'https' if self.use_https else 'http'}://{self._address}{quote(self.base_path, safe='/%')}"

    @property
    def api(self) -> str:
        """The base URL of its REST API."""
        return f"{self.page}api/"

    @property
    def websocket_api(self) -> str:
        """The base URL of its websockets."""
        return "ws" + self.api.removeprefix("http")

    @property
    def secret_headers(self) -> dict[str, str]:
        """The headers of every request, which must not be displayed."""
        headers = dict(self.headers or {})
        if self.token:
            headers["Authorization"] = f"token {self.token}"
        return headers

    @property
    def is_loopback(self) -> bool:
        """Whether the server is local, and so never reached through a proxy."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def make_ssl_context(self) -> ssl.SSLContext:
        """Make the TLS settings for all connections to the server. Reads a file: keep the result.

        Raises:
            ValueError: The CA file is not a valid PEM file.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (ssl.SSLError, OSError) as exc:
            raise ValueError(
                f"{self.ca_file} is not a valid PEM file of certificates ({exc}). Set ca_file= to another file."
            ) from exc
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @property
    def _address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def _is_host(text: str) -> bool:
    if not _LOOKS_LIKE_ADDRESS.fullmatch(text):
        return bool(_NAME.fullmatch(text))
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _split(url: str) -> SplitResult:
    """Split a URL; raise `ValueError` if it or its port is invalid."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(_refusal(url)) from None  # the cause would show secrets
    return parts


def _refusal(url: str) -> str:
    """The error for an invalid URL, without any secrets from it."""
    bare = re.split("[?#]", url)[0]
    shown = "The value (not shown, because it may contain a password)" if "@" in url else repr(bare)
    without_scheme = "@" not in url and _ADDRESS.fullmatch(bare)
    hint = f"Did you mean http://{bare}?" if without_scheme else "Use the form https://host:port/base/path/."
    return f"{shown} is not the URL of a server. {hint}"
