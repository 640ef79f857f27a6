"""A recorded notebook is an ordinary one: JupyterLab opens it without prompts and runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jupyterlab_pages import opened
from playwright.sync_api import expect
from reading import code_cells

from nbtape import CodeBlock, JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyterlab_pages import Lab, NotebookPage
    from playwright.sync_api import Browser

#: The recorded cells in order, by the names that the tests use.
CELLS = {
    "said": "# The parcels\n\nFirst a *table*.",
    "table": "import pandas as pd\npd.DataFrame({'city': ['Kiel', 'Ulm'], 'parcels': [3, 5]})",
    "plots": "import matplotlib.pyplot as plt\nfor n in (1, 2):\n    plt.plot([n, 4, 9])\n    plt.show()",
    "failed": "1 / 0",
    "bar": "from tqdm import tqdm\nfor _ in tqdm(range(30)):\n    pass",
    "timed out": "import time\nprint('begun')\ntime.sleep(60)",
    "shell": "echo hello from bash",
    "wrote": "import pathlib\npathlib.Path('made.txt').write_text('made here')",
    "read": "print(pathlib.Path('made.txt').read_text())",
}
INDEX = {name: index for index, name in enumerate(CELLS)}

#: JupyterLab shows these outputs on a red background.
ERROR = "[data-mime-type='application/vnd.jupyter.stderr']"


@pytest.fixture(scope="module")
def recorded(lab: Lab) -> Path:
    """A notebook recorded on a local kernel."""
    with JupyterCodeExecutor(output_dir=lab.files / "work", notebook="parcels") as executor:
        executor.add_markdown(CELLS["said"])
        for name, source in list(CELLS.items())[1:]:
            language = "bash" if name == "shell" else "python"
            executor.execute_code_blocks([CodeBlock(source, language)], timeout=2 if name == "timed out" else 60)
    statuses = {cell["metadata"]["nbtape"]["status"] for cell in code_cells(executor.notebook)}
    assert statuses == {"ok", "error", "timeout"}
    return executor.notebook


@pytest.fixture
def page(browser: Browser, lab: Lab, recorded: Path) -> Iterator[NotebookPage]:
    with opened(browser, lab.link(recorded)) as page:
        yield page


def test_it_opens_without_a_dialog_and_is_not_changed(browser: Browser, lab: Lab, recorded: Path) -> None:
    """JupyterLab saves changed notebooks after two minutes; the test skips this time."""
    before = recorded.read_bytes(), recorded.stat().st_mtime_ns
    with opened(browser, lab.link(recorded), clock=True) as page:
        expect(page.page.locator(".jp-Toolbar-kernelName")).to_have_text("Python 3 (ipykernel)")
        page.expect_saved()
        page.page.clock.fast_forward("05:00")
        page.wait_for_kernel()
        page.expect_saved()
        expect(page.dialogs).to_have_count(0)
    assert (recorded.read_bytes(), recorded.stat().st_mtime_ns) == before


def test_each_output_is_shown_as_recorded(page: NotebookPage) -> None:
    expect(page.cells.nth(INDEX["said"]).locator("h1")).to_have_text(re.compile("The parcels"))
    expect(page.outputs(INDEX["table"]).locator("tbody tr")).to_have_count(2)
    pictures = page.outputs(INDEX["plots"]).locator("img")
    expect(pictures).to_have_count(2)
    for picture in pictures.all():
        assert picture.evaluate("picture => picture.naturalWidth") > 100
    expect(page.outputs(INDEX["bar"])).to_have_text(re.compile(r"^100%\|█+\| 30/30 [^\n]*\n?$"))
    expect(page.outputs(INDEX["shell"])).to_have_text("hello from bash\n")
    expect(page.outputs(INDEX["read"])).to_have_text("made here\n")


def test_failed_cells_show_their_error_and_a_tag(page: NotebookPage) -> None:
    """The error is shown, and the tag raises-exception lets Run All continue after it."""
    for name, words in {"failed": "ZeroDivisionError", "timed out": "KeyboardInterrupt"}.items():
        expect(page.cells.nth(INDEX[name]).locator(ERROR)).to_contain_text(words)
    page.select(INDEX["failed"])
    page.command("View", "Property Inspector")
    page.page.locator("#jp-right-stack").get_by_text("Common Tools", exact=True).click()
    expect(page.page.locator("#jp-right-stack").get_by_text("raises-exception")).to_be_visible()


def test_a_cell_whose_kernel_died_shows_a_notice(browser: Browser, lab: Lab) -> None:
    with JupyterCodeExecutor(output_dir=lab.files / "died", notebook="died") as executor:
        executor.execute_code_blocks(
            [CodeBlock("print('begun', flush=True)\nimport os\nos.kill(os.getpid(), 9)", "python")]
        )
    with opened(browser, lab.link(executor.notebook)) as page:
        expect(page.outputs(0)).to_have_text(["begun\n", re.compile("the kernel died here")])
        expect(page.cells.nth(0).locator(ERROR)).to_contain_text("the kernel died here")


def test_the_execute_time_extension_shows_how_long_a_cell_took(page: NotebookPage) -> None:
    """JupyterLab stores times in a cell's metadata; the extension jupyterlab-execute-time shows them."""
    times = page.cells.locator(".execute-time")
    expect(times).to_have_count(len(CELLS) - 1)
    expect(page.cells.nth(INDEX["timed out"]).locator(".execute-time")).to_have_text(re.compile(r"in 2\.\d+s"))


def test_the_readme_image_shows_a_run(browser: Browser, lab: Lab, pytestconfig: pytest.Config) -> None:
    """`pytest tests/lab -k readme_image --picture notebooks/images/parcels.png` makes the image again."""
    transcript = Path(__file__).parents[2] / "notebooks" / "parcels.md"
    command = [sys.executable, "-m", "nbtape", "run", str(transcript), "--keep-going"]
    place = ["--output-dir", str(lab.files / "picture")]
    subprocess.run([*command, *place], capture_output=True, check=False)  # The transcript includes a failure.
    with opened(browser, lab.link(lab.files / "picture" / "parcels.ipynb")) as page:
        page.page.set_viewport_size({"width": 1050, "height": 1115})
        page.command("View", "File Browser")  # Hides the file browser.
        first = page.cells.filter(has_text="Nordpost looks clearly worse")
        first.evaluate("cell => cell.scrollIntoView()")
        expect(first).to_be_in_viewport()
        expect(page.cells.filter(has_text="The same parcels, by region").locator("img")).to_be_in_viewport()
        if (file := pytestconfig.getoption("--picture")) is not None:
            page.page.screenshot(path=file)


def test_run_all_works_in_place_and_continues_after_failures(browser: Browser, lab: Lab) -> None:
    with JupyterCodeExecutor(output_dir=lab.files / "again", notebook="parcels") as executor:
        for name in ("failed", "wrote", "read"):
            executor.execute_code_blocks([CodeBlock(CELLS[name], "python")])
    made = executor.notebook.with_name("made.txt")
    made.unlink()
    ours = [set(cell["metadata"]["execution"]) for cell in code_cells(executor.notebook)]
    with opened(browser, lab.link(executor.notebook)) as page:
        page.command("Run", "Run All Cells")
        expect(page.cells.nth(2).locator(".jp-InputPrompt")).to_have_text("[3]:")
        page.expect_output(2, "made here\n")
        assert made.read_text() == "made here"
        page.save()
        page.expect_saved()
    theirs = [set(cell["metadata"]["execution"]) for cell in code_cells(executor.notebook)]
    assert all(ours)
    assert all(our <= their for our, their in zip(ours, theirs, strict=True)), "times are under JupyterLab's names"
