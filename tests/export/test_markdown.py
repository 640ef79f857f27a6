"""The Markdown report: prose, code and outputs."""

from __future__ import annotations

import base64
from io import BytesIO

from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from nbtape.export.markdown import write_report


def test_a_report_has_a_summary_prose_code_outputs_and_images() -> None:
    Image.new("RGB", (4, 4)).save(content := BytesIO(), "PNG")
    picture = {"image/png": base64.b64encode(content.getvalue()).decode(), "text/plain": "<Figure>"}
    failed = new_output("error", ename="KeyError", evalue="'x'", traceback=["\x1b[31mKeyError\x1b[0m: 'x'"])
    cells = [
        new_markdown_cell("# Findings\n\nSee [this](https://example.org)."),
        new_code_cell("plot()", execution_count=1, outputs=[new_output("display_data", picture)]),
        new_code_cell("d['x']", execution_count=2, outputs=[failed], metadata={"nbtape": {"status": "error"}}),
        new_code_cell("print('```')", execution_count=3, outputs=[new_output("stream", text="```\n")]),
    ]
    report = write_report(new_notebook(cells=cells), "a.ipynb", "a files")
    assert report.images == {"a files/1_0.png": content.getvalue()}
    tokens = MarkdownIt().parse(report.text)
    fences = [token.content for token in tokens if token.type == "fence"]
    assert fences == ["plot()\n", "d['x']\n", "KeyError: 'x'\n", "print('```')\n", "```\n"]
    assert "![](a%20files/1_0.png)" in report.text
    assert "# Findings\n\nSee [this](https://example.org)." in report.text
    assert "- **block 2: error** KeyError: 'x'" in report.text
    assert report.text.startswith("# a.ipynb\n\n- 3 code cells \\(2 ok, 1 error\\)\n")
