"""The rows and their goals."""

from __future__ import annotations

from typing import Final

from benchmarks.comparisons import Goal, Plan, Row, Way

_X: Final = "x=1"
_IMPORTS: Final = "import pandas, matplotlib.pyplot"
#: The bytes of an image. They are random, so that compression saves nothing.
_PICTURE: Final = "100_000"
_SHOW: Final = """
import base64, os
from IPython.display import display
"""
_ONE_PICTURE: Final = f"{_SHOW}display({{'image/png': base64.b64encode(os.urandom({_PICTURE})).decode()}}, raw=True)"
_PICTURES: Final = f"""{_SHOW}for _ in range(200):
    display({{'image/png': base64.b64encode(os.urandom({_PICTURE})).decode()}}, raw=True)"""
_LINES: Final = "for n in range(100_000):\n    print(f'{n:>99}')"
_FLUSHED: Final = "for n in range(20_000):\n    print(n, flush=True)"
_PLOT: Final = "plt.plot(range(100), [n**1.5 for n in range(100)])\nplt.show()"

#: Placeholders that `benchmarks.__main__` replaces.
CELLS: Final = "{cells}"
BASE_IMAGE: Final = "{base image}"
AUTOGEN_IMAGE: Final = "{autogen image}"
SMOLAGENTS_IMAGE: Final = "{smolagents image}"

_STARTS: Final = (
    Way("nbtape", "nbtape, recorded", "nbtape:first_result"),
    Way("autogen", "autogen-ext", "autogen:first_result"),
    Way("nbclient", "nbclient", "nbclient:first_result"),
    Way("ag2", "ag2, embedded", "ag2:first_result"),
)

_FIRST: Final = (
    Row(
        "import",
        "python -c 'import nbtape'",
        [
            Way("nbtape", "import nbtape", "interpreter:run", ("import nbtape",)),
            Way("empty", "an empty interpreter", "interpreter:run", ("pass",)),
        ],
        [Goal("nbtape", 0.1, "empty", difference=True)],
        full=Plan(5, steps=20),
        quick=Plan(3, steps=8),
    ),
    Row(
        "first-result",
        "from the constructor to the result of print(1), everything imported before",
        [Way("bare", "a bare kernel, to its kernel_info_reply", "raw:first_result"), *_STARTS],
        [Goal("nbtape", 1.3, "bare"), Goal("nbtape", 0.6, "autogen"), Goal("nbtape", 0.6, "nbclient")],
        full=Plan(5, steps=6),
        quick=Plan(2, steps=3),
    ),
    Row(
        "first-result-imports",
        "the same, imports of the library included",
        _STARTS,
        [Goal("nbtape", 1 / 3, "autogen"), Goal("nbtape", 1 / 10, "ag2")],
        full=Plan(5, steps=2),
        quick=Plan(1, steps=2),
        process="fresh",
    ),
    Row(
        "first-result-pool",
        "the same from a pool that is full",
        [
            Way("nbtape", "nbtape, KernelPool(), recorded", "nbtape:first_result_from_pool"),
            Way("autogen", "autogen-ext, no pool", "autogen:first_result"),
        ],
        [Goal("nbtape", 0.015), Goal("nbtape", 1 / 40, "autogen")],
        full=Plan(5, steps=8),
        quick=Plan(2, steps=3),
    ),
    Row(
        "first-result-forked",
        "the same with pandas and matplotlib.pyplot imported",
        [
            Way("forked", "nbtape, forked by KernelPool(preload=…)", "nbtape:first_import_forked", (_IMPORTS,)),
            Way("started", "nbtape, a plain start and the imports", "nbtape:first_import", (_IMPORTS,)),
        ],
        [Goal("forked", 1 / 5, "started"), Goal("forked", 1 / 2, "started", of="uss")],
        full=Plan(5, steps=6),
        quick=Plan(2, steps=3),
    ),
    Row(
        "first-result-server",
        "the same on a local server",
        [
            Way("second", "nbtape, on a LocalJupyterServer that runs", "nbtape:first_result_on_server"),
            Way("server", "nbtape, LocalJupyterServer included", "nbtape:first_result_of_server"),
            Way("local", "nbtape, without a server", "nbtape:first_result"),
        ],
        [Goal("second", 2, "local")],
        full=Plan(5, steps=4),
        quick=Plan(2, steps=2),
    ),
    Row(
        "first-result-docker",
        "the same in a new container, its image being there; and the stop",
        [
            Way("nbtape", "nbtape, recorded", "nbtape:first_result_in_docker", (BASE_IMAGE,)),
            Way("autogen", "autogen-ext", "autogen:first_result_in_docker", (AUTOGEN_IMAGE,)),
            Way("smolagents", "smolagents", "smolagents:first_result_in_docker", (SMOLAGENTS_IMAGE,)),
        ],
        [Goal("nbtape", 0.7, "autogen"), Goal("nbtape", 0.1, "autogen", of="stop")],
        full=Plan(3, steps=2),
        quick=Plan(1, steps=1),
        process="fresh",
        docker=True,
    ),
)

_CELLS: Final = (
    Row(
        "warm-cell",
        "a warm cell x=1",
        [
            Way("nbtape", "nbtape, recorded", "nbtape:cells", (_X,)),
            Way("nbclient", "nbclient, not saved", "nbclient:cells", (_X,)),
            Way("autogen", "autogen-ext, not saved", "autogen:cells", (_X,)),
            Way("ag2", "ag2, embedded, not saved", "ag2:cells", (_X,)),
        ],
        [Goal("nbtape", 1.3, "nbclient"), Goal("nbtape", 1, "autogen"), Goal("nbtape", 1 / 35, "ag2")],
        full=Plan(5, steps=200, batch=20),
        quick=Plan(2, steps=60, batch=20),
    ),
    Row(
        "warm-cell-server",
        "a warm cell x=1 through a server",
        [
            Way("gateway", "nbtape, LocalJupyterServer, recorded", "nbtape:cells_on_server", (_X,)),
            Way("jupyter", "nbtape, jupyter_server, recorded", "nbtape:cells_on_jupyter_server", (_X,)),
            Way("local", "nbtape, without a server, recorded", "nbtape:cells", (_X,)),
            Way("ag2", "ag2's client on a gateway", "ag2:cells_on_server", (_X,)),
            Way("client", "jupyter-kernel-client, jupyter_server", "jupyter_kernel_client:cells", (_X,)),
        ],
        [Goal("gateway", 1.6, "local"), Goal("gateway", 1 / 5, "ag2"), Goal("jupyter", 1 / 5, "client")],
        full=Plan(5, steps=200, batch=20),
        quick=Plan(2, steps=60, batch=20),
    ),
    Row(
        "warm-cell-docker",
        "a warm cell x=1 in a container",
        [
            Way("nbtape", "nbtape, recorded", "nbtape:cells_in_docker", (_X, BASE_IMAGE)),
            Way("autogen", "autogen-ext", "autogen:cells_in_docker", (_X, AUTOGEN_IMAGE)),
            Way("smolagents", "smolagents", "smolagents:cells_in_docker", (_X, SMOLAGENTS_IMAGE)),
        ],
        [Goal("nbtape", 1 / 5, "autogen"), Goal("nbtape", 1 / 5, "smolagents")],
        full=Plan(3, steps=100, batch=20),
        quick=Plan(1, steps=40, batch=20),
        docker=True,
    ),
)

_MANY: Final = (
    Row(
        "late-cell",
        "a warm cell x=1 when so many have run and are recorded",
        [
            Way("late", "nbtape, after 10,000 cells", "nbtape:cells_after", (_X, "10000")),
            Way("early", "nbtape, after 10 cells", "nbtape:cells_after", (_X, "10")),
        ],
        [Goal("late", 1.15, "early")],
        full=Plan(2, steps=200, batch=20),
        quick=Plan(1, steps=100, batch=20),
    ),
    Row(
        "sessions",
        "50 sessions at once, from the first constructor until each has run ten cells and has stopped",
        [
            Way("together", "nbtape, recorded", "nbtape:sessions", ("50",)),
            Way("in turn", "nbtape, recorded, one after the other", "nbtape:sessions", ("1",)),
        ],
        [Goal("together", 1, "in turn")],
        full=Plan(2, steps=2),
        quick=Plan(1, steps=1),
        unit="s",
    ),
)

_OUTPUTS: Final = (
    ("lines", "10 MB in 100,000 lines", _LINES, Plan(5, steps=2)),
    ("flushed-lines", "20,000 flushed lines", _FLUSHED, Plan(3, steps=1)),
    ("images", "200 images of 100 KB in one cell", _PICTURES, Plan(5, steps=3)),
)

_MUCH_OUTPUT: Final = tuple(
    Row(
        key,
        title,
        [
            Way("nbtape", "nbtape, recorded", "nbtape:cells", (code,)),
            Way("raw", "raw jupyter_client", "raw:cells", (code,)),
            Way("nbclient", "nbclient, not saved", "nbclient:cells", (code,)),
        ],
        [Goal("nbtape", 1.15, "raw")],
        full=full,
        quick=Plan(1, steps=1),
        unit="s",
    )
    for key, title, code, full in _OUTPUTS
)

_LONG: Final = (
    Row(
        "cells",
        "1,000 cells x=1 (--quick: 200), saved after each",
        [
            Way("nbtape", "nbtape, recorded", "nbtape:cells", (_X,)),
            Way("nbclient", "nbclient, not saved", "nbclient:cells", (_X,)),
            Way("written", "nbclient, nbformat.write", "nbclient:cells", (_X, "written.ipynb"), once=True),
            Way("papermill", "papermill", "papermill:replay", ("papermill", CELLS, _X), whole=True, once=True),
        ],
        [
            Goal("nbtape", 1.2, "nbclient"),
            Goal("nbtape", 1 / 8, "written", full=True),
            Goal("nbtape", 1 / 25, "papermill", full=True),
        ],
        full=Plan(3, steps=1000, batch=100, cells=1000),
        quick=Plan(1, steps=200, batch=20, cells=200),
        unit="s",
        total=True,
    ),
    Row(
        "saves",
        "1,000 saves (--quick: 200) of a notebook that grows by 100 KB of PNG",
        [
            Way("nbtape", "nbtape, as a session saves", "saving:by_nbtape", (_PICTURE,)),
            Way("nbformat", "nbformat.write", "saving:by_nbformat", (_PICTURE,), once=True),
        ],
        [Goal("nbtape", 5), Goal("nbtape", 1 / 50, "nbformat", full=True)],
        # All steps of a way without a pause: a session may spend a tenth of the elapsed time on saving.
        full=Plan(3, steps=1000, batch=1000),
        quick=Plan(1, steps=200, batch=200),
        unit="s",
        total=True,
    ),
    Row(
        "recording",
        "1,000 cells (--quick: 200) with 100 KB of PNG, and what recording them costs",
        [
            Way("nbtape", "nbtape, recorded, PNGs next to it", "nbtape:cells", (_ONE_PICTURE,)),
            Way("nbclient", "nbclient, not saved", "nbclient:cells", (_ONE_PICTURE,)),
        ],
        [Goal("nbtape", 5, "nbclient", difference=True)],
        full=Plan(2, steps=1000, batch=100),
        quick=Plan(1, steps=200, batch=20),
        unit="s",
        total=True,
    ),
    Row(
        "memory",
        "2,000 cells (--quick: 200) with 100 KB of PNG, and by how much the client grows",
        [
            Way("nbtape", "nbtape, recorded", "nbtape:cells", (_ONE_PICTURE,)),
            Way("autogen", "autogen-ext, which forgets them", "autogen:cells", (_ONE_PICTURE,)),
        ],
        [Goal("nbtape", 20e6, of="growth")],
        full=Plan(1, steps=2000, batch=50),
        quick=Plan(1, steps=200, batch=50),
        unit="s",
        total=True,
    ),
)

_REPLAYS: Final = (
    Row(
        "replay",
        "a notebook of 1,000 cells x=1 (--quick: 200) run again",
        [
            Way("nbtape", "papermill --engine nbtape", "papermill:replay", ("nbtape", CELLS, _X), whole=True),
            Way("nbclient", "nbclient, not saved", "papermill:replay_by_nbclient", ("", CELLS, _X), whole=True),
            Way("papermill", "papermill with its own engine", "papermill:replay", ("papermill", CELLS, _X), whole=True),
        ],
        [Goal("nbtape", 1.5, "nbclient")],
        full=Plan(1, steps=1, cells=1000),
        quick=Plan(1, steps=1, cells=200),
        unit="s",
    ),
    Row(
        "replay-plots",
        "a notebook of 100 cells (--quick: 40), each with a plot except the first, run again",
        [
            Way(key, label, f"papermill:{does}", (how, CELLS, _PLOT, "import matplotlib.pyplot as plt"), whole=True)
            for key, label, does, how in (
                ("nbtape", "papermill --engine nbtape", "replay", "nbtape"),
                ("written", "nbclient, nbformat.write", "replay_by_nbclient", "saved"),
                ("papermill", "papermill with its own engine", "replay", "papermill"),
            )
        ],
        [Goal("nbtape", 1, "written")],
        full=Plan(2, steps=1, cells=100),
        quick=Plan(1, steps=1, cells=40),
        unit="s",
    ),
)


def rows() -> list[Row]:
    """Return all rows, without measurements."""
    return [*_FIRST, *_CELLS, *_MANY, *_MUCH_OUTPUT, *_LONG, *_REPLAYS]
