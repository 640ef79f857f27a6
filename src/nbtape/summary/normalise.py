"""Normalize cells of an unchecked notebook to nbformat's structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

_OUTPUTS: Final = ("stream", "error", "display_data", "execute_result")
_CELLS: Final = ("code", "markdown", "raw")


def fit_cell(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A normalized cell. Outputs of unknown types are dropped; `fit_output` normalizes the others."""
    kind, count, metadata = raw.get("cell_type"), raw.get("execution_count"), dict_of(raw.get("metadata"))
    return {
        "cell_type": kind if kind in _CELLS else "raw",
        "id": text_of(raw.get("id")),
        "source": text_of(raw.get("source")),
        "metadata": metadata if _are_texts(metadata.get("tags", [])) else {**metadata, "tags": []},
        "attachments": dict_of(raw.get("attachments")),
        "execution_count": count if type(count) is int else None,
        "outputs": [output for output in list_of(raw.get("outputs")) if dict_of(output).get("output_type") in _OUTPUTS],
    }


def fit_output(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A normalized output with its texts joined; `raw` is one that `fit_cell` keeps."""
    kind = raw["output_type"]
    if kind == "stream":
        name = "stderr" if raw.get("name") == "stderr" else "stdout"
        return {"output_type": kind, "name": name, "text": text_of(raw.get("text"))}
    if kind == "error":
        ename, evalue = text_of(raw.get("ename")), text_of(raw.get("evalue"))
        return {"output_type": kind, "ename": ename, "evalue": evalue, "traceback": _texts(raw.get("traceback"))}
    bundle = {mime: "".join(value) if _are_texts(value) else value for mime, value in dict_of(raw.get("data")).items()}
    return {"output_type": kind, "data": bundle, "metadata": {}}


def text_of(value: object) -> str:
    """The text of a string or a list of lines, as nbformat writes it; empty if it is neither."""
    return value if isinstance(value, str) else "".join(_texts(value))


def dict_of(value: object) -> dict[str, Any]:
    """A JSON object; empty if the value is not one."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """A JSON array; empty if the value is not one."""
    return value if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return value if _are_texts(value) else []


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
