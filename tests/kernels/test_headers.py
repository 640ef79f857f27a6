"""The dates of headers: as jupyter_client reads them, and whatever else is there stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyter_client.jsonutil import extract_dates

from nbtape.kernels.decoding import unpack, with_date

DATES = ["2026-11-22T02:42:42.200777Z", "2026-11-22T02:42:42Z", "2026-11-22T02:42:42.200777+05:30"]


@pytest.mark.parametrize("date", DATES)
def test_a_date_is_the_one_that_jupyter_client_finds(date: str) -> None:
    header = {"date": date, "msg_id": "1"}
    assert with_date(dict(header)) == extract_dates(header)
    assert unpack(json.dumps(header).encode()) == extract_dates(header)


@pytest.mark.parametrize("date", ["2026-11-22T02:42:42", "today", "", 7, None, [], {}, "2026-99-99T00:00:00Z"])
def test_what_is_no_date_of_a_known_moment_is_left_to_jupyter_client(date: object) -> None:
    assert with_date({"date": date}) == {"date": date}


@pytest.mark.parametrize("header", [{}, [], "2026-11-22T02:42:42Z", None, 7])
def test_what_is_no_header_stays_as_it_is(header: Any) -> None:
    assert with_date(header) == header
