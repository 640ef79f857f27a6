"""The dates of headers are parsed as jupyter_client does it, and everything else stays unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyter_client.jsonutil import extract_dates

from nbtape.kernels.decoding import unpack, with_date

DATES = ["2026-11-22T02:42:42.200777Z", "2026-11-22T02:42:42Z", "2026-11-22T02:42:42.200777+05:30"]


@pytest.mark.parametrize("date", DATES)
def test_dates_are_parsed_like_in_jupyter_client(date: str) -> None:
    header = {"date": date, "msg_id": "1"}
    assert with_date(dict(header)) == extract_dates(header)
    assert unpack(json.dumps(header).encode()) == extract_dates(header)


@pytest.mark.parametrize("date", ["2026-11-22T02:42:42", "today", "", 7, None, [], {}, "2026-99-99T00:00:00Z"])
def test_incomplete_dates_are_left_to_jupyter_client(date: object) -> None:
    assert with_date({"date": date}) == {"date": date}


@pytest.mark.parametrize("header", [{}, [], "2026-11-22T02:42:42Z", None, 7])
def test_values_other_than_headers_are_unchanged(header: Any) -> None:
    assert with_date(header) == header
