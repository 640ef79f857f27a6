"""Export a recorded run as one HTML page.

Content is sanitized, and the page's content security policy also forbids scripts and external resources, so MathJax is
not available.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from nbtape.common.hidden_text import reveal_in_prose
from nbtape.common.text import fit_text
from nbtape.export.html_parts import Parts, style
from nbtape.summary.run_summary import summarise
from nbtape.summary.wording import facts_of

if TYPE_CHECKING:
    from nbformat import NotebookNode


def render(notebook: NotebookNode, name: str) -> str:
    """Render a validated notebook as an HTML page with the title `name`."""
    from jinja2 import DictLoader
    from nbconvert.exporters import TemplateExporter

    run, parts = summarise(notebook), Parts(notebook["metadata"])
    template = files("nbtape.export").joinpath("page.html.j2").read_text(encoding="utf-8")
    exporter = TemplateExporter(
        extra_loaders=[DictLoader({"page": template})],
        template_file="page",
        # By default, nbconvert also loads templates and preprocessors from the working directory.
        extra_template_basedirs=[],
        template_paths=[],
        filters={"prose": parts.prose, "head": parts.head, "shown": parts.output, "visible": reveal_in_prose},
    )
    resources = {
        "name": name,
        "counts": run.counts,
        "facts": facts_of(run),
        "cells": {cell.index: cell for cell in run.cells},
        "failed": run.failed,
        "failures": {cell.index for cell in run.failed},
        "style": style(),
    }
    page, _ = exporter.from_notebook_node(notebook, resources)
    return fit_text(page)
