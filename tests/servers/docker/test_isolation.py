"""Users by numbers, out of what people write."""

from __future__ import annotations

import pytest

from nbtape.servers.docker.isolation import User


@pytest.mark.parametrize("text", ["1000:100", "0:0"])
def test_a_user_is_written_as_it_was_read(text: str) -> None:
    assert str(User.of(text)) == text


def test_a_group_that_is_not_named_has_the_number_of_its_user() -> None:
    assert User.of("1000") == User(1000, 1000)


@pytest.mark.parametrize("text", ["", "root", "root:0", "1000:staff", "1000:", ":1000", "-1", "1000:1000\n"])
def test_what_is_not_all_numbers_is_no_user_of_ours(text: str) -> None:
    assert User.of(text) is None
