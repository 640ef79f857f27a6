"""The final answer of a smolagents agent, in an output of its kernel: JSON, never unpickled."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import TYPE_CHECKING, Any, Final

import PIL.Image

from nbtape.common.image_types import MAX_MODEL_PIXELS
from nbtape.integrations.smolagents.compat_smolagents import from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The final answer as JSON by smolagents' `SafeSerializer`, in a string because JSON in a notebook has no NaN. An image
#: is in the same bundle, as image/png.
MIME_TYPE: Final = "application/vnd.nbtape.smolagents-answer"

_MAX_ARRAY_BYTES: Final = 256_000_000

#: Types of array elements: numbers, or strings of a fixed length.
_DTYPE: Final = re.compile(r"(?:bool|(?:u?int|float)\d+)|<U(\d{1,9})")


def find_answer(outputs: Sequence[Mapping[str, Any]]) -> Mapping[str, str] | None:
    """The data of the last output of a cell that has a final answer."""
    return next((output["data"] for output in reversed(outputs) if MIME_TYPE in output.get("data", {})), None)


def read_answer(shown: Mapping[str, str]) -> Any:  # noqa: ANN401  (whatever the agent answers)
    """The final answer in the data of an output, which code may have forged; raises ValueError if it is invalid."""
    try:
        data = json.loads(shown[MIME_TYPE])
        if data == {"__type__": "PIL.Image"}:
            data["data"] = shown["image/png"]
        _check(data)
        return from_json(data)
    except Exception as exc:
        reason = f"{type(exc).__name__}: {exc}"[:500]
        raise ValueError(
            f"The final answer from the kernel is invalid ({reason}). It must be the JSON that final_answer sends; "
            "pickles are never loaded."
        ) from exc


def _check(data: object) -> None:
    """Raise an error for data that would fill memory, is not an image, or is not valid Unicode."""
    if isinstance(data, str):
        data.encode()
    if isinstance(data, list):
        for item in data:
            _check(item)
    if not isinstance(data, dict):
        return
    if data.get("__type__") == "PIL.Image":
        with PIL.Image.open(io.BytesIO(base64.b64decode(data["data"])), formats=["PNG"]) as image:
            if image.width * image.height > MAX_MODEL_PIXELS:
                raise ValueError(f"an image has {image.width} by {image.height} pixels")
            image.load()
    elif data.get("__type__") == "ndarray":
        dtype = _DTYPE.fullmatch(data["dtype"])
        if dtype is None or _leaves(data["data"]) * 4 * int(dtype[1] or 4) > _MAX_ARRAY_BYTES:
            raise ValueError(f"an array is of {data['dtype'][:50]!r}")
    else:
        _check([*data, *data.values()])


def _leaves(data: object) -> int:
    return sum(map(_leaves, data)) if isinstance(data, list) else 1
