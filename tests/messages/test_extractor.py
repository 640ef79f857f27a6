"""Code blocks are found in a message, and the rest of the message is kept."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import string
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from full_matrix import first
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.messages.code_blocks import CodeBlock, Prose
from nbtape.messages.extractor import MarkdownCodeExtractor, split_message
from nbtape.messages.prompts import CODE_WRITER_SYSTEM_MESSAGE


def blocks(message: str) -> list[CodeBlock]:
    return MarkdownCodeExtractor().extract_code_blocks(message)


def fenced(label: str, code: str = "x = 1") -> str:
    return f"```{label}\n{code}\n```\n"


# The blocks themselves


def test_a_code_block_is_made_by_position_or_by_name() -> None:
    block = CodeBlock(code="x", language="python")
    assert block == CodeBlock("x", "python")
    assert pickle.loads(pickle.dumps(block)) == block
    with pytest.raises(dataclasses.FrozenInstanceError):
        block.code = "y"  # type: ignore[misc]


def test_importing_the_module_imports_no_parser() -> None:
    script = "import sys, nbtape.messages.code_blocks; print('markdown_it' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# Messages


def test_no_message_has_no_blocks() -> None:
    assert MarkdownCodeExtractor().extract_code_blocks(None) == []
    assert blocks("") == []
    assert blocks("Just words, and `inline_code()`.") == []


def test_parts_of_the_responses_api_are_read_and_reasoning_is_not() -> None:
    message = [{"type": "reasoning", "text": fenced("python", "no")}, {"type": "output_text", "text": fenced("python")}]
    assert MarkdownCodeExtractor().extract_code_blocks(message) == [CodeBlock("x = 1", "python")]


def test_the_text_parts_of_a_message_are_read_and_its_images_are_not() -> None:
    message: list[dict[str, Any]] = [
        {"type": "text", "text": fenced("python", "a = 1")},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "text": fenced("python", "no")},
        {"type": "text", "text": fenced("bash", "ls")},
    ]
    assert MarkdownCodeExtractor().extract_code_blocks(message) == [
        CodeBlock("a = 1", "python"),
        CodeBlock("ls", "bash"),
    ]


def test_a_part_that_ends_in_a_fence_does_not_run_into_the_next_part() -> None:
    message = [{"type": "text", "text": "```python\na = 1\n```"}, {"type": "text", "text": "Then look at it."}]
    assert MarkdownCodeExtractor().extract_code_blocks(message) == [CodeBlock("a = 1", "python")]


def test_parts_without_text_are_skipped() -> None:
    message: list[dict[str, Any]] = [{}, {"type": "text"}, {"type": "text", "text": None}, {"type": "text", "text": 5}]
    assert MarkdownCodeExtractor().extract_code_blocks(message) == []


def test_threads_can_read_messages_concurrently() -> None:
    message = "One\n\n" + fenced("", r'"\d"') * 20
    with ThreadPoolExecutor(8) as pool:
        assert len(set(map(tuple, pool.map(split_message, [message] * 64)))) == 1


# Labels


@pytest.mark.parametrize(
    "info",
    [
        "python",
        "Python",
        "PYTHON",
        "py",
        "python3",
        "py3",
        "python3.12",
        "ipython",
        "ipython3",
        " python",
        "\tpython  ",
        'python title="x.py" {.line-numbers}',
        'title="my file.json" python',
        "{python}",
        "{python, echo=FALSE}",
        "{.python .x}",
        '{#cell-1 .python startFrom="100"}',
        "python{1,3}",
        "python {1,3}",
        "python:src/x.py",
        "python,ignore",
    ],
)
def test_every_spelling_of_python_is_python(info: str) -> None:
    assert blocks(fenced(info)) == [CodeBlock("x = 1", "python")]


@pytest.mark.parametrize(
    ("info", "language"),
    [
        ("bash", "bash"),
        ("sh", "sh"),
        ("Shell", "shell"),
        ("zsh", "zsh"),
        ("R", "r"),
        ("{r setup, include=FALSE}", "r"),
        ("julia", "julia"),
        ("JavaScript", "javascript"),
        ("sql", "sql"),
        ("c++", "c++"),
        ("C#", "c#"),
        ("objective-c", "objective-c"),
        ("python2", "python2"),
    ],
)
def test_other_languages_keep_their_label_in_lower_case(info: str, language: str) -> None:
    assert blocks(fenced(info)) == [CodeBlock("x = 1", language)]


@pytest.mark.parametrize(
    "label",
    """
    json jsonc text txt plaintext output out stdout console terminal log yaml yml toml ini csv tsv diff patch mermaid
    markdown md html xml css svg latex tex http dockerfile pycon traceback error result JSON {.json} {=html}
    """.split(),  # noqa: SIM905
)
def test_fences_that_do_not_hold_code_are_prose(label: str) -> None:
    message = f"Before\n\n{fenced(label)}\nAfter"
    assert split_message(message) == [Prose(message)]


@pytest.mark.parametrize("info", ["", "   ", "{}", "{1,3}", 'title="x.py"', 'title="my file.json"'])
def test_a_fence_without_a_label_is_python_if_it_parses_and_else_a_sample(info: str) -> None:
    assert blocks(fenced(info, "x = 1")) == [CodeBlock("x = 1", "python")]
    assert blocks(fenced(info, "SELECT * FROM t")) == []


@pytest.mark.parametrize("code", ["await main()", "return 1", "x[0]", "df.shape", "f'{x}'", "y: int = 1", "import os"])
def test_python_without_a_label_is_run_if_it_does_something(code: str) -> None:
    assert blocks(fenced("", code)) == [CodeBlock(code, "python")]


@pytest.mark.parametrize("code", ["377", "hello", "# only a comment", "a: 1", "[1, 2]", "main.py\ndata.csv", "1 is 1"])
def test_python_without_a_label_that_only_names_values_is_a_sample(code: str) -> None:
    assert split_message(fenced("", code)) == [Prose(fenced("", code).rstrip("\n"))]


@pytest.mark.parametrize("code", ["!ls -l", "%pip install x", "%%bash\nls", "import os\n!ls", "len?"])
def test_an_unlabeled_block_with_magics_is_passed_to_the_kernel_unchanged(code: str) -> None:
    assert blocks(fenced("", code)) == [CodeBlock(code, "")]


@pytest.mark.parametrize("code", ["!ls -l", "%pip install x", "import os\n!ls", "len?"])
def test_a_labeled_block_with_magics_is_unchanged(code: str) -> None:
    assert blocks(fenced("python", code)) == [CodeBlock(code, "python")]


@pytest.mark.parametrize(
    "code",
    [
        "-" * 50_000 + "1",
        "not " * 10_000 + "1",
        "lambda:" * 10_000 + "1",
        "a" + ".b" * 30_000,
        "1" + "+1" * 40_000,
        "x = '\ud800'",
        "x\n" * 100_000,
    ],
    ids=lambda code: code[:12].encode("ascii", "replace").decode(),
)
def test_a_block_too_hard_to_parse_is_left_to_the_kernel(code: str) -> None:
    assert blocks(fenced("", code)) == [CodeBlock(code, "")]


@pytest.mark.parametrize("code", [r'print("\d")', "x = 1 is 1", 'assert (1, "no")'])
@pytest.mark.parametrize("action", ["error", "always"])
def test_detecting_python_emits_no_warnings(code: str, action: str) -> None:
    with warnings.catch_warnings(record=action == "always") as seen:
        warnings.simplefilter(action)  # type: ignore[arg-type]
        assert blocks(fenced("", code)) == [CodeBlock(code, "python")]
    assert not seen


def test_detecting_python_keeps_the_warning_filters() -> None:
    before = list(warnings.filters)
    blocks(fenced("", r'"\d"'))
    assert list(warnings.filters) == before


# Fences


def test_a_longer_fence_around_a_shorter_one_is_one_block() -> None:
    code = 'text = """\n```python\nx = 1\n```\n"""'
    assert blocks(f"````python\n{code}\n````") == [CodeBlock(code, "python")]
    assert split_message(f"````markdown\n{fenced('python')}````") == [Prose(f"````markdown\n{fenced('python')}````")]


def test_a_tilde_fence_may_contain_backticks_and_vice_versa() -> None:
    assert blocks("~~~python\n```\n~~~") == [CodeBlock("```", "python")]
    assert blocks("```python\n~~~\n```") == [CodeBlock("~~~", "python")]


def test_a_closing_fence_may_be_longer_than_the_opening_one() -> None:
    assert split_message("```py\nx\n`````\nAfter") == [CodeBlock("x", "python"), Prose("After")]


def test_a_fence_that_is_never_closed_runs_to_the_end() -> None:
    cut = CodeBlock("x = 1\ny = 2", "python", is_cut=True)
    assert split_message("Look:\n```python\nx = 1\ny = 2") == [Prose("Look:"), cut]
    assert blocks("```python\nx = 1\n") == [CodeBlock("x = 1", "python", is_cut=True)]
    assert blocks("> ```python\n> x = 1\n\nAfter") == [CodeBlock("x = 1", "python")]
    assert repr(cut) == "CodeBlock(code='x = 1\\ny = 2', language='python', is_cut=True)"


@pytest.mark.parametrize("code", ["", "\n", "  \n\t\n"])
def test_an_empty_fence_is_prose(code: str) -> None:
    assert split_message(f"Before\n```python\n{code}```") == [Prose(f"Before\n```python\n{code}```")]


@pytest.mark.parametrize("code", ["\nx", "x\n", "  x", "x  ", "\n\nx\n\n", "def f():\n\treturn 1", "x\u2028y\x0cz"])
def test_whitespace_in_code_is_kept(code: str) -> None:
    assert blocks(fenced("python", code)) == [CodeBlock(code, "python")]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_carriage_returns_become_line_feeds(end: str) -> None:
    message = "One\n\n```python\nif x:\n    y\n```\nTwo\nThree"
    expected = [Prose("One"), CodeBlock("if x:\n    y", "python"), Prose("Two\nThree")]
    assert split_message(message.replace("\n", end)) == expected


@pytest.mark.parametrize(
    "message",
    [
        "Indented:\n\n    x = 1",
        "Inline ```python x = 1``` code",
        "<!--\n```python\nhidden()\n```\n-->",
        "<think>\n```python\ndraft()\n```\n</think>",
    ],
)
def test_indented_inline_and_hidden_code_is_prose(message: str) -> None:
    assert split_message(message) == [Prose(message)]


# Prose, lists and quotes


def test_prose_and_blocks_are_in_order_and_prose_is_unchanged() -> None:
    message = (
        "# Title\n\nSome  *text*  \nwith a break.\n\n```python\na\n```\n```bash\nb\n```\n\n"
        "    indented\n\nMiddle\n\n```json\n{}\n```\n\n```r\nc\n```\n\n"
    )
    assert split_message(message) == [
        Prose("# Title\n\nSome  *text*  \nwith a break."),
        CodeBlock("a", "python"),
        CodeBlock("b", "bash"),
        Prose("    indented\n\nMiddle\n\n```json\n{}\n```"),
        CodeBlock("c", "r"),
    ]


def test_a_list_with_blocks_in_it_stays_readable() -> None:
    message = """\
1.  Load it:

    ```python
    if True:
        load()
    ```

    That should print 5:

    ```output
    5
    ```
    - and it is
      fast

    > as they say
2.  ```bash
    ls
    ```
Over.

    indented code
"""
    assert split_message(message) == [
        Prose("1.  Load it:"),
        CodeBlock("if True:\n    load()", "python"),
        Prose("That should print 5:\n\n```output\n5\n```\n- and it is\n  fast\n\n> as they say"),
        CodeBlock("ls", "bash"),
        Prose("Over.\n\n    indented code"),
    ]


def test_text_of_an_outer_item_after_a_nested_block_is_not_indented_code() -> None:
    message = (
        "- a\n  - b\n    - ```py\n      x\n      ```\n\n"
        "      inner\n\n    middle\n\n  outer\n\n      code\n- last\n  line"
    )
    assert split_message(message) == [
        Prose("- a\n  - b"),
        CodeBlock("x", "python"),
        Prose("inner\n\nmiddle\n\nouter\n\n    code\n- last\n  line"),
    ]


def test_a_list_indented_with_tabs_is_read_like_one_with_spaces() -> None:
    message = "1.\tOne\n\n\t```python\n\tx = 1\n\t```\n\n\tTwo\n\n    Three"
    assert split_message(message) == [Prose("1.\tOne"), CodeBlock("x = 1", "python"), Prose("Two\n\nThree")]


def test_a_block_in_a_quote_loses_its_quote_marks_and_the_prose_keeps_them() -> None:
    message = "> One\n>\n> ```python\n> x = 1\n>\n> y = 2\n> ```\n>\n> Two\n\n    code"
    assert split_message(message) == [
        Prose("> One"),
        CodeBlock("x = 1\n\ny = 2", "python"),
        Prose("> Two\n\n    code"),
    ]


@pytest.mark.parametrize("fence", ["> ```py\n> x\n> ```", "   ```py\n   x\n   ```", "- a\n\n```py\nx\n```"])
def test_indented_code_after_a_block_outside_a_list_stays_indented(fence: str) -> None:
    assert split_message(f"{fence}\n\n    code")[-2:] == [CodeBlock("x", "python"), Prose("    code")]


def test_a_block_right_under_a_list_ends_the_list() -> None:
    assert split_message("1. One\n```python\nx\n```\n2. Two") == [
        Prose("1. One"),
        CodeBlock("x", "python"),
        Prose("2. Two"),
    ]


# Properties

LABELS = st.sampled_from(["python", "py", "bash", "r", "sql"])
FENCES = st.builds(lambda char, length: char * length, st.sampled_from("`~"), st.integers(3, 7))
CONTAINERS = st.sampled_from(["", " ", "   ", "> ", "- ", "1. ", "10) ", "> > ", "> - ", "- > ", "* - ", "- a\n\n  "])
CODE_LINES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=40)
CODE = st.lists(CODE_LINES, min_size=1, max_size=8).map("\n".join).filter(str.strip)


def inside(container: str, text: str) -> str:
    """Put text into a list item, quote or indentation: a marker before the first line, spaces before the others."""
    head, _, marker = container.rpartition("\n")
    rest = "".join(char if char in "> " else " " for char in marker)
    first, *others = text.split("\n")
    return "\n".join([*([head] if head else []), marker + first, *(rest + line for line in others)])


@given(CODE, LABELS, FENCES, CONTAINERS)
@example("\tx", "python", "```", "- ")
@example("    x\n\n  y", "python", "```", "> - ")
def test_code_is_extracted_unchanged(code: str, label: str, fence: str, container: str) -> None:
    if fence[:3] in code:
        code = code.replace(fence[0], "'")
    message = inside(container, f"{fence}{label}\n{code}\n{fence}")
    assert [block.code for block in blocks(message)] == [code]


WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=6)
PARAGRAPHS = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)


@given(st.lists(st.tuples(CONTAINERS, st.one_of(PARAGRAPHS, st.tuples(LABELS, PARAGRAPHS))), max_size=8))
def test_every_paragraph_and_block_appears_once_and_in_order(
    pieces: list[tuple[str, str | tuple[str, str]]],
) -> None:
    message, expected = "", []
    for container, piece in pieces:
        text = piece if isinstance(piece, str) else fenced(*piece)[:-1]
        if container.startswith("- a\n"):
            expected.append("a")
        expected.append(piece if isinstance(piece, str) else piece[1])
        message += inside(container, text) + "\n\n<!-- -->\n\n"
    found = [line for part in split_message(message) for line in lines_of(part)]
    assert [line.strip(" -*>1234567890.)") for line in found if "<!--" not in line] == expected


def lines_of(part: Prose | CodeBlock) -> list[str]:
    """The lines that are not blank."""
    text = part.text if isinstance(part, Prose) else part.code
    return [line for line in text.split("\n") if line.strip(" \t>")]


SCRAPS = (
    *("```", "~~~", "````", "python", "json", "x = 1", "> ", "- ", "1. ", "  ", "    ", "\t", "\n", "\n\n", "\r\n"),
    *("<!--", "-->", "a", "`", "{", "}", '"', "[a]: b", "\0", "\ud800", "\u2028", "\x0c", "#", "---", "!ls"),
)
MARKDOWN = st.one_of(st.text(), st.lists(st.sampled_from(SCRAPS), max_size=60).map("".join))


@given(MARKDOWN)
def test_arbitrary_text_loses_only_fences(text: str) -> None:
    parts = split_message(text)
    message = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip(" \t>")]
    prose = [line.strip() for part in parts if isinstance(part, Prose) for line in lines_of(part)]
    # The prose before an opening fence, or after a closing one, is a part of its line.
    assert all(any(line in whole for whole in message) for line in prose)
    in_blocks = [len(lines_of(part)) + 2 for part in parts if isinstance(part, CodeBlock)]
    assert len(message) <= len(prose) + sum(in_blocks)


@given(MARKDOWN)
def test_the_extractor_returns_the_blocks_of_the_split_message(text: str) -> None:
    assert blocks(text) == [part for part in split_message(text) if isinstance(part, CodeBlock)]
    assert all(part.code.strip() for part in blocks(text))


@given(MARKDOWN)
def test_prose_is_never_blank_and_never_follows_prose(text: str) -> None:
    parts = split_message(text)
    assert all(lines_of(part) for part in parts if isinstance(part, Prose))
    assert not any(isinstance(a, Prose) and isinstance(b, Prose) for a, b in itertools.pairwise(parts))


HOSTILE = (
    *(
        "`",
        "~",
        ">",
        "> ",
        "- ",
        "1. ",
        "[",
        "<",
        "<a ",
        "</",
        "<!--",
        '"',
        "{",
        " ",
        "\t",
        "\n",
        "*",
        "#",
        "\\",
        "a\n",
    ),
    *("```a\n", "a ```py\n", "a:```\n", '```py\n"""\n```\n', '"""', "'''\\\n", "x```\n", "```text\n", "``````py\n"),
    *(
        "<think>\n",
        "</think>\n",
        "a\n<think>a",
        "> <think>\n\n",
        "<code>\n",
        "</code>\n",
        "    ```py\n",
        "a\n      ```\n",
    ),
    *("```\n", "- ```\n", "> ```\n", "> - 1. ```\n", "[a]: b\n", "[a\n", '<a b="', "<a b=", "- a\n\n", "``` ''\nx\n"),
    *("```\n-\n```\n", "~~~ {\n", "***\n", "a\n=", "> a\nb\n", "\u2028", "\0", "\r"),
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("frame", first(2, ["{}", "> > > - a\n{}", "```\n{}", "``` {}\nx\n", "<a{}", "- {}```py\nx"]))
def test_hostile_text_is_read_in_bounded_time(unit: str, frame: str) -> None:
    # 100 kB take about a second at most; quadratic cost would take minutes and hit the timeout.
    split_message(frame.format(unit * (100_000 // len(unit))), ["code"])


# Elements with code


def test_elements_are_code_if_their_tags_are_named() -> None:
    message = "So:\n<execute_bash>\nls\n</execute_bash>\nDone."
    assert blocks(message) == []
    assert split_message(message, ["execute_bash"]) == [Prose("So:"), CodeBlock("ls", "bash"), Prose("Done.")]


@pytest.mark.parametrize("names", ["code", ["<code>"], ["a b"], [""], ["1x"]])
def test_what_cannot_be_the_name_of_a_tag_is_refused(names: Any) -> None:
    with pytest.raises(ValueError, match="code_tags= must"):
        MarkdownCodeExtractor(names)


# The advice for the agent


@pytest.mark.parametrize(
    "promise", ["```python", "```bash", "Image data saved to <path>", "%pip install", "input()", "TERMINATE"]
)
def test_the_system_message_covers_what_an_agent_must_know(promise: str) -> None:
    assert promise in CODE_WRITER_SYSTEM_MESSAGE


def test_blocks_have_the_prose_around_them() -> None:
    message = "First\n\n```python\na = 1\n```\n\nthen\n\n- more\n\n```bash\nls\n```\n\nand so on."
    first, second = blocks(message)
    assert (first.said_before, first.said_after) == ("First", "")
    assert (second.said_before, second.said_after) == ("then\n\n- more", "and so on.")
    assert first == CodeBlock("a = 1", "python"), "what is said makes no other block of it"
    assert repr(first) == "CodeBlock(code='a = 1', language='python')"
