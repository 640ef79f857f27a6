"""Shared by tests of executors: an executor on any kind of kernel, and signals to the code that it runs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from nbtape import (
    CodeBlock,
    CodeResult,
    JupyterCodeExecutor,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbtape.kernels.sources import Server

#: A cell that shows the smallest possible image.
SHOW_IMAGE = """\
import base64
from IPython.display import Image, display
picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
display(Image(data=base64.b64decode(picture), format="png"))
"""

#: Makes a kernel answer its next request and die before it is idle. The answer to this code itself comes first.
DIES_AFTER_ITS_NEXT_ANSWER = """\
import os, time
session, answers = get_ipython().kernel.session, []
send = session.send
def send_and_die(stream, msg_or_type, *args, **options):
    sent = send(stream, msg_or_type, *args, **options)
    if msg_or_type == 'execute_reply':
        answers.append(msg_or_type)
        if len(answers) == 2:
            time.sleep(0.3)  # until it has left
            os._exit(3)
    return sent
session.send = send_and_die
"""

#: More messages than ZeroMQ buffers by default, while the kernel's parent, which reads them, is stopped.
FLOOD_WHILE_THE_PARENT_STANDS_STILL = """\
import os, signal
os.kill(os.getppid(), signal.SIGSTOP)
for n in range(5000):
    print('line', n, flush=True)
os.kill(os.getppid(), signal.SIGCONT)
print('end')
"""


class Factory(Protocol):
    """Makes executors that are stopped when the test ends."""

    def __call__(self, **options: Any) -> JupyterCodeExecutor: ...


@dataclass
class Signal:
    """A signal from a test to the code that it runs.

    Args:
        path: A file that both can access.
        directory: The path of its directory as the code sees it, if that differs.
    """

    path: Path
    directory: str = ""

    def give(self, *_: object) -> None:
        """Let the code continue. Works as `on_output`: the code then continues after its first output has arrived."""
        self.path.touch()

    def in_code(self, path: Path) -> str:
        """Return the path, as the code sees it, of a file next to the signal."""
        return f"{self.directory}/{path.name}" if self.directory else str(path)

    @property
    def wait(self) -> str:
        """Return code that waits for the signal."""
        return (
            "import pathlib, time\n"
            "_until = time.monotonic() + 30\n"
            f"while not pathlib.Path({self.in_code(self.path)!r}).exists():\n"
            "    assert time.monotonic() < _until, 'no signal came'\n"
            "    time.sleep(0.01)\n"
        )


def run(executor: JupyterCodeExecutor, *codes: str, language: str = "python") -> CodeResult:
    return executor.execute_code_blocks(blocks(*codes, language=language))


def blocks(*codes: str, language: str = "python") -> list[CodeBlock]:
    return [CodeBlock(code=code, language=language) for code in codes]


def record(directory: Path, *codes: str, source: Server = None, **options: Any) -> Path:
    """Run each block in a call of its own and return the session's notebook."""
    with JupyterCodeExecutor(source, **{"output_dir": directory, "timeout": 30, **options}) as executor:
        for code in codes:
            run(executor, code)
        return executor.notebook


def check_fresh(executor: JupyterCodeExecutor) -> None:
    """Check that the next block runs on a fresh kernel with a notice, and that the one after that has none."""
    epoch = executor.kernel_epoch
    told = run(executor, "print('alive')")
    assert told.status == "ok"
    assert told.output.endswith("\nalive\n")
    assert "variables of earlier blocks are gone" in told.output
    assert told.kernel_epoch == executor.kernel_epoch == epoch + 1
    assert run(executor, "print('again')").output == "again\n"


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


def prints_late(signal: Signal) -> tuple[str, Path]:
    """Return a block that prints "early", then "late" from a thread after a signal; and a file written after that."""
    printed = signal.path.with_name("printed")
    code = (
        f"def later():\n{indented(signal.wait)}\n    print('late', flush=True)\n"
        f"    open({signal.in_code(printed)!r}, 'w')\n"
        "import threading\nthreading.Thread(target=later).start()\nprint('early')"
    )
    return code, printed


def stopped_by(executor: JupyterCodeExecutor, stop: Callable[[], object], begun: threading.Event) -> CodeResult:
    """Run a block that prints "begun" and sleeps, and one after it; return the result after `stop` was called."""
    with ThreadPoolExecutor() as pool:
        call = pool.submit(run, executor, "kept = 7\nprint('begun')\nimport time\ntime.sleep(60)", "print('rest')")
        assert begun.wait(30)
        stop()
        return call.result(30)


@pytest.mark.usefixtures("leaves_nothing")
class Executors:
    """The executors under test."""

    #: The kind of kernel, for the table of faults.
    kind = "local"

    #: Seconds until a dead kernel is noticed.
    notices_death_within = 2.5

    #: Seconds after which a requested kernel is certainly still starting.
    is_starting_after = 0.05

    #: The path at which code sees the directories of all tests; empty if it is the same as here.
    mount = ""

    @pytest.fixture
    def source(self) -> Server:
        """Return the source of kernels; None for local kernels."""
        raise NotImplementedError

    @pytest.fixture
    def signal(self, tmp_path_factory: pytest.TempPathFactory) -> Signal:
        directory = tmp_path_factory.mktemp("signal")
        directory.chmod(0o777)  # code in a container is not root and writes its answer here
        return Signal(directory / "given", self.mount and f"{self.mount}/{directory.name}")

    @pytest.fixture
    def make(self, source: Server, output_dir: Path) -> Iterator[Factory]:
        with ExitStack() as stack:

            def make(**options: Any) -> JupyterCodeExecutor:
                executor = JupyterCodeExecutor(source, **{"output_dir": output_dir, "timeout": 30, **options})
                stack.callback(executor.stop)
                return executor

            yield make

    @pytest.fixture
    def executor(self, make: Factory) -> JupyterCodeExecutor:
        return make()


def install(jupyter_path: Path, name: str, argv: list[str], **fields: Any) -> str:
    """Install a kernel spec and return its name."""
    directory = jupyter_path / "kernels" / name
    directory.mkdir(parents=True)
    spec = {"argv": argv, "display_name": name, "language": "python", **fields}
    (directory / "kernel.json").write_text(json.dumps(spec))
    return name


def kernel_pid(executor: JupyterCodeExecutor) -> int:
    """Return the process id of the executor's kernel."""
    return int(run(executor, "import os\nprint(os.getpid())").output.splitlines()[-1])
