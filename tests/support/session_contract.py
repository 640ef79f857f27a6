"""What a session promises about blocks, languages, texts and variables on every kind of kernel."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from reading import code_cells, eventually, read_notebook, stream_text

from nbtape import (
    AsyncJupyterCodeExecutor,
    CodeBlock,
    JupyterCodeExecutor,
    KernelBusyError,
    KernelError,
    Variable,
)

if TYPE_CHECKING:
    from pathlib import Path

    from nbtape.kernels.sources import Server

from executors import (
    DIES_AFTER_ITS_NEXT_ANSWER,
    SHOW_IMAGE,
    Executors,
    Factory,
    Signal,
    blocks,
    check_fresh,
    prints_late,
    run,
)


class _BlocksAndState(Executors):
    """One block is one cell; the first failure stops the rest; state persists."""

    def test_hello_world_prints_as_one_line(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "print('Hello, World!')")
        assert str(result) == "exit_code=0 output='Hello, World!\\n' output_files=[]"

    def test_state_persists_between_blocks_and_calls(self, executor: JupyterCodeExecutor) -> None:
        assert run(executor, "x = 20", "x += 1").output == "\n"
        assert run(executor, "x *= 2\nprint(x)").output == "42\n"
        assert executor.kernel_epoch == 1

    def test_code_runs_as_one_cell(self, executor: JupyterCodeExecutor) -> None:
        assert executor.run("x = 20; print(x)").output == "20\n"
        assert executor.run("echo $((x + 1))", "bash").output == "1\n"
        assert executor.run("import time; time.sleep(60)", timeout=1).status == "timeout"
        assert [cell["source"] for cell in code_cells(executor.notebook)][1] == "%%bash\necho $((x + 1))"

    def test_every_block_is_a_cell_in_order(self, executor: JupyterCodeExecutor) -> None:
        executor.add_markdown("# Counting")
        result = run(executor, "print(1)", "print(2)")
        cells = read_notebook(result.notebook)["cells"] if result.notebook else []
        assert [cell["cell_type"] for cell in cells] == ["markdown", "code", "code"]
        assert [cell["source"] for cell in cells] == ["# Counting", "print(1)", "print(2)"]
        assert [cell["execution_count"] for cell in cells[1:]] == [1, 2]
        assert [(cell.index, cell.cell_id) for cell in result.cells] == [(1, cells[1]["id"]), (2, cells[2]["id"])]

    def test_a_failing_block_stops_the_rest_and_is_not_repeated(self, executor: JupyterCodeExecutor) -> None:
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

    def test_no_blocks_give_an_ok_and_empty_result(self, executor: JupyterCodeExecutor) -> None:
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
    def test_overlapping_calls_run_one_after_the_other(self, make: Factory, signal: Signal) -> None:
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
    def test_code_that_asks_the_user_for_input_fails_at_once(self, make: Factory, code: str) -> None:
        result = run(make(timeout=20), f"{code}\nprint('answered')")
        assert result.status == "error"
        assert result.cells[0].error_name == "StdinNotImplementedError"


class _Languages(Executors):
    """How a block's language label decides how it runs."""

    @pytest.mark.parametrize("label", ["bash", "sh", "shell", "Bash"])
    def test_a_shell_block_runs_in_bash(self, executor: JupyterCodeExecutor, label: str) -> None:
        result = run(executor, 'for n in 1 2; do echo "n=$n"; done', language=label)
        assert (result.status, result.output) == ("ok", "n=1\nn=2\n")
        assert code_cells(executor.notebook)[0]["source"] == '%%bash\nfor n in 1 2; do echo "n=$n"; done'

    @pytest.mark.parametrize("code", ["!echo hello", "%%sh\necho hello", "\n!echo hello"])
    def test_a_shell_block_with_ipython_syntax_is_left_to_ipython(
        self, executor: JupyterCodeExecutor, code: str
    ) -> None:
        result = run(executor, code, language="bash")
        assert (result.status, result.output.replace("\r", "")) == ("ok", "hello\n")
        assert code_cells(executor.notebook)[0]["source"] == code

    @pytest.mark.parametrize("code", ["!sleep 60", "%%bash\nsleep 60"])
    def test_a_shell_command_is_stopped_at_the_deadline_of_its_block(self, make: Factory, code: str) -> None:
        executor = make(timeout=1)
        run(executor, "kept = 7")
        assert run(executor, code).status == "timeout"
        assert run(executor, "print(kept)").output == "7\n"

    def test_a_failing_shell_block_is_an_error(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "echo before\necho why >&2\nexit 3", language="bash")
        assert (result.status, result.exit_code) == ("error", 1)
        assert "before\n" in result.output
        assert "why\n" in result.output
        assert "3" in str(result.cells[0].error_value)

    def test_an_unsupported_language_is_not_run_and_does_not_stop_the_rest(self, executor: JupyterCodeExecutor) -> None:
        result = executor.execute_code_blocks(
            [CodeBlock("print('before')", "python"), CodeBlock("say 'no'", "perl"), CodeBlock("print('after')", "py")]
        )
        assert [cell.status for cell in result.cells] == ["ok", "not_run", "ok"]
        assert (result.status, result.exit_code) == ("ok", 0)
        assert "perl" in result.cells[1].output
        assert "python" in result.cells[1].output, "the message says what does run"
        assert result.output.endswith("after\n")
        alone = executor.execute_code_blocks([CodeBlock("say 'no'", "perl")])
        assert (alone.status, alone.exit_code) == ("not_run", 1)

    def test_a_block_in_which_the_message_ends_is_recorded_and_not_run(self, executor: JupyterCodeExecutor) -> None:
        cut = "```python\nprint('whole')\n```\nand\n```python\nprint('cut')\nfor name in na"
        result = executor.execute_code_blocks(executor.code_extractor.extract_code_blocks(cut))
        assert [cell.status for cell in result.cells] == ["ok", "not_run"]
        assert (result.status, result.exit_code) == ("not_run", 1)
        assert result.output == (
            "whole\n\nNot run: the message ends inside this block, so it may be incomplete. Complete the block, "
            "close it with ```, and run it again."
        )
        assert code_cells(executor.notebook)[1]["execution_count"] is None

    def test_an_install_is_quiet(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "!pip install --no-index pip")
        assert result.status == "ok"
        assert result.output.strip() == ""

    def test_an_install_by_the_magic_prints_only_ipythons_note(self, executor: JupyterCodeExecutor) -> None:
        """The magic itself prints IPython's note, whatever options pip gets; the note is useful."""
        result = run(executor, "%pip install --no-index pip")
        assert result.status == "ok"
        assert result.output == "Note: you may need to restart the kernel to use updated packages.\n"

    @pytest.mark.parametrize("magic", ["!pip", "%pip"])
    def test_a_failing_install_prints_its_error(self, executor: JupyterCodeExecutor, magic: str) -> None:
        assert "ERROR" in run(executor, f"{magic} install --no-index /no/such/package").output

    def test_a_failing_install_in_a_shell_block_is_an_error(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "pip install --no-index /no/such/package", language="bash")
        assert result.status == "error"
        assert "ERROR" in result.output


class _Texts(Executors):
    """What the agent reads, and the files next to the notebook."""

    def test_outputs_of_blocks_are_joined_by_one_newline(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "print('1', end='')", "print('2')", "'3'")
        assert result.output == "1\n2\n\n'3'"

    def test_an_image_is_saved_as_a_file(self, make: Factory, output_dir: Path) -> None:
        executor = make(notebook="plots")
        executor.add_markdown("A picture follows.")
        result = run(executor, f"print('see')\n{SHOW_IMAGE}")
        path = output_dir / "plots_1_1.png"
        assert result.output == f"see\nImage data saved to {path.name}"
        assert result.output_files == [str(path)]
        assert path.read_bytes().startswith(b"\x89PNG\r\n")

    def test_html_is_saved_as_a_file_if_asked_for(self, make: Factory, output_dir: Path) -> None:
        executor = make(extract=["html"])
        result = run(executor, "from IPython.display import HTML, display\ndisplay(HTML('<b>bold</b>'))")
        path = output_dir / "session_1_0.html"
        assert result.output == f"bold\nHTML data saved to {path.name}"
        assert result.output_files == [str(path)]
        assert path.read_text().endswith("<b>bold</b>")

    def test_unicode_is_returned_unchanged(self, executor: JupyterCodeExecutor) -> None:
        text = "naïve 你好 👩‍👩‍👧 👍🏽 e\u0301 עברית \U00010348"
        code = f"größe = '{text}'  # ü\nprint(größe)"
        assert run(executor, code).output == f"{text}\n"
        (cell,) = code_cells(executor.notebook)
        assert (cell["source"], stream_text(cell)) == (code, f"{text}\n")

    def test_terminal_codes_are_kept_in_the_notebook_and_removed_for_the_agent(
        self, executor: JupyterCodeExecutor
    ) -> None:
        result = run(executor, r"print('\x1b[1;31mred\x1b[0m')" + "\n1/0")
        assert result.output.startswith("red\n")
        assert "ZeroDivisionError" in result.output
        assert "\x1b" not in result.output
        (cell,) = code_cells(executor.notebook)
        assert stream_text(cell) == "\x1b[1;31mred\x1b[0m\n"
        assert any("\x1b[" in line for line in cell["outputs"][1]["traceback"])

    def test_the_total_output_of_several_long_blocks_is_limited(self, make: Factory) -> None:
        executor = make(max_output_chars=1000)
        result = run(executor, "print(3000 * 'a')", "print(3000 * 'b')", "print(3000 * 'c')")
        assert len(result.output) <= 1000
        assert result.output.startswith("aaa")
        assert result.output.endswith("ccc\n")


class _Variables(Executors):
    """Variables of any kind can be listed, and listing them has no visible effect."""

    def test_variables_are_listed_with_type_size_shape_and_repr(self, executor: JupyterCodeExecutor) -> None:
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

    def test_listing_variables_leaves_nothing_behind(self, executor: JupyterCodeExecutor) -> None:
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

    def test_a_failing_repr_does_not_affect_other_variables(self, executor: JupyterCodeExecutor) -> None:
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

    def test_values_with_misleading_attributes_are_listed_safely(self, executor: JupyterCodeExecutor) -> None:
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

    def test_listing_variables_does_not_call_replaced_builtins(self, executor: JupyterCodeExecutor) -> None:
        """The kernel itself still gets intact builtins, because it could not answer without them."""
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

    def test_very_many_variables_are_cut_to_the_first_ones_and_counted(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "globals().update({f'v{n:05}': n for n in range(10_000)})")
        told = executor.variables()
        assert ([variable.name for variable in told], told.left_out) == ([f"v{n:05}" for n in range(200)], 9_800)
        few = executor.variables(limit=2)
        assert ([variable.repr for variable in few], few.left_out) == (["0", "1"], 9_998)
        everything = executor.variables(limit=20_000)
        assert (len(everything), everything.left_out) == (10_000, 0)

    def test_thread_output_while_variables_are_listed_goes_under_the_last_block(
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

    def test_listing_variables_loses_no_output_of_a_thread_that_prints_forever(
        self, executor: JupyterCodeExecutor
    ) -> None:
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

    def test_listing_variables_waits_for_the_running_block(self, make: Factory, signal: Signal) -> None:
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

    def test_listing_variables_starts_no_kernel(self, executor: JupyterCodeExecutor) -> None:
        assert executor.variables() == []
        assert (executor.kernel_epoch, executor.notebook.exists()) == (0, False)
        executor.start()
        assert executor.variables() == []
        run(executor, "x = 1")
        executor.stop()
        assert executor.variables() == []
        assert executor.kernel_epoch == 1

    def test_a_value_that_blocks_the_kernel_is_an_error_and_keeps_the_variables(
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

    def test_listing_variables_keeps_a_timer_of_the_code_running(self, executor: JupyterCodeExecutor) -> None:
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

    def test_a_kernel_that_dies_right_after_its_answer_does_not_block_the_caller(
        self, executor: JupyterCodeExecutor
    ) -> None:
        assert run(executor, DIES_AFTER_ITS_NEXT_ANSWER).status == "ok"
        began = time.monotonic()
        with suppress(KernelError):  # or the answer, if it arrived
            executor.variables(timeout=60)
        assert time.monotonic() - began < 20
        check_fresh(executor)

    def test_a_kernel_that_dies_while_variables_are_listed_is_an_error(self, executor: JupyterCodeExecutor) -> None:
        code = "import os\nclass Bomb:\n    def __repr__(self):\n        os._exit(3)\nbomb = Bomb()"
        assert run(executor, code).status == "ok"
        with pytest.raises(KernelError, match="kernel died"):
            executor.variables(timeout=30)
        check_fresh(executor)

    @pytest.mark.parametrize("forged", ["{}", "{'variables': 7}", "{'variables': {'status': 'ok', 'data': []}}"])
    def test_an_invalid_answer_of_the_kernel_is_an_error(self, executor: JupyterCodeExecutor, forged: str) -> None:
        run(executor, f"kept = 7\nget_ipython().user_expressions = lambda _: {forged}")
        with pytest.raises(KernelError):
            executor.variables(timeout=2)
        assert run(executor, "print(kept)").output == "7\n"
        assert executor.kernel_epoch == 1

    async def test_cancelling_a_list_of_variables_leaves_a_clean_kernel(self, source: Server, output_dir: Path) -> None:
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


class SessionContract(_BlocksAndState, _Languages, _Texts, _Variables):
    """What a session must guarantee. Local kernels and one server always run it, other kinds with `--full`."""
