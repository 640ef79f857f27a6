"""Makes the corpus: runs every cell of `output_cases.py` in three kernels and writes the outputs, one file per library.

    PYTHONPATH=tests/support python tests/replay/compare/make_corpus.py

The kernels differ like three machines: in their working directories, hash seeds and time zones. The zones are so far
apart that the dates differ as well during 19 hours of the day (from 10 to 24 and from 0 to 5 o'clock UTC).

This script needs nbclient, ipykernel and the libraries of the cells: pandas, jinja2, numpy, matplotlib, seaborn,
scikit-learn, statsmodels, tqdm, plotly and rich. The tests read the result and need none of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from output_cases import CASES

if TYPE_CHECKING:
    from output_cases import Case

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Machine:
    """The environment of a kernel, and the paths to write to the corpus."""

    home: str
    zone: str
    utc_offset: float
    seed: str

    def env(self) -> dict[str, str]:
        return {**os.environ, "TZ": self.zone, "PYTHONHASHSEED": self.seed}


RECORDED = Machine("/home/ann", "Etc/GMT-14", 14 * 3600, "1")
REPLAYED = Machine("/srv/replay", "Etc/GMT+5", -5 * 3600, "2")
ELSEWHERE = Machine("/mnt/data", "Etc/GMT+2", -2 * 3600, "3")


async def run(machine: Machine, codes: list[str]) -> list[dict[str, Any]]:
    """Run the codes one after another on one kernel; return the outputs and context of each."""
    notebook = new_notebook(cells=[new_code_cell(code) for code in codes])
    with tempfile.TemporaryDirectory() as directory:
        client = NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True)
        async with client.async_setup_kernel(env=machine.env(), cwd=directory):
            ran = []
            for index, cell in enumerate(notebook.cells):
                began = time.time()
                await client.async_execute_cell(cell, index)
                context = {
                    "began": round(began, 3),
                    "ended": round(time.time(), 3),
                    "directory": directory,
                    "utc_offset": machine.utc_offset,
                }
                ran.append(written({"outputs": cell.outputs, "context": context}, machine, directory))
    return ran


def written(ran: dict[str, Any], machine: Machine, directory: str) -> dict[str, Any]:
    """The outputs with the paths that the machine would have."""
    text = json.dumps(ran)
    for path, other in ((directory, f"{machine.home}/work"), (sys.prefix, f"{machine.home}/venv")):
        text = text.replace(path, other)
    return dict(json.loads(text))


def corpus_of(case: Case, recorded: dict[str, Any], replayed: list[dict[str, Any]]) -> dict[str, Any]:
    """A case as the tests read it. Equal outputs get the verdict "same" even if they could have differed."""
    names = [("again", case.again), *((name, (*change, "different")[2]) for name, change in case.changes.items())]
    if len(replayed) > len(names):
        names.append(("again elsewhere", case.again))
    replays = [
        {"name": name, "verdict": "same" if is_luck(verdict, recorded, ran) else verdict, **ran}
        for (name, verdict), ran in zip(names, replayed, strict=True)
    ]
    for ran in replays:
        if ran["outputs"] == recorded["outputs"]:
            del ran["outputs"]  # Stored once only.
    return {"library": case.library, "name": case.name, "recorded": recorded, "replays": replays}


def is_luck(verdict: str, recorded: dict[str, Any], ran: dict[str, Any]) -> bool:
    """Whether outputs are equal that could have differed, such as two durations of 0.0 s."""
    counted = [[{**output, "execution_count": 0} for output in side["outputs"]] for side in (recorded, ran)]
    return verdict in {"cosmetic", "drift"} and counted[0] == counted[1]


async def main() -> None:
    codes = [[case.code, *(case.code.replace(*change[:2]) for change in case.changes.values())] for case in CASES]
    recorded = await run(RECORDED, [several[0] for several in codes])
    replayed = iter(await run(REPLAYED, [code for several in codes for code in several]))
    elsewhere = await run(ELSEWHERE, [several[0] for several in codes])
    files = defaultdict(list)
    for case, several, first, last in zip(CASES, codes, recorded, elsewhere, strict=True):
        replays = [next(replayed) for _ in several] + ([] if case.again == "same" else [last])
        files[case.library].append(corpus_of(case, first, replays))
    CORPUS.mkdir(exist_ok=True)
    for library, entries in files.items():
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries)
        (CORPUS / f"{library}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    asyncio.run(main())
