"""What a Python kernel is asked and given before its first cell. It leaves no trace in the session.

All of it is expressions of a silent `execute_request`: they are evaluated, and the reply has what came out.
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
    from collections.abc import Awaitable, Callable, Mapping, Sequence

#: pip is quiet on success and loud on failure, asks nothing, and does not advise about itself.
#: See https://pip.pypa.io/en/stable/topics/configuration/.
KERNEL_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_NO_WARN_SCRIPT_LOCATION": "0",  # pip's way to say it: it names the option, and takes the value of its opposite
    "PIP_QUIET": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}


def _program(name: str) -> str:
    """The source of a module in `kernels/inside`, to be run in a kernel."""
    return resources.files("nbtape.kernels.inside").joinpath(f"{name}.py").read_text("utf-8")


SEND_ALL: Final = {"send_all": f"exec({_program('compat_ipykernel')!r}, {{}})"}

#: Linux ends the kernel with the thread that started it: a kernel that stands still cannot look for us by itself. See
#: prctl(2), PR_SET_PDEATHSIG.
END_WITH_US: Final = {"end_with_us": "__import__('ctypes').CDLL(None).prctl(1, 9)"}

#: The names of the answers to `move` and `STAMP`.
_MOVED: Final = "moved"
_STAMP: Final = "stamp"

#: Whether the environment is still what it was, which takes a hundredth of the time of telling it: each package that
#: comes or goes is a change to one of these directories.
STAMP: Final = {
    _STAMP: "[__import__('os').stat(_).st_mtime_ns for _ in __import__('sys').path if __import__('os').path.isdir(_)]"
}

#: What a kernel runs in. In a namespace of its own, so that none of its names comes into that of the code; and what
#: `exec` means there is the code's business.
_PROBE: Final = _program("environment_probe")
ENVIRONMENT: Final = {"environment": f"(lambda own: __import__('builtins').exec({_PROBE!r}, own) or own['told'])({{}})"}


def imports(modules: Sequence[str]) -> dict[str, str]:
    """What has a kernel import modules, of which nothing comes into the namespace of the code."""
    return {module: f"__import__('importlib').import_module({module!r}) and None" for module in modules}


def move(directory: str) -> dict[str, str]:
    """What has a kernel work in a directory as if it had been started there, IPython's `%cd -` included.

    `sys.path` goes along: what stands there is the empty text.
    """
    history = f"globals().get('_dh', []).__setitem__(slice(None), [__import__('pathlib').Path({directory!r})])"
    return {_MOVED: f"(__import__('os').chdir({directory!r}), {history}, __import__('os').getcwd())[-1]", **STAMP}


def failures(reply: Mapping[str, Any]) -> dict[str, str]:
    """Which expressions of a request failed, and how.

    Args:
        reply: The content of the reply of a kernel that nobody has used yet.
    """
    answers = reply.get("user_expressions") or {}
    return {
        name: f"{answer.get('ename')}: {answer.get('evalue')}"
        for name, answer in answers.items()
        if answer.get("status") == "error"
    }


def told_directory(reply: Mapping[str, Any]) -> str:
    """Where a kernel that was to move works now; empty if it was not to.

    Raises:
        KernelStartError: It has not moved.
    """
    if failed := failures(reply).get(_MOVED):
        raise KernelStartError(f"The kernel cannot work in its directory: {failed}. See to it, or name another one.")
    told = _told(reply, _MOVED)
    return str(ast.literal_eval(told)) if told else ""


def told_stamp(reply: Mapping[str, Any]) -> str:
    """What is another text when packages have been installed or removed; empty if nobody knows."""
    return _told(reply, _STAMP)


def _told(reply: Mapping[str, Any], name: str) -> str:
    with contextlib.suppress(TypeError, LookupError):
        return str(reply["user_expressions"][name]["data"]["text/plain"])
    return ""


#: What a kernel of this machine is given and asked.
LOCAL_INTRODUCTION: Final = {**SEND_ALL, **(END_WITH_US if sys.platform == "linux" else {}), **ENVIRONMENT, **STAMP}

#: What a kernel of a server is given and asked.
INTRODUCTION: Final = {
    **SEND_ALL,
    **ENVIRONMENT,
    **STAMP,
    "quiet_installs": f"[__import__('os').environ.setdefault(*_) for _ in {list(KERNEL_ENVIRONMENT.items())!r}]",
}


def told_environment(reply: Any) -> Environment | None:  # noqa: ANN401  (code may have forged it)
    """The environment that a kernel tells; None if it does not, or not so that it makes sense.

    Args:
        reply: The content of its reply to a request with the expression `ENVIRONMENT`, whatever that is.
    """
    try:
        (name,) = ENVIRONMENT
        told = json.loads(ast.literal_eval(reply["user_expressions"][name]["data"]["text/plain"]))
    except (TypeError, LookupError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return read_environment(told)


async def introduce(
    ask: Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]],
    introduction: Mapping[str, str],
    known: Environment | None,
    stamp: str,
) -> tuple[Environment | None, str]:
    """Introduce a kernel; return what it runs in, and the stamp of that.

    Args:
        ask: Has the kernel evaluate expressions, and returns the content of its reply.
        introduction: The expressions of its introduction.
        known: What it ran in when its stamp was taken, if somebody else had it before it is handed over.
        stamp: That stamp.

    Raises:
        KernelStartError: It cannot work in its directory.
    """
    reply = await ask(introduction)
    directory, now = told_directory(reply), told_stamp(reply)
    told = told_environment(reply)
    if told is None and known is not None and now == stamp:
        told = replace(known, directory=directory or known.directory)
    return told or told_environment(await ask(ENVIRONMENT)), now
