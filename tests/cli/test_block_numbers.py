"""A block has the same number wherever someone reads it, and it is the one of JupyterLab if the kernel counts it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from calling import nbtape
from nbformat.v4 import new_code_cell, new_notebook
from reading import code_cells, read_notebook

from nbtape import JupyterCodeExecutor, replay
from nbtape.errors import BlockInterrupted
from nbtape.results import CellResult, CodeResult
from nbtape.summary.run_summary import summarise
from nbtape.summary.wording import changes_of

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = """from IPython.display import SVG
SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')"""
MESSAGE = f"""First a look.

```python
{IMAGE}
```

```bash
echo two
```

```python
1 / 0
```

```python
print("never")
```
"""
MORE = f"Again.\n\n```python\n{IMAGE}\n```\n\n```python\nbroken\n```\n"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run with prose, a shell block and a failing block, then resumed; and what the terminal showed."""
    place = tmp_path_factory.mktemp("session")
    (place / "m.md").write_text(MESSAGE)
    (place / "more.md").write_text(MORE)
    told = [nbtape("run", "m.md", cwd=place), nbtape("run", "more.md", "--resume", "m.ipynb", cwd=place)]
    return place / "m.ipynb", [f"{done.stderr}\n{done.stdout}" for done in told]


def test_the_terminal_continues_the_numbers_of_a_resumed_session(session: tuple[Path, list[str]]) -> None:
    first, second = session[1]
    assert re.findall(r"^\[\d/\d\]", first, re.MULTILINE) == ["[1/4]", "[2/4]", "[3/4]"]
    assert re.findall(r"^rerun \[\d/\d\]", second, re.MULTILINE) == ["rerun [1/4]", "rerun [2/4]"]
    assert re.findall(r"^\[\d/\d\]", second, re.MULTILINE) == ["[5/6]", "[6/6]"]


def test_jupyterlab_shows_the_number_until_the_kernel_restarts(session: tuple[Path, list[str]]) -> None:
    path, told = session
    assert "Cell In[3], line 1" in told[0]
    assert [cell["execution_count"] for cell in code_cells(path)] == [1, 2, 3, None, 3, 4]
    shown = nbtape("show", path.name, "--block", 3, cwd=path.parent).stdout
    assert shown.startswith("block 3, In [3]: error")
    assert nbtape("show", path.name, "--block", 6, cwd=path.parent).stdout.startswith("block 6, In [4]: error")


def test_tables_pages_and_files_have_the_number(session: tuple[Path, list[str]]) -> None:
    path, _ = session
    rows = nbtape("show", path.name, cwd=path.parent).stdout.partition("block  status")[2]
    assert re.findall(r"^ +(\d)  (\w+)", rows, re.MULTILINE) == [
        *[("1", "ok"), ("2", "ok"), ("3", "error"), ("4", "not_run"), ("5", "ok"), ("6", "error")]
    ]
    assert sorted(file.name for file in path.parent.glob("*.svg")) == ["m_1_0.svg", "m_5_0.svg"]
    followed = nbtape("watch", path.name, "--from-start", cwd=path.parent).stdout
    assert re.findall(r"^(block \d|text .*)$", followed, re.MULTILINE) == [
        *["text before block 1", "block 1", "block 2", "block 3", "block 4", "text after block 4", "block 5", "block 6"]
    ]


def test_results_have_the_number_and_errors_name_it(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path, max_output_chars=400) as executor:
        executor.add_markdown("text")
        assert (executor.block_count, executor.run("1").cells[0].block) == (0, 1)
        executor.run("2", "cobol")
        result = executor.run("print('x' * 1000)")
        assert (executor.block_count, result.cells[0].block, result.cells[0].index) == (3, 3, 3)
        assert "nbtape show session.ipynb --block 3" in result.output
        again = new_notebook(cells=[*read_notebook(executor.notebook)["cells"], new_code_cell("print(id(1))")])
    assert str(BlockInterrupted(CodeResult(130, "", cells=[CellResult(3, "a", "interrupted", block=3)]))) == (
        "Block 3 was interrupted. Its output is in .result and in the notebook."
    )
    again["cells"][1]["outputs"] = []
    again["cells"][1]["metadata"]["nbtape"]["touched"] = ["outputs"]
    again["cells"][0]["metadata"]["nbtape"] = {"touched": ["source"]}
    assert changes_of(summarise(again)) == (
        "2 cells were changed after recording: text before block 1 (source), block 1 (outputs)"
    )
    report = replay(executor.notebook)
    assert [(cell.index, cell.block) for cell in report.cells] == [(1, 1), (2, 2), (3, 3)]
