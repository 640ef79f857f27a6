"""The images in which peers run code in containers: as in their documentation, on nbtape's base image."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

_DOCKERFILE: Final = """
FROM {base_image}
RUN python3 -m venv --system-site-packages /opt/kernel
ENV PATH=/opt/kernel/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN pip install --no-cache-dir "jupyter_kernel_gateway>=3.0" "ipykernel>=6.29"
EXPOSE 8888
{command}
"""

_COMMANDS: Final = {
    "autogen": """ENV TOKEN=UNSET
CMD python -m jupyter kernelgateway --KernelGatewayApp.ip=0.0.0.0 --KernelGatewayApp.port=8888 \\
    --KernelGatewayApp.auth_token="${TOKEN}" --JupyterApp.answer_yes=true \\
    --JupyterWebsocketPersonality.list_kernels=true""",
    # A list, because a shell would keep SIGTERM from the program.
    "smolagents": """CMD ["jupyter", "kernelgateway", "--KernelGatewayApp.ip=0.0.0.0", \\
    "--KernelGatewayApp.port=8888"]""",
}


@cache
def build(peer: str, base_image: str) -> str:
    """Build the image of a peer and return its name."""
    name = f"nbtape-bench-{peer}"
    with tempfile.TemporaryDirectory() as directory:
        dockerfile = _DOCKERFILE.format(base_image=base_image, command=_COMMANDS[peer])
        (Path(directory) / "Dockerfile").write_text(dockerfile)
        subprocess.run(["docker", "build", "--quiet", "-t", name, directory], check=True, stdout=sys.stderr)  # noqa: S603, S607
    return name
