"""Send requests to a Jupyter server's REST API, and explain its errors.

The API is Jupyter's (https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html), which Kernel Gateway,
Enterprise Gateway and JupyterHub's servers also implement.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx

from nbtape.common.text import last_words
from nbtape.errors import KernelNotInstalledError, KernelStartError, ServerError
from nbtape.kernels.protocols import KernelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.kernels.remote.connection import JupyterConnectionInfo

#: Timeout of requests that the server can answer at once.
_QUICK_TIMEOUT_SECONDS: Final = 8.0
#: Timeout of such requests if they are not essential.
_OPTIONAL_TIMEOUT_SECONDS: Final = 3.0
#: Timeout for starting or stopping a kernel: the server may have to find a machine for it, or kill it.
_KERNEL_TIMEOUT_SECONDS: Final = 60.0
#: Maximum bytes of an answer; a longer one is not from a Jupyter server.
_MAX_ANSWER_BYTES: Final = 16 << 20


class RestApi:
    """A client of one server, to be used in an `async with` block.

    All requests raise `ServerError` if the server cannot be reached, refuses access, or is not a Jupyter server, and
    `KernelStartError` if the server fails to create what they ask for.

    Args:
        info: The server.
        context: Which certificates to trust; None if the server does not use TLS.
    """

    def __init__(self, info: JupyterConnectionInfo, context: ssl.SSLContext | None) -> None:
        self._info = info
        options = client_options(info, context, httpx.AsyncHTTPTransport)
        self._client = httpx.AsyncClient(**options, timeout=httpx.Timeout(None, connect=5))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def spec(self, name: str) -> KernelSpec:
        """Look up a kernel spec.

        Raises:
            KernelNotInstalledError: The server has no kernel spec of this name.
        """
        specs = (await self._ask("GET", "kernelspecs") or {}).get("kernelspecs")
        if not isinstance(specs, dict):
            raise self._error("returned no kernel specs, so it is not a Jupyter server. Check the URL.")
        if name not in specs:
            raise KernelNotInstalledError(name, [str(other) for other in specs])
        spec = specs[name].get("spec") if isinstance(specs[name], dict) else None
        spec = spec if isinstance(spec, dict) else {}
        return KernelSpec(name, str(spec.get("display_name", name)), str(spec.get("language", "")))

    async def start(self, name: str, path: str) -> str:
        """Start a kernel of the kernel spec `name` in `path`, relative to the server's root; return its id."""
        body: dict[str, Any] = {"name": name, "path": path}
        if self._info.kernel_env is not None:
            body["env"] = dict(self._info.kernel_env)
        answer = await self._ask("POST", "kernels", body, timeout=_KERNEL_TIMEOUT_SECONDS)
        kernel_id = (answer or {}).get("id")
        if not is_kernel_id(kernel_id):
            raise self._error("started a kernel but returned no valid id for it. Check that it is a Jupyter server.")
        return str(kernel_id)

    async def interrupt(self, kernel_id: str) -> None:
        """Interrupt a kernel."""
        await self._ask("POST", f"kernels/{kernel_id}/interrupt")

    async def restart(self, kernel_id: str) -> None:
        """Replace a kernel with a fresh one under the same id."""
        await self._ask("POST", f"kernels/{kernel_id}/restart", timeout=_KERNEL_TIMEOUT_SECONDS)

    async def delete(self, kernel_id: str) -> None:
        """Stop a kernel; does nothing if the server does not know it."""
        await self._ask("DELETE", f"kernels/{kernel_id}", timeout=_KERNEL_TIMEOUT_SECONDS, missing_ok=True)

    async def model(self, kernel_id: str) -> dict[str, Any] | None:
        """Return the server's description of a kernel; None if it does not know the kernel."""
        return await self._ask("GET", f"kernels/{kernel_id}", missing_ok=True)

    async def file(self, path: str) -> dict[str, Any] | None:
        """Return the server's description of a file without its content; None if it is missing or not supported."""
        path = f"contents/{quote(path)}?content=0"
        return await self._ask("GET", path, timeout=_OPTIONAL_TIMEOUT_SECONDS, missing_ok=True)

    async def open_session(self, path: str, kernel_id: str) -> str:
        """Connect a notebook, given relative to the server's root, to a kernel; return the id of its kernel.

        A notebook that already has a kernel keeps it.
        """
        name = path.rpartition("/")[2]
        body = {"path": path, "name": name, "type": "notebook", "kernel": {"id": kernel_id}}
        kernel = (await self._ask("POST", "sessions", body, timeout=_OPTIONAL_TIMEOUT_SECONDS) or {}).get("kernel")
        return str(kernel.get("id")) if isinstance(kernel, dict) else ""

    async def page_of(self, path: str) -> str:
        """Return the URL at which JupyterLab shows a file; empty if the server has no JupyterLab."""
        page = f"{self._info.page}lab/tree/{quote(path)}"
        response, _ = await self._send(self._client.build_request("GET", page), _OPTIONAL_TIMEOUT_SECONDS)
        return "" if response.status_code == HTTPStatus.NOT_FOUND else page

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float = _QUICK_TIMEOUT_SECONDS,
        missing_ok: bool = False,
    ) -> dict[str, Any] | None:
        """Send a request; return the JSON object of the answer, {} for other content, None for a permitted 404."""
        response, text = await self._send(self._client.build_request(method, path, json=body), timeout)
        if missing_ok and response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not response.is_success:
            raise self._refusal(method, response.status_code, text)
        try:
            answer = json.loads(text) if text.strip() else None
        except ValueError:
            raise self._error("did not return JSON, so it is not a Jupyter server. Check the URL.") from None
        return answer if isinstance(answer, dict) else {}

    async def _send(self, request: httpx.Request, timeout: float) -> tuple[httpx.Response, str]:
        """Send a request; return the response and its text, whatever its status."""
        try:
            async with asyncio.timeout(timeout):
                response = await self._client.send(request, stream=True)
                try:
                    return response, await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise self._error(f"did not answer within {timeout:g} s. Check that it is running normally.") from None
        except httpx.HTTPError as exc:
            raise self._error(_explain(exc)) from exc

    def _refusal(self, method: str, status: int, text: str) -> ServerError | KernelStartError:
        message = _message(text)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} or status // 100 == 3:  # noqa: PLR2004
            wrong = "rejected the token" if self._info.token else "requires a token"
            return self._error(f"{wrong} (HTTP {status}{message}). Set token= to the server's token.")
        if status == HTTPStatus.NOT_FOUND:
            return self._error("has no Jupyter API at this URL (HTTP 404). Check its port and path.")
        if method == "POST":
            return KernelStartError(
                f"The Jupyter server at {self._info.url} could not start the kernel (HTTP {status}{message}). See "
                "its log."
            )
        return self._error(f"failed (HTTP {status}{message}). See its log.")

    def _error(self, what: str) -> ServerError:
        return ServerError(f"The server at {self._info.url} {what}")


def is_kernel_id(value: object) -> bool:
    """Whether a value is a valid kernel id. Checked because it becomes part of a URL."""
    return isinstance(value, str) and value.isascii() and value.replace("-", "").isalnum()


def client_options(
    info: JupyterConnectionInfo,
    context: ssl.SSLContext | None,
    transport: type[httpx.AsyncHTTPTransport | httpx.HTTPTransport],
) -> dict[str, Any]:
    """The arguments of `httpx.Client` or `httpx.AsyncClient` for a server; `transport` is used for a unix socket."""
    return {
        "transport": transport(uds=str(info.unix_socket)) if info.unix_socket else None,
        "base_url": info.api,
        "headers": info.secret_headers or _xsrf_headers(),
        "verify": context if context is not None else False,
        # A redirect would send the token elsewhere. A local server is never reached through a proxy.
        "follow_redirects": False,
        "trust_env": not info.is_loopback,
    }


def _xsrf_headers() -> dict[str, str]:
    """A server without a token requires the same text as cookie and header (Tornado's XSRF protection)."""
    text = secrets.token_hex(16)
    return {"Cookie": f"_xsrf={text}", "X-XSRFToken": text}


async def _read(response: httpx.Response) -> str:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MAX_ANSWER_BYTES:
            raise httpx.DecodingError("the answer is too long")
    return content.decode(errors="replace")


def _explain(exc: httpx.HTTPError) -> str:
    """The cause of a failed request, to follow "The server at <url>"."""
    reason: BaseException | None = exc
    while reason is not None and not isinstance(reason, ssl.SSLError):
        reason = reason.__cause__ or reason.__context__
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted ({reason.verify_message}). Set ca_file= to the PEM file of its "
            "certificate authority."
        )
    if isinstance(reason, ssl.SSLError):
        detail = f" ({reason.reason})" if reason.reason else ""
        return f"does not speak TLS{detail}. Check the port, or use http:// instead of https://."
    if isinstance(exc, httpx.ConnectTimeout):
        return "cannot be reached (no answer). Check the URL and the network."
    if isinstance(exc, httpx.ConnectError):
        return f"cannot be reached ({exc}). Start it, or check the URL."
    if isinstance(exc, httpx.DecodingError | httpx.RemoteProtocolError):
        return f"does not speak HTTP ({exc}). Check the port, or use https:// instead of http://."
    what = f"{type(exc).__name__}: {exc}".removesuffix(": ")
    return f"closed the connection ({what}). Check that it is running, or use https:// instead of http://."


def _message(text: str) -> str:
    """The server's own error message, to put in parentheses after the status."""
    try:
        message = json.loads(text).get("message")
    except (ValueError, AttributeError):
        message = None
    return f": {last_words(message, 500)}" if isinstance(message, str) and message.strip() else ""
