"""The source that a block becomes on kernels of different languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.languages import cell_source, language_meant, languages_of

SHELLS = ["bash", "sh", "shell", "Bash", " SH "]


@given(st.text(), st.sampled_from(["python", "Python", "py", "python3", "ipython", "ipython3", "", " python "]))
def test_python_is_unchanged(code: str, label: str) -> None:
    assert cell_source(CodeBlock(code, label), "python") == code


@pytest.mark.parametrize("label", SHELLS)
def test_a_shell_block_becomes_a_bash_cell(label: str) -> None:
    code = "cd /tmp\n  ls | head -3\n"
    assert cell_source(CodeBlock(code, label), "python") == f"%%bash\n{code}"


@given(st.text(), st.sampled_from(SHELLS))
def test_only_the_bash_magic_is_added_to_a_shell_block(code: str, label: str) -> None:
    assert cell_source(CodeBlock(code, label), "python") in {code, f"%%bash\n{code}"}


@pytest.mark.parametrize("code", ["!pip install x", "%pip install x", "%%sh\nls", "\n !ls", "", "  \n"])
def test_a_shell_block_with_magics_is_unchanged(code: str) -> None:
    assert cell_source(CodeBlock(code, "bash"), "python") == code


@pytest.mark.parametrize("label", ["julia", "r", "rust", "sql", "javascript", "js", "c++"])
def test_an_unsupported_language_is_not_run(label: str) -> None:
    assert cell_source(CodeBlock("x", label), "python") is None


@pytest.mark.parametrize(
    ("label", "kernel"),
    [("julia", "julia"), ("jl", "Julia"), ("R", "r"), ("js", "javascript"), ("ts", "typescript"), ("sh", "bash")],
)
def test_a_kernel_runs_its_own_language(label: str, kernel: str) -> None:
    assert cell_source(CodeBlock("x", label), kernel) == "x"


@pytest.mark.parametrize("kernel", ["julia", "r", "bash", "python"])
def test_an_unlabeled_block_is_for_the_kernel(kernel: str) -> None:
    assert cell_source(CodeBlock("x", ""), kernel) == "x"


@pytest.mark.parametrize(("label", "kernel"), [("bash", "julia"), ("python", "julia"), ("python", "bash")])
def test_non_python_kernels_run_neither_bash_blocks_nor_python(label: str, kernel: str) -> None:
    assert cell_source(CodeBlock("x", label), kernel) is None


@pytest.mark.parametrize("kernel", ["python", "julia", "bash"])
def test_a_kernel_runs_each_language_listed_for_it(kernel: str) -> None:
    said = languages_of(kernel)
    assert said[0] == kernel
    for label in said:
        assert cell_source(CodeBlock("x", label), kernel) is not None


@pytest.mark.parametrize(
    ("label", "kernel", "meant"),
    [
        *[("pyhton", "python", "python"), ("Pythn", "python", "python"), ("bahs", "python", "bash")],
        *[("shel", "python", "shell"), ("jula", "julia", "julia")],
        *[("zsh", "python", ""), ("powershell", "python", ""), ("javascript", "python", ""), ("r", "python", "")],
    ],
)
def test_a_misspelled_language_is_recognized_and_another_one_is_not(label: str, kernel: str, meant: str) -> None:
    assert language_meant(label, kernel) == meant
