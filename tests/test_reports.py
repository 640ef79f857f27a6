"""The test run itself: what a test prints reaches its report, whatever it is."""

from __future__ import annotations

import logging

from sendable_reports import sendable


def test_lone_surrogates_do_not_end_a_run_in_several_processes() -> None:
    """Without the plugin pytest-xdist ends here with an internal error."""
    logging.getLogger(__name__).warning("half an emoji: %s", "\ud83d")


def test_a_lone_surrogate_is_shown_as_an_escape() -> None:
    report = {"sections": [("stdout", "half \ud83d")], "longrepr": None, "duration": 0.5}
    assert sendable(report) == {"sections": [("stdout", "half \\ud83d")], "longrepr": None, "duration": 0.5}
