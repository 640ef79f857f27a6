"""The old name of an executor with a kernel of this machine, for code that was written for AutoGen."""

from __future__ import annotations

from nbtape.session.blocking import JupyterCodeExecutor


class EmbeddedIPythonCodeExecutor(JupyterCodeExecutor):
    """`JupyterCodeExecutor` without a server, under the name of AutoGen's class; new code has no need of it.

    https://github.com/ag2ai/ag2/blob/v0.14.0/autogen/coding/jupyter/embedded_ipython_code_executor.py

    AutoGen's class starts its kernel when it is made and never ends it. This one starts it at the first use and ends it
    with `stop`, with `with`, when the executor is forgotten, or at exit.

    Args:
        timeout: Seconds for each block, at least 1 (60).
        kernel_name: The kernel spec ("python3").
        output_dir: Where the notebook and its files go, and the kernel's working directory (".").
        options: What else `JupyterCodeExecutor` takes. All by keyword, as there.

    Raises:
        ValueError: A value that cannot work.
    """
