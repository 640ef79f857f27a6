"""The recording of real sessions: on disk during the run, complete for any message, and as JupyterLab shows it."""

from __future__ import annotations

import base64
import contextlib
import datetime
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from jupyter_client.connect import write_connection_file
from nbclient import NotebookClient
from PIL import Image

from nbtape import CodeBlock, CodeResult, JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DISPLAY = "from IPython.display import clear_output, display, update_display\n"

#: Sends a custom message of the block on iopub, as a child of the block.
SEND = """
kernel = get_ipython().kernel
def send(kind, content, **header):
    message = kernel.session.msg(kind, content=content, parent=kernel.get_parent())
    message['header'].update(header)
    kernel.session.send(kernel.iopub_socket, message, ident=b'x')
"""


def run(executor: JupyterCodeExecutor, *codes: str) -> CodeResult:
    return executor.execute_code_blocks([CodeBlock(code, "python") for code in codes])


def cells(path: Path) -> list[Any]:
    """Return the cells of a valid notebook on disk."""
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    found: list[Any] = notebook["cells"]
    return found


def outputs(executor: JupyterCodeExecutor, index: int = -1) -> list[Any]:
    found: list[Any] = cells(executor.notebook)[index]["outputs"]
    return found


def texts(executor: JupyterCodeExecutor, index: int = -1) -> list[str]:
    """Return the outputs of a cell, each as its text."""
    return [
        output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
        for output in outputs(executor, index)
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def shown_in(directory: Path) -> list[str]:
    """Return the files that a user sees in a directory during a session: the journal is hidden."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(output_dir=tmp_path / "coding") as executor:
        yield executor


# While a block runs


def test_the_source_is_on_disk_before_the_block_runs(executor: JupyterCodeExecutor) -> None:
    code = (
        "import json\ncell = json.load(open('session.ipynb'))['cells'][-1]\n"
        "print(''.join(cell['source']))\nprint(cell['metadata']['nbtape']['status'], cell['outputs'])"
    )
    assert run(executor, code).output == f"{code}\nrunning []\n"


def test_outputs_are_in_the_file_while_the_block_prints(executor: JupyterCodeExecutor) -> None:
    code = "import time\nfor n in range(30):\n    print(n, flush=True)\n    time.sleep(0.1)"
    seen: set[str] = set()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, executor, code)
        while not running.done():
            for cell in cells(executor.notebook):
                if cell["metadata"]["nbtape"]["status"] == "running" and cell["outputs"]:
                    seen.add(cell["outputs"][0]["text"])
            time.sleep(0.05)
        assert running.result().status == "ok"
    whole = "".join(f"{n}\n" for n in range(30))
    assert len(seen) >= 4, "the file grows while the block runs"
    assert all(whole.startswith(text) for text in seen)
    assert texts(executor) == [whole]


def test_an_image_is_in_the_file_while_its_block_still_runs(executor: JupyterCodeExecutor) -> None:
    code = DISPLAY + "import time\ndisplay({'image/png': 'AAAA'}, raw=True)\ntime.sleep(60)"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, executor, code)
        wait_for(lambda: bool(cells(executor.notebook) and outputs(executor)))
        assert not running.done()
        executor.interrupt()
        assert running.result(timeout=30).status == "interrupted"


# After a block


def test_a_cell_records_how_it_ran(executor: JupyterCodeExecutor) -> None:
    before = datetime.datetime.now(datetime.UTC)
    result = run(executor, "import time\ntime.sleep(0.3)")
    cell = cells(executor.notebook)[0]
    assert (cell["execution_count"], cell["id"]) == (1, result.cells[0].cell_id)
    nbtape = cell["metadata"].pop("nbtape")
    assert 0.3 <= nbtape.pop("duration") < 30
    assert nbtape == {"status": "ok", "language": "python", "timeout": 60, "kernel_epoch": 1}
    times = [datetime.datetime.fromisoformat(moment) for moment in cell["metadata"].pop("execution").values()]
    assert cell["metadata"] == {}, "nothing else is in there: not trusted, not tagged"
    assert len(times) >= 4
    assert min(times) > before
    assert max(times) < datetime.datetime.now(datetime.UTC)
    assert max(times) - min(times) >= datetime.timedelta(seconds=0.3)


def test_the_timing_uses_jupyterlabs_keys(executor: JupyterCodeExecutor) -> None:
    run(executor, "1")
    assert cells(executor.notebook)[0]["metadata"]["execution"].keys() == {
        "iopub.status.busy",
        "iopub.execute_input",
        "shell.execute_reply",
        "iopub.status.idle",
    }


def test_cells_of_every_status_are_tagged_for_jupyters_tools(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path, timeout=4) as executor:
        run(executor, "x = 1", "1/0", "never = 1")
        run(executor, "while True: pass")
        run(executor, "import os\nos.kill(os.getpid(), 9)")
        executor.execute_code_blocks([CodeBlock("x", "julia")])
        executor.skip_code_blocks([CodeBlock("x", "python")], "A policy forbids it.")
    told = [(cell["metadata"]["nbtape"]["status"], cell["metadata"].get("tags")) for cell in cells(executor.notebook)]
    assert told == [
        ("ok", None),
        ("error", ["raises-exception"]),
        ("not_run", ["skip-execution"]),
        ("timeout", ["raises-exception"]),
        ("kernel_died", ["raises-exception"]),
        ("not_run", ["skip-execution"]),
        ("not_run", ["skip-execution"]),
    ]
    notes = [cell["metadata"]["nbtape"].get("note", "") for cell in cells(executor.notebook)]
    assert notes[0] == notes[1] == ""
    assert "Timeout" in notes[3]
    assert "SIGKILL" in notes[4]
    assert "julia" in notes[5]
    assert notes[6] == "A policy forbids it."


def test_the_status_of_a_cell_is_visible_even_without_an_error(tmp_path: Path) -> None:
    stubborn = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('never mind')"
    with JupyterCodeExecutor(output_dir=tmp_path, timeout=4) as executor:
        results = [run(executor, code) for code in ("1/0", stubborn, "import os\nos.kill(os.getpid(), 9)")]
    shown = [
        [output.get("text", output["output_type"]) for output in cell["outputs"]] for cell in cells(executor.notebook)
    ]
    assert shown == [
        ["error"],
        ["never mind\n", "\n[nbtape: this block timed out here]\n"],
        ["\n[nbtape: the kernel died here, and its variables are gone]\n"],
    ]
    assert not any("[nbtape" in result.output for result in results), "the agent is told by the note"


def test_a_count_is_never_a_star_and_missing_for_cells_that_did_not_run(executor: JupyterCodeExecutor) -> None:
    run(executor, "1", "1/0", "2")
    run(executor, "3")
    assert [cell["execution_count"] for cell in cells(executor.notebook)] == [1, 2, None, 3]


def test_kernelspec_and_language_info_are_there_from_the_start(executor: JupyterCodeExecutor) -> None:
    notebook = nbformat.read(executor.notebook, nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    metadata = notebook["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["kernelspec"]["display_name"].startswith("Python 3")
    assert metadata["kernelspec"]["language"] == "python"
    assert metadata["language_info"].keys() >= {
        "codemirror_mode",
        "file_extension",
        "mimetype",
        "name",
        "nbconvert_exporter",
        "pygments_lexer",
        "version",
    }
    assert (notebook["nbformat"], notebook["nbformat_minor"], notebook["cells"]) == (4, 5, [])


def test_the_metadata_of_the_notebook_is_as_documented(executor: JupyterCodeExecutor) -> None:
    import nbtape

    metadata = nbformat.read(executor.notebook, 4)["metadata"]
    assert metadata.keys() == {"kernelspec", "language_info", "nbtape"}
    own = metadata["nbtape"]
    started = datetime.datetime.fromisoformat(own.pop("started"))
    assert started.utcoffset() == datetime.timedelta(0)
    assert abs((datetime.datetime.now(datetime.UTC) - started).total_seconds()) < 60
    environment = own.pop("environment")
    assert environment["directory"] == str(executor.notebook.parent)
    assert environment["packages"]["nbtape"] == nbtape.__version__
    assert own.pop("revision") >= 1
    assert own == {"version": 1, "recorded_by": f"nbtape {nbtape.__version__}", "directory": "."}


def test_every_key_that_a_session_writes_is_documented(tmp_path: Path) -> None:
    from nbtape.notebook import document

    documented = set(re.findall(r"^    ([a-z_]+)  ", document.__doc__ or "", re.MULTILINE))
    with JupyterCodeExecutor(output_dir=tmp_path, max_cell_chars=2000) as executor:
        run(
            executor,
            DISPLAY + "display({'image/svg+xml': '<svg/>'}, raw=True)\nopen('f', 'w').close()\nprint('x' * 5000)",
        )
        run(executor, "exit()")
        run(executor, "print(1)")
    saved = nbformat.read(executor.notebook, 4)
    used = set(saved["metadata"]["nbtape"])
    for cell in saved["cells"]:
        own = cell["metadata"]["nbtape"]
        used |= {*own, *(key for listed in ("files", "extracted") for item in own.get(listed, []) for key in item)}
    assert {"left_out", "note", "extracted", "files"} <= used
    assert used <= documented | {"output", "mime_type", "path", "size", "sha256"}


def test_a_recording_is_never_marked_trusted(executor: JupyterCodeExecutor) -> None:
    run(executor, DISPLAY + "display({'text/html': '<script>1</script>'}, metadata={'trusted': True}, raw=True)")
    text = json.loads(executor.notebook.read_bytes())
    assert "trusted" not in json.dumps([text["metadata"], text["cells"][0]["metadata"]])
    assert "signature" not in text["metadata"]


def test_nbclient_runs_all_of_a_recording_with_failures(executor: JupyterCodeExecutor) -> None:
    executor.add_markdown("# A session")
    run(executor, "x = 1", "1/0", "print('never run')")
    executor.execute_code_blocks([CodeBlock("this is no python", "julia")])
    executor.execute_code_blocks([CodeBlock("exit 3", "bash")])
    run(executor, "print(x)")
    again = nbformat.read(executor.notebook, 4)
    NotebookClient(again, timeout=60, kernel_name="python3").execute()
    counts = [cell.get("execution_count") for cell in again["cells"]]
    assert counts == [None, 1, 2, None, None, 3, 4]
    assert again["cells"][-1]["outputs"][0]["text"] == "1\n"


# Readers and kills

READER = """
import json, sys, time, nbformat
path, reads, cells = sys.argv[1], 0, 0
print("reading", flush=True)
while True:
    with open(path, "rb") as file:
        text = file.read()
    notebook = nbformat.from_dict(json.loads(text))
    nbformat.validate(notebook)
    assert len(notebook["cells"]) >= cells, "a cell is gone"
    cells, reads = len(notebook["cells"]), reads + 1
    if any("the end" in "".join(cell["source"]) for cell in notebook["cells"]):
        break
print(reads, cells)
"""


def test_a_reader_never_meets_a_broken_notebook(executor: JupyterCodeExecutor, *, full: bool) -> None:
    count = 2000 if full else 400
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(executor.notebook)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        result = run(
            executor, *(f"for n in range(3): print({number}, 'é' * n, flush=True)" for number in range(count - 1))
        )
        assert result.status == "ok"
        run(executor, "# the end")
        out, err = reader.communicate(timeout=120)
    finally:
        reader.kill()
        reader.communicate()
    assert reader.returncode == 0, err
    reads, seen = map(int, out.split())
    assert seen == count
    assert reads >= 10, "it was read often enough to mean something"
    assert len(cells(executor.notebook)) == count


#: Forks a recorder for each line that it reads, and waits until that is killed. The imports are done once.
NURSERY = """
import json, os, sys, traceback
import zmq.asyncio
import nbtape.session.recording, nbtape.session.cell_runner
from nbtape import CodeBlock, JupyterCodeExecutor
from nbtape.kernels.protocols import KernelManager, KernelSource, KernelSpec
from nbtape.kernels.local.client import LocalKernelClient

class StandingKernel(KernelSource, KernelManager):  # a kernel that outlives its recorder
    has_kernel = True
    def __init__(self, connection_file):
        self.connection_file = connection_file
    def check(self):
        pass
    async def spec(self):
        return KernelSpec("python3", "Python 3 (ipykernel)", "python")
    def manager(self):
        return self
    async def start_kernel(self, *, cwd):
        pass
    def client(self):
        client = LocalKernelClient(context=zmq.asyncio.Context())
        client.load_connection_file(self.connection_file)
        return client
    async def is_alive(self):
        return True

def tell(*words):  # in one write, so that no kill leaves half a line
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def record(directory, connection_file):
    tell("begun", os.getpid())
    kernel = StandingKernel(connection_file) if connection_file else None
    executor = JupyterCodeExecutor(kernel, output_dir=directory)
    executor.add_markdown("x" * 500_000)  # so that writing takes a while, and many kills fall into it
    tell("ready")
    for number in range(100_000):
        code = f"for n in range(20): print('cell {number} line', n)"
        result = executor.execute_code_blocks([CodeBlock(code, "python")])
        assert result.status == "ok", result
        tell("finished", number)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            record(*json.loads(line))
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    _, status = os.waitpid(child, 0)
    tell("gone", status)
"""


class Nursery:
    """Recorders to kill one after the other, with a kernel that need not start again for each."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp()
        self._connection_file, _ = write_connection_file(f"{self._directory}/kernel.json")
        self._kernel = subprocess.Popen(
            [sys.executable, "-m", "ipykernel_launcher", "-f", self._connection_file],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._recorder = 0
        self._timeout = threading.Timer(200, self._end)
        self._timeout.start()

    def close(self) -> None:
        self._timeout.cancel()
        self._end()
        for process in (self._process, self._kernel):
            process.communicate(timeout=30)
        shutil.rmtree(self._directory)

    def _end(self) -> None:
        """Stop all; a thread that waits for a line gets none."""
        for pid in (self._recorder, self._process.pid, self._kernel.pid):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def kill_one(self, directory: Path, seconds: float, *, own_kernel: bool) -> int:
        """Record, kill after some seconds, and return how many cells were reported as finished.

        With a kernel of its own the time counts from its start, else from when the kernel is ready.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(directory), "" if own_kernel else self._connection_file]) + "\n")
        self._process.stdin.flush()
        self._recorder = int(self._line("begun"))
        if not own_kernel:
            self._line("ready")
        time.sleep(seconds)
        os.kill(self._recorder, signal.SIGKILL)
        finished = 0
        while not (line := self._line("")).startswith("gone"):
            finished += line.startswith("finished")
        self._recorder = 0
        assert line == f"gone {int(signal.SIGKILL)}", "it ended by itself"
        return finished

    def _line(self, word: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line.startswith(word)
        assert line
        return line.removeprefix(word)


def check_whole(path: Path, finished: int) -> int:
    """Check that the notebook is valid and has all finished cells; return how many cells it has."""
    recorded = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert finished <= len(recorded) <= finished + 2
    for number, cell in enumerate(recorded[:finished]):
        assert cell["metadata"]["nbtape"]["status"] == "ok"
        assert cell["outputs"][0]["text"] == "".join(f"cell {number} line {n}\n" for n in range(20))
    return len(recorded)


def test_a_recorder_killed_at_any_time_leaves_a_valid_notebook_with_every_finished_cell(
    tmp_path: Path, *, full: bool
) -> None:
    kills = 100 if full else 40
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201  (pytest shows it when the test fails)
    chance = random.Random(seed)
    moments = [chance.random() for _ in range(kills)]

    def kill(nursery: Nursery, number: int) -> int:
        directory = tmp_path / str(number)
        directory.mkdir()
        own_kernel = number % 10 == 0  # killed at any time between the start of the kernel and the first cells
        finished = nursery.kill_one(directory, moments[number] * (1.5 if own_kernel else 0.4), own_kernel=own_kernel)
        path = directory / "session.ipynb"
        assert path.exists() or (own_kernel and not finished)
        return check_whole(path, finished) if path.exists() else 0

    def kill_some(numbers: range) -> list[int]:
        with contextlib.closing(Nursery()) as nursery:
            return [kill(nursery, number) for number in numbers]

    with ThreadPoolExecutor(2) as pool:
        recorded = [
            count for counts in pool.map(kill_some, [range(kills // 2), range(kills // 2, kills)]) for count in counts
        ]
    assert len(recorded) == kills
    assert sum(recorded) > kills, "kills fell into recordings that had something to lose"


# Displays


def png(colour: str) -> str:
    return picture("PNG", colour)


def picture(form: str, colour: str = "red") -> str:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(content, form)
    return base64.b64encode(content.getvalue()).decode()


def test_an_update_in_a_later_cell_changes_the_earlier_output_and_its_file(executor: JupyterCodeExecutor) -> None:
    first = run(executor, DISPLAY + f"shown = display({{'image/png': {png('red')!r}}}, raw=True, display_id='plot')")
    file = executor.notebook.parent / "session_1_0.png"
    assert first.output_files == [str(file)]
    assert file.read_bytes() == base64.b64decode(png("red"))
    later = run(executor, f"update_display({{'image/png': {png('blue')!r}}}, raw=True, display_id='plot')")
    assert later.output == ""
    assert outputs(executor, 1) == []
    assert outputs(executor, 0)[0]["data"] == {"image/png": png("blue")}
    assert file.read_bytes() == base64.b64decode(png("blue"))
    assert shown_in(file.parent) == ["session.ipynb", "session_1_0.png"]


def test_an_update_is_saved_while_its_block_still_runs(executor: JupyterCodeExecutor) -> None:
    run(executor, DISPLAY + "shown = display('old', display_id='x')")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, executor, "import time\nupdate_display('new', display_id='x')\ntime.sleep(60)")
        wait_for(lambda: texts(executor, 0) == ["'new'"])
        executor.interrupt()
        running.result(timeout=30)


def test_an_update_that_removes_an_image_also_removes_its_mention(executor: JupyterCodeExecutor) -> None:
    run(executor, DISPLAY + f"shown = display({{'image/png': {png('red')!r}}}, raw=True, display_id='plot')")
    run(executor, "update_display({'text/plain': 'no picture'}, raw=True, display_id='plot')")
    assert texts(executor, 0) == ["no picture"]
    assert cells(executor.notebook)[0]["metadata"]["nbtape"].get("extracted", []) == []


def test_every_display_of_an_id_is_updated(executor: JupyterCodeExecutor) -> None:
    run(executor, DISPLAY + "print('a')\ndisplay(1, display_id='x')\nprint('b')\nx = display(2, display_id='x')")
    run(executor, "x = display(3, display_id='x')")
    run(executor, "update_display(4, display_id='x')")
    assert texts(executor, 0) == ["a\n", "4", "b\n", "4"]
    assert texts(executor, 1) == ["4"]


def test_clear_output_with_wait_keeps_the_last_frame(executor: JupyterCodeExecutor) -> None:
    code = "for n in range(20):\n    clear_output(wait=True)\n    print('frame', n)\n    display(n)"
    result = run(executor, DISPLAY + code)
    assert texts(executor) == ["frame 19\n", "19"]
    assert result.output == "frame 19\n19"


def test_clear_output_keeps_later_outputs(executor: JupyterCodeExecutor) -> None:
    run(executor, DISPLAY + "print('a')\ndisplay(1)\nclear_output()\nprint('b')")
    assert texts(executor) == ["b\n"]
    run(executor, "print('a')\nclear_output()")
    assert texts(executor) == []
    run(executor, "print('a')\nclear_output(wait=True)")
    assert texts(executor) == ["a\n"], "it waits for an output that never comes"
    run(executor, "print('b')")
    assert (texts(executor, -2), texts(executor)) == (["a\n"], ["b\n"])


def test_a_cleared_image_leaves_no_file(executor: JupyterCodeExecutor) -> None:
    shown = f"display({{'image/png': {png('red')!r}}}, raw=True)\n"
    result = run(executor, DISPLAY + "print('x')\n" + shown + "clear_output(wait=True)\n" + shown)
    assert [path.rpartition("/")[2] for path in result.output_files] == ["session_1_0.png"]


def test_a_progress_bar_is_one_line_in_its_final_state(executor: JupyterCodeExecutor) -> None:
    code = "import time\nfrom tqdm import tqdm\nfor _ in tqdm(range(30), mininterval=0):\n    time.sleep(0.01)"
    result = run(executor, code)
    assert len(outputs(executor)) == 1
    text = outputs(executor)[0]["text"]
    assert text.startswith("100%|██████████| 30/30")
    assert text.count("\n") == 1
    assert "\r" not in text
    assert result.output == text


def test_rewound_lines_read_as_jupyterlab_shows_them(executor: JupyterCodeExecutor) -> None:
    run(
        executor,
        r"""print("abcdef\rxy\nwhole\r", end='', flush=True); print("new", end='', flush=True); print("\b\b.")""",
    )
    assert texts(executor) == ["xycdef\nn.\n"]


def test_a_hundred_outputs_of_one_cell_are_in_order(executor: JupyterCodeExecutor) -> None:
    code = "import sys\nfor n in range(50):\n    print(n, file=sys.stderr if n % 3 else sys.stdout)\n    display(n)"
    result = run(executor, DISPLAY + code)
    assert texts(executor) == [text for n in range(50) for text in (f"{n}\n", f"{n}")]
    assert result.output == "".join(f"{n}\n{n}\n" for n in range(50)).removesuffix("\n")


def test_an_output_after_an_error_is_recorded_after_it(executor: JupyterCodeExecutor) -> None:
    # ipykernel may attribute thread output to any running cell: this message names its cell.
    late = (
        "import threading, time\nown = kernel.get_parent()\n"
        "def late():\n    time.sleep(0.5)\n"
        "    kernel.session.send(kernel.iopub_socket, 'stream', {'name': 'stdout', 'text': 'late'}, parent=own)\n"
        "threading.Thread(target=late).start()\nprint('before')\n1/0"
    )
    assert run(executor, SEND + late).status == "error"
    result = run(executor, "import time\ntime.sleep(1.5)\nprint('next')")
    assert result.output == "next\n"
    assert [output["output_type"] for output in outputs(executor, 0)] == ["stream", "error", "stream"]
    assert outputs(executor, 0)[2]["text"] == "late"
    assert texts(executor, 1) == ["next\n"]


def test_a_message_after_the_error_message_of_its_cell_is_kept(executor: JupyterCodeExecutor) -> None:
    error = "send('error', {'ename': 'E', 'evalue': 'v', 'traceback': ['tb']})\n"
    result = run(executor, SEND + error + "send('stream', {'name': 'stdout', 'text': 'after'})")
    assert [output["output_type"] for output in outputs(executor)] == ["error", "stream"]
    assert result.output == "tb\nafter"


def test_thread_output_after_the_last_cell_is_in_the_notebook(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        run(executor, "import threading\nthreading.Timer(0.3, lambda: print('late')).start()")
        time.sleep(1)
    assert texts(executor) == ["late\n"]


# Types of output


def figure(form: str) -> bytes:
    from matplotlib.figure import Figure

    content = io.BytesIO()
    drawing = Figure(figsize=(1, 1))
    drawing.subplots().plot([1, 2])
    drawing.savefig(content, format=form)
    return content.getvalue()


@pytest.mark.parametrize("form", ["png", "jpeg", "gif", "webp", "bmp", "tiff"])
def test_every_type_of_image_is_saved_as_a_file(executor: JupyterCodeExecutor, form: str) -> None:
    result = run(executor, DISPLAY + f"display({{'image/{form}': {picture(form)!r}, 'text/plain': 'x'}}, raw=True)")
    path = executor.notebook.parent / f"session_1_0.{form}"
    assert result.output == f"Image data saved to {path.name}"
    assert result.output_files == [str(path)]
    with Image.open(path) as image:
        assert (image.format, image.size) == (form.upper(), (8, 8))
    assert outputs(executor)[0]["data"][f"image/{form}"] == picture(form)
    extracted = [{"path": path.name, "output": 0, "mime_type": f"image/{form}"}]
    assert cells(executor.notebook)[0]["metadata"]["nbtape"]["extracted"] == extracted


def test_svg_and_pdf_are_saved_as_files(executor: JupyterCodeExecutor) -> None:
    svg, pdf = figure("svg").decode(), base64.b64encode(figure("pdf")).decode()
    result = run(executor, DISPLAY + f"display({{'image/svg+xml': {svg!r}, 'application/pdf': {pdf!r}}}, raw=True)")
    root = executor.notebook.parent
    assert result.output_files == [str(root / "session_1_0.svg"), str(root / "session_1_0.pdf")]
    assert "PDF data saved to session_1_0.pdf" in result.output
    assert (root / "session_1_0.svg").read_text() == svg
    assert (root / "session_1_0.pdf").read_bytes() == base64.b64decode(pdf)
    assert outputs(executor)[0]["data"] == {"image/svg+xml": svg, "application/pdf": pdf}


def test_a_matplotlib_plot_is_saved_next_to_the_notebook(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    assert result.output == "Image data saved to session_1_0.png"
    with Image.open(result.output_files[0]) as image:
        assert image.format == "PNG"


def test_a_pandas_table_is_text_for_the_agent_and_html_in_the_notebook(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "import pandas\npandas.DataFrame({'a': [1, 2], 'b': ['x', 'é']})")
    assert result.output == "   a  b\n0  1  x\n1  2  é\n[2 rows x 2 columns]"
    assert result.output_files == []
    assert outputs(executor)[0]["output_type"] == "execute_result"
    assert outputs(executor)[0]["data"].keys() == {"text/plain", "text/html"}


def test_an_extracted_html_file_is_inert(tmp_path: Path) -> None:
    html = "<!doctype html><html><head><script>alert(1)</script></head><img src=http://x.org/y onerror=alert(1)></html>"
    with JupyterCodeExecutor(output_dir=tmp_path, extract=["html"]) as executor:
        run(executor, DISPLAY + f"display({{'text/html': {html!r}}}, raw=True)")
    text = (executor.notebook.parent / "session_1_0.html").read_text()
    policy, notice, rest = text.split("\n", 2)
    assert (rest, "scripts and frames do not run" in notice) == (html, True)
    found = re.fullmatch(r'<meta http-equiv="Content-Security-Policy" content="(.*)">', policy)
    assert found is not None, "the policy stands before everything it is to hold for"
    rules = dict(rule.strip().split(" ", 1) for rule in found[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert not {"script-src", "script-src-elem", "script-src-attr", "connect-src", "frame-src"} & rules.keys()
    assert rules["img-src"] == "data:"
    assert outputs(executor)[0]["data"]["text/html"] == html, "it is in the notebook"


def test_other_text_types_are_returned_unchanged(executor: JupyterCodeExecutor) -> None:
    for mime, value, told in [
        ("application/json", {"a": [1, "é"]}, '{"a": [1, "é"]}'),
        ("text/latex", "$x^2$", "$x^2$"),
        ("text/markdown", "*x*", "*x*"),
    ]:
        result = run(executor, DISPLAY + f"display({{{mime!r}: {value!r}}}, raw=True)")
        assert result.output == told
        assert result.output_files == []
        assert outputs(executor)[0]["data"] == {mime: value}


@pytest.mark.parametrize("data", ["!!! this is no base64 !!!", "AAA", "A", "é"])
def test_invalid_base64_is_recorded_and_reported(executor: JupyterCodeExecutor, data: str) -> None:
    result = run(executor, DISPLAY + f"display({{'image/png': {data!r}}}, raw=True)\nprint('after')")
    assert result.status == "ok"
    assert "Image data could not be saved as a file (it is not valid base64)" in result.output
    assert result.output.endswith("after\n")
    assert result.output_files == []
    assert outputs(executor)[0]["data"] == {"image/png": data}
    assert shown_in(executor.notebook.parent) == ["session.ipynb"]


def test_a_bundle_of_twenty_types_is_kept_complete(executor: JupyterCodeExecutor) -> None:
    bundle: dict[str, Any] = {f"application/vnd.x{n}+json": {"n": n} for n in range(8)}
    bundle |= {f"text/x-kind{n}": f"text {n}\nmore" for n in range(8)}
    bundle |= {"image/png": png("red"), "image/jpeg": picture("JPEG"), "text/plain": "p", "video/mp4": "AAAA"}
    assert len(bundle) == 20
    result = run(executor, DISPLAY + f"display({bundle!r}, raw=True)")
    assert outputs(executor)[0]["data"] == bundle
    assert [file.rpartition(".")[2] for file in result.output_files] == ["png"]  # two encodings of one image


# Hostile messages


def test_a_file_name_from_the_kernel_changes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    directory.mkdir(parents=True)
    (tmp_path / "x.png").write_text("precious")
    names = ["../../x", "../../x.png", "/tmp/nbtape-evil.png", str(tmp_path / "x.png"), ".."]
    with JupyterCodeExecutor(output_dir=directory) as executor:
        for name in names:
            metadata = {"filename": name, "image/png": {"filename": name}, "filenames": {"image/png": name}}
            run(executor, DISPLAY + f"display({{'image/png': 'AAAA'}}, raw=True, metadata={metadata!r})")
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    extracted = {f"a/b/session_{n + 1}_0.png" for n in range(len(names))}
    assert found == {"a", "a/b", "a/b/session.ipynb", "x.png", *extracted}
    assert (tmp_path / "x.png").read_text() == "precious"


HOSTILE = """
deep = 'x'
for _ in range(300):
    deep = [deep]
nan = float('nan')
for content in [
    {}, {'name': [], 'text': 'x'}, {'name': {}, 'text': {}}, {'text': None}, {'text': deep},
    {'name': deep, 'text': 'x'},
    {'data': []}, {'data': {'text/plain': 5, 'image/png': ['a', 'b'], 'text/html': {'a': 1}, 'image/gif': None}},
    {'data': {'application/json': nan, 'text/plain': nan}}, {'data': {'': 'x', '../../x': 'x', 'a/b/c': 'x'}},
    {'data': {'text/plain': deep, 'application/json': deep}, 'metadata': deep}, {'data': {}, 'transient': []},
    {'data': {}, 'transient': {'display_id': []}}, {'data': {}, 'metadata': None, 'transient': None},
    {'execution_count': True, 'data': {}, 'metadata': {}}, {'execution_count': -7}, {'execution_count': '*'},
    {'ename': None, 'evalue': [], 'traceback': 'no list'}, {'traceback': [None, {}, deep]}, {'traceback': None},
    {'wait': []}, {'comm_id': [], 'data': {}}, {'comm_id': 'c', 'data': {}}, {'comm_id': 'c', 'data': {'method': []}},
    {'comm_id': 'c', 'target_name': 'jupyter.widget', 'data': {'state': []}},
    {'execution_state': []}, {'execution_state': 'starting'},
]:
    for kind in [
        'stream', 'display_data', 'update_display_data', 'execute_result', 'error', 'execute_input', 'comm_open',
        'comm_msg', 'comm_close', 'status', 'unheard_of', '', 'iopub_welcome',
    ]:
        send(kind, content)
"""


def test_messages_of_any_shape_break_neither_the_block_nor_the_recording(executor: JupyterCodeExecutor) -> None:
    result = run(executor, SEND + HOSTILE + "print('after')")
    assert result.status == "ok"
    assert "after\n" in result.output
    assert run(executor, "print(377)").output == "377\n"
    assert len(cells(executor.notebook)) == 2


def test_a_message_whose_type_is_not_a_string_is_harmless(executor: JupyterCodeExecutor) -> None:
    code = "for kind in ([], {}, 5, None):\n    send('stream', {'name': 'stdout', 'text': 'x'}, msg_type=kind)\n"
    result = run(executor, SEND + code + "print('after')")
    assert (result.status, result.output) == ("ok", "after\n")
    assert run(executor, "print(377)").output == "377\n"


def test_a_forged_execution_count_is_harmless(executor: JupyterCodeExecutor) -> None:
    code = "send('execute_input', {'code': '', 'execution_count': True})\n"
    assert run(executor, SEND + code + "print('after')").output == "after\n"
    assert cells(executor.notebook)[0]["execution_count"] == 1
    assert cells(executor.notebook)[0]["execution_count"] is not True


def test_lone_surrogates_are_harmless(executor: JupyterCodeExecutor) -> None:
    run(executor, r"print('\ud800')")
    run(executor, DISPLAY + r"display({'text/plain': 'a\ud800b', 'application/json': ['\udc00']}, raw=True)")
    run(executor, SEND + r"send('stream', {'name': 'stdout', 'text': 'a\ud800b\ud83d\ude00'})")
    run(executor, r"raise ValueError('\ud800')")
    assert run(executor, "print('still here')").output == "still here\n"
    assert len(cells(executor.notebook)) == 5


def test_a_block_with_lone_surrogates_is_rejected_and_recorded(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "print('\ud800')")
    assert result.status == "not_run"
    assert "surrogates" in result.output
    assert cells(executor.notebook)[0]["source"] == "print('\ufffd')"


def test_a_notebook_name_that_is_not_utf8_is_rejected_or_recorded(tmp_path: Path) -> None:
    try:
        executor = JupyterCodeExecutor(output_dir=tmp_path, notebook="caf\udce9")
    except ValueError:
        return
    with executor:
        assert run(executor, DISPLAY + "display({'image/png': 'AAAA'}, raw=True)").status == "ok"
        assert len(cells(executor.notebook)) == 1


def test_nul_characters_are_recorded(executor: JupyterCodeExecutor) -> None:
    assert run(executor, r"print('a\0b')").output == "a\0b\n"
    assert texts(executor) == ["a\0b\n"]
    run(executor, DISPLAY + r"display({'text/plain': '\0', 'text/html': '\0'}, raw=True)")
    assert outputs(executor)[0]["data"] == {"text/plain": "\0", "text/html": "\0"}


def test_a_line_of_fifty_megabytes_is_cut_with_a_notice(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "print('x' * 50_000_000)")
    assert result.status == "ok"
    assert len(result.output) <= executor.max_output_chars
    assert "left out here" in result.output
    cell = cells(executor.notebook)[0]
    kept = cell["outputs"][0]["text"]
    assert kept == "x" * len(kept)
    assert len(kept) + cell["metadata"]["nbtape"]["left_out"] == 50_000_001
    assert "left out here" in cell["outputs"][-1]["text"]
    assert run(executor, "print('still here')").output == "still here\n"


def test_a_line_of_fifteen_megabytes_is_complete(executor: JupyterCodeExecutor) -> None:
    run(executor, "print('x' * 15_000_000)")
    assert texts(executor) == ["x" * 15_000_000 + "\n"]


# The size limit of a cell


@pytest.fixture
def bounded(tmp_path: Path) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(output_dir=tmp_path, max_cell_chars=1000) as executor:
        yield executor


def test_output_above_the_limit_of_a_cell_is_cut_counted_and_reported(bounded: JupyterCodeExecutor) -> None:
    result = run(bounded, "for n in range(500): print(f'{n:09d}', flush=True)")
    whole = "".join(f"{n:09d}\n" for n in range(500))
    cell = cells(bounded.notebook)[0]
    kept = cell["outputs"][0]["text"]
    assert kept == whole[:1000]
    assert cell["metadata"]["nbtape"]["left_out"] == len(whole) - 1000
    for said in (cell["outputs"][-1]["text"], result.output):
        assert "4,000 characters of output are left out here" in said
    assert len(cell["outputs"]) == 2
    assert run(bounded, "print('x' * 900)").output == "x" * 900 + "\n", "the next cell has a bound of its own"


def test_displays_above_the_limit_are_left_out_and_small_ones_kept(bounded: JupyterCodeExecutor) -> None:
    result = run(
        bounded, DISPLAY + "display({'text/plain': 'x' * 2000}, raw=True)\ndisplay({'text/plain': 'small'}, raw=True)"
    )
    assert [output["output_type"] for output in outputs(bounded)] == ["display_data", "stream"]
    assert "left out here" in result.output
    assert result.output.startswith("small\n")


def test_an_update_above_the_limit_keeps_the_previous_output(bounded: JupyterCodeExecutor) -> None:
    run(bounded, DISPLAY + "shown = display('small', display_id='x')")
    result = run(bounded, "update_display({'text/plain': 'x' * 5000}, raw=True, display_id='x')")
    assert texts(bounded, 0) == ["'small'"]
    assert "left out here" in result.output


def test_cleared_output_does_not_count(bounded: JupyterCodeExecutor) -> None:
    code = "for n in range(20):\n    clear_output(wait=True)\n    print(f'{n:02d}' * 300)"
    assert run(bounded, DISPLAY + code).output == "19" * 300 + "\n"
    assert "left_out" not in cells(bounded.notebook)[0]["metadata"]["nbtape"]


def test_a_progress_bar_does_not_use_up_the_limit(bounded: JupyterCodeExecutor) -> None:
    code = "for n in range(1000):\n    print(f'\\r{n:03d} done', end='', flush=True)"
    assert run(bounded, code).output == "999 done"


def test_an_error_is_returned_and_recorded_after_any_amount_of_output(bounded: JupyterCodeExecutor) -> None:
    result = run(bounded, "print('x' * 5000)\n1/0")
    assert (result.status, result.cells[0].error_name) == ("error", "ZeroDivisionError")
    assert "ZeroDivisionError: division by zero" in result.output
    assert "error" in [output["output_type"] for output in outputs(bounded)]


def test_a_shortened_answer_names_the_full_output_and_the_recording_is_complete(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path, max_output_chars=500) as executor:
        result = run(executor, "print('head'); print('x' * 5000); print('tail')")
        assert len(result.output) <= 500
        assert result.output.startswith("head\n")
        assert result.output.endswith("tail\n")
        assert f"to see all: nbtape show {executor.notebook.name} --block 1 " in result.output
        assert texts(executor) == ["head\n" + "x" * 5000 + "\ntail\n"]


# Output widgets: ipywidgets' `Output`, in the messages that it sends

WIDGET = """
from comm import create_comm
state = {'_model_module': '@jupyter-widgets/output', '_model_module_version': '1.0.0', '_model_name': 'OutputModel'}
widget = create_comm(target_name='jupyter.widget', data={'state': {**state, 'msg_id': '', 'outputs': []}},
                     metadata={'version': '2.1.0'})
def listen(request):
    widget.send({'method': 'update', 'state': {'msg_id': request}})
listen(get_ipython().kernel.get_parent()['header']['msg_id'])
print('inside')
listen('')
print('outside')
"""


def test_output_printed_into_an_output_widget_is_kept(executor: JupyterCodeExecutor) -> None:
    result = run(executor, WIDGET)
    assert "outside" in result.output
    assert "inside" in result.output
    assert "inside" in executor.notebook.read_text().replace("print('inside')", "")
