"""Set up a Python kernel and query it before its first cell, without leaving traces in the session.

Each step is a user expression of a silent `execute_request`, whose value is in the reply.
"""

from __future__ import annotations

import ast
import contextlib
import json
import sys
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from nbtape.environment import Environment, read_environment
from nbtape.errors import KernelStartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtape.kernels.protocols import KernelClient

#: Make pip print only warnings and errors, never prompt, and show no notices about itself.
#: See https://pip.pypa.io/en/stable/topics/configuration/.
KERNEL_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_NO_WARN_SCRIPT_LOCATION": "0",  # pip inverts this value: "0" turns the warning off
    "PIP_QUIET": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}


def _program(name: str) -> str:
    """The source of a module in `kernels/inside`, to be run in a kernel."""
    return resources.files("nbtape.kernels.inside").joinpath(f"{name}.py").read_text("utf-8")


SEND_ALL: Final = {"send_all": f"exec({_program('compat_ipykernel')!r}, {{}})"}

SET_UP: Final = {"set_up": f"exec({_program('script_habits')!r}, {{}})"}

#: Make Linux kill the kernel with the thread that started it: a suspended kernel cannot notice that its owner has
#: exited. See prctl(2), PR_SET_PDEATHSIG.
END_WITH_US: Final = {"end_with_us": "__import__('ctypes').CDLL(None).prctl(1, 9)"}

#: The names of the expressions of `move` and `STAMP`.
_MOVED: Final = "moved"
_STAMP: Final = "stamp"

#: Each installed or removed package changes one of these directories. Comparing them takes 1 % of the time of listing
#: the packages.
STAMP: Final = {
    _STAMP: "[__import__('os').stat(_).st_mtime_ns for _ in __import__('sys').path if __import__('os').path.isdir(_)]"
}

#: The probe runs in its own namespace, to leave no names behind, and with the real builtin `exec`, which code may have
#: replaced.
_PROBE: Final = _program("environment_probe")
ENVIRONMENT: Final = {"environment": f"(lambda own: __import__('builtins').exec({_PROBE!r}, own) or own['told'])({{}})"}


def imports(modules: Sequence[str]) -> dict[str, str]:
    """Expressions that import modules without adding names to the namespace of the code."""
    return {module: f"__import__('importlib').import_module({module!r}) and None" for module in modules}


def move(directory: str) -> dict[str, str]:
    """Expressions that move a kernel to a directory as if it had been started there, `%cd -` included.

    `sys.path` needs no change: its first entry is the empty string.
    """
    history = f"globals().get('_dh', []).__setitem__(slice(None), [__import__('pathlib').Path({directory!r})])"
    return {_MOVED: f"(__import__('os').chdir({directory!r}), {history}, __import__('os').getcwd())[-1]", **STAMP}


def failures(reply: Mapping[str, Any]) -> dict[str, str]:
    """The failed expressions and their errors, from the content of a reply of an unused kernel."""
    answers = reply.get("user_expressions") or {}
    return {
        name: f"{answer.get('ename')}: {answer.get('evalue')}"
        for name, answer in answers.items()
        if answer.get("status") == "error"
    }


def _reported(reply: Mapping[str, Any], name: str) -> str:
    """The value of an expression as text; empty if it has no value."""
    with contextlib.suppress(TypeError, LookupError):
        return str(reply["user_expressions"][name]["data"]["text/plain"])
    return ""


#: The expressions that set up a local kernel.
LOCAL_INTRODUCTION: Final = {
    **SEND_ALL,
    **SET_UP,
    **(END_WITH_US if sys.platform == "linux" else {}),
    **ENVIRONMENT,
    **STAMP,
}

#: The expressions that set up a kernel on a server.
INTRODUCTION: Final = {
    **SEND_ALL,
    **SET_UP,
    **ENVIRONMENT,
    **STAMP,
    "quiet_installs": f"[__import__('os').environ.setdefault(*_) for _ in {list(KERNEL_ENVIRONMENT.items())!r}]",
}


def reported_environment(reply: Any) -> Environment | None:  # noqa: ANN401  (code may have forged it)
    """The environment in the content of a reply to `ENVIRONMENT`; None if it is missing or invalid."""
    try:
        (name,) = ENVIRONMENT
        reported = json.loads(ast.literal_eval(_reported(reply, name)))
    except (TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return read_environment(reported)


class Introducer:
    """The part of a client that sets up a Python kernel for nbtape and keeps what the kernel reports."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  (of the next class, such as jupyter_client's traits)
        super().__init__(**options)
        self.language_info: dict[str, Any] = {}
        self.environment: Environment | None = None
        self.stamp = ""
        self._introduction: Mapping[str, str] = {}

    def prepare(self, introduction: Mapping[str, str], known: KernelClient | None) -> None:
        """Set the setup expressions, and take over what `known` learned before the kernel was handed over."""
        self._introduction = introduction
        if known is not None:
            self.language_info, self.environment, self.stamp = known.language_info, known.environment, known.stamp

    async def _evaluate(self, expressions: Mapping[str, str]) -> Mapping[str, Any]:
        """Evaluate user expressions in the kernel; return the content of the reply."""
        raise NotImplementedError

    async def _introduce(self) -> None:
        """Set up a Python kernel, and update `environment` and `stamp`.

        Raises:
            KernelStartError: The kernel cannot work in its directory.
        """
        reply = await self._evaluate(self._introduction)
        if failed := failures(reply).get(_MOVED):
            raise KernelStartError(
                f"The kernel cannot use its working directory: {failed}. Check the directory, or use another one."
            )
        moved, stamp, environment = _reported(reply, _MOVED), _reported(reply, _STAMP), reported_environment(reply)
        if environment is None and self.environment is not None and stamp == self.stamp:
            directory = str(ast.literal_eval(moved)) if moved else self.environment.directory
            environment = replace(self.environment, directory=directory)
        self.environment = environment or reported_environment(await self._evaluate(ENVIRONMENT))
        self.stamp = stamp
