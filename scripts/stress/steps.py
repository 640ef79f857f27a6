"""The steps of a stress session: each kind with the code that it runs and the expected state of its cells.

Every line that a block prints has a mark: its label and its number. Before the first line, the code records that it
ran; after each, how far it has come: in files that outlive the kernel, so that no check relies on the notebook.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds that a block has in a session that runs into timeouts, and in all others.
SHORT_TIMEOUT: Final = 6
LONG_TIMEOUT: Final = 60

#: Where the code records its progress, below its working directory.
TRUTH: Final = "truth"

_PRELUDE: Final = """\
# block {label}
import os, time
block_{label} = True
os.makedirs("truth", exist_ok=True)
with open("truth/{label}.runs", "ab") as _runs:
    _runs.write(b"x")
def sayer(label):
    to = os.open("truth/" + label, os.O_CREAT | os.O_WRONLY, 0o666)
    def say(n):
        print(f"@{{label}}:{{n}}@", flush=True)
        os.pwrite(to, b"%d" % (n + 1), 0)
    return say
say = sayer("{label}")
def show(n, **options):
    display({{"text/plain": f"@{label}:{{n}}@"}}, raw=True, **options)
"""

_FORGE: Final = """
_PARTS, _FRAMES = ("data", "metadata", "transient"), (b"stream", b"<IDS|MSG>", b"bad signature")
kernel = get_ipython().kernel
def forge(kind, content, parent=None):
    parent = kernel.get_parent() if parent is None else parent
    try: kernel.session.send(kernel.iopub_socket, kind, content, parent=parent)
    except Exception: pass  # some cannot even be sent
"""

#: Messages that hostile code may send. They go out before the lines of its block, which must all be recorded.
_FORGERIES: Final = (
    "for text in (None, 7, ['a'], {}, '\\ud800'): forge('stream', {'name': 'stdout', 'text': text})",
    "for data in (None, [], 'x', {'text/plain': 7}): forge('display_data', dict.fromkeys(_PARTS, data))",
    "for data in ({'no mime': 'x'}, {'application/json': {'a': [[]]}}): forge('display_data', {'data': data})",
    "for state in (None, 7, '', 'idle', 'busy', []): forge('status', {'execution_state': state}, {'msg_id': 'other'})",
    "for count in (None, -1, 'x', 1e300, [1]): forge('execute_input', {'code': 7, 'execution_count': count})",
    "for lines in (None, 7, [None, 7, {}]): forge('error', {'ename': 7, 'evalue': None, 'traceback': lines})",
    "forge('update_display_data', {'data': {}, 'transient': {'display_id': 'unknown'}})",
    "for wait in (None, 'no', []): forge('clear_output', {'wait': wait})\nforge('clear_output', {'wait': False})",
    "forge('status', {'execution_state': 'idle'})",
    "for kind in ('', 'nothing', 'execute_reply', 'shutdown_request', 'comm_open', 'comm_msg'): forge(kind, {})",
    "forge('display_data', {'data': {'application/json': float('nan'), 'text/plain': 1000 * '\\x00'}})",
    "for parent in ({}, {'msg_id': 7}, {'header': None}): forge('stream', {'name': 'x', 'text': 'y'}, parent)",
)

#: Bytes that are not messages. They silence a server other than nbtape's for a while.
_GARBAGE: Final = (
    "for frame in (b'', b'{}', b'\\xff', 10_000 * b'['): kernel.iopub_thread.send_multipart([frame, frame])",
    "for frame in (b'{}', b'null', b'[1]', b'\\xff'): kernel.iopub_thread.send_multipart([*_FRAMES, *4 * [frame]])",
)

_PICTURE: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

#: Ways to take standard output away. After the last one it is back.
_MUTES: Final = (
    "import sys; sys.stdout.close()",
    "import io, sys; sys.stdout = io.StringIO()",
    "import io, sys; _kept, sys.stdout = sys.stdout, io.StringIO(); print('unseen'); sys.stdout = _kept",
)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block and the expected state of its cell.

    Args:
        label: The label of its lines.
        code: The code that runs.
        language: Its language label.
        statuses: The statuses it may have.
        first: The number of the first line that is visible.
        must: The lines that must be there although the kernel was killed after them.
        may: The lines that are there if the code completes; the maximum in any case.
        images: The number of images, in the same way.
        mutes: After it, output may be invisible as long as the kernel lives.
    """

    label: str
    code: str
    language: str = "python"
    statuses: frozenset[str] = frozenset({"ok"})
    first: int = 0
    must: int = 0
    may: int = 0
    images: int = 0
    mutes: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step.

    Args:
        write: Returns its blocks, for a label and a size.
        weight: How often it is drawn.
        sizes: The minimum and maximum size.
        act: The action while the blocks run, or, without blocks, the only action.
        delays: The minimum and maximum milliseconds until the action.
        needs: Its requirements: an `async` executor, a `proxy`, a `slow` session, to be the `last` step, or kernels
            that are all `ours`.
        is_fault: Whether it is a fault.
    """

    write: Callable[[str, int], list[Block]]
    weight: int = 4
    sizes: tuple[int, int] = (1, 20)
    act: str = ""
    delays: tuple[int, int] = (0, 0)
    needs: frozenset[str] = frozenset()
    is_fault: bool = True


def python(label: str, code: str, lines: int = 0, **promise: object) -> Block:
    """Return a block of Python with the marks of `label`."""
    block = Block(label, _PRELUDE.format(label=label) + code, may=lines)
    return replace(block, **promise) if promise else block  # type: ignore[arg-type]  # each by its name


def statuses(*names: str) -> frozenset[str]:
    """Return the statuses that a block may have."""
    return frozenset(names)


def _says(lines: str) -> str:
    return f"for n in {lines}: say(n)\n"


def _print(label: str, size: int) -> list[Block]:
    return [python(label, _says(f"range({size})"), size)]


def _display(label: str, size: int) -> list[Block]:
    return [python(label, f"for n in range({size}): (say if n % 3 else show)(n)", size)]


def _update(label: str, size: int) -> list[Block]:
    code = f"shown = '{label}'\nshow(0, display_id=shown)\nfor n in range(1, {size + 1}):\n"
    code += "    show(n, display_id=shown, update=True)"
    return [python(label, code, 1, first=size)]


def _clear(label: str, size: int) -> list[Block]:
    code = f"from IPython.display import clear_output\n{_says(f'range({size})')}"
    return [python(label, f"{code}clear_output(wait={size % 2 == 0})\nsay({size})", 1, first=size)]


def _picture(label: str, size: int) -> list[Block]:
    code = f"import base64\nfrom IPython.display import Image\npng = base64.b64decode('{_PICTURE}')\n"
    code += f"for n in range({size}):\n    say(n)\n    display(Image(data=png, format='png'))"
    return [python(label, code, size, images=size)]


def _error(label: str, size: int) -> list[Block]:
    failing = python(label, f"{_says(f'range({size})')}raise RuntimeError(n)", size, statuses=statuses("error"))
    return [failing, python(f"{label}b", "say(0)", statuses=statuses("not_run"))]


def _recall(label: str, _: int) -> list[Block]:
    code = "names = sorted(name[6:] for name in globals() if name.startswith('block_'))\n"
    return [python(label, f"{code}print('@{label}=' + ','.join(names) + '@')")]


def _bash(label: str, size: int) -> list[Block]:
    code = f"# block {label}\nmkdir -p truth\nprintf x >>truth/{label}.runs\n"
    code += f"for n in $(seq 0 {size - 1}); do echo @{label}:$n@; done"
    return [Block(label, code, "bash", may=size)]


def _perl(label: str, _: int) -> list[Block]:
    return [Block(label, f"# block {label}\nsay 1", "perl", statuses=statuses("not_run"))]


def _thread(label: str, size: int) -> list[Block]:
    code = f"import threading\nlate = sayer('{label}t')\ndef later(say=late):\n"
    code += f"    for n in range({size}):\n        say(n)\n        time.sleep(0.002)\n"
    return [python(label, f"{code}threading.Thread(target=later, name='stress', daemon=True).start()\nsay(0)", 1)]


def _join(label: str, _: int) -> list[Block]:
    code = "import threading\nfor thread in threading.enumerate():\n    if thread.name == 'stress': thread.join()\n"
    return [python(label, f"{code}say(0)\nopen('truth/{label}.joined', 'w').close()", 1)]


def _several(label: str, size: int) -> list[Block]:
    return [python(f"{label}{part}", _says(f"range({size})"), size) for part in "abc"]


def _mute(label: str, size: int) -> list[Block]:
    way = size % len(_MUTES)
    if way == len(_MUTES) - 1:
        return [python(label, f"say(0)\n{_MUTES[way]}\nsay(1)", 2)]
    return [python(label, f"say(0)\n{_MUTES[way]}", 1, mutes=True, statuses=statuses("ok", "error"))]


def _forge(label: str, size: int) -> list[Block]:
    return [python(label, f"{_FORGE}{_FORGERIES[size % len(_FORGERIES)]}\n{_says('range(5)')}", 5)]


def _garble(label: str, size: int) -> list[Block]:
    return [python(label, f"{_FORGE}{_GARBAGE[size % len(_GARBAGE)]}\n{_says('range(5)')}", 5)]


def _dies(how: str, status: str = "kernel_died") -> Callable[[str, int], list[Block]]:
    """Write lines that must be there, time to send them, lines that may be there, and the end of the kernel."""

    def write(label: str, size: int) -> list[Block]:
        code = f"{_says(f'range({size})')}time.sleep(0.5)\n{_says(f'range({size}, {2 * size})')}{how}"
        return [
            python(label, code, 2 * size, must=size, statuses=statuses(status)),
            python(f"{label}b", "say(0)", statuses=statuses("not_run")),
        ]

    return write


def _exit(label: str, size: int) -> list[Block]:
    return [python(label, f"{_says(f'range({size})')}exit()", size), python(f"{label}b", "say(0)", 1)]


def _swallow(label: str, size: int) -> list[Block]:
    once = f"{_says(f'range({size})')}try: time.sleep(60)\nexcept KeyboardInterrupt: say({size})\ntime.sleep(60)"
    always = f"{_says(f'range({size})')}while True:\n    try: time.sleep(60)\n    except KeyboardInterrupt: pass"
    lines = size + size % 2
    return [python(label, once if size % 2 else always, lines, must=size, statuses=statuses("timeout"))]


def _endless(label: str, size: int) -> list[Block]:
    return [python(label, _says("__import__('itertools').count()"), 1 << 40, must=size, statuses=statuses("timeout"))]


def _long(*how: str) -> Callable[[str, int], list[Block]]:
    """Return two blocks that print for a while and may also have these statuses."""
    ways = statuses("ok", *how)

    def write(label: str, size: int) -> list[Block]:
        code = f"for n in range({size}):\n    say(n)\n    if n % 4 == 0: time.sleep(0.004)"
        return [
            python(label, code, size, statuses=ways),
            python(f"{label}b", "say(0)", 1, statuses=ways | {"not_run"} if how else ways),
        ]

    return write


def _pair(label: str, size: int) -> list[Block]:
    return [python(f"{label}{part}", _says(f"range({size})"), size) for part in "abcd"]


def _nothing(_: str, __: int) -> list[Block]:
    return []


_KILL: Final = "import signal; os.kill(os.getpid(), signal.SIGKILL)"
_STOP: Final = "import signal; os.kill(os.getpid(), signal.SIGSTOP)"
_CRASH: Final = "import ctypes; ctypes.string_at(0)"

#: A tear may lose the block itself, so it is unknown whether it ran: the error reports that.
_TORN: Final = ("error",)

KINDS: Final[Mapping[str, Kind]] = {
    # Steps that work
    "print": Kind(_print, weight=8, is_fault=False),
    "burst": Kind(_print, weight=6, sizes=(100, 2000), is_fault=False),
    "display": Kind(_display, sizes=(1, 60), is_fault=False),
    "update": Kind(_update, is_fault=False),
    "clear": Kind(_clear, is_fault=False),
    "picture": Kind(_picture, sizes=(1, 3), is_fault=False),
    "recall": Kind(_recall, weight=8, is_fault=False),
    "bash": Kind(_bash, sizes=(1, 50), is_fault=False),
    "several": Kind(_several, is_fault=False),
    "thread": Kind(_thread, sizes=(10, 200), is_fault=False),
    "join": Kind(_join, is_fault=False),
    "pair": Kind(_pair, is_fault=False),
    "markdown": Kind(_nothing, weight=1, act="markdown", is_fault=False),
    # Steps that fail
    "error": Kind(_error),
    "perl": Kind(_perl, weight=1),
    "mute": Kind(_mute, sizes=(0, 2), weight=2),
    "forge": Kind(_forge, sizes=(0, len(_FORGERIES) - 1)),
    "garble": Kind(_garble, sizes=(0, len(_GARBAGE) - 1), weight=2, needs=frozenset({"ours"})),
    "kill": Kind(_dies(_KILL), sizes=(1, 300)),
    "_exit": Kind(_dies("os._exit(3)"), sizes=(1, 300), weight=2),
    "crash": Kind(_dies(_CRASH), sizes=(1, 300), weight=2),
    "exit": Kind(_exit, sizes=(1, 300)),
    "freeze": Kind(_dies(_STOP, "timeout"), needs=frozenset({"slow"})),
    "swallow": Kind(_swallow, needs=frozenset({"slow"})),
    "endless": Kind(_endless, needs=frozenset({"slow"})),
    # Actions during a block
    "interrupt": Kind(_long("interrupted", "not_run"), sizes=(100, 1500), act="interrupt", delays=(0, 1500)),
    "cancel": Kind(
        _long("interrupted", "not_run"),
        sizes=(100, 1500),
        act="cancel",
        delays=(0, 1500),
        weight=6,
        needs=frozenset({"async"}),
    ),
    "restart": Kind(_nothing, weight=2, act="restart"),
    "stop": Kind(_nothing, weight=2, act="stop"),
    "restart_during": Kind(
        _long("interrupted", "not_run"), sizes=(100, 1500), act="restart", delays=(0, 1500), weight=2
    ),
    "stop_during": Kind(_long("interrupted", "not_run"), sizes=(100, 1500), act="stop", delays=(0, 1500), weight=2),
    "cut": Kind(_long(), sizes=(100, 2000), act="cut", delays=(0, 800), weight=12, needs=frozenset({"proxy"})),
    "away": Kind(_long(), sizes=(100, 2000), act="away", delays=(0, 800), weight=8, needs=frozenset({"proxy"})),
    "tear": Kind(_long(*_TORN), sizes=(100, 2000), act="tear", delays=(0, 800), weight=8, needs=frozenset({"proxy"})),
    "die": Kind(_long("running"), sizes=(100, 2000), act="die", delays=(0, 1500), needs=frozenset({"last"})),
}
