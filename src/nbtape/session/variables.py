"""Ask a kernel for its variables and read the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from nbtape.common.text import fit_text, strip_escapes
from nbtape.errors import KernelError
from nbtape.kernels.inside.variables_probe import DIMENSIONS, LARGEST, MIME_TYPE, ROOM

#: Key of the expression in the request and of its value in the reply.
_NAME: Final = "variables"

#: Runs the probe in its own namespace. Code may have redefined `globals` and `exec`, so neither is used by name.
_EXPRESSION: Final = (
    "(lambda own: __import__('builtins').exec({source!r}, own) or own['answer']((lambda: 0).__globals__, {limit!r}, "
    "{seconds!r}))({{'__name__': 'nbtape.probe'}})"
)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a kernel. A name, type or repr of more than 200 characters is cut and ends in "…".

    Args:
        name: Its name.
        type: The qualified name of its class (`pandas.DataFrame`), without the module for builtins (`int`).
        size: Bytes of the data of an array or data frame, or of an object itself without the objects it refers to;
            None if unknown.
        shape: Shape of an array or data frame, or the length of another object; None if it has neither.
        repr: Its repr, with only the first items of long containers; or, in angle brackets, why it has none.
    """

    name: str
    type: str
    size: int | None
    shape: tuple[int, ...] | None
    repr: str


class Variables(list[Variable]):
    """The variables of a kernel, sorted by name.

    Args:
        variables: The variables.
        left_out: Number of variables beyond the limit.
    """

    def __init__(self, variables: list[Variable] | None = None, left_out: int = 0) -> None:
        super().__init__(variables or [])
        self.left_out = left_out


def question(limit: int, seconds: float) -> dict[str, str]:
    """The `user_expressions` that ask a Python kernel for its variables, with a time limit for all reprs.

    Raises ValueError if `limit` is not a positive integer.
    """
    if type(limit) is not int or limit < 1:
        raise ValueError(f"limit= must be an integer of at least 1, not {limit!r}.")
    from importlib import resources

    source = resources.files("nbtape.kernels.inside").joinpath("variables_probe.py").read_text("utf-8")
    return {_NAME: _EXPRESSION.format(source=source, limit=limit, seconds=seconds)}


def read_variables(reply: Any, limit: int) -> Variables:  # noqa: ANN401  (code may have forged it)
    """Read the variables from the content of a reply; raises KernelError if it is invalid."""
    try:
        told = reply["user_expressions"][_NAME]["data"][MIME_TYPE]
        variables = [_variable(item) for item in _list(told["variables"], limit)]
        return Variables(sorted(variables, key=lambda variable: variable.name), _count(told["left_out"]))
    except (TypeError, LookupError, ValueError) as exc:
        raise KernelError(
            f"The kernel's list of variables is invalid{_reason(reply)}. Try again; if code has changed the kernel's "
            "replies, print the variables in a block or call restart()."
        ) from exc


def _variable(item: Any) -> Variable:  # noqa: ANN401  (any JSON, as in the next ones)
    return Variable(
        name=_text(item["name"]),
        type=_text(item["type"]),
        size=None if item["size"] is None else _count(item["size"]),
        shape=None if item["shape"] is None else tuple(map(_count, _list(item["shape"], DIMENSIONS))),
        repr=_text(item["repr"]),
    )


def _list(value: Any, limit: int) -> list[Any]:  # noqa: ANN401
    if not isinstance(value, list) or len(value) > limit:
        raise TypeError(f"not a list of at most {limit} items")
    return value


def _count(value: Any) -> int:  # noqa: ANN401
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise TypeError("no count")
    return value


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise TypeError("no text")
    return strip_escapes(fit_text(value[:ROOM]))


def _reason(reply: Any) -> str:  # noqa: ANN401
    """The error in the reply, if there is one."""
    try:
        answer = reply["user_expressions"][_NAME]
        return f" ({_text(answer['ename'])}: {_text(answer['evalue'])})"
    except (TypeError, LookupError):
        return ""
