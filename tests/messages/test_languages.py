"""Which source a block becomes, on a kernel of which language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.languages import cell_source, languages_of

SHELLS = ["bash", "sh", "shell", "Bash", " SH "]


@given(st.text(), st.sampled_from(["python", "Python", "py", "python3", "ipython", "ipython3", "", " python "]))
def test_python_runs_as_it_was_written(code: str, label: str) -> None:
    assert cell_source(CodeBlock(code, label), "python") == code


@pytest.mark.parametrize("label", SHELLS)
def test_shell_blocks_become_a_bash_cell_and_nothing_else_changes(label: str) -> None:
    code = "cd /tmp\n  ls | head -3\n"
    assert cell_source(CodeBlock(code, label), "python") == f"%%bash\n{code}"


@given(st.text(), st.sampled_from(SHELLS))
def test_the_one_thing_put_in_front_is_the_magic(code: str, label: str) -> None:
    assert cell_source(CodeBlock(code, label), "python") in {code, f"%%bash\n{code}"}


@pytest.mark.parametrize("code", ["!pip install x", "%pip install x", "%%sh\nls", "\n !ls", "", "  \n"])
def test_a_shell_block_that_speaks_ipython_already_stays_as_it_is(code: str) -> None:
    assert cell_source(CodeBlock(code, "bash"), "python") == code


@pytest.mark.parametrize("label", ["julia", "r", "rust", "sql", "javascript", "js", "c++"])
def test_a_language_that_the_kernel_lacks_is_not_run(label: str) -> None:
    assert cell_source(CodeBlock("x", label), "python") is None


@pytest.mark.parametrize(
    ("label", "kernel"),
    [("julia", "julia"), ("jl", "Julia"), ("R", "r"), ("js", "javascript"), ("ts", "typescript"), ("sh", "bash")],
)
def test_a_kernel_of_another_language_runs_its_own(label: str, kernel: str) -> None:
    assert cell_source(CodeBlock("x", label), kernel) == "x"


@pytest.mark.parametrize("kernel", ["julia", "r", "bash", "python"])
def test_a_block_without_a_label_is_for_the_kernel(kernel: str) -> None:
    assert cell_source(CodeBlock("x", ""), kernel) == "x"


@pytest.mark.parametrize(("label", "kernel"), [("bash", "julia"), ("python", "julia"), ("python", "bash")])
def test_another_kernel_has_no_bash_magic_and_no_python(label: str, kernel: str) -> None:
    assert cell_source(CodeBlock("x", label), kernel) is None


@pytest.mark.parametrize("kernel", ["python", "julia", "bash"])
def test_what_a_kernel_is_said_to_run_it_runs(kernel: str) -> None:
    said = languages_of(kernel).split(", ")
    assert said[0] == kernel
    for label in said:
        assert cell_source(CodeBlock("x", label), kernel) is not None
