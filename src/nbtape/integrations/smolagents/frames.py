"""DataFrames and Series of pandas as JSON, from which `frame_cell` makes them again in a kernel. Nothing is pickled."""

from __future__ import annotations

import sys
from typing import Any

from smolagents import SerializationError


def mark_frames(value: Any) -> Any:  # noqa: ANN401  (whatever an agent is given)
    """Replace DataFrames and Series in a value by their parts; return the value itself if it has none.

    Raises:
        SerializationError: A column has a type that JSON cannot hold exactly.
    """
    pandas = sys.modules.get("pandas")
    return value if pandas is None else _Marking(pandas).mark(value)


class _Marking:
    def __init__(self, pandas: Any) -> None:  # noqa: ANN401  (the module, which has no types here)
        self._pandas = pandas

    def mark(self, value: Any) -> Any:  # noqa: ANN401
        if type(value) is self._pandas.DataFrame:
            columns = [self._series(value.iloc[:, position]) for position in range(value.shape[1])]
            labels = {"columns": self._labels(value.columns), "index": self._labels(value.index)}
            return {"__type__": "DataFrame", **labels, "data": columns}
        if type(value) is self._pandas.Series:
            data, index = self._series(value), self._labels(value.index)
            return {"__type__": "Series", "name": value.name, "index": index, "data": data}
        if value is self._pandas.NA:
            return {"__type__": "NA"}
        marked: Any = value
        if type(value) is dict:
            marked = {key: self.mark(item) for key, item in value.items()}
            return marked if any(marked[key] is not item for key, item in value.items()) else value
        if type(value) in {list, tuple}:
            marked = type(value)(map(self.mark, value))
            return marked if any(new is not old for new, old in zip(marked, value, strict=True)) else value
        return value

    def _labels(self, index: Any) -> dict[str, Any]:  # noqa: ANN401  (an Index)
        names = [self.mark(name) for name in index.names]
        if isinstance(index, self._pandas.RangeIndex):
            return {"range": [index.start, index.stop, index.step], "names": names}
        levels = [self._series(index.get_level_values(number)) for number in range(index.nlevels)]
        return {"levels": levels, "names": names}

    def _series(self, values: Any) -> dict[str, Any]:  # noqa: ANN401  (a Series or an Index)
        pandas = self._pandas
        values = pandas.Series(values).reset_index(drop=True)
        dtype = values.dtype
        if isinstance(dtype, pandas.CategoricalDtype):
            categories = {"categories": self._series(dtype.categories), "ordered": bool(dtype.ordered)}
            return {"dtype": "category", "values": values.cat.codes.tolist(), **categories}
        if isinstance(dtype, pandas.DatetimeTZDtype):
            times = values.dt.tz_convert("UTC").dt.tz_localize(None)
            return {"dtype": str(dtype), "values": times.to_numpy().view("int64").tolist()}
        if not pandas.api.types.is_extension_array_dtype(dtype):
            if dtype.kind in "mM":
                return {"dtype": str(dtype), "values": values.to_numpy().view("int64").tolist()}
            if dtype.kind in "biuf" and dtype.itemsize <= 8:  # noqa: PLR2004  (bytes of the numbers of Python)
                return {"dtype": str(dtype), "values": values.tolist()}
            if dtype.kind == "O":
                return {"dtype": "object", "values": [self.mark(item) for item in values]}
        elif _has_plain_values(dtype):
            return {"dtype": str(dtype), "values": [None if pandas.isna(item) else item for item in values.tolist()]}
        raise SerializationError(f"Cannot safely serialize a column of type {dtype}")


def _has_plain_values(dtype: Any) -> bool:  # noqa: ANN401  (an ExtensionDtype)
    """Whether it is pandas' own type for strings, or for numbers or booleans that may be missing."""
    return str(dtype) in {"str", "string", "boolean"} or (
        dtype.kind in "iuf" and str(dtype).startswith(("Int", "UInt", "Float"))
    )
