"""`nbtape mcp`: serve a kernel and its notebook to an agent over MCP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli.command import Command, timeout_option
from nbtape.cli.display.status_line import say
from nbtape.cli.kernel_options import kernel_option, notebook_option, output_dir_option, with_place
from nbtape.cli.mcp_token import TOKEN_VARIABLE, given_token, token_options
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.results import WELL
from nbtape.session.options import DEFAULT_NAME

if TYPE_CHECKING:
    from nbtape.cli.kernel_options import Place

_LARGEST_PORT: Final = 65535


def _endpoint(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """Parse `[HOST:]PORT`."""
    if value is None:
        return None
    host, _colon, port = value.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) <= _LARGEST_PORT):
        raise click.BadParameter(f"{value!r} is not [HOST:]PORT. Use, for example, 8931 or 127.0.0.1:8931.")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


@click.command(
    cls=Command,
    examples=[
        "claude mcp add nbtape -- nbtape mcp --output-dir ~/runs",
        "claude mcp add nbtape -- nbtape mcp --output-dir ~/runs --docker --network none",
        "nbtape mcp --output-dir runs --timeout 600 --http 8931",
        "nbtape mcp --output-dir runs --http 8931 --token-file ~/.nbtape-token",
    ],
)
@output_dir_option
@notebook_option(DEFAULT_NAME)
@kernel_option("The kernel spec.", default=DEFAULT_KERNEL)
@with_place
@timeout_option(60, "The time limit for a block, unless the call sets its own.")
@click.option(
    "--ask",
    is_flag=True,
    help="Let the person at the client review each block before it runs: they can refuse or replace it. If the client "
    "does not support elicitation, no code runs.",
)
@click.option(
    "--http",
    callback=_endpoint,
    metavar="[HOST:]PORT",
    help="Serve over streamable HTTP at http://HOST:PORT/mcp instead of standard input and output. Clients send "
    "`Authorization: Bearer TOKEN`. The token comes from --token-file, --token-fd or the environment variable "
    f"{TOKEN_VARIABLE}; without one, a new token is printed on standard error.  [default host: 127.0.0.1]",
)
@token_options
@click.option("--allow-remote", is_flag=True, help="With --http: allow a HOST that other machines can reach.")
def mcp(  # noqa: PLR0913  (one argument an option)
    *,
    output_dir: str | None,
    notebook: str | None,
    kernel: str,
    place: Place,
    timeout: float,
    ask: bool,
    http: tuple[str, int] | None,
    token_file: str | None,
    token_fd: int | None,
    allow_remote: bool,
) -> int:
    """Serve a kernel and a notebook over MCP.

    This is a Model Context Protocol server. Its tools run code, add Markdown, list variables, read the notebook,
    restart and interrupt the kernel, and list and fetch output files. All clients of a server share one kernel and one
    notebook. The kernel starts on first use and stops with the server. Needs `pip install 'nbtape[mcp]'`.

    MCP clients start the server themselves, in a directory of their choice, and use standard input and output: set
    --output-dir.

    \b
    Configuration of other clients (mcpServers):
      "nbtape": {"command": "nbtape", "args": ["mcp", "--output-dir", "/home/me/runs", "--docker"]}
      "nbtape": {"url": "http://127.0.0.1:8931/mcp", "headers": {"Authorization": "Bearer TOKEN"}}
    """
    place.check()
    if allow_remote and http is None:
        raise click.UsageError("--allow-remote needs --http.")
    token = given_token(token_file, token_fd, is_http=http is not None)
    from nbtape.integrations.mcp import NotebookServer

    directory = place.output_dir(output_dir)
    containers = place.containers(on_progress=say)  # started by the first use: no client waits for an image
    kernels, stop = (containers, containers.stop) if containers else (place.connection() or place.local(), None)
    server = NotebookServer(kernels, kernel, timeout, directory, notebook=notebook, on_close=stop, ask=ask)
    if http is None:
        asyncio.run(server.run_stdio_async())
    else:
        asyncio.run(_serve_http(server, *http, token, allow_remote=allow_remote))
    return WELL


async def _serve_http(server: Any, host: str, port: int, token: str | None, *, allow_remote: bool) -> None:  # noqa: ANN401  (of an extra)
    from nbtape.common.http_access import make_token
    from nbtape.integrations.mcp.http import listen, serve_http, url_of

    with listen(host, port, allow_remote=allow_remote) as listening:
        say(f"Serving MCP at {url_of(listening)}")
        if token is None:
            token = make_token()
            say(f"The token, shown only once: {token}")
        await serve_http(server, listening, token, host)
