"""The verdict on one cell, from what its code, tags, comments and outputs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from nbformat.v4 import new_code_cell, new_output

from nbtape.replay.cell_verdict import judge_cell
from nbtape.replay.compare.settings import Context, ReplaySettings
from nbtape.replay.notebook_settings import CellRules

if TYPE_CHECKING:
    from nbtape.replay.report import ReplayedCell


def cell(source: str, shown: str, status: str = "ok", *tags: str) -> Any:
    metadata = {"nbtape": {"status": status}, "tags": list(tags)}
    outputs = [new_output("stream", text=shown)] if shown else []
    count = None if status == "not_run" else 1
    return new_code_cell(source, execution_count=count, metadata=metadata, outputs=outputs)


def judged(recorded: Any, replayed: Any, *, trusted: bool = False) -> ReplayedCell:
    rules = CellRules.of(1, recorded, ReplaySettings(), trusted=trusted)
    return judge_cell(0, 1, recorded, replayed, (Context(), Context()), rules)


@pytest.mark.parametrize(
    "source",
    [
        "%%writefile helper.py\nVALUE = 41",
        "\n\n  %%writefile -a helper.py\nVALUE = 41",
        "%%file helper.py\n",
        "%%time\n%%writefile helper.py\nx",
        "%%capture out\n\n%%file helper.py\nx",
        "get_ipython().run_cell_magic('writefile', 'helper.py', 'x')",
        'get_ipython().run_cell_magic( "file", "helper.py", "x")\n',
    ],
)
def test_a_file_that_the_recording_left_does_not_count(source: str) -> None:
    old, new = cell(source, "Writing helper.py\n"), cell(source, "Overwriting helper.py\n")
    assert judged(old, new).verdict == judged(new, old).verdict == "cosmetic"
    assert judged(old, cell(source, "Overwriting other.py\n")).verdict == "different"
    assert judged(old, cell(source, "")).verdict == "different"
    assert judged(old, cell(source, "Overwriting helper.py\n2 files\n")).verdict == "different"


@pytest.mark.parametrize(
    "source",
    [
        "print(f'{action} helper.py')",
        "x = 1\n%%writefile helper.py",
        "# %%writefile helper.py\nsave()",
        "%%writefiles helper.py",
        "%%filesystem\nx",
        "s = '''\n%%writefile x'''",
        "%%bash\necho $1",
    ],
)
def test_the_same_words_of_other_code_count(source: str) -> None:
    assert judged(cell(source, "Writing a.py\n"), cell(source, "Overwriting a.py\n")).verdict == "different"


IGNORING = [
    "# NBVAL_IGNORE_OUTPUT",
    "#NBVAL_IGNORE_OUTPUT  ",
    "  ## NBVAL_IGNORE_OUTPUT",
    "# PYTEST_VALIDATE_IGNORE_OUTPUT",
]


@pytest.mark.parametrize("comment", IGNORING)
def test_a_comment_that_ignores_outputs_counts_if_it_is_trusted(comment: str) -> None:
    source = f"import random\n{comment}\nrandom.random()"
    old, new = cell(source, "0.1\n"), cell(source, "0.7\n")
    assert judged(old, new).verdict == "different"
    assert judged(old, new).settings == (f"# {comment.strip('# ')}",)
    trusted = judged(old, new, trusted=True)
    assert (trusted.verdict, trusted.reason) == (
        "ignored",
        f"Outputs are not compared because of # {comment.strip('# ')}.",
    )


@pytest.mark.parametrize(
    ("source", "tags", "named"),
    [
        ("# NBVAL_SKIP\n1", [], "# NBVAL_SKIP"),
        ("1", ["nbval-skip"], "nbval-skip"),
        ("1", ["skip-execution"], "skip-execution"),
        ("#NBVAL_SKIP\n1", ["skip-execution"], "skip-execution, # NBVAL_SKIP"),
    ],
)
def test_what_skips_a_cell_counts_if_it_is_trusted(source: str, tags: list[str], named: str) -> None:
    old = cell(source, "1\n", "ok", *tags)
    assert judged(old, cell(source, "2\n", "ok", *tags)).verdict == "different"
    trusted = judged(old, cell(source, "", "not_run", *tags), trusted=True)
    assert (trusted.verdict, trusted.reason) == ("skipped", f"Not run because of {named}.")
    assert trusted.settings == tuple(named.split(", "))


@pytest.mark.parametrize(
    "source",
    [
        "x = '# NBVAL_SKIP'",
        "1  # NBVAL_SKIP",
        "# NBVAL_SKIP this",
        "# nbval_skip",
        "NBVAL_SKIP",
        "# NBVAL_CHECK_OUTPUT",
    ],
)
def test_a_comment_that_nbval_does_not_know_has_no_effect(source: str) -> None:
    old, new = cell(source, "1\n"), cell(source, "2\n")
    assert judged(old, new, trusted=True).verdict == "different"
    assert judged(old, new).settings == ()


def test_a_cell_that_was_not_run_and_is_skipped_is_as_recorded() -> None:
    old = new_code_cell("# NBVAL_SKIP\n1")
    assert judged(old, cell("# NBVAL_SKIP\n1", "", "not_run"), trusted=True).verdict == "same"
