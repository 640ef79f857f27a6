"""The HTTP half of a Jupyter server: what we ask of it, and what it means when it refuses.

The API is Jupyter's (https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html), which Kernel Gateway,
Enterprise Gateway and JupyterHub's servers share.
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

#: Seconds that a question may take whose answer the server has at hand.
_PROMPT: Final = 8.0
#: The same for one that nothing depends on.
_COURTESY: Final = 3.0
#: Seconds that a server may take to start or end a kernel: it may have to find a machine for it, or to use force.
_PATIENT: Final = 60.0
#: Bytes of an answer that are read: more is no answer of a Jupyter server.
_LONGEST_ANSWER: Final = 16 << 20


class RestApi:
    """A client of one server, for the length of an `async with`.

    Args:
        info: The server.
        context: Whom to trust where it speaks TLS.
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
        """The kernel spec of a name.

        Raises:
            KernelNotInstalledError: The server has none of that name.
            ServerError: There is no Jupyter server, or it refuses us.
        """
        answer = await self._ask("GET", "kernelspecs", patience=_PROMPT)
        specs = answer.get("kernelspecs") if isinstance(answer, dict) else None
        if not isinstance(specs, dict):
            raise self._error("gives no kernel specs, so it is no Jupyter server: check host, port and base_path.")
        if name not in specs:
            raise KernelNotInstalledError(name, [str(other) for other in specs])
        spec = specs[name].get("spec") if isinstance(specs[name], dict) else None
        spec = spec if isinstance(spec, dict) else {}
        return KernelSpec(name, str(spec.get("display_name", name)), str(spec.get("language", "")))

    async def start(self, name: str, path: str) -> str:
        """Start a kernel.

        Args:
            name: The kernel spec.
            path: The directory to start it in, relative to where the server's files begin.

        Returns:
            The kernel's id.

        Raises:
            KernelStartError: The server could not start it.
            ServerError: There is no Jupyter server, or it refuses us.
        """
        body: dict[str, Any] = {"name": name, "path": path}
        if self._info.kernel_env is not None:
            body["env"] = dict(self._info.kernel_env)
        answer = await self._ask("POST", "kernels", body, patience=_PATIENT)
        kernel_id = answer.get("id") if isinstance(answer, dict) else None
        if not is_kernel_id(kernel_id):
            raise self._error("started a kernel and gave no id for it.")
        return str(kernel_id)

    async def interrupt(self, kernel_id: str) -> None:
        """Interrupt a kernel.

        Raises:
            ServerError: The server could not be asked.
        """
        await self._ask("POST", f"kernels/{kernel_id}/interrupt", patience=_PROMPT)

    async def restart(self, kernel_id: str) -> None:
        """Have a fresh kernel in the place of one, under the same id.

        Raises:
            KernelStartError: The server could not do it.
            ServerError: The server could not be asked.
        """
        await self._ask("POST", f"kernels/{kernel_id}/restart", patience=_PATIENT)

    async def delete(self, kernel_id: str) -> None:
        """End a kernel. Harmless when it is gone.

        Raises:
            ServerError: The server could not be asked.
        """
        await self._ask("DELETE", f"kernels/{kernel_id}", patience=_PATIENT, gone_is_fine=True)

    async def exists(self, kernel_id: str) -> bool:
        """Whether the server knows the kernel.

        Raises:
            ServerError: The server could not be asked.
        """
        return await self.model(kernel_id) is not None

    async def model(self, kernel_id: str) -> dict[str, Any] | None:
        """What the server says of a kernel; None if it does not know it.

        Raises:
            ServerError: The server could not be asked.
        """
        answer = await self._ask("GET", f"kernels/{kernel_id}", patience=_PROMPT, gone_is_fine=True)
        return None if answer is None else dict(answer) if isinstance(answer, dict) else {}

    async def file(self, path: str) -> dict[str, Any] | None:
        """What the server says of a file, but for what is in it; None if it has no such file, or no files at all.

        Raises:
            ServerError: The server could not be asked.
        """
        answer = await self._ask("GET", f"contents/{quote(path)}?content=0", patience=_COURTESY, gone_is_fine=True)
        return answer if isinstance(answer, dict) else None

    async def open_session(self, path: str, kernel_id: str) -> str:
        """Have a notebook be on a kernel, unless it is on one.

        Args:
            path: The notebook, relative to the server's root.
            kernel_id: A kernel of the server.

        Returns:
            The id of the kernel that it is on.

        Raises:
            KernelStartError: The server could not do it.
            ServerError: The server could not be asked.
        """
        name = path.rpartition("/")[2]
        body = {"path": path, "name": name, "type": "notebook", "kernel": {"id": kernel_id}}
        answer = await self._ask("POST", "sessions", body, patience=_COURTESY)
        kernel = answer.get("kernel") if isinstance(answer, dict) else None
        return str(kernel.get("id")) if isinstance(kernel, dict) else ""

    async def page_of(self, path: str) -> str:
        """The URL at which JupyterLab shows a file; empty if the server has no JupyterLab.

        Raises:
            ServerError: The server could not be asked.
        """
        page = f"{self._info.page}lab/tree/{quote(path)}"
        response, _ = await self._send(self._client.build_request("GET", page), _COURTESY)
        return "" if response.status_code == HTTPStatus.NOT_FOUND else page

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        patience: float,
        gone_is_fine: bool = False,
    ) -> Any:  # noqa: ANN401  (JSON)
        """One request; its answer as JSON, None if there is none."""
        response, text = await self._send(self._client.build_request(method, path, json=body), patience)
        if gone_is_fine and response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not response.is_success:
            raise self._refusal(method, response.status_code, text)
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            raise self._error(
                "does not answer in JSON, so it is no Jupyter server: check host, port and base_path."
            ) from None

    async def _send(self, request: httpx.Request, patience: float) -> tuple[httpx.Response, str]:
        """One request; what came, whatever it says."""
        try:
            async with asyncio.timeout(patience):
                response = await self._client.send(request, stream=True)
                try:
                    return response, await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise self._error(f"did not answer within {patience:g} s: see whether it is well.") from None
        except httpx.HTTPError as exc:
            raise self._error(_explain(exc)) from exc

    def _refusal(self, method: str, status: int, text: str) -> ServerError | KernelStartError:
        said = _message(text)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} or status // 100 == 3:  # noqa: PLR2004
            wrong = "refuses our token" if self._info.token else "wants a token, and none was given"
            return self._error(f"{wrong} (HTTP {status}{said}): give the server's token as token=.")
        if status == HTTPStatus.NOT_FOUND:
            return self._error("has no Jupyter API there (HTTP 404): check base_path, and port.")
        if method == "POST":
            return KernelStartError(f"The Jupyter server at {self._info.url} could not do it (HTTP {status}{said}).")
        return self._error(f"failed (HTTP {status}{said}): see its log.")

    def _error(self, what: str) -> ServerError:
        return ServerError(f"The server at {self._info.url} {what}")


def is_kernel_id(value: object) -> bool:
    """Whether something can be the id of a kernel. It becomes part of a URL, so it is not taken on trust."""
    return isinstance(value, str) and value.isascii() and value.replace("-", "").isalnum()


def client_options(
    info: JupyterConnectionInfo,
    context: ssl.SSLContext | None,
    transport: type[httpx.AsyncHTTPTransport | httpx.HTTPTransport],
) -> dict[str, Any]:
    """How every HTTP client of ours, with an event loop or without, meets a server: the arguments of `httpx.Client`.

    Args:
        info: The server.
        context: Whom to trust where it speaks TLS.
        transport: How the client connects, if it is to a unix socket.
    """
    return {
        "transport": transport(uds=str(info.unix_socket)) if info.unix_socket else None,
        "base_url": info.api,
        "headers": {**_against_forgery(info), **info.secret_headers},
        "verify": context if context is not None else False,
        # A redirect would carry the token elsewhere. On this machine no proxy is asked, whatever is set.
        "follow_redirects": False,
        "trust_env": not info.is_loopback,
    }


def _against_forgery(info: JupyterConnectionInfo) -> dict[str, str]:
    """A server without a token wants the same text as a cookie and as a header (Tornado's XSRF protection)."""
    if info.secret_headers:
        return {}
    text = secrets.token_hex(16)
    return {"Cookie": f"_xsrf={text}", "X-XSRFToken": text}


async def _read(response: httpx.Response) -> str:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _LONGEST_ANSWER:
            raise httpx.DecodingError("the answer has no end")
    return content.decode(errors="replace")


def _explain(exc: httpx.HTTPError) -> str:
    """What a failed request means, for after "The server at <url>"."""
    reason: BaseException | None = exc
    while reason is not None and not isinstance(reason, ssl.SSLError):
        reason = reason.__cause__ or reason.__context__
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that is not trusted ({reason.verify_message}): give the file of its authority as "
            "ca_file=."
        )
    if isinstance(reason, ssl.SSLError):
        return f"does not speak TLS as it should ({reason.reason}): check the port, and whether it wants http."
    if isinstance(exc, httpx.ConnectTimeout):
        return "cannot be reached (no answer): check host and port, and what lies between."
    if isinstance(exc, httpx.ConnectError):
        return f"cannot be reached ({exc}): start it, or check host and port."
    if isinstance(exc, httpx.DecodingError | httpx.RemoteProtocolError):
        return f"does not speak HTTP as it should ({exc}): check the port, and whether it wants https."
    what = f"{type(exc).__name__}: {exc}".removesuffix(": ")
    return f"broke off ({what}): see whether it is well, and whether it wants https."


def _message(text: str) -> str:
    """What the server says of an error, in short."""
    try:
        said = json.loads(text).get("message")
    except (ValueError, AttributeError):
        said = None
    return f": {last_words(said, 500)}" if isinstance(said, str) and said.strip() else ""
