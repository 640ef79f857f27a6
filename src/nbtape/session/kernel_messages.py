"""Validate and clean iopub messages, because untrusted code in a kernel can send any message.

The result has the shape that https://jupyter-client.readthedocs.io/en/stable/messaging.html specifies, and contains
only what nbformat's schema and strict JSON allow.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.text import fit_json, fit_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbtape.kernels.protocols import Message

Json = dict[str, Any]

_MIME_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(?:;[\w.+=; -]*)?")
_JSON_MIME_TYPE: Final = re.compile(r"application/(.*\+)?json")

#: A display with a longer id is shown but not updated. IPython's ids have 32 characters.
_MAX_DISPLAY_ID_CHARS: Final = 256


def is_message(message: object) -> bool:
    """Whether an object has the parts of a message that nbclient reads unchecked."""
    return isinstance(message, dict) and all(
        isinstance(message.get(part), dict) for part in ("header", "parent_header", "content")
    )


def clean_message(message: Message) -> Message | None:
    """The message with valid content; None if it does not matter to a notebook.

    Messages of widgets do not. Text printed into an `Output` widget is recorded in the cell, within its limit.
    """
    kind = message["header"].get("msg_type")
    clean = _CLEANERS.get(kind) if isinstance(kind, str) else None
    cleaned = clean(message["content"]) if clean else None
    parent = {"msg_id": parent_id(message)}
    return None if cleaned is None else {**message, "msg_type": kind, "parent_header": parent, "content": cleaned}


def payload_of(reply: Mapping[str, Any]) -> list[Json]:
    """The valid items of the payload in the content of an `execute_reply`."""
    payload = reply.get("payload")
    return [item for item in payload if isinstance(item, dict)] if isinstance(payload, list) else []


def page_of(reply: Message) -> Message | None:
    """The page of an `execute_reply`, such as the help of `len?`, as the display that JupyterLab makes of it."""
    pages = [item for item in payload_of(_dict(reply["content"])) if item.get("source") == "page"]
    if not pages:
        return None
    header, content = {**reply["header"], "msg_type": "display_data"}, {"data": pages[0].get("data")}
    return {**reply, "header": header, "content": content}


def parent_id(message: Message) -> str:
    """The id of the request that a message belongs to; empty if it has none."""
    return str(message["parent_header"].get("msg_id", ""))


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return fit_text(value) if isinstance(value, str) else str(fit_json(value))


def _stream(content: Json) -> Json:
    name = "stderr" if content.get("name") == "stderr" else "stdout"
    return {"name": name, "text": _text(content.get("text", ""))}


def _display(content: Json) -> Json:
    display_id = _dict(content.get("transient")).get("display_id")
    has_id = isinstance(display_id, str) and len(display_id) <= _MAX_DISPLAY_ID_CHARS
    return {
        "data": _bundle(_dict(content.get("data"))),
        "metadata": fit_json(_dict(content.get("metadata"))),
        "transient": {"display_id": display_id} if has_id else {},
    }


def _result(content: Json) -> Json:
    return {**_display(content), "execution_count": _count(content)}


def _bundle(data: Json) -> Json:
    """A MIME bundle as in nbformat's schema: text under every type except the JSON ones."""
    bundle = {}
    for mime, value in data.items():
        if not _MIME_TYPE.fullmatch(mime):
            continue
        if _JSON_MIME_TYPE.fullmatch(mime):
            bundle[mime] = fit_json(value)
        elif isinstance(value, list) and all(isinstance(line, str) for line in value):
            bundle[mime] = fit_text("".join(value))
        else:
            bundle[mime] = fit_text(value if isinstance(value, str) else json.dumps(fit_json(value)))
    return bundle


def _error(content: Json) -> Json:
    traceback = content.get("traceback")
    return {
        "ename": _text(content.get("ename", "")),
        "evalue": _text(content.get("evalue", "")),
        "traceback": [_text(line) for line in traceback] if isinstance(traceback, list) else [],
    }


def _count(content: Json) -> int | None:
    count = content.get("execution_count")
    return count if type(count) is int and count >= 0 else None


def _execute_input(content: Json) -> Json | None:
    count = _count(content)
    return None if count is None else {"execution_count": count}


def _status(content: Json) -> Json:
    return {"execution_state": _text(content.get("execution_state", ""))}


def _clear(content: Json) -> Json:
    return {"wait": bool(content.get("wait", False))}


_CLEANERS: Final[Mapping[str, Callable[[Json], Json | None]]] = {
    "stream": _stream,
    "display_data": _display,
    "update_display_data": _display,
    "execute_result": _result,
    "error": _error,
    "execute_input": _execute_input,
    "status": _status,
    "clear_output": _clear,
}
