"""The reference is complete. `scripts/docs` itself fails on broken links and pages outside the table of contents."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import nbformat

import nbtape
from documentation.docstrings import expand_signature, option_lines
from documentation.reference import GENERATED, fill
from nbtape.cli.commands import nbtape as command_line
from nbtape.common.own_tokens import OWN_TOKENS
from nbtape.results import EXIT_CODES, MEANINGS
from nbtape.session.executor_base import ExecutorBase
from nbtape.session.options import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = REPOSITORY / "notebooks"
REFERENCE = NOTEBOOKS / "reference"
SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))


def page(name: str) -> str:
    """A page of the reference as Sphinx reads it."""
    return fill((REFERENCE / f"{name}.md").read_text())


def walk(command: click.Command, path: str = "nbtape") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, f"{path} {name}")


def sections(text: str) -> dict[str, str]:
    """The text below each second-level heading."""
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {heading.strip("`"): body for heading, _, body in (part.partition("\n") for part in parts)}


def test_every_public_name_has_an_entry() -> None:
    entries = re.findall(r"^\.\. (?:auto\w+|py:data):: (\w+)$", read_api(), flags=re.MULTILINE)
    assert sorted(entries) == sorted(nbtape.__all__)


def test_every_integration_has_an_entry() -> None:
    modules = {path.stem for path in (REPOSITORY / "src" / "nbtape" / "integrations").iterdir() if path.stem[0] != "_"}
    entries = re.findall(r"^\.\. automodule:: nbtape\.integrations\.(\w+)$", read_api(), flags=re.MULTILINE)
    assert sorted(entries) == sorted(modules)


def read_api() -> str:
    return "".join(fill(path.read_text()) for path in sorted((REFERENCE / "api").glob("*.md")))


def test_every_command_and_option_has_an_entry() -> None:
    found = sections(page("commands"))
    visible = {path: command for path, command in walk(command_line) if not command.hidden}
    assert found.keys() == visible.keys()
    for path, command in visible.items():
        terms = set(re.findall(r"^`([^`]+)`\n: \S", found[path], flags=re.MULTILINE))
        names = {name for term in terms for name in re.findall(r"(?<!\S)--?[\w-]+", term)}
        assert names == {
            name
            for option in command.get_params(click.Context(command, help_option_names=["-h", "--help"]))
            if isinstance(option, click.Option) and not option.hidden
            for name in (*option.opts, *option.secondary_opts)
        }, path


def test_every_example_of_a_command_is_shown() -> None:
    found = sections(page("commands"))
    for path, command in walk(command_line):
        for example in getattr(command, "examples", ()):
            assert f"$ {example}\n" in found[path]


def test_every_environment_variable_has_an_entry() -> None:
    known = set(re.findall(r"`([A-Z][A-Z_]+)`", page("environment-variables")))
    source = "".join(path.read_text() for path in SOURCES)
    read = set(re.findall(r"\bNBTAPE_[A-Z_]*[A-Z]\b", source)) | set(OWN_TOKENS)
    assert read <= known
    assert {name for name in known if name.startswith("NBTAPE_")} <= read


def test_every_exit_code_and_status_has_an_entry() -> None:
    known = set(re.findall(r"`(\w+)`", page("exit-codes")))
    assert {str(code) for code in MEANINGS} | set(EXIT_CODES) <= known


def test_every_key_of_a_recorded_notebook_has_an_entry() -> None:
    known = set(re.findall(r"^\| `([\w.]+)` \|", page("metadata"), flags=re.MULTILINE))
    recorded: set[str] = set()
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        recorded.update(notebook.metadata.nbtape, *(cell.metadata.get("nbtape", {}) for cell in notebook.cells))
    assert {"status", "revision"} < recorded <= known
    assert {"resumed", "resumed.time", "origin.until", "agent", "touched"} < known


def test_every_option_of_an_executor_is_in_its_signature_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    function = ExecutorBase.__init__
    monkeypatch.setattr(function, "__signature__", None, raising=False)  # Removed again after the test.
    monkeypatch.delattr(function, "__signature__")
    expand_signature(None, function, _bound=False)
    parameters = inspect.signature(function).parameters
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS
    assert [line.partition(":")[0] for line in option_lines() if not line.startswith(" ")] == list(DEFAULTS)


def test_every_generated_part_is_on_a_page() -> None:
    marks = [
        mark
        for path in REFERENCE.rglob("*.md")
        for mark in re.findall(r"<!-- generated: ([\w-]+) -->", path.read_text())
    ]
    assert sorted(marks) == sorted(GENERATED)


def test_the_example_on_the_start_page_prints_the_shown_output(tmp_path: Path) -> None:
    example, printed = re.findall(
        r"^```\w+\n(.*?)^```", (NOTEBOOKS / "index.md").read_text(), re.MULTILINE | re.DOTALL
    )[:2]
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == printed, done.stderr
