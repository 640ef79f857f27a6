"""The Sphinx configuration of the documentation site; `scripts/docs` builds it from notebooks/."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import nbtape
from documentation.docstrings import expand_signature, link_names, show_options, signature_over_mock
from documentation.reference import fill

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "nbtape"
version = release = nbtape.__version__
html_title = f"nbtape {version}"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

# The sources of the tutorials are in the notebooks; the transcripts are input for `nbtape run`.
exclude_patterns = ["sources", "fibonacci.md", "logs.md", "parcels.md", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# En dashes between words only; options are code.
smartquotes_action = "D"

autoclass_content = "both"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"Status": "Status"}
autodoc_default_options = {"members": True, "inherited-members": "dict,list,BaseException"}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
# Frameworks, whose versions collide.
autodoc_mock_imports = [
    "ag2",
    "agent_framework",
    "agents",
    "autogen_core",
    "langchain_core",
    "mcp",
    "openai",
    "pydantic",
    "pydantic_ai",
    "smolagents",
]


def _fill(_app: Sphinx, _name: str, source: list[str]) -> None:
    source[0] = fill(source[0])


def setup(app: Sphinx) -> None:
    """Connect the functions that generate parts of pages."""
    app.connect("source-read", _fill)
    app.connect("autodoc-before-process-signature", expand_signature)
    app.connect("autodoc-process-signature", signature_over_mock)
    # Before napoleon, which parses the arguments.
    app.connect("autodoc-process-docstring", show_options, priority=400)
    app.connect("autodoc-process-docstring", link_names, priority=450)
