"""A wrong argument is an error at once, which names the argument and what it must be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbtape import (
    AsyncJupyterCodeExecutor,
    DockerJupyterServer,
    JupyterCodeExecutor,
    JupyterConnectionInfo,
    KernelPool,
    LocalJupyterServer,
    ReplaySettings,
    replay,
)

if TYPE_CHECKING:
    from collections.abc import Callable

#: Arguments of wrong types or values; the classes and functions are untyped, because mypy would refuse them.
Executor: Any = JupyterCodeExecutor
Async: Any = AsyncJupyterCodeExecutor
Info: Any = JupyterConnectionInfo
Docker: Any = DockerJupyterServer
Local: Any = LocalJupyterServer
Pool: Any = KernelPool
Settings: Any = ReplaySettings
again: Any = replay

WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Executor(timeout="60"), "timeout= must be a finite number of seconds, at least 1, not '60'"),
    (lambda: Executor(timeout=True), "timeout= must be a finite number of seconds"),
    (lambda: Executor(output_dir=None), "output_dir= must be a path .* not None"),
    (lambda: Async(output_dir=b"x"), "output_dir= must be a path .* not b'x'"),
    (lambda: Executor(kernel_name=None), "kernel_name= must be a string, not None"),
    (lambda: Executor(notebook=Path("x")), "notebook= must be a string"),
    (lambda: Executor(3), "int is not a source of kernels"),
    (lambda: Executor("coding"), "jupyter_server= must be the URL .* not 'coding'. To choose .* use output_dir="),
    (lambda: Async(Path("coding")), "jupyter_server= must be the URL of a server, .* not 'coding'"),
    (lambda: Executor("localhost:8888/x"), "Did you mean http://localhost:8888/x?"),
    (lambda: Executor("http://127.0.0.1:1", token=3), "token= must be a string, not 3"),
    (lambda: Executor(startup_timeout="x"), "startup_timeout= must be a finite number greater than 0, not 'x'"),
    (lambda: Executor(interrupt_grace=-1), "interrupt_grace= must be a finite number greater than 0"),
    (lambda: Executor(max_output_chars=1.5), "max_output_chars= must be an integer, not 1.5"),
    (lambda: Executor(traceback="short"), "traceback= must be 'compact' or 'full', not 'short'"),
    (lambda: Executor(max_cell_chars=None), "max_cell_chars= must be a finite number greater than 0, not None"),
    (lambda: Executor(on_output="print"), "on_output= must be callable, or None, not 'print'"),
    (lambda: Executor(agent=3), "agent= must be a string, not 3"),
    (lambda: Executor(name_files="no"), "name_files= must be True, False or \"absolute\", not 'no'"),
    (lambda: Executor(extract=["gif", "exe"]), "extract= must have names from html, image, pdf, svg, not 'gif'"),
    (lambda: Executor(extract=True), "extract= must be a list of names"),
    (lambda: Executor(nope=1), "Unknown option nope=. The arguments are: jupyter_server, kernel_name, timeout, output"),
    (lambda: Executor(timout=1), r"Unknown option timout=. Did you mean timeout=\?"),
    (lambda: Async(outputdir="x"), r"Unknown option outputdir=. Did you mean output_dir=\?"),
    (lambda: Executor(max_output_char=1), r"Unknown option max_output_char=. Did you mean max_output_chars=\?"),
    (lambda: Executor.resume("n.ipynb", untill=1), r"Unknown option untill=. Did you mean until=\?"),
    (lambda: Executor.resume(3), "notebook= must be a path"),
    (lambda: Executor.resume("n.ipynb", until="2"), "until= must be an integer, not '2'"),
    (lambda: Executor.resume("n.ipynb", output_dir="x"), r"resume\(\) takes no output_dir="),
    (lambda: Executor().execute_code_blocks("1"), "code_blocks= must be a list of CodeBlock, not a string. Call run"),
    (lambda: Executor().execute_code_blocks(None), "code_blocks= must be a list of CodeBlock, not None"),
    (lambda: Executor().execute_code_blocks([("python", "1")]), "is not a CodeBlock. Pass a list of CodeBlock"),
    (lambda: Executor().skip_code_blocks([], note=3), "note= must be a string, not 3"),
    (lambda: Executor().add_markdown(None), "text= must be a string, not None"),
    (lambda: Executor().outputs(3), "cell= must be a CellResult, not 3"),
    (lambda: Executor().code_extractor.extract_code_blocks(3), "A message must be a string or a list of its parts"),
    (lambda: Info(3, use_https=True), "host= must be a string, not 3"),
    (lambda: Info("host", use_https="yes"), "use_https= must be True or False, not 'yes'"),
    (lambda: Info("host", use_https=True, port="80"), "port= must be an integer, not '80'"),
    (lambda: Info("host", use_https=True, local_root=3), "local_root= must be a path"),
    (lambda: Info.from_url(None), "url= must be a string, not None"),
    (lambda: Local(port="x"), "port= must be an integer, not 'x'"),
    (lambda: Local(startup_timeout="x"), "startup_timeout= must be a finite number greater than 0"),
    (lambda: Docker(bind_dir=3), "bind_dir= must be a path"),
    (lambda: Docker(cpus="x"), "cpus= must be a finite number greater than 0, not 'x'"),
    (lambda: Docker(pids=0), "pids= must be a finite number greater than 0, not 0"),
    (lambda: Docker(docker_env="x"), "docker_env= must be a dict, not 'x'"),
    (lambda: Docker(network="host"), "network= must not be 'host'"),
    (lambda: Docker(startup_timeout=-1), "startup_timeout= must be a finite number greater than 0"),
    (lambda: Pool(size="x"), "size= must be an integer, not 'x'"),
    (lambda: Pool(fork="x"), "fork= must be True or False, not 'x'"),
    (lambda: Pool(output_dir=3), "output_dir= must be a path"),
    (lambda: again(None), "notebook= must be a path .* not None"),
    (lambda: again("n.ipynb", 3), "output= must be a path"),
    (lambda: again("n.ipynb", on_cell="x"), "on_cell= must be callable"),
    (lambda: Settings(relative="x"), "relative= must be a finite number of at least 0, not 'x'"),
    (lambda: Settings(levels=-1), "levels= must be a finite number of at least 0"),
    (lambda: Settings(cosmetic=["nope"]), "cosmetic= has no rule nope. The rules: addresses"),
    (lambda: Settings(extra=["("]), r"extra= has '\(', which is not a regular expression: missing \)"),
    (lambda: Settings(extra="x"), "extra= must be a list of regular expressions, not a string"),
]


@pytest.mark.parametrize(("call", "told"), WRONG, ids=[told[:60] for _, told in WRONG])
def test_a_wrong_argument_is_named_with_what_it_must_be(call: Callable[[], object], told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told) as caught:
        call()
    assert "\n" not in str(caught.value)
