"""Turn docstrings into the API reference: names in backticks become links, and executors show their options.

The functions are called by Sphinx: https://www.sphinx-doc.org/en/master/usage/extensions/autodoc.html#event-reference
"""

# ruff: noqa: ANN401  (Sphinx's types, which the tests do without)

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, Final

from nbtape.session.executor_base import ExecutorBase
from nbtape.session.options import DEFAULTS, Options

_BACKTICKS: Final = re.compile(r"(?<![`:\w])`([^`]+)`(?!`)")
_NAME: Final = re.compile(r"[A-Za-z_][\w.]*")

#: What the docstring of an executor has instead of its options.
_SEE_OPTIONS: Final = re.compile(r"( *)options: See `nbtape\.Options`\.")


def link_names(_app: Any, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Turn Markdown code in a docstring into reStructuredText: links to names, and literals."""
    lines[:] = [_BACKTICKS.sub(_role, line) for line in lines]


def _role(code: re.Match[str]) -> str:
    return f":py:obj:`{code[1]}`" if _NAME.fullmatch(code[1]) else f"``{code[1]}``"


def show_options(_app: Any, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Describe each option of an executor's constructor."""
    for index, line in enumerate(lines):
        if what == "class" and (see := _SEE_OPTIONS.fullmatch(line)):
            lines[index : index + 1] = [see[1] + option for option in option_lines()]
            return


def option_lines() -> list[str]:
    """Return the lines that describe the options, as in the docstring of `Options`."""
    _, _, described = inspect.cleandoc(Options.__doc__ or "").partition("Args:\n")
    return inspect.cleandoc(described).splitlines()


def expand_signature(_app: Any, function: object, _bound: bool) -> None:  # noqa: FBT001  (Sphinx's)
    """Show the options of an executor's constructor in its signature, with their defaults."""
    if function is not ExecutorBase.__init__ or hasattr(function, "__signature__"):
        return
    signature = inspect.signature(ExecutorBase.__init__)
    *others, _options = signature.parameters.values()
    keyword, types = inspect.Parameter.KEYWORD_ONLY, Options.__annotations__
    options = [inspect.Parameter(name, keyword, default=DEFAULTS[name], annotation=types[name]) for name in types]  # type: ignore[literal-required]
    function.__signature__ = signature.replace(parameters=[*others, *options])  # type: ignore[attr-defined]


def signature_over_mock(
    _app: Any, what: str, _name: str, obj: Any, _options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    """Show the signature of a class with a mocked framework class as its base: that of its `__init__`.

    The fields that a data class inherits are unknown.
    """
    if what != "class" or not signature or not signature.startswith("(*args: "):
        return None
    if dataclasses.is_dataclass(obj):
        return "", returned
    from sphinx.util.inspect import stringify_signature

    constructor = inspect.signature(obj.__init__)
    _, *parameters = constructor.parameters.values()
    own = constructor.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    shown = stringify_signature(own, unqualified_typehints=True)
    # A class of the AutoGen integration has the same name as one of nbtape.
    if obj.__module__ != "nbtape.integrations.autogen":
        shown = re.sub(r"(?<![\w.])JupyterCodeExecutor\b", "~nbtape.JupyterCodeExecutor", shown)
    return shown, returned
