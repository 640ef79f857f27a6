"""The files in nbtape's image, and the changes that cause a new build."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import nbtape
from nbtape.servers.docker import image
from nbtape.servers.docker.image import Recipe, _why_not_pulled

SOURCES = Path(nbtape.__file__).parent


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of nbtape's sources to make images from."""
    copy = tmp_path / "nbtape"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(image, "_PACKAGE", copy)
    return copy


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n# edited\n")


@pytest.mark.parametrize("module", ["__init__.py", "cli/run.py", "servers/docker/server.py", "session/executor.py"])
def test_editing_a_module_that_is_not_in_the_image_keeps_its_tag(package: Path, module: str) -> None:
    before = Recipe().tag
    edit(package / module)
    assert Recipe().tag == before


@pytest.mark.parametrize(
    "module",
    [
        "servers/process/gateway.py",
        "servers/process/base.py",
        "kernels/processes.py",
        "kernels/inside/ipykernel_config.py",
    ],
)
def test_editing_a_module_in_the_image_changes_its_tag(package: Path, module: str) -> None:
    before = Recipe().tag
    edit(package / module)
    assert Recipe().tag != before


def test_the_server_runs_from_the_files_in_the_image_alone(tmp_path: Path) -> None:
    with tarfile.open(fileobj=image._context()) as context:
        context.extractall(tmp_path, filter="data")
    ran = subprocess.run(
        [sys.executable, "-m", "nbtape.servers.process.gateway", "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "--notes" in ran.stdout


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            'Get "https://registry.example.org/v2/": dial tcp: lookup registry.example.org: no such host',
            "registry.example.org cannot be reached. Check the network",
        ),
        (
            'Head "http://127.0.0.1:9/v2/x": net/http: request canceled while waiting for connection',
            "127.0.0.1 cannot be reached",
        ),
        ("pull access denied for nope, repository does not exist", "pull access denied for nope, repository does not"),
        (
            'Get "https://example.org/v2/": tls: unknown authority.',
            'Get "https://example.org/v2/": tls: unknown author',
        ),
    ],
)
def test_an_unreachable_registry_is_named_and_other_errors_are_shown(error: str, told: str) -> None:
    assert _why_not_pulled(error).startswith(told)
    assert _why_not_pulled(error).endswith("base_image=.")
