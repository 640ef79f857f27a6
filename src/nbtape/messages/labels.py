"""What the label of a fenced block means: Python, prose, or another language."""

from __future__ import annotations

import re
from typing import Final

_PYTHON: Final = """
    python python3 py py3 ipython ipython3 cpython pyspark
    jupyter jupyter-python jupyter-notebook jupyter-execute notebook ipynb
    tool-code code-interpreter python-code python-exec execute-python run-python
"""
PYTHON_LABELS: Final = frozenset(_PYTHON.split())

SHELLS: Final = frozenset({"bash", "sh", "shell"})

# Output, data, configuration, markup, diagrams, terminal sessions, and directives of MyST, which are not run.
_PROSE_LABELS: Final = """
    text txt plain plaintext none nohighlight ascii tree raw pseudocode pseudo algorithm prompt
    stdout stderr traceback pytb py3tb
    console terminal shell-session shellsession sh-session bash-session pycon pycon3 python-repl doctest
    json json5 jsonc jsonl jsonlines ndjson geojson yaml yml toml ini cfg conf config properties env dotenv
    csv tsv diff patch udiff gitignore requirements dockerfile docker makefile
    markdown md mdx myst rmd qmd rst html xml svg css scss sass less latex tex bibtex math http regex bnf ebnf
    mermaid plantuml puml dot graphviz d2
    think thinking thought thoughts reasoning plan
    code-block sourcecode eval-rst note tip hint
    important warning caution attention danger error admonition figure toctree
"""
_PROSE: Final = frozenset(_PROSE_LABELS.split())

#: The last word of a label for what code has printed, such as `tool_outputs`.
_OUTPUT_WORDS: Final = frozenset({"output", "outputs", "out", "result", "results", "log", "logs", "error", "errors"})

_MARKDOWN: Final = frozenset({"markdown", "md", "mdx", "myst", "rmd", "qmd"})

#: Labels of other languages; only these end a fence that was not closed, and only their suffixes name a file.
_OTHER_LABELS: Final = """
    r julia jl javascript js jsx typescript ts tsx java kotlin scala c h cpp c++ cxx hpp c# cs csharp f# fsharp go
    rust rs ruby rb php perl pl lua swift dart sql sqlite postgresql mysql plsql zsh fish ksh powershell ps1 pwsh bat
    cmd batch matlab octave haskell hs elixir erlang clojure lisp scheme prolog fortran cobol ada pascal zig nim
    crystal groovy solidity vb vba objective-c objectivec assembly asm nasm wasm graphql proto protobuf cypher sparql
    stan sas stata python2 py2 pyi
"""
_OTHERS: Final = frozenset(_OTHER_LABELS.split())

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_BETWEEN_WORDS = re.compile(r"[\s{}(),:;\u200b-\u200d\u2060\ufeff]+")
_NOT_EVALUATED = re.compile(r"\{[^{}]*\beval\s*=\s*(?:F|FALSE|false|False)\b")
_CELL: Final = "code-cell"

#: Labels that say only that it is code.
_NO_LANGUAGE: Final = frozenset({_CELL, "code"})


def language_of(info: str) -> str:
    """The language in an info string, in lower case: "python" for Python, "" for none.

    It is the first word that is not an attribute, as in `{#id .python n="1"}`; a file name counts by its suffix.
    """
    names = (word.lstrip("./=") for word in _BETWEEN_WORDS.split(_QUOTED.sub(" ", info)))
    labels = [name.lower() for name in names if name[:1].isalpha() and "=" not in name]
    label = next((_of_file(label) for label in labels if label not in _NO_LANGUAGE), "")
    label = re.sub(r"^(?:language|lang)-", "", label)
    return "python" if is_python_label(label) else label


def is_python_label(label: str) -> bool:
    return label.replace("_", "-") in PYTHON_LABELS or label.startswith("python3.")


def is_prose(info: str) -> bool:
    """Whether a block with this info string is not meant to be run."""
    label = language_of(info).replace("_", "-")
    return label in _PROSE or label.split("-")[-1] in _OUTPUT_WORDS or bool(_NOT_EVALUATED.search(info))


def is_markdown(info: str) -> bool:
    return language_of(info) in _MARKDOWN


def is_cell(info: str) -> bool:
    """Whether it is the directive of a MyST cell, `{code-cell}`."""
    return info.lstrip().lower().startswith(f"{{{_CELL}}}")


def is_known(label: str) -> bool:
    """Whether a word is a label, rather than prose."""
    return is_prose(label) or is_runnable(label) or label.lower() in _OTHERS


def is_runnable(label: str) -> bool:
    """Whether a word is a label of what a Python kernel runs."""
    return is_python_label(label.lower()) or label.lower() in SHELLS


def _of_file(label: str) -> str:
    """The label for a file name, `py` for `src/main.py`; other labels as they are."""
    stem, dot, suffix = label.rpartition(".")
    return suffix if stem and dot and is_known(suffix) else label
