"""What tests of executors share: an executor on any kind of kernel, and what a test says to the code that it runs."""

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

#: The smallest picture there is, as a cell that shows it.
SHOW_IMAGE = """\
import base64
from IPython.display import Image, display
picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
display(Image(data=base64.b64decode(picture), format="png"))
"""

#: A kernel that answers its next question and is dead before it is idle. The answer to the code itself comes first.
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

#: More messages than ZeroMQ keeps of its own accord, while whoever reads them, the kernel's parent, is stopped.
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
    """What a test says to the code that it runs.

    Args:
        path: A file that both see.
        directory: How the code calls its directory, if otherwise than we do.
    """

    path: Path
    directory: str = ""

    def give(self, *_: object) -> None:
        """Let the code go on. Fits as `on_output`: then it goes on when its first output has come in."""
        self.path.touch()

    def in_code(self, path: Path) -> str:
        """What the code calls a file beside the signal."""
        return f"{self.directory}/{path.name}" if self.directory else str(path)

    @property
    def wait(self) -> str:
        """Code that waits for the signal."""
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
    """A notebook of a session in which some blocks were run, each in a call of its own."""
    with JupyterCodeExecutor(source, **{"output_dir": directory, "timeout": 30, **options}) as executor:
        for code in codes:
            run(executor, code)
        return executor.notebook


def check_fresh(executor: JupyterCodeExecutor) -> None:
    """The next block runs on a fresh kernel, and is told; the one after that is not."""
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
    """A block that prints "early", and "late" from a thread after a signal; a file that is there when it has."""
    printed = signal.path.with_name("printed")
    code = (
        f"def later():\n{indented(signal.wait)}\n    print('late', flush=True)\n"
        f"    open({signal.in_code(printed)!r}, 'w')\n"
        "import threading\nthreading.Thread(target=later).start()\nprint('early')"
    )
    return code, printed


def stopped_by(executor: JupyterCodeExecutor, stop: Callable[[], object], begun: threading.Event) -> CodeResult:
    """Of a block that prints "begun" and sleeps, and one after it, in a thread: what `stop` makes of them."""
    with ThreadPoolExecutor() as pool:
        call = pool.submit(run, executor, "kept = 7\nprint('begun')\nimport time\ntime.sleep(60)", "print('rest')")
        assert begun.wait(30)
        stop()
        return call.result(30)


@pytest.mark.usefixtures("leaves_nothing")
class Executors:
    """The executors under test."""

    #: Where kernels come from, for the table of faults.
    kind = "local"

    #: Seconds until a dead kernel is noticed.
    notices_death_within = 2.5

    #: Seconds after which a kernel that was asked for is surely still on its way.
    is_starting_after = 0.05

    #: Where code sees the directories of all tests; empty if that is where we see them.
    mount = ""

    @pytest.fixture
    def source(self) -> Server:
        """Where kernels come from; None for those of this machine."""
        raise NotImplementedError

    @pytest.fixture
    def signal(self, tmp_path_factory: pytest.TempPathFactory) -> Signal:
        directory = tmp_path_factory.mktemp("signal")
        directory.chmod(0o777)  # code in a container is not root, and answers here
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
    """Install a kernel spec, and return its name."""
    directory = jupyter_path / "kernels" / name
    directory.mkdir(parents=True)
    spec = {"argv": argv, "display_name": name, "language": "python", **fields}
    (directory / "kernel.json").write_text(json.dumps(spec))
    return name


def kernel_pid(executor: JupyterCodeExecutor) -> int:
    """The process of its kernel."""
    return int(run(executor, "import os\nprint(os.getpid())").output.splitlines()[-1])
