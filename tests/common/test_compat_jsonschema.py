"""jsonschema imports the grammar that nbtape loads lazily, and works with the stand-in."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CHANGED = "jsonschema has changed: adapt nbtape.common.compat_jsonschema"

BEFORE = """
import sys
from nbtape.common.compat_jsonschema import defer_grammar
defer_grammar()
import nbformat
assert not [name for name in sys.modules if name.startswith('rfc3987_syntax')], 'nothing is left in its place'
"""
ASKED = """
from jsonschema import FormatChecker, FormatError
checker = FormatChecker()
checker.check('http://example.com/\\u00e9', 'iri')
checker.check('../\\u00e9', 'iri-reference')
for text, kind in (('no iri', 'iri'), ('<', 'iri-reference')):
    try:
        checker.check(text, kind)
    except FormatError:
        continue
    raise AssertionError(text)
assert 'rfc3987_syntax.syntax_helpers' in sys.modules
"""
USED = """
import sys, tempfile
from nbtape import CodeBlock, JupyterCodeExecutor
with JupyterCodeExecutor(output_dir=tempfile.mkdtemp()) as executor:
    assert executor.execute_code_blocks([CodeBlock('x = 1', 'python')]).exit_code == 0
with JupyterCodeExecutor.resume(executor.notebook) as executor:
    assert executor.execute_code_blocks([CodeBlock('x', 'python')]).exit_code == 0
assert 'nbformat' in sys.modules and 'rfc3987_syntax' not in sys.modules
"""
RESUMED = """
import sys
from nbtape import JupyterCodeExecutor, NotebookReadError
try:
    JupyterCodeExecutor.resume('none.ipynb')
except NotebookReadError:
    pass
assert 'nbformat' in sys.modules and 'rfc3987_syntax' not in sys.modules
"""
AT_ONCE = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from nbtape.common.compat_jsonschema import defer_grammar
begin = threading.Barrier(8)
def defer(_):
    begin.wait()
    defer_grammar()
    import nbformat
    nbformat.v4.new_notebook()
sys.setswitchinterval(1e-6)
with ThreadPoolExecutor(8) as threads:
    list(threads.map(defer, range(8)))
assert not [name for name in sys.modules if name.startswith('rfc3987_syntax')], 'nothing is left in its place'
"""


def test_jsonschema_imports_only_the_function_that_is_replaced() -> None:
    pytest.importorskip("rfc3987_syntax")
    spec = find_spec("jsonschema._format")
    assert spec is not None, CHANGED
    assert spec.origin is not None, CHANGED
    imported = re.findall(r"\b(?:from|import) rfc3987_syntax\b(?: import (\w+))?", Path(spec.origin).read_text("utf-8"))
    assert imported == ["is_valid_syntax"], CHANGED


@pytest.mark.parametrize(
    "code",
    [
        BEFORE,
        AT_ONCE,
        BEFORE + ASKED,
        "import jsonschema\n" + BEFORE.replace("assert", "assert 1 or") + ASKED,
        USED,
        RESUMED,
    ],
    ids=["before", "by threads at once", "asked", "too late", "used", "resumed"],
)
def test_the_grammar_is_built_on_first_use(code: str) -> None:
    pytest.importorskip("rfc3987_syntax")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{CHANGED}\n{ended.stderr}"
