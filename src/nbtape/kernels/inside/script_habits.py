"""Sets up a Python kernel for code that was written for a script or a desktop.

`sys.argv` has no arguments of the kernel, figures and images that no window can show are displayed, and a `%%bash` cell
ends when its shell exits. Read as text and run in a kernel, in a namespace of its own; a second run changes nothing.

It runs on the kernel's Python (3.8 or newer) and imports nothing of nbtape.
"""

from __future__ import annotations

import codecs
import functools
import importlib.util
import os
import select
import subprocess
import sys
import threading
from contextlib import suppress
from contextvars import copy_context
from typing import Any

INLINE = "module://matplotlib_inline.backend_inline"

#: The backends of matplotlib that write files and show nothing.
SILENT = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")

#: Seconds that a script has for each way to stop it, and that its last output may take.
PATIENCE = 0.1


def set_up(shell: Any) -> None:
    if hasattr(shell, "nbtape_is_set_up"):
        return
    shell.nbtape_is_set_up = True
    del sys.argv[1:]
    # streamlit, for one, sets it in the process that starts the kernel. A backend of a module is meant for notebooks.
    if not os.environ.get("MPLBACKEND", "").startswith("module://"):
        os.environ["MPLBACKEND"] = INLINE
    shell.events.register("post_run_cell", functools.partial(display_figures, shell))
    sys.meta_path.insert(0, PillowFinder())
    for name in ("bash", "sh"):
        if original := shell.find_cell_magic(name):
            shell.register_magic_function(script_magic(name, original), "cell", name)


def display_figures(shell: Any, _: Any = None) -> None:
    """Display the figures that a cell has drawn on, and not saved, with a backend that shows nothing.

    The backend is the code's own choice, such as `matplotlib.use("Agg")`, and so the figures stay open.
    """
    pyplot = sys.modules.get("matplotlib.pyplot")
    numbers: Any = getattr(pyplot, "get_fignums", list)()
    if not numbers or pyplot.get_backend().lower() not in SILENT:  # type: ignore[union-attr]
        return
    from IPython.core.pylabtools import select_figure_formats
    from IPython.display import display

    select_figure_formats(shell, {"png"}, bbox_inches="tight")  # type: ignore[no-untyped-call]
    current = pyplot.gcf().number  # type: ignore[union-attr]
    for figure in map(pyplot.figure, numbers):  # type: ignore[union-attr]
        if undrawn(figure) - getattr(figure, "nbtape_undrawn", set()):
            display(figure)  # type: ignore[no-untyped-call]
            figure.nbtape_undrawn = undrawn(figure)
    pyplot.figure(current)  # type: ignore[union-attr]


def undrawn(figure: Any) -> set[int]:
    """The parts of a figure that were added or changed since it was last drawn, displayed or saved."""
    parts = [part for axes in figure.axes for part in axes.get_children() if part.stale and part.get_visible()]
    return {id(part) for part in parts if not part.get_animated() and getattr(part, "get_text", object)() != ""}


class PillowFinder:
    """Makes `Image.show()` of Pillow display the image: it prefers a program that opens a window."""

    def find_spec(self, name: str, *_: Any) -> Any:
        if name != "PIL.ImageShow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: Any) -> None:
                execute(module)
                with suppress(AttributeError):
                    module.register(module.IPythonViewer, -1)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def script_magic(program: str, original: Any) -> Any:
    """A cell magic that runs a script and returns when it exits.

    IPython's waits for all that hold the streams, such as `server &`. What they print later is still displayed.
    """

    def magic(line: str, cell: str) -> Any:
        if line.strip():
            return original(line, cell)
        script = (cell if cell.endswith("\n") else cell + "\n").encode("utf-8", "replace")
        pipe = subprocess.PIPE
        process = subprocess.Popen([program], stdin=pipe, stdout=pipe, stderr=pipe)  # noqa: S603  (of the magic)
        streams = ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
        copies = [(source, copy_in_thread(source, target)) for source, target in streams]
        try:
            with suppress(BrokenPipeError), process.stdin:  # type: ignore[union-attr]
                process.stdin.write(script)  # type: ignore[union-attr]
            code = process.wait()
            for source, thread in copies:
                finish(source, thread)
        except KeyboardInterrupt:
            stop(process)
            raise KeyboardInterrupt from None
        if code:
            raise subprocess.CalledProcessError(code, script)
        return None

    # Tracebacks leave out the frames of IPython's own magics, by the name of their file.
    magic.__code__ = magic.__code__.replace(co_filename=original.__code__.co_filename)
    return functools.wraps(original)(magic)


def copy_in_thread(source: Any, target: Any) -> threading.Thread:
    def copy() -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        with source:
            while True:
                piece = os.read(source.fileno(), 1 << 16)
                target.write(decode(piece, not piece))
                target.flush()
                if not piece:
                    return

    # In the context of the cell, to which its output belongs.
    thread = threading.Thread(target=copy_context().run, args=(copy,), daemon=True)
    thread.start()
    return thread


def finish(source: Any, thread: threading.Thread) -> None:
    """Wait until a thread has copied what is in a pipe, which other processes may hold open."""
    with suppress(ValueError, OSError):  # the thread has just closed it
        while thread.is_alive() and select.select([source], [], [], 0)[0]:
            thread.join(0.01)
    thread.join(PATIENCE)


def stop(process: Any) -> None:
    for end in (functools.partial(process.send_signal, 2), process.terminate, process.kill):
        if process.poll() is None:
            end()
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)


with suppress(ImportError):
    from IPython import get_ipython

    if (current_shell := get_ipython()) is not None:
        set_up(current_shell)
