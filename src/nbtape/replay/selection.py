"""Choose the notebooks to replay: expand directories and patterns, and leave out what was made from another one."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtape.common.untrusted_files import Directory
from nbtape.errors import NotebookReadError
from nbtape.notebook.format import own_metadata
from nbtape.notebook.read import parse_unchecked, read_content
from nbtape.summary.normalise import fit_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def expanded(names: Sequence[str]) -> list[Path]:
    """The notebooks that names stand for: themselves, those in a directory, or those that match a pattern.

    Raises:
        ValueError: A directory has no notebook, or nothing matches a pattern.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            found.update(dict.fromkeys(_notebooks_in(path)))
        elif glob.has_magic(name) and not path.exists():
            found.update(dict.fromkeys(_matching(name)))
        else:
            found[path] = None
    return [*found]


def is_plural(names: Sequence[str]) -> bool:
    """Whether names may stand for several notebooks."""
    return len(names) > 1 or any(Path(name).is_dir() or glob.has_magic(name) for name in names)


def _notebooks_in(directory: Path) -> list[Path]:
    with Directory(directory) as opened:
        names = sorted(name for name in opened.names() if _is_notebook(name))
    if not names:
        raise ValueError(f"{directory} contains no notebook. Choose another directory.")
    return [directory / name for name in names]


def _matching(pattern: str) -> list[Path]:
    paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207  (Path.glob is for relative patterns)
    if not (found := [path for path in paths if _is_notebook(path.name)]):
        raise ValueError(f"No notebook matches {pattern}. Check the pattern.")
    return found


def _is_notebook(name: str) -> bool:
    return name.endswith(".ipynb") and not name.startswith(".")


def made_from_others(notebooks: Sequence[Path]) -> dict[Path, Path]:
    """The notebooks that are the replay or the export of another one of these, by their metadata, with that one.

    A notebook that has code of its own is not among them, whatever it says: otherwise it could evade its replay. So a
    replay with other parameters is a record of its own.
    """
    if len(notebooks) < 2:  # noqa: PLR2004  (nothing to compare)
        return {}
    origins, code = {}, {}
    for path in notebooks:
        if (document := _read(path)) is None:
            continue
        cells = [fit_cell(cell) for cell in document["cells"]]
        code[path] = {cell["source"] for cell in cells if cell["cell_type"] == "code"}
        origins[path] = _origin_of(document)
    found = {}
    for path, name in origins.items():
        candidates = (other for other in code if other != path and other.name == name and code[path] <= code[other])
        if (origin := next(candidates, None)) is not None:
            found[path] = origin
    return {path: origin for path, origin in found.items() if _has_end(path, found)}


def first_recording(notebooks: Sequence[Path]) -> Path:
    """The first notebook in a list of all of a directory that is not made from another one; reads few of them."""
    there = {path.name: path for path in notebooks}
    for path in notebooks:
        line = [path]
        while (origin := there.get(_origin_of(_read(line[-1]) or {}) or "")) is not None and origin not in line:
            line.append(origin)
        if path not in made_from_others(line):
            return path
    raise AssertionError("unreachable: one of them is the origin of the others")


def _read(path: Path) -> dict[str, Any] | None:
    """A notebook; None if it cannot be read, which its replay reports."""
    try:
        return parse_unchecked(path, read_content(path))
    except (NotebookReadError, OSError, ValueError):
        return None


def _origin_of(document: Mapping[str, Any]) -> str | None:
    metadata = document.get("metadata")
    name = own_metadata({"metadata": metadata}).get("derived_from") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else None


def _has_end(path: Path, origins: Mapping[Path, Path]) -> bool:
    """Whether the chain of origins is not a circle, of which no notebook would be replayed."""
    seen = set()
    while path in origins and path not in seen:
        seen.add(path)
        path = origins[path]
    return path not in seen
