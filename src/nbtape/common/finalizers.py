"""Seeing to what nobody ended: when what stands for it is forgotten, or at exit, and never from a fork."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def when_forgotten(thing: T, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> weakref.finalize[..., T]:
    """Have something done once: when the thing is forgotten, at exit, or before that by calling what is returned.

    Args:
        thing: What is forgotten.
        act: What is done. Neither it nor its arguments may hold the thing, which would never be forgotten then.
        args: For `act`.
        kwargs: For `act`.
    """
    return weakref.finalize(thing, _act, os.getpid(), act, *args, **kwargs)


def _act(owner: int, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    if os.getpid() == owner:  # a fork of the owner exits, too, and what is to be ended is not the fork's
        act(*args, **kwargs)
