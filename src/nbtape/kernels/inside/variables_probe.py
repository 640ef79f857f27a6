"""What tells of a Python kernel's variables: sent there as text, it runs in the kernel and leaves nothing behind.

The kernel's Python may be another than ours (3.8 or newer), with nothing but its standard library. Its code may have
replaced builtins, and its values may lie, hang or flood. So types come from literals and not from names, an f-string's
`!r` stands for `repr`, and whatever a value says is bounded in time and in size.
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

#: The most characters of a name, a type and a repr; the items of a container that its repr shows, and how deep.
ROOM = 200
_FEW = 10
_DEPTH = 3
#: Seconds for each thing that a value is asked.
_EACH = 0.5
#: The largest number told, which every reader of JSON can hold; the most dimensions of a shape.
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
    """What IPython's formatters pass on as it is, whatever the code has registered with them."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        return {MIME_TYPE: self._told, "text/plain": ""}


def answer(namespace: dict[str, Any], limit: int, seconds: float) -> Answer:
    """Tell of the variables in a namespace.

    Args:
        namespace: Names and values. Threads may change it meanwhile.
        limit: The most variables to tell of.
        seconds: What all values together may take.
    """
    # In a context of its own: nothing stays of what is set there.
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
    """Have what this thread prints and displays land nowhere. What others print meanwhile is kept."""
    streams: Any = (sys.stdout, sys.stderr)
    for stream in streams:
        with contextlib.suppress(Exception):
            # Which request this context prints for: none. The name is the same in ipykernel 6 and 7.
            stream._parent_header.set({})  # noqa: SLF001
    with contextlib.suppress(AttributeError):
        shell.display_pub.register_hook(_drop)  # each thread has its own
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError):
            shell.display_pub.unregister_hook(_drop)


def _drop(_: object) -> None:
    """A hook that lets no message through."""


def _is_variable(name: object, value: object, hidden: dict[str, Any]) -> bool:
    """Whether the code made it to work with: no module, nothing with an underscore, nothing of IPython's."""
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
    """A value has had its time."""


class _Watch:
    """Has values answer in time, where there are timers and this is the main thread. A timer of the code's goes on."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._until = self._began + seconds
        self._works = self._armed = False

    def __enter__(self) -> _Watch:  # noqa: PYI034  (Self is in Python 3.11)
        with contextlib.suppress(AttributeError, ValueError):
            self._handler = signal.signal(signal.SIGALRM, self._ring)
            self._timer = signal.setitimer(signal.ITIMER_REAL, 0)
            self._works = True
        return self

    def __exit__(self, *_: object) -> None:
        if not self._works:
            return
        # A handler that is not Python's cannot be put back; the default is what it most likely was.
        signal.signal(signal.SIGALRM, signal.SIG_DFL if self._handler is None else self._handler)
        left, interval = self._timer
        if left:
            left -= time.monotonic() - self._began
            signal.setitimer(signal.ITIMER_REAL, left if left > 0 else 0.001, interval)

    def ask(self, question: Callable[[Any], Any], value: object) -> tuple[Any, str]:
        """The answer of a value, and what went wrong, if anything did."""
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
        except KeyboardInterrupt:  # nobody waits any longer: not for the other values, either
            self._until = self._began
            return None, "was interrupted"
        except BaseException as exc:  # noqa: BLE001  (code may raise what it likes)
            return None, f"raised {_name_of(_type(exc))}"

    def _arm(self, seconds: float) -> None:
        self._armed = seconds > 0
        if self._works:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _ring(self, *_: object) -> None:
        if self._armed:  # and not a moment too late
            raise _TooLong


def _size(value: Any) -> int:  # noqa: ANN401  (any value, as in the next ones)
    """Bytes: the data of an array or a frame, else the object without what it refers to."""
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
    """Whether a class has an attribute. The value itself is not asked: its `__getattr__` may do anything."""
    return [base for base in kind.__mro__ if name in base.__dict__] != []


def _count(number: Any) -> int:  # noqa: ANN401
    number = number.__index__()
    if _type(number) is not _int or not 0 <= number <= LARGEST:
        raise ValueError
    return number  # type: ignore[no-any-return]


def _short(value: Any, depth: int = _DEPTH) -> str:  # noqa: ANN401
    """The repr, but of builtin values only their beginning: nobody waits for that of ten million items."""
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
    return _str.__str__(f"{value!r}")  # which may be of a subclass, with methods of its own


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
    """The qualified name of a class, as `type` itself knows it: a metaclass may tell anything."""
    name = _str.__str__(_type.__dict__["__qualname__"].__get__(kind))
    module = _type.__dict__["__module__"].__get__(kind)
    return name if _type(module) is not _str or module == "builtins" else f"{module}.{name}"


def _cut(text: str) -> str:
    """At most ROOM characters, as UTF-8 can hold them."""
    text = text if text.__len__() <= ROOM else f"{text[: ROOM - 1]}…"
    return text.encode("utf-8", "replace").decode()
