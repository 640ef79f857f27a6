"""Options of executors."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from nbtape import AsyncJupyterCodeExecutor, EmbeddedIPythonCodeExecutor, JupyterCodeExecutor


@pytest.mark.parametrize("extract", ["html", ["html"], ("text/html",), {"html", "text/html"}, iter(["html"])])
def test_types_of_files_are_named_by_a_word_or_a_mime_type(extract: Any) -> None:
    assert JupyterCodeExecutor(extract=extract).options["extract"] == ("html",)


def test_by_default_html_is_not_a_file_and_paths_are_relative() -> None:
    options = JupyterCodeExecutor().options
    assert (options["extract"], options["name_files"]) == ((), True)


def test_autogens_class_keeps_its_files_and_phrases_unless_options_say_otherwise() -> None:
    options = EmbeddedIPythonCodeExecutor().options
    assert (options["extract"], options["name_files"]) == (("html",), "absolute")
    assert options == JupyterCodeExecutor(extract=["html"], name_files="absolute", traceback="full").options
    assert EmbeddedIPythonCodeExecutor(name_files=True).options["name_files"] is True


@pytest.mark.parametrize("kind", [JupyterCodeExecutor, AsyncJupyterCodeExecutor])
def test_people_can_read_the_signature_with_all_options(kind: type[Any]) -> None:
    shown = str(inspect.signature(kind))
    assert "timeout: 'float' = 60" in shown
    assert "approve: 'Approve | None' = None" in shown
    assert "ForwardRef" not in shown
