"""Measures nbtape's DockerJupyterServer beside autogen-ext's; `scripts/bench-docker --help` says what.

Each round is a fresh process of each, which prints its times (seconds) as JSON.
"""

# A program that prints and starts itself, and belongs to no package.
# ruff: noqa: S603, S607, T201

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

OURS: Final = """
import json, sys, tempfile, time
from nbtape import CodeBlock, DockerJupyterServer, JupyterCodeExecutor
import httpx, nbclient, nbformat, websockets
def run(code):
    began = time.perf_counter()
    assert executor.execute_code_blocks([CodeBlock(code=code, language="python")]).exit_code == 0
    return time.perf_counter() - began
with tempfile.TemporaryDirectory() as directory:
    began = time.perf_counter()
    server = DockerJupyterServer(base_image=sys.argv[1])
    server.start()
    executor = JupyterCodeExecutor(server, output_dir=directory)
    run("print(1)")
    first = time.perf_counter() - began
    warm = sorted(run("x=1") for _ in range(50))[25]
    began = time.perf_counter()
    server.stop()
    print(json.dumps({"first result": first, "warm cell": warm, "stop": time.perf_counter() - began}))
    executor.stop()
"""

THEIRS: Final = """
import asyncio, json, sys, tempfile, time
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.docker_jupyter import DockerJupyterCodeExecutor, DockerJupyterServer
async def main(directory):
    async def run(code):
        began = time.perf_counter()
        done = await executor.execute_code_blocks([CodeBlock(code=code, language="python")], CancellationToken())
        assert done.exit_code == 0
        return time.perf_counter() - began
    began = time.perf_counter()
    server = DockerJupyterServer(custom_image_name=sys.argv[1], bind_dir=directory)
    executor = DockerJupyterCodeExecutor(jupyter_server=server, output_dir=directory, timeout=60)
    while True:  # it takes a container that runs for a server that answers
        try:
            await executor.start()
            break
        except Exception:
            await asyncio.sleep(0.01)
    await run("print(1)")
    first = time.perf_counter() - began
    warm = sorted([await run("x=1") for _ in range(50)])[25]
    await executor.stop()
    began = time.perf_counter()
    await server.stop()
    print(json.dumps({"first result": first, "warm cell": warm, "stop": time.perf_counter() - began}))
with tempfile.TemporaryDirectory() as directory:
    asyncio.run(main(directory))
"""

#: Their image as their documentation has it, on the base image of ours.
DOCKERFILE: Final = """
FROM {base_image}
RUN python3 -m venv --system-site-packages /opt/kernel
ENV PATH=/opt/kernel/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN pip install --no-cache-dir "jupyter_kernel_gateway>=3.0" "ipykernel>=6.29"
ENV TOKEN=UNSET
EXPOSE 8888
CMD python -m jupyter kernelgateway --KernelGatewayApp.ip=0.0.0.0 --KernelGatewayApp.port=8888 \\
    --KernelGatewayApp.auth_token="${{TOKEN}}" --JupyterApp.answer_yes=true \\
    --JupyterWebsocketPersonality.list_kernels=true
"""

IMAGE: Final = "nbtape-bench-autogen"
GOALS: Final = {"first result": 0.7, "warm cell": 0.2, "stop": 0.1}


def probe(python: str, code: str, image: str) -> dict[str, float]:
    """The times of one process."""
    done = subprocess.run([python, "-c", code, image], stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return times


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--theirs", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--base-image", default="nbtape-base:bookworm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "Dockerfile").write_text(DOCKERFILE.format(base_image=options.base_image))
        subprocess.run(["docker", "build", "-t", IMAGE, directory], check=True, stdout=sys.stderr)
    probe(sys.executable, OURS, options.base_image)  # has our image built
    rounds = []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        rounds.append((probe(options.theirs, THEIRS, IMAGE), probe(sys.executable, OURS, options.base_image)))
    print(f"{'':14}{'autogen-ext':>14}{'nbtape':>12}{'ratio':>8}{'goal':>8}")
    for name, goal in GOALS.items():
        theirs, ours = (median(pair[which][name] for pair in rounds) for which in (0, 1))
        print(f"{name:14}{theirs * 1000:11.0f} ms{ours * 1000:9.1f} ms{ours / theirs:8.2f}{goal:8.2f}")


if __name__ == "__main__":
    main()
