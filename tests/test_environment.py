"""The environment of a kernel: parsing the kernel's answer, whatever it is, and recording it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from calling import Ended, nbtape
from executors import record
from reading import code_cells, read_notebook, stream_text

from nbtape.environment import Difference, Environment, differences, may_install, read_environment
from nbtape.kernels.handshake import reported_environment

TOLD = Environment("3.12.1", "linux-x86_64", {"pandas": "2.3.1", "own": "1"}, ("own",), "/work", 3600.0)


def answer(text: str) -> dict[str, Any]:
    return {"user_expressions": {"environment": {"data": {"text/plain": text}}}}


def wheel(directory: Path, version: str) -> None:
    """Write a wheel with one module that pip can install."""
    directory.mkdir(exist_ok=True)
    info = f"nbtape_thing-{version}.dist-info"
    with zipfile.ZipFile(directory / f"nbtape_thing-{version}-py3-none-any.whl", "w") as file:
        file.writestr("nbtape_thing.py", f"version = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: nbtape_thing\nVersion: {version}\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", f"nbtape_thing.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def install(what: str) -> str:
    return f"!rm -rf lib; {sys.executable} -m pip install --no-index --find-links wheels --target lib {what}"


def test_an_environment_survives_a_round_trip_through_json() -> None:
    assert read_environment(json.loads(json.dumps(TOLD.to_dict()))) == TOLD


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"user_expressions": None},
        answer("not a literal"),
        answer("'no json'"),
        answer(repr("[]")),
        answer(repr(json.dumps({**TOLD.to_dict(), "python": 3}))),
        answer(repr(json.dumps({**TOLD.to_dict(), "platform": "x" * 10_000}))),
        answer(repr(json.dumps({**TOLD.to_dict(), "packages": {f"p{n}": "1" for n in range(20_000)}}))),
        answer(repr("[" * 100_000)),
    ],
    ids=range(9),
)
def test_an_invalid_answer_is_ignored(reply: Any) -> None:
    assert reported_environment(reply) is None


def test_packages_with_odd_names_or_versions_are_not_in_the_requirements() -> None:
    odd = {"good": "1.0", "--index-url": "1", "a\nb": "1", "x @ https://example.org": "1", "fine": "1\n--pre", "n": 1}
    environment = read_environment({**TOLD.to_dict(), "packages": odd, "python": "3\n--pre"})
    assert environment is not None
    lines = environment.requirements().splitlines()
    assert lines == ["# Python 3 --pre on linux-x86_64", "good==1.0"]


def test_packages_that_pip_cannot_fetch_are_comments_in_the_requirements() -> None:
    assert TOLD.requirements().splitlines() == [
        "# Python 3.12.1 on linux-x86_64",
        "# own==1  (from no index)",
        "pandas==2.3.1",
    ]


def test_differences_show_the_old_and_the_new_version() -> None:
    after = replace(TOLD, python="3.13.0", packages={"pandas": "3.1.1", "numpy": "2.0"})
    assert list(map(str, differences(TOLD, after))) == [
        "Python 3.12.1 → 3.13.0",
        "pandas 2.3.1 → 3.1.1",
        "numpy none → 2.0",
        "own 1 → none",
    ]
    assert differences(TOLD, replace(TOLD, directory="/elsewhere", utc_offset=0)) == []


@pytest.mark.parametrize(
    "code", ["!pip install x", "%conda install x", "uv add x", "import pip", "apt-get -y install x"]
)
def test_code_that_may_install_packages_is_recognized(code: str) -> None:
    assert may_install(code)


@pytest.mark.parametrize("code", ["d.update(x)", "pipe.fit(x)", "print('installed')", "x = 1"])
def test_other_code_is_not_taken_for_an_installation(code: str) -> None:
    assert not may_install(code)


@pytest.mark.usefixtures("leaves_nothing")
class TestRecording:
    def test_the_environment_is_recorded_before_anything_runs(self, output_dir: Path) -> None:
        told = read_notebook(record(output_dir))["metadata"]["nbtape"]["environment"]
        assert told["python"] == ".".join(map(str, sys.version_info[:3]))
        assert told["packages"]["ipykernel"] == metadata.version("ipykernel")
        assert told["directory"] == str(output_dir)
        installed = {
            (name.lower().replace("_", "-").replace(".", "-"), each.version)
            for each in metadata.distributions()
            if (name := each.metadata["Name"]) and "_distutils_hack" not in name
        }
        assert installed <= set(told["packages"].items())

    def test_packages_installed_by_a_block_are_recorded_with_it(self, output_dir: Path) -> None:
        wheels = output_dir / "wheels"
        wheel(wheels, "1.0")
        wheel(wheels, "1.5")
        path = record(
            output_dir,
            "import sys\nsys.path.insert(0, 'lib')",
            install("nbtape-thing==1.0"),
            "# pip is named here, and nothing installed",
            install("nbtape-thing==1.5"),
            install("./wheels/nbtape_thing-1.5-py3-none-any.whl"),
            "import shutil\nshutil.rmtree('lib')  # what pip cannot uninstall",
        )
        told = [cell["metadata"]["nbtape"].get("installed") for cell in code_cells(path)]
        assert told == [
            None,
            [{"name": "nbtape-thing", "before": None, "after": "1.0"}],
            None,
            [{"name": "nbtape-thing", "before": "1.0", "after": "1.5"}],
            None,
            [{"name": "nbtape-thing", "before": "1.5", "after": None}],
        ]
        assert "nbtape-thing" not in read_notebook(path)["metadata"]["nbtape"]["environment"]["packages"]

    def test_querying_the_environment_leaves_no_trace_in_the_session(self, output_dir: Path) -> None:
        before = "a = None\na = set(globals())"
        path = record(output_dir, before, "'pip install'", "print(sorted(set(globals()) - a), _)")
        cell = code_cells(path)[2]
        assert cell["execution_count"] == 3
        assert stream_text(cell) == "['_2', '_i2', '_i3'] pip install\n"

    def test_a_false_answer_of_the_kernel_affects_only_the_environment(self, output_dir: Path) -> None:
        lie = "import platform\nplatform.python_version = lambda: 'x' * 10_000_000\n'pip install nothing'"
        path = record(output_dir, lie, "print('fine')")
        assert [cell["metadata"]["nbtape"]["status"] for cell in code_cells(path)] == ["ok", "ok"]
        told = read_environment(read_notebook(path)["metadata"]["nbtape"]["environment"])
        assert told is not None, "that of the start"


def command(*arguments: str) -> Ended:
    return nbtape("environment", *arguments, cwd=Path.cwd())


def test_the_command_prints_a_requirements_file(output_dir: Path) -> None:
    path = record(output_dir)
    done = command(str(path))
    assert done.returncode == 0, done.stderr
    assert f"ipykernel=={metadata.version('ipykernel')}\n" in done.stdout
    requirements = output_dir / "requirements.txt"
    requirements.write_text(done.stdout)
    check = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-index", "-r", str(requirements)]
    subprocess.run(check, check=True)
    told = json.loads(command(str(path), "--json").stdout)
    assert told["packages"]["ipykernel"] == metadata.version("ipykernel")


def test_the_command_reports_a_notebook_without_an_environment(output_dir: Path) -> None:
    path = output_dir / "foreign.ipynb"
    path.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    done = command(str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no record of its environment" in done.stderr


def test_a_difference_shows_none_for_a_missing_value() -> None:
    assert str(Difference("image", None, "python")) == "image none → python"
