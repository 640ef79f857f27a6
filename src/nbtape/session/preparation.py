"""Slow imports of a recording, which run while its kernel starts."""

from __future__ import annotations

from importlib import import_module

from nbtape.common.heavy_imports import compile_notebook_schema


def prepare_recording() -> None:
    """Import what the first block needs."""
    compile_notebook_schema()
    for module in ("nbtape.session.cell_runner", "nbtape.session.recording"):
        import_module(module)
