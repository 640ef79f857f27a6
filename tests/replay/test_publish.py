"""A replay is written once, after its kernel has stopped, so its code can neither change nor redirect it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import nbformat
import pytest
from lxml import html
from nbformat.v4 import new_code_cell, new_notebook, new_output
from reading import code_cells, stream_text

from nbtape import DockerJupyterServer, NotebookWriteError, replay
from nbtape.export.clean_run import rehearse
from nbtape.replay.html_report import render
from nbtape.replay.publish import Destination

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leaves_nothing")

#: Starts a daemon process that repeats `{act}` for 60 seconds.
STAYS = """\
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(3, 4096):
            try: os.close(fd)
            except OSError: pass
        end = time.time() + 60
        while time.time() < end:
            try:
                {act}
            except OSError: pass
    os._exit(0)
time.sleep(0.5)
"""


def write(directory: Path, *sources: str, shown: str = "") -> Path:
    outputs = [new_output("stream", text=shown)] if shown else []
    cells = [new_code_cell(source, execution_count=1, outputs=outputs) for source in sources]
    nbformat.write(new_notebook(cells=cells), directory / "n.ipynb")
    return directory / "n.ipynb"


@pytest.mark.parametrize("name", ["n-replayed.ipynb", "out.ipynb"])
def test_a_link_at_the_path_of_the_output_is_not_followed(
    output_dir: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    victim = tmp_path_factory.mktemp("home") / "precious"
    victim.write_text("settings")
    act = f"os.symlink({str(victim)!r}, '.l'); os.rename('.l', {name!r})"
    notebook = write(output_dir, STAYS.format(act=act))
    report = replay(notebook, None if name == "n-replayed.ipynb" else output_dir / name, in_place=True)
    assert victim.read_text() == "settings"
    assert not report.output.is_symlink()
    assert code_cells(report.output)[0]["metadata"]["nbtape"]["status"] == "ok"


def test_a_link_made_in_a_container_at_the_path_of_the_output_is_not_followed(
    output_dir: Path, tmp_path_factory: pytest.TempPathFactory, container: DockerJupyterServer
) -> None:
    victim = tmp_path_factory.mktemp("home") / "precious"
    victim.write_text("settings")
    act = f"os.symlink({str(victim)!r}, '.l'); os.rename('.l', 'out.ipynb')"
    notebook = write(output_dir, STAYS.format(act=act))
    report = replay(notebook, output_dir / "out.ipynb", jupyter_server=container, in_place=True)
    assert victim.read_text() == "settings"
    assert not report.output.is_symlink()


@pytest.mark.parametrize("make", ["os.mkfifo({!r})", "os.mkdir({!r})", "open({!r}, 'w').close()"])
def test_another_name_is_used_if_the_code_takes_the_default_one(output_dir: Path, make: str) -> None:
    report = replay(write(output_dir, f"import os\n{make.format('n-replayed.ipynb')}"), in_place=True)
    assert report.output.name == "n-replayed-2.ipynb"
    node = nbformat.read(report.output, as_version=4)
    assert node["metadata"]["papermill"]["output_path"] == str(report.output)


def test_replays_that_end_at_the_same_time_get_numbered_outputs(tmp_path: Path) -> None:
    (notebook := tmp_path / "n.ipynb").write_text("")
    destinations = [Destination(notebook, None) for _ in range(8)]
    assert {each.path.name for each in destinations} == {"n-replayed.ipynb"}, "that is free before they run"
    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda each: each.publish(lambda path: path.name.encode()), destinations))
    assert {path.name for path in paths} == {"n-replayed.ipynb", *(f"n-replayed-{n}.ipynb" for n in range(2, 9))}
    assert all(path.read_text() == path.name for path in paths), "each says where it is"


def test_nothing_is_written_if_the_directory_of_the_output_was_replaced(
    output_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    (output_dir / "inner").mkdir()
    code = f"import os\nos.rename('inner', 'old')\nos.symlink({str(home)!r}, 'inner')"
    with pytest.raises(NotebookWriteError, match="was replaced during the replay"):
        replay(write(output_dir, code), output_dir / "inner" / "out.ipynb", in_place=True)
    assert not list(home.iterdir())


def test_the_replay_is_not_on_disk_while_the_code_runs(output_dir: Path) -> None:
    report = replay(write(output_dir, "import os\nprint(sorted(os.listdir()))"), in_place=True)
    assert stream_text(code_cells(report.output)[0]) == "['n.ipynb']\n"


def test_verdicts_and_report_do_not_use_files_that_the_code_can_change(output_dir: Path) -> None:
    forge = (
        "import glob, json, tempfile\nprint('true')\n"
        "for path in [*glob.glob('*.ipynb'), *glob.glob(tempfile.gettempdir() + '/nbtape-*/*.ipynb')]:\n"
        "    document = json.load(open(path))\n"
        "    for cell in document['cells']:\n"
        "        cell['outputs'] = [{'output_type': 'stream', 'name': 'stdout', 'text': 'forged'}]\n"
        "    json.dump(document, open(path, 'w'))"
    )
    notebook = write(output_dir, forge, "print(1)", shown="claimed\n")
    report = replay(notebook, in_place=True)
    assert [cell.verdict for cell in report.cells] == ["different", "different"]
    page = html.fromstring(render([report]))
    shown = [pre.text for pre in page.xpath("//*[@class='pair']//pre")]
    assert shown == ["claimed\n", "true\n", "claimed\n", "1\n"]


def test_a_clean_export_does_not_use_files_that_the_code_can_change(output_dir: Path) -> None:
    code = (
        "import glob, tempfile\nprint('true')\n"
        "for path in glob.glob(tempfile.gettempdir() + '/nbtape-*/*.ipynb'):\n    open(path, 'w').close()"
    )
    rehearsal = rehearse(write(output_dir, code), in_place=True)
    assert [output["text"] for output in rehearsal.document["cells"][0]["outputs"]] == ["true\n"]


def test_an_unwritable_output_is_an_error_before_anything_runs(output_dir: Path) -> None:
    notebook = write(output_dir, "open('ran', 'w').close()")
    (output_dir / "out.ipynb").write_text("")
    (output_dir / "out.ipynb").chmod(0o444)
    with pytest.raises(NotebookWriteError, match="permission denied"):
        replay(notebook, output_dir / "out.ipynb")
    assert not (output_dir / "ran").exists()


def test_a_replaced_output_keeps_its_permissions(output_dir: Path) -> None:
    notebook = write(output_dir, "1")
    (output_dir / "out.ipynb").write_text("")
    (output_dir / "out.ipynb").chmod(0o640)
    replay(notebook, output_dir / "out.ipynb")
    assert (output_dir / "out.ipynb").stat().st_mode & 0o777 == 0o640
