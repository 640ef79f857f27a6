"""Cells of a notebook that nobody has checked, in the shape that nbformat promises: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

_OUTPUTS: Final = frozenset({"stream", "error", "display_data", "execute_result"})
_CELLS: Final = frozenset({"code", "markdown", "raw"})


def fit_cell(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A cell in shape; its outputs are those of known types, each as it came: see `fit_output`.

    Args:
        raw: The cell, as JSON has it.
    """
    kind, metadata, outputs = raw.get("cell_type"), raw.get("metadata"), raw.get("outputs")
    attachments = raw.get("attachments")
    metadata = metadata if isinstance(metadata, dict) else {}
    tags = metadata.get("tags", [])
    return {
        "cell_type": kind if isinstance(kind, str) and kind in _CELLS else "raw",
        "id": text_of(raw.get("id")),
        "source": text_of(raw.get("source")),
        "metadata": metadata if _are_texts(tags) else {**metadata, "tags": []},
        "attachments": attachments if isinstance(attachments, dict) else {},
        "execution_count": count if type(count := raw.get("execution_count")) is int else None,
        "outputs": list(filter(_is_output, outputs)) if isinstance(outputs, list) else [],
    }


def fit_output(raw: Mapping[str, Any]) -> dict[str, Any]:
    """An output in shape, its texts joined.

    Args:
        raw: One of those that `fit_cell` leaves.
    """
    kind = raw["output_type"]
    if kind == "stream":
        name = "stderr" if raw.get("name") == "stderr" else "stdout"
        return {"output_type": kind, "name": name, "text": text_of(raw.get("text"))}
    if kind == "error":
        ename, evalue = text_of(raw.get("ename")), text_of(raw.get("evalue"))
        return {"output_type": kind, "ename": ename, "evalue": evalue, "traceback": _texts(raw.get("traceback"))}
    data = raw.get("data")
    bundle = {mime: _joined(value) for mime, value in data.items()} if isinstance(data, dict) else {}
    return {"output_type": kind, "data": bundle, "metadata": {}}


def text_of(value: object) -> str:
    """A text as nbformat writes it, in one piece or as lines; empty if it is none."""
    return value if isinstance(value, str) else "".join(_texts(value))


def _joined(value: object) -> object:
    return "".join(value) if _are_texts(value) else value


def _texts(value: object) -> list[str]:
    return value if _are_texts(value) else []


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_output(value: object) -> bool:
    return isinstance(value, dict) and isinstance(kind := value.get("output_type"), str) and kind in _OUTPUTS
