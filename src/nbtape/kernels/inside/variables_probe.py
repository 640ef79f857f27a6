"""List the variables of a Python kernel; this file is sent there as text, and leaves nothing behind.

The kernel may run another Python than nbtape (3.8 or newer) and have only the standard library. User code may have
replaced builtins, and the methods of values may return wrong data, hang or return too much. So types come from literals
instead of names, an f-string's `!r` replaces `repr`, and every answer of a value is limited in time and size.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIME_TYPE = "application/vnd.nbtape.variables+json"

#: Maximum characters of a name, a type and a repr; items of a container that its repr shows, and its nesting depth.
ROOM = 200
_FEW = 10
_DEPTH = 3
#: Seconds for each question to a value, such as its repr.
_EACH = 0.5
#: The largest number that every JSON reader can represent; maximum dimensions of a shape.
LARGEST = 2**53 - 1
DIMENSIONS = 32

_type: Any = ().__class__.__class__
_module = sys.__class__
_int = (0).__class__
_str = "".__class__
_bytes = b"".__class__
_dict: Any = {}.__class__
_containers: Any = (([].__class__, "[", "]"), (().__class__, "(", ")"), ({0}.__class__, "{", "}"))


class Answer:
    """An object that IPython's formatters pass on unchanged, whatever formatters the code has registered."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        return {MIME_TYPE: self._told, "text/plain": ""}


def answer(namespace: dict[str, Any], limit: int, seconds: float) -> Answer:
    """List the variables in a namespace.

    Args:
        namespace: Names and values. Threads may change it in the meantime.
        limit: Maximum number of variables to list.
        seconds: Time limit for all values together.
    """
    # In a copied context, so that changes of context variables are discarded.
    return Answer(copy_context().run(_tell, namespace.copy(), limit, seconds))


def _tell(values: dict[str, Any], limit: int, seconds: float) -> dict[str, Any]:
    shell = _shell()
    hidden = shell.user_ns_hidden if shell else {}
    names = [name for name, value in values.items() if _is_variable(name, value, hidden)]
    names.sort()
    with _unheard(shell), _Watch(seconds) as watch:
        told = [_describe(name, values[name], watch) for name in names[:limit]]
    return {"variables": told, "left_out": names[limit:].__len__()}


def _shell() -> Any:  # noqa: ANN401  (IPython's)
    """IPython's shell, if this kernel has one."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


@contextlib.contextmanager
def _unheard(shell: Any) -> Iterator[None]:  # noqa: ANN401  (IPython's)
    """Discard what this thread prints and displays; the output of other threads is kept."""
    streams: Any = (sys.stdout, sys.stderr)
    for stream in streams:
        with contextlib.suppress(Exception):
            # Print for no request in this context. The attribute has the same name in ipykernel 6 and 7.
            stream._parent_header.set({})  # noqa: SLF001
    with contextlib.suppress(AttributeError):
        shell.display_pub.register_hook(_drop)  # each thread has its own
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError):
            shell.display_pub.unregister_hook(_drop)


def _drop(_: object) -> None:
    """A hook that drops every message."""


def _is_variable(name: object, value: object, hidden: dict[str, Any]) -> bool:
    """Whether user code defined it: not a module, not a name with a leading underscore, not one of IPython's."""
    if _type(name) is not _str or name[:1] == "_" or _type(value) is _module:  # type: ignore[index]
        return False
    return name not in hidden or hidden[name] is not value


def _describe(name: str, value: object, watch: _Watch) -> dict[str, Any]:
    size, _ = watch.ask(_size, value)
    shape, _ = watch.ask(_shape, value)
    text, trouble = watch.ask(_short, value)
    return {
        "name": _cut(name),
        "type": _cut(_name_of(_type(value))),
        "size": size,
        "shape": shape,
        "repr": _cut(f"<repr {trouble}>" if trouble else text),
    }


class _TooLong(BaseException):
    """The time for a value is up."""


class _Watch:
    """Limits the time of each answer, if timers exist and this is the main thread. A timer of user code continues."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._until = self._began + seconds
        self._works = self._armed = False

    def __enter__(self) -> _Watch:  # noqa: PYI034  (Self is in Python 3.11)
        with contextlib.suppress(AttributeError, ValueError):
            self._handler = signal.signal(signal.SIGALRM, self._ring)
            self._timer = signal.setitimer(signal.ITIMER_REAL, 0)
            self._interrupt = signal.signal(signal.SIGINT, self._stop)
            self._works = True
        return self

    def __exit__(self, *_: object) -> None:
        if not self._works:
            return
        # A handler that Python did not set cannot be restored; it was most likely the default.
        signal.signal(signal.SIGINT, signal.default_int_handler if self._interrupt is None else self._interrupt)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if self._handler is None else self._handler)
        left, interval = self._timer
        if left:
            left -= time.monotonic() - self._began
            signal.setitimer(signal.ITIMER_REAL, left if left > 0 else 0.001, interval)

    def ask(self, question: Callable[[Any], Any], value: object) -> tuple[Any, str]:
        """The answer of a value, and the error, if any."""
        left = self._until - time.monotonic()
        if left <= 0:
            return None, "not asked for: there was no time left"
        try:
            try:
                self._arm(left if left < _EACH else _EACH)  # noqa: FURB136  (min is a builtin)
                return question(value), ""
            finally:
                self._arm(0)
        except _TooLong:
            return None, "took too long"
        except KeyboardInterrupt:
            return None, "was interrupted"
        except BaseException as exc:  # noqa: BLE001  (code may raise anything)
            return None, f"raised {_name_of(_type(exc))}"

    def _arm(self, seconds: float) -> None:
        self._armed = seconds > 0
        if self._works:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _stop(self, *_: object) -> None:
        """Stop asking, also if the time of a value is up at the same moment and its exception replaces this one."""
        self._until = self._began
        raise KeyboardInterrupt

    def _ring(self, *_: object) -> None:
        if self._armed:  # ignore a timer that fires too late
            raise _TooLong


def _size(value: Any) -> int:  # noqa: ANN401  (any value, as in the next ones)
    """The bytes of the data of an array or data frame, or of another object without the objects it refers to."""
    kind = _type(value)
    if _defines(kind, "nbytes"):
        return _count(value.nbytes)
    if _defines(kind, "memory_usage"):
        return _count(value.memory_usage().sum())
    return _count(kind.__sizeof__(value))


def _shape(value: Any) -> list[int] | None:  # noqa: ANN401
    kind = _type(value)
    if not _defines(kind, "shape"):
        return [_count(kind.__len__(value))] if _defines(kind, "__len__") else None
    extents: list[int] = []
    for extent in value.shape:
        if extents.__len__() == DIMENSIONS:
            return None
        extents.append(_count(extent))
    return extents


def _defines(kind: Any, name: str) -> bool:  # noqa: ANN401
    """Whether a class has an attribute. The value is not asked, because its `__getattr__` may do anything."""
    return [base for base in kind.__mro__ if name in base.__dict__] != []


def _count(number: Any) -> int:  # noqa: ANN401
    number = number.__index__()
    if _type(number) is not _int or not 0 <= number <= LARGEST:
        raise ValueError
    return number  # type: ignore[no-any-return]


def _short(value: Any, depth: int = _DEPTH) -> str:  # noqa: ANN401
    """The repr; of large builtin values only the beginning, because ten million items would take too long."""
    kind = _type(value)
    if kind is _str or kind is _bytes:
        return f"{value[:ROOM]!r}"
    if kind is _dict and value:
        told = _items(value.items(), depth, lambda pair: f"{_short(pair[0], depth - 1)}: {_short(pair[1], depth - 1)}")
        return "{" + told + "}"
    for container, opening, closing in _containers:
        if kind is container and value:
            told = _items(value, depth, lambda item: _short(item, depth - 1))
            return f"{opening}{told}{',' if opening == '(' and value.__len__() == 1 else ''}{closing}"
    return _str.__str__(f"{value!r}")  # it may be a subclass that overrides methods


def _items(container: Any, depth: int, describe: Callable[[Any], str]) -> str:  # noqa: ANN401
    """The first items of a container."""
    if depth == 0:
        return "…"
    described: list[str] = []
    for item in container:
        if described.__len__() == _FEW:
            described.append("…")
            break
        described.append(describe(item))
    return ", ".join(described)


def _name_of(kind: Any) -> str:  # noqa: ANN401
    """The qualified name of a class, read with `type`, because a metaclass may return anything."""
    name = _str.__str__(_type.__dict__["__qualname__"].__get__(kind))
    module = _type.__dict__["__module__"].__get__(kind)
    return name if _type(module) is not _str or module == "builtins" else f"{module}.{name}"


def _cut(text: str) -> str:
    """At most ROOM characters, encodable as UTF-8."""
    text = text if text.__len__() <= ROOM else f"{text[: ROOM - 1]}…"
    return text.encode("utf-8", "replace").decode()
