"""Cleanup when an object is garbage-collected or at exit, but never in a fork."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def when_forgotten(thing: T, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> weakref.finalize[..., T]:
    """Call `act` once: when `thing` is garbage-collected, at exit, or when the returned finalizer is called.

    Neither `act` nor its arguments may refer to `thing`, which would keep it alive.
    """
    return weakref.finalize(thing, _act, os.getpid(), act, *args, **kwargs)


def _act(owner: int, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    if os.getpid() == owner:  # a fork of the owner runs finalizers at exit too
        act(*args, **kwargs)
