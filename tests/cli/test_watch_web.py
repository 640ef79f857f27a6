"""`nbtape watch --web`: a link to a page that fills in a browser while a session runs."""

from __future__ import annotations

import base64
import contextlib
import re
import signal
import socket
import threading
from io import BytesIO
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import Watching
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from playwright.sync_api import expect
from reading import eventually

from nbtape import CodeBlock, JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page


expect.set_options(timeout=20_000)  # Updates pass through a kernel, a disk and a second process.


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        executor.execute_code_blocks([CodeBlock("print('the first')", "python")])
        yield executor


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    """Start `nbtape watch --web` and wait for its link."""
    started: list[Watching] = []

    def begin(*arguments: object) -> Watching:
        started.append(watching := Watching(*arguments, "--web", cwd=tmp_path))
        assert eventually(lambda: watching.text.endswith("\n"), 30), watching.error
        return watching

    yield begin
    for watching in started:
        with contextlib.suppress(ProcessLookupError):
            watching.process.kill()
        watching.end()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[Watching], Page]]:
    """Open the page behind a link in its own browser profile."""
    with contextlib.ExitStack() as stack:

        def opened(watching: Watching) -> Page:
            page = stack.enter_context(browser.new_context()).new_page()
            page.goto(watching.text.strip())
            return page

        yield opened


def run(executor: JupyterCodeExecutor, code: str) -> None:
    executor.execute_code_blocks([CodeBlock(code, "python")])


BAR = (
    "import os, time\nprint('begin')\nfor n in range(4):\n    print(f'\\r{n * 25} %', end='', flush=True)\n"
    "while not os.path.exists('gate'): time.sleep(.01)\nprint('\\r100 %')"
)
PLOT = (
    "from IPython.display import Image, display\nfrom PIL import Image as Pictures\nfrom io import BytesIO\n"
    "Pictures.new('RGB', (60, 40), 'red').save(content := BytesIO(), 'PNG')\n"
    "display(Image(content.getvalue()))\nprint('drawn')"
)


def test_the_page_fills_while_the_session_runs_and_stops_with_it(
    executor: JupyterCodeExecutor, serve: Callable[..., Watching], open_page: Callable[[Watching], Page], tmp_path: Path
) -> None:
    watching = serve("session.ipynb")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#[\w-]{32}\n", watching.text)
    page = open_page(watching)
    expect(page.locator("#state")).to_have_text("The session of session.ipynb goes on.")
    page.evaluate("window.isTheSame = true")
    runner = threading.Thread(target=run, args=(executor, BAR))
    runner.start()
    cell = page.locator("main > section").nth(1)
    expect(cell.locator(".run-badge")).to_have_text("running")
    expect(cell.locator(".output-stdout")).to_have_text("begin\n75 %")
    (tmp_path / "gate").touch()
    runner.join()
    expect(cell.locator(".run-badge")).to_have_text("ok")
    expect(cell.locator(".output-stdout")).to_have_text("begin\n100 %")
    run(executor, PLOT)
    picture = page.locator("main img")
    expect(picture).to_have_count(1)
    assert picture.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])") == [60, 40]
    executor.add_markdown("So it is *red*.")
    run(executor, "1 / 0")
    expect(page.locator("main em")).to_have_text("red")
    expect(page.locator(".cell-failed .output-error")).to_contain_text("ZeroDivisionError: division by zero")
    expect(page.locator("#counts")).to_have_text("3 ok 1 error")
    executor.stop()
    expect(page.locator("#state")).to_have_text("The session of session.ipynb has ended: 4 code cells (3 ok, 1 error).")
    assert watching.end() == 0
    assert page.evaluate("window.isTheSame")
    expect(page.locator("main > section")).to_have_count(5)


def test_pages_opened_at_any_time_get_everything(
    executor: JupyterCodeExecutor, serve: Callable[..., Watching], open_page: Callable[[Watching], Page]
) -> None:
    watching = serve("session.ipynb")
    pages = [open_page(watching)]
    run(executor, "print('the second')")
    expect(pages[0].locator("main")).to_contain_text("the second")
    pages += [open_page(watching), open_page(watching)]
    run(executor, "print('the third')")
    for page in pages:
        expect(page.locator(".output-stdout")).to_have_text(["the first", "the second", "the third"])
        assert "#" not in page.url
    pages[1].reload()  # The token stays with the tab.
    executor.stop()
    for page in pages:
        expect(page.locator("#state")).to_contain_text("has ended: 3 code cells (3 ok).")
        expect(page.locator(".output-stdout")).to_have_text(["the first", "the second", "the third"])
    assert watching.end() == 0


def test_a_page_that_was_offline_continues_where_it_stopped(
    executor: JupyterCodeExecutor, serve: Callable[..., Watching], open_page: Callable[[Watching], Page]
) -> None:
    page = open_page(serve("session.ipynb"))
    expect(page.locator(".output-stdout")).to_have_text("the first")
    page.evaluate("document.querySelector('.output-stdout').isTheSame = true")
    page.context.set_offline(True)
    expect(page.locator("#state")).to_contain_text("nbtape watch does not answer")
    run(executor, "print('meanwhile')")
    page.context.set_offline(False)
    expect(page.locator(".output-stdout")).to_have_text(["the first", "meanwhile"])
    expect(page.locator("#state")).to_have_text("The session of session.ipynb goes on.")
    assert page.evaluate("document.querySelector('.output-stdout').isTheSame")


def test_the_newest_cell_stays_in_view_until_the_reader_scrolls_up(
    executor: JupyterCodeExecutor, serve: Callable[..., Watching], open_page: Callable[[Watching], Page]
) -> None:
    page = open_page(serve("session.ipynb"))
    expect(page.locator(".output-stdout")).to_have_text("the first")
    for number in range(100):
        run(executor, f"for line in range({number} % 30): print('x')\nprint('number {number}')")
    expect(page.locator("main > section")).to_have_count(101)
    expect(page.locator(".output-stdout").last).to_contain_text("number 99")
    expect(page.locator("main > section").last).to_be_in_viewport(ratio=0.9)
    expect(page.locator("#newest")).to_be_hidden()
    page.mouse.move(400, 400)
    page.mouse.wheel(0, -3000)
    expect(page.locator("#newest")).to_be_visible()
    run(executor, "print('the last')")
    expect(page.locator(".output-stdout").last).to_have_text("the last")
    expect(page.locator("main > section").last).not_to_be_in_viewport()


def test_a_cell_added_by_a_person_appears_at_its_position(
    executor: JupyterCodeExecutor, serve: Callable[..., Watching], open_page: Callable[[Watching], Page]
) -> None:
    page = open_page(serve("session.ipynb"))
    expect(page.locator(".output-stdout")).to_have_text("the first")
    notebook = nbformat.read(executor.notebook, as_version=4)
    notebook.cells.insert(0, new_markdown_cell("*mine*"))
    nbformat.write(notebook, executor.notebook)
    expect(page.locator("main > section").first).to_have_text("mine")
    run(executor, "print('the next')")
    expect(page.locator("main > section:nth-child(2) .output-stdout")).to_have_text("the first")
    expect(page.locator("main > section:nth-child(3) .output-stdout")).to_have_text("the next")
    expect(page.locator(".cell-head > span:first-child")).to_have_text(["block 1", "block 2"])


def test_ctrl_c_stops_the_server_and_the_page_stays(
    executor: JupyterCodeExecutor, serve: Callable[..., Watching], open_page: Callable[[Watching], Page]
) -> None:
    watching = serve("session.ipynb")
    page = open_page(watching)
    expect(page.locator(".output-stdout")).to_have_text("the first")
    watching.process.send_signal(signal.SIGINT)
    assert watching.end() == 130
    expect(page.locator("#state")).to_contain_text("nbtape watch does not answer")
    expect(page.locator(".output-stdout")).to_have_text("the first")
    assert watching.error == "Following session.ipynb until its session ends. Press Ctrl-C to stop.\n"
    run(executor, "print('more')")


def test_a_finished_notebook_is_served_until_a_page_has_it(
    serve: Callable[..., Watching], open_page: Callable[[Watching], Page], tmp_path: Path
) -> None:
    Image.new("RGB", (60, 40), "red").save(content := BytesIO(), "PNG")
    drawn = new_output("display_data", {"image/png": base64.b64encode(content.getvalue()).decode()})
    cells = [new_markdown_cell("# Title"), new_code_cell("plot", outputs=[drawn, drawn], execution_count=1)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "old.ipynb")
    watching = serve(".")
    assert eventually(lambda: "The page has not been opened yet" in watching.error)
    page = open_page(watching)
    expect(page.locator("#state")).to_have_text("old.ipynb is not being recorded: 1 code cell (1 ok).")
    assert watching.end() == 0
    expect(page.locator("main img")).to_have_count(2)


def test_cells_in_view_load_first_and_all_cells_load_eventually(
    serve: Callable[..., Watching], open_page: Callable[[Watching], Page], tmp_path: Path
) -> None:
    tall = [new_output("stream", text="x\n" * 50)]
    cells = [new_code_cell(f"cell_{number}", outputs=tall, execution_count=1) for number in range(400)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "long.ipynb")
    watching = serve("long.ipynb")
    page = open_page(watching)
    expect(page.locator("main > section:last-child .cell-output")).to_be_in_viewport()
    page.locator("#strip button").first.click()
    expect(page.locator("main > section:first-child .cell-source")).to_be_in_viewport()
    expect(page.locator("#newest")).to_be_visible()
    assert watching.end() == 0
    expect(page.locator("main .cell-source")).to_have_count(400)
    expect(page.locator("main > section:first-child .cell-source")).to_be_in_viewport()
    page.locator("#newest").click()
    expect(page.locator("main > section:last-child .cell-output")).to_be_in_viewport()


def test_an_outdated_or_incomplete_link_shows_why_it_fails(
    executor: JupyterCodeExecutor, serve: Callable[..., Watching], browser: Browser
) -> None:
    link = serve(executor.notebook.name).text.strip()
    for wrong, words in ((f"{link}x", "no longer valid"), (link.partition("#")[0], "the part after #")):
        page = browser.new_page()
        page.goto(wrong)
        expect(page.locator("#state")).to_contain_text(words)
        expect(page.locator("main > *")).to_have_count(0)
        page.goto(link)  # In the same tab.
        expect(page.locator(".output-stdout")).to_have_text("the first")
        page.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "80"], "--port needs --web."),
        (["--web", "--cells", "3"], "--cells cannot be combined with --web"),
        (["--web", "--from-start"], "--from-start cannot be combined with --web"),
        (["--web", "none.ipynb"], "does not exist"),
    ],
)
def test_conflicting_options_and_missing_files_are_reported(arguments: list[str], words: str, tmp_path: Path) -> None:
    nbformat.write(new_notebook(), tmp_path / "x.ipynb")
    watching = Watching(*arguments, *([] if "none.ipynb" in arguments else ["x.ipynb"]), cwd=tmp_path)
    assert watching.end() == 2
    assert words in watching.error
    assert watching.text == ""


def test_a_port_in_use_is_a_one_line_error(executor: JupyterCodeExecutor, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        watching = Watching(executor.notebook.name, "--web", "--port", port, cwd=tmp_path)
        assert watching.end() == 2
    (line,) = watching.error.splitlines()
    assert line.startswith(f"nbtape: port {port} is not available: ")
    assert line.endswith("Choose another --port, or leave it out.")
