"""Who is told what happens: callbacks of a user, whose faults are no matter of the session."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

News = ParamSpec("News")


def tell(listener: Callable[News, object] | None, *news: News.args, **named: News.kwargs) -> None:
    """Call a listener, if there is one; what it raises is logged and goes no further."""
    if listener is None:
        return
    try:
        listener(*news, **named)
    except Exception:
        logger.exception("%s failed", getattr(listener, "__qualname__", listener))
