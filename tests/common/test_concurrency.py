"""Listeners that are functions or coroutine functions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nbtape.common import concurrency
from nbtape.common.concurrency import Callback

if TYPE_CHECKING:
    import pytest


async def test_a_function_is_called_at_once() -> None:
    heard: list[int] = []
    callback = Callback(heard.append)
    callback.tell(1)
    assert heard == [1]
    await callback.catch_up()


async def test_coroutines_run_one_after_the_other_in_order() -> None:
    heard: list[str] = []

    async def listen(number: int) -> None:
        heard.append(f"begin {number}")
        await asyncio.sleep(0)
        heard.append(f"end {number}")

    callback = Callback(listen)
    for number in range(3):
        callback.tell(number)
    assert heard == []
    await callback.catch_up()
    assert heard == [f"{step} {number}" for number in range(3) for step in ("begin", "end")]


async def test_what_a_listener_raises_is_logged_and_the_next_call_is_made(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_once(number: int) -> None:
        if number == 0:
            raise ValueError("no luck")
        heard.append(number)

    heard: list[int] = []
    callback = Callback(fail_once)
    callback.tell(0)
    callback.tell(1)
    await callback.catch_up()
    assert heard == [1]
    assert "fail_once failed" in caplog.text
    assert "no luck" in caplog.text


async def test_a_listener_that_hangs_keeps_no_one_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(concurrency, "LISTENER_TIMEOUT_SECONDS", 0.01)
    release = asyncio.Event()

    async def hang() -> None:
        await release.wait()

    callback = Callback(hang)
    callback.tell()
    await callback.catch_up()
    assert "hang is more than 0.01 s behind" in caplog.text
    release.set()
    await callback.catch_up()


def test_a_listener_works_on_one_event_loop_after_another() -> None:
    heard: list[int] = []

    async def listen(number: int) -> None:
        await asyncio.sleep(0)
        heard.append(number)

    callback = Callback(listen)

    async def call(number: int) -> None:
        callback.tell(number)
        await callback.catch_up()

    asyncio.run(call(1))
    asyncio.run(call(2))
    assert heard == [1, 2]
