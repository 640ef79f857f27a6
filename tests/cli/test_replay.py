"""What `nbtape replay` does besides replaying."""

from __future__ import annotations

from nbtape.cli.replay import _Stops


def test_a_replay_that_starts_after_ctrl_c_is_stopped_too() -> None:
    stopped: list[str] = []
    stops = _Stops()
    stops.add(lambda: stopped.append("running"))
    assert stopped == []
    stops.call()
    stops.add(lambda: stopped.append("late"))
    assert stopped == ["running", "late"]
