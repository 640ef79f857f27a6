def _ends_the_code(tool, mime_type, most, shown):
    """Have a tool stop the code, show what it returns, and hand that over as JSON."""
    import base64, dataclasses, datetime, decimal, io, json, pathlib, sys
    from IPython.display import display
    from IPython.lib.pretty import pretty

    class FinalAnswer(BaseException):
        """Passes `except Exception`."""

    def marked(kind, data):
        return {"__type__": kind, "data": data}

    def as_json(value):
        if value is None or isinstance(value, (str, int, float)):
            return value
        if isinstance(value, dict):
            if all(isinstance(key, str) for key in value) and "__type__" not in value:
                return {key: as_json(item) for key, item in value.items()}
            return marked("dict_with_complex_keys", [[as_json(key), as_json(item)] for key, item in value.items()])
        if isinstance(value, list):
            return [as_json(item) for item in value]
        for kind in (tuple, set, frozenset):
            if isinstance(value, kind):
                return marked(kind.__name__, [as_json(item) for item in value])
        if isinstance(value, bytes):
            return marked("bytes", base64.b64encode(value).decode())
        if isinstance(value, complex):
            return {"__type__": "complex", "real": value.real, "imag": value.imag}
        for kind in (datetime.datetime, datetime.date, datetime.time):
            if isinstance(value, kind):
                return marked(kind.__name__, value.isoformat())
        if isinstance(value, datetime.timedelta):
            return {"__type__": "timedelta", "total_seconds": value.total_seconds()}
        if isinstance(value, decimal.Decimal):
            return marked("Decimal", str(value))
        if isinstance(value, pathlib.PurePath):
            return marked("Path", str(value))
        if "PIL.Image" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image):
            file = io.BytesIO()
            plain = value.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
            (value if plain else value.convert("RGB")).save(file, "PNG")
            return marked("PIL.Image", base64.b64encode(file.getvalue()).decode())
        numpy = sys.modules.get("numpy")
        if numpy and isinstance(value, numpy.ndarray):
            kind, size = value.dtype.kind, value.dtype.itemsize
            if kind == "U" or (kind in "biuf" and size <= 8):
                dtype = f"<U{size // 4}" if kind == "U" else value.dtype.name
                return {"__type__": "ndarray", "data": value.tolist(), "dtype": dtype}
            return as_json(value.tolist())
        if numpy and isinstance(value, numpy.generic):
            return as_json(value.item())
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = {"class_name": type(value).__name__, "module": type(value).__module__}
            data = {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"__type__": "dataclass", **names, "data": data}
        raise TypeError(f"{type(value).__name__} is neither data nor an image")

    def refuse(problem):
        raise ValueError(f"final_answer cannot return this value: {problem}")

    def final_answer(*args, **kwargs):
        __tracebackhide__ = True
        value = tool(*args, **kwargs)
        try:
            data = as_json(value)
            text = (value if isinstance(value, str) else pretty(value)).encode("utf-8", "replace").decode()
            if len(text) > shown:
                text = f"{text[:shown]}… ({len(text):,} characters)"
            bundle = {"text/plain": f"Final answer: {text}"}
            if isinstance(data, dict) and data.get("__type__") == "PIL.Image":
                bundle["image/png"] = data.pop("data")
            bundle[mime_type] = json.dumps(data)
            size = len(json.dumps(bundle[mime_type])) + len(bundle.get("image/png", ""))
        except (TypeError, ValueError, OverflowError, OSError, RecursionError) as error:
            problem = f"{error}. Use text, numbers, lists, dicts or an image."
        else:
            if size <= most:
                raise FinalAnswer(bundle)
            problem = f"It has {size:,} characters as JSON, more than the limit of {most:,}. Write it to a file."
        refuse(problem)

    def show(shell, kind, error, trace, tb_offset=None):
        display(error.args[0], raw=True)

    def succeed(result):
        if isinstance(result.error_in_exec, FinalAnswer):
            result.error_in_exec = None

    # What IPython has for it: https://ipython.readthedocs.io/en/stable/config/callbacks.html
    shell = get_ipython()
    shell.set_custom_exc((FinalAnswer,), show)
    if hasattr(shell, "_nbtape_succeed"):
        shell.events.unregister("post_run_cell", shell._nbtape_succeed)
    shell._nbtape_succeed = succeed
    shell.events.register("post_run_cell", succeed)
    return final_answer
