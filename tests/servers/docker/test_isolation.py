"""Parsing numeric users and groups."""

from __future__ import annotations

import pytest

from nbtape.servers.docker.isolation import User


@pytest.mark.parametrize("text", ["1000:100", "0:0"])
def test_a_user_is_written_as_it_was_given(text: str) -> None:
    assert str(User.of(text)) == text


def test_the_default_group_has_the_number_of_the_user() -> None:
    assert User.of("1000") == User(1000, 1000)


@pytest.mark.parametrize("text", ["", "root", "root:0", "1000:staff", "1000:", ":1000", "-1", "1000:1000\n"])
def test_text_that_is_not_numeric_is_rejected(text: str) -> None:
    assert User.of(text) is None
