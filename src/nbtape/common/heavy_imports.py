"""Slow imports that run while a kernel starts."""

from __future__ import annotations

from importlib import import_module

from nbtape.common.compat_jsonschema import defer_grammar


def import_heavy_packages() -> None:
    """Import the packages that recording needs: nbclient, nbformat and jsonschema."""
    defer_grammar()
    for package in ("nbclient", "nbformat.v4"):
        import_module(package)


def compile_notebook_schema() -> None:
    """Compile nbformat's schema, which takes 60 ms, before the first output needs it."""
    import_heavy_packages()
    from nbformat.v4 import new_output

    new_output("stream")
