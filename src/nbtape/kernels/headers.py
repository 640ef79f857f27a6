"""When a message was sent, read by Python itself: jupyter_client asks dateutil, and of every text in a header."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

from jupyter_client.session import json_unpacker


def with_date(header: Any) -> Any:  # noqa: ANN401  (any JSON value)
    """A header with its `date` as a datetime; anything else as it is.

    See https://jupyter-client.readthedocs.io/en/stable/messaging.html#message-header.
    """
    date = header.get("date") if isinstance(header, dict) else None
    if isinstance(date, str):
        with contextlib.suppress(ValueError):
            read = datetime.datetime.fromisoformat(date)
            if read.tzinfo is not None:  # else jupyter_client knows what it would be
                header["date"] = read
    return header


def unpack(part: bytes) -> Any:  # noqa: ANN401  (any JSON value)
    """A part of a message, for jupyter_client's session, which then finds the date of a header read."""
    return with_date(json_unpacker(part))
