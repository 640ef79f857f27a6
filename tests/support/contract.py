"""What an executor promises on every kind of kernel. A new kind inherits `ExecutorContract` and says where it is from.

A subclass gives the fixture `source`, and `signal` where its kernels do not see the files of this machine. Whatever a
test is about, the fixture `leaves_nothing` fails it if it leaves something behind.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from reading import code_cells, eventually, read_notebook, stream_text

from nbtape import (
    AsyncJupyterCodeExecutor,
    CodeBlock,
    CodeResult,
    JupyterCodeExecutor,
    KernelBusyError,
    KernelError,
    Variable,
)

if TYPE_CHECKING:
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


class _BlocksAndState(Executors):
    """One block, one cell; the first that fails stops the rest; state lives on."""

    def test_hello_world_prints_as_one_line(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "print('Hello, World!')")
        assert str(result) == "exit_code=0 output='Hello, World!\\n' output_files=[]"

    def test_state_lives_on_between_blocks_and_calls(self, executor: JupyterCodeExecutor) -> None:
        assert run(executor, "x = 20", "x += 1").output == "\n"
        assert run(executor, "x *= 2\nprint(x)").output == "42\n"
        assert executor.kernel_epoch == 1

    def test_every_block_is_a_cell_in_order(self, executor: JupyterCodeExecutor) -> None:
        executor.add_markdown("# Counting")
        result = run(executor, "print(1)", "print(2)")
        cells = read_notebook(result.notebook)["cells"] if result.notebook else []
        assert [cell["cell_type"] for cell in cells] == ["markdown", "code", "code"]
        assert [cell["source"] for cell in cells] == ["# Counting", "print(1)", "print(2)"]
        assert [cell["execution_count"] for cell in cells[1:]] == [1, 2]
        assert [(cell.index, cell.cell_id) for cell in result.cells] == [(1, cells[1]["id"]), (2, cells[2]["id"])]

    def test_a_failing_block_stops_the_rest_and_only_it_is_sent_again(self, executor: JupyterCodeExecutor) -> None:
        failed = run(executor, "n = 1", "print('about to'); n += undefined", "n = 100")
        assert (failed.status, failed.exit_code) == ("error", 1)
        assert [cell.status for cell in failed.cells] == ["ok", "error", "not_run"]
        assert "1 more block was not run" in failed.output
        assert failed.cells[1].error_name == "NameError"
        repaired = run(executor, "n += 41", "print(n)")
        assert (repaired.status, repaired.output) == ("ok", "\n42\n")

    def test_cells_that_were_not_run_are_recorded_as_such(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "1/0", "print('never')")
        failed, skipped = code_cells(executor.notebook)
        assert (failed["metadata"]["nbtape"]["status"], failed["metadata"]["tags"]) == ("error", ["raises-exception"])
        assert (skipped["metadata"]["nbtape"]["status"], skipped["execution_count"]) == ("not_run", None)
        assert (skipped["source"], skipped["outputs"]) == ("print('never')", [])

    def test_output_before_an_error_is_kept(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "print('before')\nraise RuntimeError('broken')")
        assert result.output.startswith("before\n")
        assert "RuntimeError: broken" in result.output
        (cell,) = code_cells(executor.notebook)
        assert stream_text(cell) == "before\n"
        assert [output["output_type"] for output in cell["outputs"]] == ["stream", "error"]

    def test_no_blocks_are_ok_and_nothing(self, executor: JupyterCodeExecutor) -> None:
        assert str(run(executor)) == "exit_code=0 output='' output_files=[]"
        assert code_cells(executor.notebook) == []

    @pytest.mark.parametrize("code", ["", "  \n", "# only words"])
    def test_a_block_without_code_is_ok(self, executor: JupyterCodeExecutor, code: str) -> None:
        result = run(executor, code, "print('next')")
        assert (result.status, result.output) == ("ok", "\nnext\n")

    def test_await_works_at_top_level(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "import asyncio\nawait asyncio.sleep(0)\nprint('awaited')")
        assert (result.status, result.output) == ("ok", "awaited\n")

    @pytest.mark.fault("two calls at the same time")
    def test_calls_that_overlap_queue(self, make: Factory, signal: Signal) -> None:
        begun = threading.Event()
        executor = make(on_output=lambda _: begun.set())
        first = f"print('first begins', flush=True)\n{signal.wait}\nprint('first ends')"
        with ThreadPoolExecutor() as pool:
            one = pool.submit(run, executor, first, "print('first again')")
            assert begun.wait(30)
            two = pool.submit(run, executor, "print('second')")
            with pytest.raises(TimeoutError):
                two.result(0.3)
            signal.give()
            assert one.result(30).output == "first begins\nfirst ends\n\nfirst again\n"
            assert two.result(30).output == "second\n"
        assert [cell["execution_count"] for cell in code_cells(executor.notebook)] == [1, 2, 3]

    @pytest.mark.parametrize("code", ["input('name? ')", "import getpass\ngetpass.getpass()"])
    @pytest.mark.fault("`input()` and `getpass()`")
    def test_a_question_to_the_user_is_an_error_at_once(self, make: Factory, code: str) -> None:
        result = run(make(timeout=20), f"{code}\nprint('answered')")
        assert result.status == "error"
        assert result.cells[0].error_name == "StdinNotImplementedError"


class _Languages(Executors):
    """What a block's label makes of it."""

    @pytest.mark.parametrize("label", ["bash", "sh", "shell", "Bash"])
    def test_a_shell_block_runs_in_bash(self, executor: JupyterCodeExecutor, label: str) -> None:
        result = run(executor, 'for n in 1 2; do echo "n=$n"; done', language=label)
        assert (result.status, result.output) == ("ok", "n=1\nn=2\n")
        assert code_cells(executor.notebook)[0]["source"] == '%%bash\nfor n in 1 2; do echo "n=$n"; done'

    @pytest.mark.parametrize("code", ["!echo hello", "%%sh\necho hello", "\n!echo hello"])
    def test_a_shell_block_that_is_for_ipython_stays_as_it_is(self, executor: JupyterCodeExecutor, code: str) -> None:
        result = run(executor, code, language="bash")
        assert (result.status, result.output.replace("\r", "")) == ("ok", "hello\n")
        assert code_cells(executor.notebook)[0]["source"] == code

    def test_a_failing_shell_block_is_an_error(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "echo before\necho why >&2\nexit 3", language="bash")
        assert (result.status, result.exit_code) == ("error", 1)
        assert "before\n" in result.output
        assert "why\n" in result.output
        assert "3" in str(result.cells[0].error_value)

    def test_a_language_that_the_kernel_cannot_run_is_not_run_and_stops_the_rest(
        self, executor: JupyterCodeExecutor
    ) -> None:
        result = executor.execute_code_blocks(
            [CodeBlock("print('before')", "python"), CodeBlock("say 'no'", "perl"), CodeBlock("print('after')", "py")]
        )
        assert [cell.status for cell in result.cells] == ["ok", "not_run", "not_run"]
        assert (result.status, result.exit_code) == ("not_run", 1)
        assert "perl" in result.cells[1].output
        assert "python" in result.cells[1].output, "the message says what does run"
        assert "1 more block was not run" in result.output

    def test_an_install_is_quiet(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "!pip install --no-index pip")
        assert result.status == "ok"
        assert result.output.strip() == ""

    def test_an_install_by_the_magic_says_no_more_than_ipython_does(self, executor: JupyterCodeExecutor) -> None:
        """IPython's remark is printed by the magic itself, whatever pip is told; and it is good advice."""
        result = run(executor, "%pip install --no-index pip")
        assert result.status == "ok"
        assert result.output == "Note: you may need to restart the kernel to use updated packages.\n"

    @pytest.mark.parametrize("magic", ["!pip", "%pip"])
    def test_an_install_that_fails_is_loud(self, executor: JupyterCodeExecutor, magic: str) -> None:
        assert "ERROR" in run(executor, f"{magic} install --no-index /no/such/package").output

    def test_an_install_that_fails_in_a_shell_block_is_an_error(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "pip install --no-index /no/such/package", language="bash")
        assert result.status == "error"
        assert "ERROR" in result.output


class _Outputs(Executors):
    """Nothing that was printed is lost, and the agent gets it in a form that serves it."""

    def test_chunks_of_a_stream_are_joined_as_they_came(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "print('a', end='', flush=True)\nprint('b', end='', flush=True)")
        assert result.output == "ab"
        (cell,) = code_cells(executor.notebook)
        assert [output["text"] for output in cell["outputs"]] == ["ab"]

    def test_stdout_and_stderr_are_joined_as_they_came(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import sys\nfor n in range(2):\n    print('o', end='', flush=True)\n"
            "    print('e', end='', file=sys.stderr, flush=True)"
        )
        assert run(executor, code).output == "oeoe"
        (cell,) = code_cells(executor.notebook)
        assert [output["name"] for output in cell["outputs"]] == ["stdout", "stderr"] * 2

    def test_texts_of_blocks_are_joined_by_one_newline(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "print('1', end='')", "print('2')", "'3'")
        assert result.output == "1\n2\n\n'3'"

    def test_an_image_is_saved_as_a_file(self, make: Factory, output_dir: Path) -> None:
        executor = make(notebook="plots")
        executor.add_markdown("A picture follows.")
        result = run(executor, f"print('see')\n{SHOW_IMAGE}")
        path = output_dir / "plots_1_1.png"
        assert result.output == f"see\nImage data saved to {path}"
        assert result.output_files == [str(path)]
        assert path.read_bytes().startswith(b"\x89PNG\r\n")

    def test_html_is_saved_as_a_file(self, executor: JupyterCodeExecutor, output_dir: Path) -> None:
        result = run(executor, "from IPython.display import HTML, display\ndisplay(HTML('<b>bold</b>'))")
        path = output_dir / "session_0_0.html"
        assert f"HTML data saved to {path}" in result.output
        assert result.output_files == [str(path)]
        assert path.read_text().endswith("<b>bold</b>")

    def test_unicode_comes_back_as_it_went(self, executor: JupyterCodeExecutor) -> None:
        text = "naïve 你好 👩‍👩‍👧 👍🏽 e\u0301 עברית \U00010348"
        code = f"größe = '{text}'  # ü\nprint(größe)"
        assert run(executor, code).output == f"{text}\n"
        (cell,) = code_cells(executor.notebook)
        assert (cell["source"], stream_text(cell)) == (code, f"{text}\n")

    def test_terminal_codes_are_for_people(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, r"print('\x1b[1;31mred\x1b[0m')" + "\n1/0")
        assert result.output.startswith("red\n")
        assert "ZeroDivisionError" in result.output
        assert "\x1b" not in result.output
        (cell,) = code_cells(executor.notebook)
        assert stream_text(cell) == "\x1b[1;31mred\x1b[0m\n"
        assert any("\x1b[" in line for line in cell["outputs"][1]["traceback"])

    def test_of_ten_megabytes_the_agent_gets_both_ends_and_the_notebook_all(self, make: Factory) -> None:
        executor = make(max_output_chars=5000)
        result = run(executor, "for n in range(100_000):\n    print(f'{n:06d} ' + 92 * 'x')")
        assert (result.status, len(result.output) <= 5000) == ("ok", True)
        assert result.output.startswith("000000 xxx")
        assert result.output.endswith(f"099999 {92 * 'x'}\n")
        assert "characters left out" in result.output
        assert str(executor.notebook) in result.output
        (cell,) = code_cells(executor.notebook)
        assert stream_text(cell) == "".join(f"{n:06d} {92 * 'x'}\n" for n in range(100_000))

    def test_of_several_long_blocks_the_answer_is_bounded_as_a_whole(self, make: Factory) -> None:
        executor = make(max_output_chars=1000)
        result = run(executor, "print(3000 * 'a')", "print(3000 * 'b')", "print(3000 * 'c')")
        assert len(result.output) <= 1000
        assert result.output.startswith("aaa")
        assert result.output.endswith("ccc\n")

    def test_two_thousand_displays_all_arrive_in_order(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "for n in range(2000):\n    display(n)")
        (cell,) = code_cells(executor.notebook)
        assert [output["data"]["text/plain"] for output in cell["outputs"]] == [str(n) for n in range(2000)]

    def test_what_a_thread_prints_while_a_later_block_runs_is_kept(
        self, executor: JupyterCodeExecutor, signal: Signal
    ) -> None:
        """Ipykernel 7 labels it with the block that runs, and so does JupyterLab show it; nobody else can know."""
        code = (
            f"def later():\n{indented(signal.wait)}\n    print('late')\n"
            "import threading\nthread = threading.Thread(target=later)\nthread.start()\nprint('early')"
        )
        assert run(executor, code).output == "early\n"
        signal.give()
        result = run(executor, "thread.join()\nprint('next')")
        assert "next\n" in result.output
        executor.stop()
        first, second = code_cells(executor.notebook)
        assert sorted((stream_text(first) + stream_text(second)).split()) == ["early", "late", "next"]

    def test_what_a_thread_prints_between_blocks_goes_under_the_last_one(
        self, executor: JupyterCodeExecutor, signal: Signal
    ) -> None:
        code, printed = prints_late(signal)
        assert run(executor, code).output == "early\n"
        signal.give()
        assert eventually(printed.exists)
        assert run(executor, "print('next')").output == "next\n"
        first, second = code_cells(executor.notebook)
        assert (stream_text(first), stream_text(second)) == ("early\nlate\n", "next\n")

    def test_what_a_thread_printed_last_is_recorded_at_the_stop(
        self, executor: JupyterCodeExecutor, signal: Signal
    ) -> None:
        printed = signal.path.with_name("printed")
        code = (
            f"def later():\n{indented(signal.wait)}\n    print('late', flush=True)\n"
            f"    open({signal.in_code(printed)!r}, 'w')\n"
            "import threading\nthreading.Thread(target=later).start()\nprint('early')"
        )
        run(executor, code)
        signal.give()
        assert eventually(printed.exists)
        executor.stop()
        (cell,) = code_cells(executor.notebook)
        assert stream_text(cell) == "early\nlate\n"

    def test_what_a_task_prints_later_goes_under_its_own_cell(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import asyncio\ngo = asyncio.Event()\nasync def later():\n    await go.wait()\n    print('late')\n"
            "task = asyncio.create_task(later())\nprint('early')"
        )
        assert run(executor, code).output == "early\n"
        assert run(executor, "go.set()\nawait task\nprint('next')").output == "next\n"
        first, second = code_cells(executor.notebook)
        assert (stream_text(first), stream_text(second)) == ("early\nlate\n", "next\n")

    @pytest.mark.fault("a thread that goes on printing")
    def test_a_thread_that_prints_for_ever_disturbs_nobody(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import itertools, sys, threading, time\ndef chatter():\n"
            "    for n in itertools.count():\n        sys.stdout.write(f'chatter {n}\\n')\n        time.sleep(0.001)\n"
            "threading.Thread(target=chatter, daemon=True).start()"
        )
        assert run(executor, code).status == "ok"
        for n in range(20):
            result = run(executor, f"print({n})")
            assert result.status == "ok"
            assert re.sub(r"chatter \d+\n", "", result.output) == f"{n}\n"
        executor.stop()
        text = "".join(map(stream_text, code_cells(executor.notebook)))
        chatter = [int(number) for number in re.findall(r"chatter (\d+)\n", text)]
        assert chatter == list(range(len(chatter))), "each line once, in order"

    def test_outputs_are_announced_as_they_come(self, make: Factory, signal: Signal) -> None:
        heard: list[str] = []

        def listen(output: Any) -> None:
            heard.append(output["text"])
            signal.give()

        result = run(make(on_output=listen), f"print('now', flush=True)\n{signal.wait}\nprint('then')")
        assert (result.status, result.output) == ("ok", "now\nthen\n")
        assert "".join(heard) == "now\nthen\n"

    def test_a_listener_that_fails_changes_nothing(self, make: Factory) -> None:
        def listen(_: object) -> None:
            raise RuntimeError("the listener is broken")

        result = run(make(on_output=listen), "print(1)")
        assert (result.status, result.output) == ("ok", "1\n")


class _Timeouts(Executors):
    """One deadline for a block; after it, whatever the code does, an idle kernel."""

    @pytest.mark.fault("the deadline")
    def test_a_timeout_keeps_output_and_state(self, make: Factory) -> None:
        executor = make(timeout=1)
        result = run(executor, "print('before')\nkept = 7\nimport time\ntime.sleep(60)", "print('rest')")
        assert (result.status, result.exit_code) == ("timeout", 124)
        assert result.output.startswith("before\n")
        assert "Timeout" in result.output
        assert result.cells[1].status == "not_run"
        after = run(executor, "print(kept)")
        assert (after.status, after.output) == ("ok", "7\n")
        assert executor.kernel_epoch == 1
        cell = code_cells(executor.notebook)[0]
        assert (stream_text(cell), cell["metadata"]["nbtape"]["status"]) == ("before\n", "timeout")

    def test_late_output_of_a_timed_out_block_is_not_the_next_ones(self, make: Factory) -> None:
        executor = make(timeout=1)
        code = "import time\ntry:\n    time.sleep(60)\nfinally:\n    for n in range(1000):\n        print('late', n)"
        result = run(executor, code)
        assert (result.status, "late 999\n" in result.output) == ("timeout", True)
        assert run(executor, "print('clean')").output == "clean\n"

    def test_a_block_that_prints_for_ever_has_the_same_deadline(self, make: Factory) -> None:
        executor = make(timeout=1)
        result = run(executor, "kept = 7\nwhile True:\n    print('again')")
        assert result.status == "timeout"
        assert result.cells[0].duration < 20
        after = run(executor, "print(kept)")
        assert (after.status, after.output) == ("ok", "7\n")

    def test_a_block_that_displays_for_ever_has_the_same_deadline(self, make: Factory) -> None:
        executor = make(timeout=1)
        result = run(executor, "kept = 7\nwhile True:\n    display('again')")
        assert result.status == "timeout"
        assert result.cells[0].duration < 20
        after = run(executor, "print(kept)")
        assert (after.status, after.output) == ("ok", "7\n")

    @pytest.mark.fault("interrupt swallowed once")
    def test_a_block_that_swallows_one_interrupt_is_interrupted_again(self, make: Factory) -> None:
        executor = make(timeout=1, interrupt_grace=4)
        code = (
            "import time\nkept = 7\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('swallowed')\n"
            "time.sleep(60)"
        )
        result = run(executor, code)
        assert (result.status, "swallowed\n" in result.output) == ("timeout", True)
        assert run(executor, "print(kept)").output == "7\n"
        assert executor.kernel_epoch == 1

    @pytest.mark.fault("interrupt swallowed always")
    def test_a_block_that_swallows_every_interrupt_loses_its_kernel_and_is_told(self, make: Factory) -> None:
        executor = make(timeout=1, interrupt_grace=1)
        code = (
            "import time\nprint('before')\nwhile True:\n    try:\n        time.sleep(60)\n"
            "    except KeyboardInterrupt:\n        print('no')"
        )
        result = run(executor, code)
        assert (result.status, result.exit_code) == ("timeout", 124)
        assert result.output.startswith("before\n")
        assert "kernel was ended" in result.output
        check_fresh(executor)

    @pytest.mark.fault("kernel stopped (SIGSTOP)")
    def test_a_kernel_that_is_stopped_loses_its_life_at_the_deadline(self, make: Factory) -> None:
        executor = make(timeout=1, interrupt_grace=1)
        result = run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)")
        assert (result.status, result.exit_code) == ("timeout", 124)
        check_fresh(executor)

    @pytest.mark.parametrize(
        "code", ["!sleep 60", "%%bash\nsleep 60", "import subprocess\nsubprocess.run(['sleep', '60'])"]
    )
    def test_a_program_that_the_block_waits_for_is_interrupted_too(self, make: Factory, code: str) -> None:
        executor = make(timeout=1)
        run(executor, "kept = 7")
        assert run(executor, code).status == "timeout"
        assert run(executor, "print(kept)").output == "7\n"


class _Deaths(Executors):
    """A kernel that ends is noticed, named and replaced; no block is run twice."""

    @pytest.mark.alone
    @pytest.mark.fault("kernel killed (SIGKILL)")
    def test_a_kernel_that_is_killed_is_noticed_at_once(self, make: Factory, signal: Signal) -> None:
        killed: list[float] = []

        def kill(_: object) -> None:
            killed.append(time.monotonic())
            signal.give()

        executor = make(timeout=60, on_output=kill)
        code = f"print('before', flush=True)\n{signal.wait}\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
        result = run(executor, code, "print('rest')")
        assert time.monotonic() - killed[0] < self.notices_death_within
        assert (result.status, result.exit_code) == ("kernel_died", 137)
        assert result.output.startswith("before\n")
        assert "kernel died" in result.output
        assert result.cells[1].status == "not_run"
        assert stream_text(code_cells(executor.notebook)[0]) == "before\n"
        check_fresh(executor)

    @pytest.mark.fault("`os._exit()`")
    def test_a_process_that_ends_itself_is_a_dead_kernel(self, make: Factory, signal: Signal) -> None:
        executor = make(on_output=signal.give)
        result = run(executor, f"print('before', flush=True)\n{signal.wait}\nimport os\nos._exit(3)")
        assert (result.status, result.exit_code) == ("kernel_died", 137)
        assert result.output.startswith("before\n")
        check_fresh(executor)

    @pytest.mark.parametrize("code", ["print('before')\nexit()", "print('before')\nquit()", "exit"])
    @pytest.mark.fault("`exit()`")
    def test_code_that_asks_to_exit_gets_a_fresh_kernel_next(self, executor: JupyterCodeExecutor, code: str) -> None:
        result = run(executor, code)
        assert (result.status, result.exit_code) == ("ok", 0)
        assert ("before\n" in result.output) == ("before" in code)
        assert "ariables are gone" in result.output
        check_fresh(executor)

    def test_a_call_goes_on_after_a_block_that_asks_to_exit(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "x = 1\nexit()", "print('x' in globals())")
        assert result.status == "ok"
        assert result.output.endswith("\nFalse\n")
        assert [cell.kernel_epoch for cell in result.cells] == [1, 2]

    def test_sys_exit_is_an_error_and_ends_nothing(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "kept = 7\nimport sys\nsys.exit(3)")
        assert (result.status, result.cells[0].error_name) == ("error", "SystemExit")
        assert run(executor, "print(kept)").output == "7\n"

    def test_a_restart_takes_the_variables_and_says_so(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "x = 1")
        executor.restart()
        assert executor.kernel_epoch == 2
        result = run(executor, "print('x' in globals())")
        assert result.output.endswith("\nFalse\n")
        assert "variables of earlier blocks are gone" in result.output
        assert len(code_cells(executor.notebook)) == 2, "the recording goes on"

    def test_a_restart_of_an_unused_kernel_is_not_worth_a_word(self, executor: JupyterCodeExecutor) -> None:
        executor.start()
        executor.restart()
        assert run(executor, "print(1)").output == "1\n"

    @pytest.mark.fault("`stop()` twice, and use after it")
    def test_use_after_stop_starts_a_fresh_kernel_and_goes_on_recording(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "x = 1")
        notebook = executor.notebook
        executor.stop()
        executor.stop()
        check_fresh(executor)
        assert executor.notebook == notebook
        assert len(code_cells(notebook)) == 3


class _Interrupts(Executors):
    """A block can be stopped from outside; what it printed is kept, and the executor is ready for the next."""

    def test_an_interrupt_from_another_thread_keeps_output_and_state(self, make: Factory) -> None:
        begun = threading.Event()
        executor = make(on_output=lambda _: begun.set())
        result = stopped_by(executor, executor.interrupt, begun)
        assert (result.status, result.exit_code) == ("interrupted", 130)
        assert result.output.startswith("begun\n")
        assert result.cells[1].status == "not_run"
        assert run(executor, "print(kept)").output == "7\n"

    @pytest.mark.fault("`stop()` during a block")
    def test_a_stop_from_another_thread_ends_the_block(self, make: Factory) -> None:
        begun = threading.Event()
        executor = make(on_output=lambda _: begun.set())
        with ThreadPoolExecutor() as pool:
            call = pool.submit(run, executor, "print('begun')\nimport time\ntime.sleep(60)")
            assert begun.wait(30)
            executor.stop()
            assert call.result(30).status == "interrupted"

    def test_an_interrupt_of_an_idle_kernel_is_harmless(self, executor: JupyterCodeExecutor) -> None:
        executor.interrupt()
        run(executor, "kept = 7")
        executor.interrupt()
        result = run(executor, "print(kept)")
        assert (result.status, result.output) == ("ok", "7\n")

    async def test_a_cancelled_call_is_recorded_as_interrupted_and_leaves_a_clean_kernel(
        self, source: Server, output_dir: Path
    ) -> None:
        begun = asyncio.Event()
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
            code = "kept = 7\nimport time\ntry:\n    print('begun')\n    time.sleep(60)\nfinally:\n    print('late')"
            call = asyncio.ensure_future(executor.execute_code_blocks(blocks(code, "print('rest')")))
            await asyncio.wait_for(begun.wait(), 30)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            first, second = code_cells(executor.notebook)
            assert (first["metadata"]["nbtape"]["status"], stream_text(first)) == ("interrupted", "begun\nlate\n")
            assert second["metadata"]["nbtape"]["status"] == "not_run"
            result = await executor.execute_code_blocks(blocks("print(kept)"))
            assert (result.status, result.output) == ("ok", "7\n")

    @pytest.mark.fault("a call cancelled again and again", seen="`CancelledError`; the cell is `interrupted`.")
    async def test_a_call_that_is_cancelled_again_and_again_is_still_seen_to_its_end(
        self, source: Server, output_dir: Path
    ) -> None:
        begun = asyncio.Event()
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
            code = "print('begun')\nimport time\ntime.sleep(60)"
            call = asyncio.ensure_future(executor.execute_code_blocks(blocks(code)))
            await asyncio.wait_for(begun.wait(), 30)
            while not call.done():
                call.cancel()
                await asyncio.sleep(0.01)
            assert call.cancelled()
            result = await executor.execute_code_blocks(blocks("print('clean')"))
            assert (result.status, result.output) == ("ok", "clean\n")
            assert code_cells(executor.notebook)[0]["metadata"]["nbtape"]["status"] == "interrupted"

    async def test_a_call_that_is_cancelled_in_the_queue_runs_nothing(
        self, source: Server, output_dir: Path, signal: Signal
    ) -> None:
        begun = asyncio.Event()
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
            code = f"print('begun', flush=True)\n{signal.wait}\nprint('ended')"
            running = asyncio.ensure_future(executor.execute_code_blocks(blocks(code)))
            await asyncio.wait_for(begun.wait(), 30)
            queued = asyncio.ensure_future(executor.execute_code_blocks(blocks("queued = True")))
            await asyncio.sleep(0.1)
            queued.cancel()
            with pytest.raises(asyncio.CancelledError):
                await queued
            signal.give()
            assert (await running).output == "begun\nended\n"
            result = await executor.execute_code_blocks(blocks("print('queued' in globals())"))
            assert result.output == "False\n"
            assert len(code_cells(executor.notebook)) == 2

    async def test_a_call_that_is_cancelled_while_the_kernel_starts_runs_nothing(
        self, source: Server, output_dir: Path
    ) -> None:
        executor = AsyncJupyterCodeExecutor(source, output_dir=output_dir)
        try:
            call = asyncio.ensure_future(executor.execute_code_blocks(blocks("ran = True")))
            await asyncio.sleep(self.is_starting_after)
            assert executor.kernel_epoch == 0, "the kernel is still on its way"
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            result = await executor.execute_code_blocks(blocks("print('ran' in globals())"))
            assert result.output == "False\n"
        finally:
            await executor.stop()

    async def test_a_deadline_of_the_caller_works_like_a_cancellation(self, source: Server, output_dir: Path) -> None:
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir) as executor:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await executor.execute_code_blocks(blocks("kept = 7\nimport time\ntime.sleep(60)"))
            assert (await executor.execute_code_blocks(blocks("print(kept)"))).output == "7\n"


class _Variables(Executors):
    """The variables of the kernel can be looked at, whatever they are, and nothing shows that they were."""

    def test_variables_are_told_with_type_size_shape_and_repr(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import os, sys\nn = 42\ntext = 'naïve'\nitems = [1, 'two']\ntable = {'a': {1}}\npair = ()\n"
            "class Point:\n    def __repr__(self):\n        return 'here'\npoint = Point()\n_private = 1\n"
            "print([sys.getsizeof(value) for value in (n, text)])"
        )
        sizes = json.loads(run(executor, code).output)
        told = {variable.name: variable for variable in executor.variables()}
        assert list(told) == ["Point", "items", "n", "pair", "point", "table", "text"]
        assert told["n"] == Variable("n", "int", sizes[0], None, "42")
        assert told["text"] == Variable("text", "str", sizes[1], (5,), "'naïve'")
        assert [
            (told[name].type, told[name].shape, told[name].repr) for name in ("items", "table", "pair", "point")
        ] == [
            ("list", (2,), "[1, 'two']"),
            ("dict", (1,), "{'a': {1}}"),
            ("tuple", (0,), "()"),
            ("__main__.Point", None, "here"),
        ]

    def test_a_look_leaves_nothing_behind(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "import signal, sys\n_names = {*globals()}", "'first'", "'last'", "_modules = {*sys.modules}")
        names = "['_2', '_3', '_i2', '_i3', '_i4', '_i5', '_modules', '_names']"
        notebook = executor.notebook.read_bytes()
        for _ in range(3):
            assert list(executor.variables()) == []
        assert executor.notebook.read_bytes() == notebook
        code = (
            "print(_, __, len(In), sorted(Out), get_ipython().execution_count, signal.getsignal(signal.SIGALRM).name,\n"
            "      signal.getitimer(signal.ITIMER_REAL), sorted({*globals()} - _names), {*sys.modules} - _modules)"
        )
        result = run(executor, code)
        assert result.output == f"last first 6 [2, 3] 6 SIG_DFL (0.0, 0.0) {names} set()\n"
        assert result.cells[0].execution_count == 5
        assert len(code_cells(executor.notebook)) == 5

    def test_reprs_that_go_wrong_cost_only_themselves(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import sys, time\n"
            "def kind(told):\n    return type('Kind', (), {'__repr__': lambda self: told()})()\n"
            "def loop():\n    while True:\n        pass\n"
            "def fail():\n    1/0\n"
            "def loud():\n    print('LOUD')\n    print('LOUD', file=sys.stderr)\n    display('LOUD')\n"
            "    return 'quiet'\n"
            "a, b, c = kind(loop), kind(lambda: time.sleep(60)), kind(fail)\nd, e = kind(loud), kind(lambda: 7)\n"
            "long = 'x' * 100_000_000\nf, g = kind(lambda: long), kind(lambda: '\\ud800\\x1b[31mred')\n"
            "h, i = list(range(10_000_000)), kind(lambda: sys.exit())\nj = [[[[h]]]]"
        )
        assert run(executor, code).status == "ok"
        told = {variable.name: variable.repr for variable in executor.variables() if len(variable.name) == 1}
        assert told.pop("f") == "x" * 199 + "…"
        assert told == {
            "a": "<repr took too long>",
            "b": "<repr took too long>",
            "c": "<repr raised ZeroDivisionError>",
            "d": "quiet",
            "e": "<repr raised TypeError>",
            "g": "?red",
            "h": "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …]",
            "i": "<repr raised SystemExit>",
            "j": "[[[[…]]]]",
        }
        assert run(executor, "print('next')").output == "next\n"
        first, second = code_cells(executor.notebook)
        assert (first["outputs"], stream_text(second), len(second["outputs"])) == ([], "next\n", 1)

    def test_values_that_lie_get_nowhere(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import itertools\n"
            "class Liar:\n"
            "    __class__ = property(lambda self: 1/0)\n"
            "    __len__ = lambda self: -1\n    __sizeof__ = lambda self: 'huge'\n    __repr__ = lambda self: 'liar'\n"
            "class Endless:\n"
            "    shape = property(lambda self: itertools.count())\n    nbytes = 10**6000\n"
            "    __repr__ = lambda self: 'endless'\n"
            "class Twisted(type):\n"
            "    __name__ = __mro__ = property(lambda self: 1/0)\n"
            "    __hash__ = type.__hash__\n    __eq__ = lambda self, other: 1/0\n"
            "class Text(str):\n    __len__ = __getitem__ = encode = lambda *_: 1/0\n"
            "class Told(metaclass=Twisted):\n    __repr__ = lambda self: Text('told')\n"
            "class Proxy:\n    asked = []\n    def __getattr__(self, name):\n        self.asked.append(name)\n"
            "    __repr__ = lambda self: 'proxy'\n"
            "a, b, c, d, e = Liar(), Endless(), Told(), Proxy(), Text('e')\n"
            "globals()[Text('hidden')] = globals()[7] = 1"
        )
        assert run(executor, code).status == "ok"
        told = {variable.name: variable for variable in executor.variables() if len(variable.name) == 1}
        assert told["a"] == Variable("a", "__main__.Liar", None, None, "liar")
        assert told["b"] == Variable("b", "__main__.Endless", None, None, "endless")
        assert (told["c"].type, told["c"].repr, told["d"].repr) == ("__main__.Told", "told", "proxy")
        assert (told["e"].shape, told["e"].repr) == (None, "'e'")
        assert run(executor, "print(d.asked)").output == "[]\n"

    def test_builtins_that_code_has_replaced_are_not_asked(self, executor: JupyterCodeExecutor) -> None:
        """The kernel itself gets whole ones still: it could say nothing without them."""
        code = (
            "import builtins, functools, json, reprlib, sys\n"
            "def breaking(whole):\n"
            "    @functools.wraps(whole)\n"
            "    def broken(*args, **options):\n"
            "        if str(sys._getframe(1).f_globals.get('__name__')).startswith('nbtape'):\n            1/0\n"
            "        return whole(*args, **options)\n"
            "    return broken\n"
            "x = [1, 'two']\nexec = eval = globals = get_ipython = print = 0\n"
            "for name in 'repr len sorted print isinstance getattr hasattr min max sum vars dir hash'.split():\n"
            "    setattr(builtins, name, breaking(builtins.__dict__[name]))\n"
            "sys.getsizeof = json.dump = reprlib.repr = lambda *_: 1/0\n"
            "del name"
        )
        assert run(executor, code).status == "ok"
        told = {variable.name: variable.repr for variable in executor.variables()}
        assert (told["x"], told["exec"]) == ("[1, 'two']", "0")

    def test_of_very_many_variables_the_first_are_told_and_how_many_more_there_are(
        self, executor: JupyterCodeExecutor
    ) -> None:
        run(executor, "globals().update({f'v{n:05}': n for n in range(10_000)})")
        told = executor.variables()
        assert ([variable.name for variable in told], told.left_out) == ([f"v{n:05}" for n in range(200)], 9_800)
        few = executor.variables(limit=2)
        assert ([variable.repr for variable in few], few.left_out) == (["0", "1"], 9_998)
        everything = executor.variables(limit=20_000)
        assert (len(everything), everything.left_out) == (10_000, 0)

    def test_what_a_thread_prints_around_a_look_goes_under_the_last_block(
        self, executor: JupyterCodeExecutor, signal: Signal
    ) -> None:
        code, printed = prints_late(signal)
        assert run(executor, code).output == "early\n"
        assert executor.variables()
        signal.give()
        assert eventually(printed.exists)
        assert executor.variables()
        assert run(executor, "print('next')").output == "next\n"
        first, second = code_cells(executor.notebook)
        assert (stream_text(first), stream_text(second)) == ("early\nlate\n", "next\n")

    def test_a_thread_that_prints_for_ever_loses_nothing_to_looks(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import sys, threading, time\ncount = 0\ndef chatter():\n    global count\n    while True:\n"
            "        sys.stdout.write(f'chatter {count}\\n')\n        count += 1\n        time.sleep(0.001)\n"
            "threading.Thread(target=chatter, daemon=True).start()"
        )
        assert run(executor, code).status == "ok"
        for _ in range(20):
            (count,) = [int(variable.repr) for variable in executor.variables() if variable.name == "count"]
        assert run(executor, "print('next')").status == "ok"
        first, second = code_cells(executor.notebook)
        chatter = [int(number) for number in re.findall(r"chatter (\d+)\n", stream_text(first) + stream_text(second))]
        assert chatter == list(range(len(chatter))), "each line once, in order"
        assert len(chatter) >= count

    def test_a_look_waits_for_the_block_that_runs(self, make: Factory, signal: Signal) -> None:
        begun = threading.Event()
        executor = make(on_output=lambda _: begun.set())
        with ThreadPoolExecutor() as pool:
            block = pool.submit(run, executor, f"print('begun', flush=True)\n{signal.wait}\nx = 1")
            assert begun.wait(30)
            look = pool.submit(executor.variables)
            with pytest.raises(TimeoutError):
                look.result(0.3)
            signal.give()
            assert block.result(30).status == "ok"
            assert [variable.name for variable in look.result(30)] == ["x"]

    def test_a_look_starts_nothing(self, executor: JupyterCodeExecutor) -> None:
        assert executor.variables() == []
        assert (executor.kernel_epoch, executor.notebook.exists()) == (0, False)
        executor.start()
        assert executor.variables() == []
        run(executor, "x = 1")
        executor.stop()
        assert executor.variables() == []
        assert executor.kernel_epoch == 1

    def test_a_value_that_holds_the_kernel_up_for_good_is_an_error_and_costs_no_variable(
        self, make: Factory, signal: Signal
    ) -> None:
        executor = make(interrupt_grace=1)
        code = (
            "import pathlib, time\nclass Stubborn:\n    def __repr__(self):\n        while True:\n            try:\n"
            f"                while not pathlib.Path({signal.in_code(signal.path)!r}).exists():\n"
            "                    time.sleep(0.01)\n                return 'at last'\n"
            "            except BaseException:\n                pass\nstubborn = Stubborn()\nkept = 7"
        )
        assert run(executor, code).status == "ok"
        with pytest.raises(KernelBusyError, match="within 1 s"):
            executor.variables(timeout=1)
        signal.give()
        assert run(executor, "print(kept)").output == "7\n"
        assert executor.kernel_epoch == 1
        assert executor.variables()[-1].repr == "at last"

    def test_a_timer_of_the_code_goes_on(self, executor: JupyterCodeExecutor) -> None:
        code = "import signal\ndef ring(*_):\n    pass\nsignal.signal(signal.SIGALRM, ring)\nsignal.alarm(60)"
        run(executor, code)
        assert executor.variables()
        result = run(executor, "print(signal.getsignal(signal.SIGALRM) is ring, 0 < signal.alarm(0) <= 60)")
        assert result.output == "True True\n"

    def test_a_kernel_that_died_is_an_error_and_is_not_replaced(self, executor: JupyterCodeExecutor) -> None:
        code = "import os, signal, threading\nthreading.Timer(0.5, os.kill, [os.getpid(), signal.SIGKILL]).start()"
        assert run(executor, code).status == "ok"

        def has_died() -> bool:
            try:
                executor.variables()
            except KernelError as exc:
                return "kernel died" in str(exc)
            return False

        assert eventually(has_died)
        assert executor.kernel_epoch == 1
        check_fresh(executor)

    def test_a_kernel_that_dies_right_after_its_answer_holds_nobody_up(self, executor: JupyterCodeExecutor) -> None:
        assert run(executor, DIES_AFTER_ITS_NEXT_ANSWER).status == "ok"
        began = time.monotonic()
        with suppress(KernelError):  # or the answer, which came
            executor.variables(timeout=60)
        assert time.monotonic() - began < 20
        check_fresh(executor)

    def test_a_kernel_that_dies_of_a_look_is_an_error(self, executor: JupyterCodeExecutor) -> None:
        code = "import os\nclass Bomb:\n    def __repr__(self):\n        os._exit(3)\nbomb = Bomb()"
        assert run(executor, code).status == "ok"
        with pytest.raises(KernelError, match="kernel died"):
            executor.variables(timeout=30)
        check_fresh(executor)

    @pytest.mark.parametrize("forged", ["{}", "{'variables': 7}", "{'variables': {'status': 'ok', 'data': []}}"])
    def test_an_answer_that_makes_no_sense_is_an_error(self, executor: JupyterCodeExecutor, forged: str) -> None:
        run(executor, f"kept = 7\nget_ipython().user_expressions = lambda _: {forged}")
        with pytest.raises(KernelError):
            executor.variables(timeout=2)
        assert run(executor, "print(kept)").output == "7\n"
        assert executor.kernel_epoch == 1

    async def test_a_look_that_is_cancelled_leaves_a_clean_kernel(self, source: Server, output_dir: Path) -> None:
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir) as executor:
            code = "import time\nclass Slow:\n    def __repr__(self):\n        time.sleep(60)\n"
            slow = "".join(f"slow{n} = Slow()\n" for n in range(200))
            assert (await executor.execute_code_blocks(blocks(code + slow))).status == "ok"
            look = asyncio.ensure_future(executor.variables(timeout=60))
            await asyncio.wait({look}, timeout=1)
            look.cancel()
            with pytest.raises(asyncio.CancelledError):
                await look
            result = await executor.execute_code_blocks(blocks("print('clean')"))
            assert (result.status, result.output) == ("ok", "clean\n")
            assert executor.kernel_epoch == 1


class ExecutorContract(_BlocksAndState, _Languages, _Outputs, _Timeouts, _Deaths, _Interrupts, _Variables):
    """All of it."""


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
