"""Record the notebooks of the documentation from their sources, without local paths."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import nbformat

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS: Final = Path(__file__).parents[1] / "notebooks"
SOURCES: Final = NOTEBOOKS / "sources"

#: What differs in each run: durations, the head of `nbtape show`, and random numbers.
NEVER_REPEATS: Final = (
    r" +\d+(?:\.\d+)? (?:ms|s|min)\b",
    r"^(?:recorded|by|ran on) {2,}.*",
    r"\b\d{9}\b",
)


def record(source: Path) -> None:
    """Record one notebook in an empty directory.

    Raises:
        CalledProcessError: A block failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        # An image may have to be built first.
        command = [sys.executable, "-m", "nbtape", "run", str(source), "--output-dir", directory, "--timeout", "240"]
        subprocess.run(command, check=True, cwd=directory)  # noqa: S603  (ourselves)
        recorded = Path(directory, f"{source.stem}.ipynb").read_text(encoding="utf-8")
    # A replay also compares paths in its own directory as relative. The kernel sees them without symbolic links.
    for path in (str(Path(directory).resolve()), directory):
        recorded = recorded.replace(path, ".")
    notebook = nbformat.reads(recorded, as_version=4)
    make_public(notebook)
    nbformat.write(notebook, NOTEBOOKS / f"{source.stem}.ipynb")


def make_public(notebook: NotebookNode) -> None:
    """Leave out the environment and the files, and mark in each cell the text that a replay must not compare."""
    del notebook["metadata"]["nbtape"]["environment"]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            about = cell["metadata"]["nbtape"]
            for files in ("created", "extracted", "files"):
                about.pop(files, None)
            printed = "".join(output.get("text", "") for output in cell["outputs"])
            if rules := [rule for rule in NEVER_REPEATS if re.search(rule, printed, re.MULTILINE)]:
                about["replay"] = {"extra": rules}


def main(names: list[str]) -> None:
    """Record the notebooks with these names; without names, all."""
    there = {path.stem: path for path in sorted(SOURCES.glob("*.md"))}
    if unknown := set(names) - there.keys():
        sys.exit(f"There is no source of {', '.join(sorted(unknown))}: name some of {', '.join(there)}.")
    for name in names or there:
        record(there[name])


if __name__ == "__main__":
    main(sys.argv[1:])
