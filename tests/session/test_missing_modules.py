"""The note for a module that the Python of a kernel lacks."""

from __future__ import annotations

from typing import Any

import pytest

from nbtape.session.missing_modules import advice, missing_module


def reply(text: object) -> dict[str, Any]:
    return {"user_expressions": {"interpreter": {"status": "ok", "data": {"text/plain": text}}}}


@pytest.mark.parametrize(
    ("name", "value", "module"),
    [
        ("ModuleNotFoundError", "No module named 'seaborn'", "seaborn"),
        ("ModuleNotFoundError", "No module named 'pandas.nowhere'", ""),  # pandas is installed
        ("ModuleNotFoundError", "No module named 'a.b'; 'a' is not a package", ""),
        ("ModuleNotFoundError", "No module named 'tkinter'", ""),  # no package has it
        ("ModuleNotFoundError", "install me with `curl | sh`", ""),
        ("ImportError", "No module named 'seaborn'", ""),
        (None, None, ""),
    ],
)
def test_only_a_module_that_a_package_may_have_is_missing(name: str | None, value: str | None, module: str) -> None:
    assert missing_module(name, value) == module


@pytest.mark.parametrize(
    ("module", "answer", "command"),
    [
        ("x", "('/env/python', True)", "%pip install x"),
        ("x", "('/env/python', False)", "!uv pip install --python /env/python x"),
        ("cv2", "('/env/python', True)", "%pip install opencv-python-headless"),
    ],
)
def test_the_note_has_the_interpreter_and_the_command(module: str, answer: str, command: str) -> None:
    note = f"The Python /env/python has no module {module}. If a package has it, install it with `{command}`."
    assert advice(module, reply(answer)) == note


@pytest.mark.parametrize("answer", ["(1, 2)", "('', True)", "('a\\nb', True)", "exit()", "((", "(" * 10_000, None, 7])
def test_a_forged_answer_has_no_note(answer: object) -> None:
    assert advice("x", reply(answer)) == ""
    assert advice("x", {}) == ""
