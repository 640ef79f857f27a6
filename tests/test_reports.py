"""Reports of the test run itself can hold anything that a test prints."""

from __future__ import annotations

import logging

from sendable_reports import sendable


def test_lone_surrogates_do_not_stop_a_parallel_test_run() -> None:
    """Without the plugin, pytest-xdist fails here with an internal error."""
    logging.getLogger(__name__).warning("half an emoji: %s", "\ud83d")


def test_a_lone_surrogate_is_shown_as_an_escape() -> None:
    report = {"sections": [("stdout", "half \ud83d")], "longrepr": None, "duration": 0.5}
    assert sendable(report) == {"sections": [("stdout", "half \\ud83d")], "longrepr": None, "duration": 0.5}
