"""A starting kernel: what runs in the meantime."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_the_kernel_starts_before_the_heavy_imports(tmp_path: Path) -> None:
    code = """
import sys
from nbtape import CodeBlock, JupyterCodeExecutor
from nbtape.kernels.local.manager import LocalKernelManager

start = LocalKernelManager.start_kernel

async def spy(self, **options):
    await start(self, **options)
    print(sorted({"nbclient", "nbformat", "rich"} & set(sys.modules)))

LocalKernelManager.start_kernel = spy
with JupyterCodeExecutor() as executor:
    print(executor.execute_code_blocks([CodeBlock("print(1)", "python")]).output, end="")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n1\n"
