"""Code in a kernel finds no token of nbtape in its environment or in that of another process."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from calling import nbtape
from executors import run

from nbtape import JupyterCodeExecutor, KernelPool, LocalJupyterServer
from nbtape.common.own_tokens import OWN_TOKENS, without_own_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

#: Prints the tokens in the environment, and the processes whose environment has a text, which is passed as hex.
LOOK = """
import os
found = [name for name in {names} if name in os.environ]
for process in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{{process}}/environ", "rb") as environment:
            if bytes.fromhex("{text}") in environment.read():
                found.append(process)
    except OSError:
        pass
print("found:", found)
"""
NOTHING = "found: []"

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system shows no environments")


def look_for(text: str) -> str:
    return LOOK.format(names=OWN_TOKENS, text=text.encode().hex())


@pytest.fixture
def token() -> str:
    return secrets.token_urlsafe()


@pytest.fixture
def given(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OWN_TOKENS:
        monkeypatch.setenv(name, token)


def local(output_dir: Path, code: str) -> str:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        first = run(executor, code).output
        executor.restart()
        return first + run(executor, code).output.splitlines()[-1]


def forked(output_dir: Path, code: str) -> str:
    with KernelPool(fork=True) as pool, JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
        return run(executor, code).output


def gateway(output_dir: Path, code: str) -> str:
    with LocalJupyterServer() as server, JupyterCodeExecutor(server, output_dir=output_dir) as executor:
        return run(executor, code + look_for(str(server.connection_info.token))).output


def lab(output_dir: Path, code: str) -> str:
    with (
        LocalJupyterServer(lab=True, root_dir=output_dir) as server,
        JupyterCodeExecutor(server, output_dir=output_dir) as executor,
    ):
        return run(executor, code + look_for(str(server.connection_info.token))).output


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("kind", [local, forked, gateway, lab])
@needs_proc
def test_a_kernel_sees_no_token(kind: Callable[[Path, str], str], token: str, tmp_path: Path) -> None:
    assert set(kind(tmp_path, look_for(token)).splitlines()) == {NOTHING}


@pytest.mark.parametrize("name", OWN_TOKENS)
@needs_proc
def test_a_kernel_started_by_the_cli_sees_no_token(name: str, token: str, tmp_path: Path) -> None:
    done = nbtape("run", "-", cwd=tmp_path, stdin=f"```python{look_for(token)}```", **{name: token})
    assert NOTHING in done.stdout
    assert done.returncode == 0


@needs_proc
def test_only_the_token_is_erased_from_the_initial_environment() -> None:
    environment = {**os.environ, "A": "1", "NBTAPE_MCP_TOKEN": "sesame", "XNBTAPE_MCP_TOKEN": "other", "Z": "é\n="}
    code = (
        "import os, subprocess\n"
        "from nbtape.common.own_tokens import hide_own_tokens, take_token\n"
        "hide_own_tokens()\n"
        "assert os.environ['NBTAPE_MCP_TOKEN'] == 'sesame'\n"
        "assert subprocess.run('test \"$NBTAPE_MCP_TOKEN\" = sesame', shell=True).returncode == 0\n"
        "assert [take_token('NBTAPE_MCP_TOKEN'), take_token('NBTAPE_MCP_TOKEN')] == ['sesame', None]\n"
        "assert 'NBTAPE_MCP_TOKEN' not in os.environ\n"
        "print(open('/proc/self/environ', 'rb').read().replace(b'\\0', b'\\n').strip())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "sesame" not in done.stdout
    assert "XNBTAPE_MCP_TOKEN=other" in done.stdout
    assert all(f"{name}=" in done.stdout for name in ("A", "Z", "PATH"))


def test_the_environment_of_code_lacks_only_nbtapes_tokens() -> None:
    assert without_own_tokens({**dict.fromkeys(OWN_TOKENS, "x"), "OPENAI_API_KEY": "k"}) == {"OPENAI_API_KEY": "k"}
