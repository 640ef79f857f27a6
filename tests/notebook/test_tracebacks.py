"""A model gets short tracebacks that have everything it needs to fix its code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.notebook.failures import FAILURE_NOTICE, without_interrupts
from nbtape.notebook.output_text import cell_text
from nbtape.notebook.tracebacks import compact_group, compact_traceback, compacted

CORPUS = Path(__file__).parent / "tracebacks"

#: Errors of real libraries as ipykernel sent them, see `make_corpus.py`, and the answers, which were read by hand.
CASES = json.loads((CORPUS / "errors.json").read_text("utf-8"))
ANSWERS = json.loads((CORPUS / "answers.json").read_text("utf-8"))

LIBRARY_FRAME = re.compile(r"(?!/home/)\S+\.(?:py|pyx|pxi):\d+, in .*")


def answer(case: dict[str, Any]) -> str:
    return cell_text(compacted(case["outputs"]), {})


def error(name: str, value: str, *lines: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": list(lines)}


# The corpus


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_answer_to_an_error_is_the_one_that_was_judged(case: dict[str, Any]) -> None:
    assert answer(case) == ANSWERS[case["name"]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_an_answer_has_the_message_and_at_most_one_frame_of_a_library(case: dict[str, Any]) -> None:
    text = answer(case)
    for output in case["outputs"]:
        if output["output_type"] == "error" and output["ename"] != "CalledProcessError":
            message = re.sub(r" \(\S+, line \d+\)", "", output["evalue"].splitlines()[0])  # a syntax error's place
            assert f"{output['ename']}: {message.rstrip()}" in text
    assert len(LIBRARY_FRAME.findall(text)) <= 1
    assert "\x1b" not in text


def test_the_corpus_has_forty_errors_with_one_answer_each() -> None:
    assert len(CASES) >= 40
    assert [case["name"] for case in CASES] == list(ANSWERS)


def test_six_everyday_errors_have_at_most_400_characters_on_average() -> None:
    six = [case for case in CASES if case["name"].startswith(("pandas", "numpy", "matplotlib"))][:6]
    assert sum(len(answer(case)) for case in six) / 6 <= 400
    assert sum(len(cell_text(case["outputs"], {})) for case in six) / 6 > 2000, "they were long before"


# Formats


OLD = "\x1b[0;31mKeyError\x1b[0m                                  Traceback (most recent call last)"
CAUSE = "The above exception was the direct cause of the following exception:"
FORMATS = {
    "IPython 7": (
        "<ipython-input-3-0a1b2c> in <module>\n      1 d = {}\n----> 2 f(d)\n",
        "<ipython-input-3-0a1b2c> in f(d)\n      1 def f(d):\n----> 2     return d['a']\n",
        "/opt/python/lib/python3.8/site-packages/lib/core.py in get(self, key)\n--> 11 raise KeyError(key)\n",
    ),
    "IPython 8.0": (
        "Input In [3], in <cell line: 2>()\n      1 d = {}\n----> 2 f(d)\n",
        "Input In [3], in f(d)\n      1 def f(d):\n----> 2     return d['a']\n",
        "File /opt/python/lib/python3.8/site-packages/lib/core.py:11, in get(self, key)\n--> 11 raise KeyError(key)\n",
    ),
    "IPython 8.10": (
        "Cell In[3], line 2\n      1 d = {}\n----> 2 f(d)\n",
        "Cell In[3], line 2, in f(d)\n      1 def f(d):\n----> 2     return d['a']\n",
        "File /opt/python/lib/python3.8/site-packages/lib/core.py:11, in get(self, key)\n--> 11 raise KeyError(key)\n",
    ),
    "IPython in mode Plain": (
        "  Cell In[3], line 2\n    f(d)",
        "  Cell In[3], line 2 in f\n    return d['a']",
        "  File /opt/python/lib/python3.8/site-packages/lib/core.py:11 in get\n    raise KeyError(key)",
    ),
    "Python": (
        '  File "<stdin>", line 2, in <module>\n    f(d)\n    ~^^^',
        "  File \"<stdin>\", line 2, in f\n    return d['a']",
        '  File "/opt/python/lib/python3.8/site-packages/lib/core.py", line 11, in get\n    raise KeyError(key)',
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_tracebacks_of_all_versions_are_understood(name: str) -> None:
    text = compact_traceback("KeyError", "'a'", [OLD, *FORMATS[name], "KeyError: 'a'"])
    lines = text.split("\n")
    assert [line.split(", ")[-1] for line in lines if line[0] != " "][:2] == ["line 2", "in f"]
    assert {"    f(d)", "    return d['a']"} <= set(lines)
    assert lines[-2:] == ["lib/core.py:11, in get", "KeyError: 'a'"]


def test_an_unknown_format_stays_as_it_is() -> None:
    lines = ["Error in eval(expr): object 'x' not found\n", "Traceback:", "1. f(x)"]
    assert compact_traceback("Error", "object 'x' not found", lines) == "\n".join(lines)


def test_an_error_without_a_traceback_is_its_name_and_a_bounded_message() -> None:
    assert compact_traceback("KeyError", "'a'", []) == "KeyError: 'a'"
    assert compact_traceback("StopIteration", "", []) == "StopIteration"
    assert len(compact_traceback("E", "x" * 100_000, [])) <= 1000


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    value = f"begin {'x' * 5000} end"
    text = compact_traceback("E", value, ["Cell In[1], line 1\n----> 1 f()\n", f"E: {value}"])
    assert text.startswith("Cell In[1], line 1\n    f()\nE: begin xxx")
    assert text.endswith("xxx end")
    assert len(text) < 1100


def test_a_message_that_looks_like_a_traceback_is_a_message() -> None:
    value = "remote\nFile /opt/x.py:3, in f\n----> 3 boom()\nCell In[9], line 1"
    text = compact_traceback("E", value, ["Cell In[1], line 1\n----> 1 f()\n", f"E: {value}"])
    assert text == f"Cell In[1], line 1\n    f()\nE: {value}"


def test_many_frames_are_reduced_to_those_at_both_ends() -> None:
    frames = [f"Cell In[1], line {n}, in f{n}(x)\n----> {n} f{n + 1}(x)\n" for n in range(1, 31)]
    text = compact_traceback("E", "x", [*frames, "E: x"])
    assert "[… 22 more frames of this code …]" in text
    assert text.startswith("Cell In[1], line 1, in f1\n")
    assert text.endswith("Cell In[1], line 30, in f30\n    f31(x)\nE: x")


def test_the_number_of_causes_is_limited() -> None:
    frame = "Cell In[1], line {0}\n----> {0} f()\n"
    lines = [part for n in range(1, 11) for part in (OLD, frame.format(n), f"KeyError: {n}", f"\n{CAUSE}\n")][:-1]
    told = compact_traceback("KeyError", "10", lines).split("\n")
    assert told[:4] == [
        "Cell In[1], line 10",
        "    f()",
        "KeyError: 10",
        "Caused by KeyError: 9 at Cell In[1], line 9: f()",
    ]
    assert len(told) == 8
    assert told[-1].startswith("[… 5 more causes;")


def test_a_shell_block_that_fails_is_one_line_without_the_script() -> None:
    value = "Command 'b'echo secret\nexit 3\n'' returned non-zero exit status 3."
    frame = "Cell In[1], line 1\n----> 1 get_ipython().run_cell_magic('bash', '', 'echo secret')\n"
    text = compact_traceback("CalledProcessError", value, [OLD, frame, f"CalledProcessError: {value}"])
    assert text == "CalledProcessError: the script returned non-zero exit status 3."


def test_a_printed_traceback_of_a_group_is_compact_only_if_no_error_follows() -> None:
    group = next(output for case in CASES if case["name"].endswith("group") for output in case["outputs"])
    assert len(group["text"]) > len(compacted([group])[0]["text"]) > 100
    assert compacted([group, error("E", "x")])[0] == group


def test_the_notice_about_a_group_that_is_shown_is_left_out() -> None:
    group = "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: x (1 sub-exception)\n"
    notice = f"{FAILURE_NOTICE}ExceptionGroup: x (1 sub-exception)]\n"
    told = {"output_type": "stream", "name": "stderr", "text": group + notice}
    assert compacted([told])[0]["text"] == "  | ExceptionGroup: x (1 sub-exception)\n"
    alone = {**told, "text": notice}
    assert compacted([alone]) == [alone]


def test_text_around_a_group_is_kept() -> None:
    group = "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: x (1 sub-exception)\n"
    assert compact_group(f"before\n{group}after\n") == "before\n  | ExceptionGroup: x (1 sub-exception)\nafter\n"
    assert compact_group("no group\n") == "no group\n"


def test_a_stopped_cell_shows_no_error_of_the_interrupt() -> None:
    outputs = [error("KeyboardInterrupt", "", OLD), error("ValueError", "x"), error("CancelledError", "")]
    assert cell_text(compacted(without_interrupts(outputs)), {}) == "ValueError: x"


LINES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            OLD,
            "-" * 75,
            "KeyError: 'a'",
            "    x",
            "> 3 f(",
            "----> 1 get_ipython().run_cell_magic(",
            "<timed exec>:x",
            "",
        ]
        + [CAUSE, '"""', "File <timed exec>:0"]
        + ["Traceback (most recent call last):", "  + Exception Group Traceback (most recent call last):", "  | x"]
        + [line for lines in FORMATS.values() for text in lines for line in text.split("\n")]
    ),
)


@given(st.text(max_size=10), st.text(max_size=20), st.lists(LINES, max_size=12))
@example("E", "x", ["Cell In[1], line 1\n----> 1 get_ipython().run_cell_magic('time')", "File <timed exec>:0"])
def test_no_text_is_an_obstacle(name: str, value: str, lines: list[str]) -> None:
    text = cell_text(compacted([error(name, value, *lines)]), {})
    assert "\x1b" not in text
    assert len(compact_group("\n".join(lines))) <= len("\n".join(lines)) + 1


@pytest.mark.timeout(60)  # With quadratic cost this would take hours.
@pytest.mark.parametrize(
    "piece",
    [
        "Cell In[1], line 1\n----> 1 f()\n",
        "x / in ",
        f"\n{CAUSE}\n\nTraceback (most recent call last):\nE: x\n",
        "/lib/python3",
        "  + Exception Group Traceback (most recent call last):\n",
        "Traceback (most recent call last):\n",
    ],
)
def test_hostile_tracebacks_take_linear_time(piece: str) -> None:
    compact_traceback("E", "x", [piece * 20_000])
    compact_group(piece * 20_000)
