"""The notebooks on agent frameworks show what happens; scripts/test-integrations replays each with its framework."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from reading import code_cells, stream_text

from nbtape import ReplaySettings, replay

NOTEBOOKS = Path(__file__).parents[2] / "notebooks" / "agents"
RUN_OF_AG2 = r"TERMINATING RUN \([-0-9a-f]{36}\)"


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_a_notebook_is_as_recorded(name: str, tmp_path: Path) -> None:
    notebook = Path(shutil.copy(NOTEBOOKS / f"{name}.ipynb", tmp_path))
    nbformat.validate(nbformat.read(notebook, as_version=4))
    report = replay(notebook, timeout=120, settings=ReplaySettings(extra=(RUN_OF_AG2,)))
    assert report.exit_code == 0, str(report)
    assert any("377" in stream_text(cell) for cell in code_cells(report.output))
    assert (tmp_path / "coding" / "session.ipynb").exists()
