"""Sources that `nbtape run` reads, and the errors for those it cannot read."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.errors import SourceError
from nbtape.messages.code_blocks import CodeBlock, Prose
from nbtape.messages.transcripts import read_source

MESSAGE = "Look:\n\n```python\nx = 1\n```\n"
READ = [Prose("Look:"), CodeBlock("x = 1", "python")]


def read(directory: Path, text: str | bytes, name: str = "source.py") -> list[Prose | CodeBlock]:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(str(path))


def python(*cells: str) -> list[CodeBlock]:
    return [CodeBlock(cell, "python") for cell in cells]


# Markdown


@pytest.mark.parametrize("name", ["a.md", "a.MD", "a.markdown", "a.txt", "README", ".hidden"])
def test_a_markdown_file_is_read_as_a_message(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, MESSAGE, name) == READ


def test_a_byte_order_mark_and_carriage_returns_are_tolerated(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf```python\r\nx\r\n```", "a.md") == python("x")
    assert read(tmp_path, b"\xef\xbb\xbf# ---\r\n# a: 1\r\n# ---\r\n# %%\r\nx\r\ny\r\n") == python("x\ny")


def test_importing_the_module_imports_no_jupytext() -> None:
    script = "import sys, nbtape.messages.transcripts; print('jupytext' in sys.modules or 'markdown_it' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def read_standard_input(content: bytes) -> str:
    script = "from nbtape.messages.transcripts import read_source; print(read_source('-'))"
    # The locale encoding does not affect what is read.
    environment = os.environ | {"PYTHONIOENCODING": "ascii:backslashreplace"}
    done = subprocess.run(
        [sys.executable, "-c", script], input=content, capture_output=True, env=environment, check=False
    )
    return (done.stdout or done.stderr).decode()


def test_a_dash_reads_a_message_from_standard_input() -> None:
    assert read_standard_input(MESSAGE.encode()) == f"{READ}\n"
    assert "Prose(text='\\xfc\\n\\nLook:')" in read_standard_input(f"ü\n\n{MESSAGE}".encode())


def test_errors_about_standard_input_name_it() -> None:
    assert "SourceError: Standard input contains no code to run." in read_standard_input(b"Just words.")
    assert "SourceError: Standard input is not UTF-8" in read_standard_input(b"\xff\xfe")


# Percent scripts


def test_a_percent_script_gives_its_cells_in_order(tmp_path: Path) -> None:
    script = '''\
import os

# %% [markdown]
# # Title
#
# - one
#   - two
#
# ```python
# not_run()
# ```

# %%
def f():

    return """
# %% not a cell
"""


f()

# %% A title tags=["x"]
x = 1
# a comment
# %% [md]
"""
Words
"""

# %%

# %% [raw]
# for a converter
'''
    assert read(tmp_path, script) == [
        CodeBlock("import os", "python"),
        Prose("# Title\n\n- one\n  - two\n\n```python\nnot_run()\n```"),
        CodeBlock('def f():\n\n    return """\n# %% not a cell\n"""\n\n\nf()', "python"),
        CodeBlock("x = 1\n# a comment", "python"),
        Prose("Words"),
    ]


def test_a_script_without_cell_marks_is_one_block(tmp_path: Path) -> None:
    script = '"""What it does."""\n\nimport os\n\n\n# A comment.\nprint(1)\n'
    assert read(tmp_path, script) == python(script.strip())


@pytest.mark.parametrize(
    "header",
    [
        "#!/usr/bin/env python\n",
        "# -*- coding: utf-8 -*-\n",
        "#!/usr/bin/env python3\n# coding: utf-8\n\n",
        "# ---\n# title: x\n# ---\n",
        "# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n\n",
        "# ---\n# jupyter: 3\n# ---\n",
        (
            "# ---\n# jupyter:\n#   jupytext:\n#     text_representation:\n"
            "#       extension: .py\n#       format_name: light\n# ---\n"
        ),
        "#!/usr/bin/python\n# -*- coding: latin-1 -*-\n\n# ---\n# a: [\n# ---\n",
    ],
)
@pytest.mark.parametrize("mark", ["# %%\n", ""])
def test_the_header_of_a_script_is_not_a_cell(tmp_path: Path, header: str, mark: str) -> None:
    assert read(tmp_path, f"{header}{mark}x = 1\n\ny = 2\n") == python("x = 1\n\ny = 2")


def test_a_first_comment_that_mentions_coding_is_only_a_comment(tmp_path: Path) -> None:
    script = "# Agent coding: how it is done\nx = 1"
    assert read(tmp_path, script) == python(script)


def test_magics_are_read_whether_commented_or_not(tmp_path: Path) -> None:
    script = (
        "# %%\n# %matplotlib inline\n# !ls\n%time x\n!pwd\n# files = !ls\nx\n# %%\n# %%timeit\nx + 1\n# %%\n%%bash\nls"
    )
    assert read(tmp_path, script) == python(
        "%matplotlib inline\n!ls\n%time x\n!pwd\nfiles = !ls\nx", "%%timeit\nx + 1", "%%bash\nls"
    )


def test_a_cell_marked_as_another_language_gets_its_magic(tmp_path: Path) -> None:
    assert read(tmp_path, '# %% language="bash"\n# rm y\n# echo 1\n') == python("%%bash\nrm y\necho 1")


@pytest.mark.parametrize(
    "comment", ["# rm -rf build", "#rm -rf build", "    # cd into it", "# # ls", "# echo", "# cat x"]
)
@pytest.mark.parametrize("mark", ["# %%\n", ""])
def test_a_comment_that_looks_like_a_command_is_not_run(tmp_path: Path, comment: str, mark: str) -> None:
    code = f"if True:\n{comment}\n    x"
    assert read(tmp_path, mark + code) == python(code)


def test_nbconverts_own_scripts_are_read_cell_by_cell(tmp_path: Path) -> None:
    assert read(tmp_path, "#!/usr/bin/env python\n# coding: utf-8\n\n# In[1]:\n\n\nx\n\n\n# In[2]:\n\n\ny\n") == python(
        "x", "y"
    )


@pytest.mark.parametrize("char", "\v\f\x1c\x1d\x1e\x85\u2028\u2029")
def test_unusual_line_separators_in_a_string_are_kept(tmp_path: Path, char: str) -> None:
    assert read(tmp_path, f"# %%\nx = 'a{char}b'\n") == python(f"x = 'a{char}b'")


NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=5).map("v_{}".format)
STATEMENTS = st.one_of(
    st.builds("{} = {!r}".format, NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    st.builds("def {}():\n\n    return 1\n".format, NAMES),
    st.builds("# {}".format, st.sampled_from(["rm -rf x", "a comment", "ls", "cp", "Title:", "x = 1"])),
    st.builds('"""\n{}\n# %%\n"""'.format, NAMES),
    st.just(""),
)
CELLS = st.lists(STATEMENTS, min_size=1, max_size=6).map(lambda lines: "\n".join(lines).strip("\n")).filter(str.strip)


@given(st.lists(CELLS, min_size=1, max_size=5))
@example(["# cd x"])
def test_code_cells_are_read_unchanged(cells: list[str]) -> None:
    with TemporaryDirectory() as directory:
        assert read(Path(directory), "\n\n".join(f"# %%\n{cell}" for cell in cells)) == python(*cells)


SCRAPS = (
    *("# %%", " [markdown]", " [raw]", "#", " ", "\n", "x", "'", '"""', "{", "}", "=", "tags", "---"),
    *("jupyter: 1", "%%", "!", "# ---", "coding: x"),
)


@given(st.one_of(st.text(), st.lists(st.sampled_from(SCRAPS), max_size=40).map("".join)), st.sampled_from(["py", "md"]))
@example('# %% {"tags": [1]}\nx', "py")
@example("# %% tags=1\nx", "py")
def test_any_file_is_read_or_rejected(text: str, suffix: str) -> None:
    with TemporaryDirectory() as directory:
        try:
            parts = read(Path(directory), text.encode(errors="surrogatepass"), f"a.{suffix}")
        except SourceError as error:
            assert str(error)  # noqa: PT017  (being refused is as good as being read)
        else:
            assert any(isinstance(part, CodeBlock) for part in parts)


# Sources that cannot be read


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_source(str(path))
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "PATH")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.md") == "PATH does not exist. Check the path, or pass - to read standard input."
    assert "does not exist" in refusal(tmp_path / "nowhere" / "a.py")


@pytest.mark.parametrize("name", ["directory", "directory.md", "directory.d"])
def test_a_directory_is_rejected(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert refusal(tmp_path / name) == "PATH is a directory. Choose a Markdown or .py file in it."


def test_a_path_below_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(MESSAGE)
    assert refusal(tmp_path / "a" / "b.md").startswith("PATH does not exist.")


@pytest.mark.parametrize("name", ["a.md", "a.py"])
def test_a_file_in_another_encoding_is_rejected(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes("x = 'ü'".encode("latin-1"))
    assert refusal(tmp_path / name) == "PATH is not UTF-8 (at byte 5). Save it as UTF-8 and run it again."
    (tmp_path / name).write_bytes(MESSAGE.encode("utf-16"))
    assert "not UTF-8" in refusal(tmp_path / name)


def test_the_error_for_a_notebook_suggests_replay_and_resume(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").touch()
    assert "`nbtape replay PATH` reruns it, and `nbtape run MORE.md --resume PATH`" in refusal(tmp_path / "a.ipynb")


@pytest.mark.parametrize("name", ["a.r", "a.docx", "a.py.bak"])
def test_the_error_for_an_unknown_suffix_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    message = refusal(tmp_path / name)
    assert f"has the unknown suffix {Path(name).suffix}." in message
    assert ".md" in message
    assert ".py" in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", ""),
        ("a.md", "Just words.\n\n    indented\n\n```json\n{}\n```\n"),
        ("a.py", ""),
        ("a.py", "# %% [markdown]\n# Just words.\n\n# %%\n\n"),
    ],
)
def test_a_file_without_code_is_rejected(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert refusal(tmp_path / name).startswith("PATH contains no code to run. Put code into fenced blocks")


def test_invalid_cell_options_are_rejected_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('# %% {"tags": [1]}\nx\n')
    assert refusal(tmp_path / "a.py").endswith("Check the options after the # %% markers.")
