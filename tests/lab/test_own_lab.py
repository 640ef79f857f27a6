"""A JupyterLab started by nbtape, as seen in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executors import run
from jupyterlab_pages import opened
from playwright.sync_api import expect

from nbtape import JupyterCodeExecutor, LocalJupyterServer

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser


def test_a_login_link_admits_one_person_only(browser: Browser, tmp_path: Path) -> None:
    with (
        LocalJupyterServer(lab=True, root_dir=tmp_path) as server,
        JupyterCodeExecutor(server, output_dir=tmp_path / "work") as executor,
    ):
        run(executor, "secret = 41")
        link = server.login(executor.url)
        with opened(browser, link) as page:
            page.expect_output(page.run_code("print(secret + 1)"), "42\n")
            run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
            page.answer_if_asked("appears to have died", "Ok")
            run(executor, "secret = 50")
            page.wait_for_kernel()
            page.expect_output(page.run_code("print(secret)"), "50\n")
        stranger = browser.new_page()
        stranger.goto(link)
        expect(stranger.get_by_role("button", name="Log in", exact=True)).to_be_visible()
        stranger.close()
