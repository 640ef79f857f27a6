"""Examples in the help work when typed, and its lists of JSON keys are accurate."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import pytest
from calling import examples, nbtape
from full_matrix import first
from warm_commands import COMMAND

from nbtape import __version__
from nbtape.cli.command import Command
from nbtape.cli.commands import nbtape as root

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

    from nbtape import LocalJupyterServer


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, click.Command]]:
    """All commands, by the words typed after `nbtape`."""
    yield " ".join(names), command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from commands(each, *names, name)


ALL = list(commands(root))
BOTH = [COMMAND, [str(Path(sys.executable).with_name("nbtape"))]]


#: Examples of mcp need the SDK, which is in another environment: see tests/integrations/test_mcp.py. Those of watch
#: need a running session: see test_watch.py.
#: The first example of each command comes first, then the second of each.
TYPED = list(
    dict.fromkeys(
        line
        for nth in itertools.zip_longest(*(examples(name) for name, _ in ALL if name not in {"mcp", "watch"}))
        for line in nth
        if line
    )
)

MESSAGE = "The squares:\n\n```python\nn = 3\n```\n\nThen:\n\n```python\nprint([i * i for i in range(5)])\n```\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that the examples name, and a notebook recorded there by `nbtape run`."""
    directory = tmp_path_factory.mktemp("recorded")
    for name in ("answer", "more", "other"):
        (directory / f"{name}.md").write_text(MESSAGE)
    (directory / "analysis.py").write_text("# %% [markdown]\n# # Title\n\n# %%\nprint(1)\n")
    assert nbtape("run", "answer.md", cwd=directory).returncode == 0
    assert nbtape("run", "answer.md", "--output-dir", "runs", cwd=directory).returncode == 0
    assert nbtape("run", "analysis.py", "--output-dir", "runs", cwd=directory).returncode == 0
    shutil.copy(directory / "answer.ipynb", directory / "mine.ipynb")
    return directory


@pytest.fixture
def directory(recorded: Path, tmp_path: Path) -> Path:
    """A copy below a home directory: containers do not mount a home directory itself."""
    (tmp_path / ".config" / "fish" / "completions").mkdir(parents=True)
    shutil.copytree(recorded, tmp_path / "work")
    return tmp_path / "work"


class Stage(NamedTuple):
    """Local images that replace the remote ones in the examples."""

    base_image: str
    image: str

    def set(self, line: str) -> str:
        """Return the line with the local images."""
        base = f"--base-image {self.base_image}"
        line = re.sub("--docker(?! nbtape)", f"{base} --docker", line.replace("nbtape-science", self.image))
        return line.replace("image build --package", f"image build {base} --package")


@pytest.fixture
def stage(docker_client: docker.DockerClient, base_image: str, science_image: str) -> Iterator[Stage]:
    mirrored = "mirror.example.org/library/python:3.12-slim"
    made = f"nbtape-test-{time.monotonic_ns()}:latest"
    docker_client.images.get(base_image).tag(mirrored)
    docker_client.images.get(science_image).tag(made)
    yield Stage(base_image, made.removesuffix(":latest"))
    for tag in (mirrored, made):
        docker_client.images.remove(tag)


@pytest.mark.parametrize("line", first(24, TYPED))
def test_an_example_works(
    line: str, directory: Path, gateway: LocalJupyterServer, request: pytest.FixtureRequest
) -> None:
    if "jq" in line and shutil.which("jq") is None:
        pytest.skip("There is no jq: install it, as .ci/run does.")
    if "--docker" in line or "image build" in line:
        line = request.getfixturevalue("stage").set(line)
    info = gateway.connection_info
    line = line.replace("https://hub.example.org/user/alice/", info.url).replace("=...", f"={info.token}")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(directory.parent)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name or "nbtape" for name, _ in ALL])
def test_the_help_of_all_commands_has_the_same_form(name: str, command: click.Command) -> None:
    assert examples(name), "no example"
    assert command.get_short_help_str() == (command.help or "").partition("\n\n")[0].replace("\n", " ") or not name
    context = click.Context(command)
    options = [each for each in command.get_params(context) if isinstance(each, click.Option) and not each.hidden]
    assert "--debug" in [name for option in options for name in option.opts]
    for option in options:
        told = (option.help or "").partition("  [")[0]
        assert told[:1].isupper(), option.opts
        assert told.endswith("."), option.opts
        assert not re.search("TEXT|FLOAT|INTEGER", option.make_metavar(context)), option.opts


def test_the_meaning_of_exit_code_1_is_that_of_the_command() -> None:
    told = {name: command.tables["Exit codes"].get("1") for name, command in ALL if isinstance(command, Command)}
    assert {name for name, meaning in told.items() if meaning} >= {"", "run", "replay", "export"}
    assert len({meaning for meaning in told.values() if meaning}) == sum(map(bool, told.values()))


def test_the_environment_variable_and_the_default_of_an_option_have_one_form() -> None:
    for name, command in ALL:
        assert not re.search(r"\]\s+\[env var", command.get_help(click.Context(command))), name


@pytest.mark.parametrize(
    ("line", "of"),
    [
        ("run answer.md", ""),
        ("run more.md --resume answer.ipynb", "resume"),
        ("show answer.ipynb", ""),
        ("show answer.ipynb --block 1", "block"),
        ("replay answer.ipynb", ""),
        ("export answer.ipynb", ""),
        ("environment answer.ipynb", ""),
    ],
)
def test_json_output_has_the_keys_listed_in_the_help(line: str, of: str, directory: Path) -> None:
    done = nbtape(*shlex.split(line), "--json", cwd=directory)
    (document,) = map(json.loads, done.stdout.splitlines())
    options = dict(ALL)[line.split(maxsplit=1)[0]].params
    (told,) = [option.help or "" for option in options if isinstance(option, click.Option) and "--json" in option.opts]
    keys, *others = told.partition("Its keys: ")[2].split("; with --")
    others = [each.removeprefix(of) for each in others if of and each.startswith(of)]
    named = set(re.findall(r"\w+", " ".join(["version", *others] if of == "block" else [keys, *others])))
    assert set(document) <= named
    assert not {name for name in named if "_" in name} - set(document), "what is told is not there"
    assert document["version"] == 1


def test_the_command_and_python_m_nbtape_are_the_same() -> None:
    told = [
        [subprocess.run([*command, option], capture_output=True, text=True, check=True).stdout for command in BOTH]
        for option in ("--version", "--help")
    ]
    assert told[0] == [f"nbtape {__version__}\n"] * 2
    assert told[1][0] == told[1][1]
