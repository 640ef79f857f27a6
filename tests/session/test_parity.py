"""The async and the blocking executor offer the same methods, options and documentation."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from nbtape import AsyncJupyterCodeExecutor, JupyterCodeExecutor
from nbtape.session.options import DEFAULTS

#: For callers of the blocking executor that are on an event loop.
BLOCKING_ONLY = {"aexecute_code_blocks"}


def public_names(face: type) -> set[str]:
    return {name for name in dir(face) if not name.startswith("_")}


def methods(face: type) -> dict[str, Any]:
    return {name: function for name, function in inspect.getmembers(face, callable) if not name.startswith("_")}


@pytest.mark.parametrize("function", [JupyterCodeExecutor, AsyncJupyterCodeExecutor, JupyterCodeExecutor.resume])
def test_a_signature_lists_each_option_with_its_default(function: Any) -> None:
    listed = inspect.signature(function).parameters
    assert {name: listed[name].default for name in DEFAULTS} == DEFAULTS
    assert all(listed[name].annotation != inspect.Parameter.empty for name in DEFAULTS)
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in listed.values())


NAMES = sorted(public_names(AsyncJupyterCodeExecutor))
METHODS = sorted(methods(AsyncJupyterCodeExecutor))


def parameters(function: Any) -> list[inspect.Parameter]:
    return [each for each in inspect.signature(function).parameters.values() if each.name != "stop"]


def test_both_executors_have_the_same_public_names() -> None:
    assert public_names(JupyterCodeExecutor) - BLOCKING_ONLY == set(NAMES)


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_a_method_takes_the_same_arguments_in_both(name: str) -> None:
    blocking, asynchronous = getattr(JupyterCodeExecutor, name), getattr(AsyncJupyterCodeExecutor, name)
    assert parameters(blocking) == parameters(asynchronous)


@pytest.mark.parametrize("name", NAMES)
def test_help_is_the_same_in_both(name: str) -> None:
    blocking = inspect.getdoc(getattr(JupyterCodeExecutor, name))
    assert blocking, f"{name} is documented"
    assert blocking == inspect.getdoc(getattr(AsyncJupyterCodeExecutor, name))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"resume", "outputs"}))
def test_a_method_that_waits_is_a_coroutine_in_one_and_blocks_in_the_other(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(AsyncJupyterCodeExecutor, name))
    assert not inspect.iscoroutinefunction(getattr(JupyterCodeExecutor, name))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"resume", "outputs"}))
def test_a_method_has_its_result_type_in_both(name: str) -> None:
    blocking = inspect.signature(getattr(JupyterCodeExecutor, name)).return_annotation
    assert blocking in {"None", "str", "CodeResult", "Variables"}
    assert inspect.signature(getattr(AsyncJupyterCodeExecutor, name)).return_annotation == blocking
