def _with_frames(value):
    """Make DataFrames and Series of their parts."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_frames, value))
    if not isinstance(value, dict):
        return value
    kind = value.get("__type__")
    if kind not in ("DataFrame", "Series", "NA"):
        return {key: _with_frames(item) for key, item in value.items()}
    import numpy as np
    import pandas as pd

    def series(part):
        kind, values = part["dtype"], part["values"]
        if kind == "category":
            categories = pd.Index(series(part["categories"]))
            return pd.Series(pd.Categorical.from_codes(values, categories=categories, ordered=part["ordered"]))
        if kind.startswith(("datetime64[", "timedelta64[")):
            unit = kind.rstrip("]").partition("[")[2].partition(",")[0]
            times = pd.Series(np.array(values, dtype="int64").view(f"{'M' if kind[0] == 'd' else 'm'}8[{unit}]"))
            return times.dt.tz_localize("UTC").astype(kind) if "," in kind else times
        if kind == "str" and int(pd.__version__.split(".")[0]) < 3:
            kind = "object"
        return pd.Series(_with_frames(values), dtype=kind)

    def labels(part):
        if "range" in part:
            return pd.RangeIndex(*part["range"], name=part["names"][0])
        levels = [pd.Index(series(level)) for level in part["levels"]]
        if len(levels) > 1:
            return pd.MultiIndex.from_arrays(levels, names=part["names"])
        return levels[0].rename(part["names"][0])

    if kind == "NA":
        return pd.NA
    index = labels(value["index"])
    if kind == "Series":
        return series(value["data"]).set_axis(index).rename(value["name"])
    frame = pd.DataFrame(dict(enumerate(map(series, value["data"]))), index=None if value["data"] else index)
    frame.index, frame.columns = index, labels(value["columns"])
    return frame
