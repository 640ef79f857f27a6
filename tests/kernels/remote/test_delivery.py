"""Requests and their messages: every block finishes, none runs twice, and missing output is reported.

A connection cannot be made to lose one chosen message, so these tests use a scripted kernel. It numbers and orders its
messages as ipykernel does.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.kernels.remote.client import _UNREADABLE
from nbtape.kernels.remote.delivery import CUT, RATE_LIMITED, UNKNOWN, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbtape.kernels.protocols import Message

Letter = tuple[str, "Message"]

LIMIT_LINES: Final = ["IOPub data rate exceeded.\nThe Jupyter server ...", "IOPub message rate exceeded.\nThe ..."]
ERROR: Final = {"ename": "ValueError", "evalue": "no", "traceback": ["ValueError: no"]}


def letter(channel: str, kind: Any, content: Any, *, msg_id: Any, parent: Any) -> Letter:
    header = {"msg_id": msg_id, "msg_type": kind}
    message = {"header": header, **header, "parent_header": parent, "metadata": {}, "content": content, "buffers": []}
    return channel, message


class Kernel:
    """A kernel that runs scripted blocks.

    Args:
        name: The session in its message ids; empty for ids without numbers.
    """

    def __init__(self, name: str = "0b1e-4f_77") -> None:
        self.count = 0
        self._name = name
        self._numbers = itertools.count(1)

    def say(self, channel: str, kind: str, content: Any, request: str, asked: str = "execute_request") -> Letter:
        number = next(self._numbers)
        msg_id = f"{self._name}_{number}" if self._name else f"{number:032x}"
        return letter(channel, kind, content, msg_id=msg_id, parent={"msg_id": request, "msg_type": asked})

    def state(self, state: str, request: str, asked: str = "execute_request") -> Letter:
        return self.say("iopub", "status", {"execution_state": state}, request, asked)

    def stream(self, request: str, text: str = "x\n") -> Letter:
        return self.say("iopub", "stream", {"name": "stdout", "text": text}, request)

    def run(self, request: str, *, streams: int = 1, error: dict[str, Any] | None = None) -> list[Letter]:
        """Return the messages of a block: `busy`, its code, its outputs, the reply, `idle`."""
        self.count += 1
        letters = [self.state("busy", request), self.say("iopub", "execute_input", {"code": ""}, request)]
        letters += [self.stream(request) for _ in range(streams)]
        if error is not None:
            letters.append(self.say("iopub", "error", error, request))
        content = {"status": "ok"} if error is None else {"status": "error", **error}
        letters.append(self.say("shell", "execute_reply", {**content, "execution_count": self.count}, request))
        return [*letters, self.state("idle", request)]

    def answer(self, request: str, kind: str = "execute") -> list[Letter]:
        """Return the messages of a request: `busy`, the reply, `idle`. Only an execution's reply has the count."""
        content = {"status": "ok", **({"execution_count": self.count} if kind == "execute" else {})}
        asked = f"{kind}_request"
        busy = self.state("busy", request, asked)
        return [busy, self.say("shell", f"{kind}_reply", content, request, asked), self.state("idle", request, asked)]


class Desk:
    """A ledger, its kernel, and the messages that were passed on.

    Args:
        kernel: The kernel; None for a usual one.
    """

    def __init__(self, kernel: Kernel | None = None) -> None:
        self.ledger = Ledger()
        self.kernel = kernel or Kernel()
        self.passed_on: list[Letter] = []
        self.made_up: list[Letter] = []

    def take(self, letters: Iterable[Letter]) -> None:
        for channel, message in letters:
            made_up = self.ledger.take(channel, message)
            self.made_up += made_up
            self.passed_on += [*made_up, (channel, message)]

    def ask(self, request: str = "question", kind: str = "execute") -> None:
        """Send a request that is not disturbed."""
        self.ledger.send_question(request)
        self.take(self.kernel.answer(request, kind))

    def replies(self, request: str) -> list[dict[str, Any]]:
        """Return the contents of the replies to a request that were passed on."""
        return [message["content"] for channel, message in self.of(request) if channel == "shell"]

    def idles(self, request: str) -> int:
        """Return how often the end of a request was passed on."""
        return sum(message["content"].get("execution_state") == "idle" for _, message in self.of(request))

    def of(self, request: str) -> list[Letter]:
        return [
            (channel, message) for channel, message in self.passed_on if message["parent_header"]["msg_id"] == request
        ]


def without(letters: Sequence[Letter], *kinds: str) -> list[Letter]:
    """Return the messages without some kinds; `idle` and `busy` are kinds."""
    return [(channel, message) for channel, message in letters if not {_kind(message), _state(message)} & {*kinds}]


def _kind(message: Message) -> str:
    return str(message["msg_type"])


def _state(message: Message) -> str:
    return str(message["content"].get("execution_state"))


def lose(*kinds: str, error: dict[str, Any] | None = None, streams: int = 1) -> Desk:
    """Run a block that lost some kinds of messages in a cut, and send a request after it."""
    desk = Desk()
    desk.ledger.send_block("block")
    desk.take(without(desk.kernel.run("block", streams=streams, error=error), *kinds))
    desk.ledger.cut()
    desk.ask()
    return desk


class TestEnds:
    """A block finishes once, whichever part of its end was lost."""

    def test_nothing_is_added_to_a_block_that_arrived_complete(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        assert desk.ledger.waits
        desk.take(desk.kernel.run("block", streams=3))
        assert not desk.ledger.waits
        assert (desk.made_up, desk.ledger.missing(), desk.ledger.wants_block_again()) == ([], "", False)

    def test_a_reply_or_an_idle_alone_is_recognized_as_half_an_end(self) -> None:
        kernel = Kernel()
        *head, reply, idle = kernel.run("block")
        for first, second in ([reply], [idle]), ([idle], [reply]):
            desk = Desk(kernel)
            desk.ledger.send_block("block")
            desk.take(head)
            assert (desk.ledger.waits, desk.ledger.waits_for_half) == (True, False)
            desk.take(first)
            assert (desk.ledger.waits, desk.ledger.waits_for_half) == (True, True)
            desk.take(second)
            assert (desk.ledger.waits, desk.ledger.waits_for_half) == (False, False)
            assert desk.made_up == []

    def test_without_a_request_there_is_nothing_to_wait_for(self) -> None:
        desk = Desk()
        desk.ask()
        assert not desk.ledger.waits
        assert not desk.ledger.waits_for_half
        assert (desk.made_up, desk.ledger.missing()) == ([], "")

    def test_a_lost_idle_is_replaced(self) -> None:
        desk = lose("idle")
        (made_up,) = desk.made_up
        assert made_up[0] == "iopub"
        assert (made_up[1]["msg_type"], _state(made_up[1])) == ("status", "idle")
        assert made_up[1]["parent_header"] == {"msg_id": "block"}
        assert not desk.ledger.waits

    def test_a_lost_idle_is_replaced_before_the_idle_that_reveals_it(self) -> None:
        desk = lose("idle")
        idles = [message["parent_header"]["msg_id"] for _, message in desk.passed_on if _state(message) == "idle"]
        assert idles == ["block", "question"]

    def test_a_lost_reply_is_replaced(self) -> None:
        desk = lose("execute_reply")
        assert desk.replies("block") == [{"status": "ok"}]
        assert [channel for channel, _ in desk.made_up] == ["shell"]
        assert not desk.ledger.waits

    def test_the_replacement_of_a_lost_error_reply_has_the_error(self) -> None:
        desk = lose("execute_reply", error=ERROR)
        assert desk.replies("block") == [{"status": "error", **ERROR}]

    def test_a_completely_lost_end_is_replaced(self) -> None:
        for error, status in ((None, "ok"), (ERROR, "error")):
            desk = lose("execute_reply", "idle", error=error)
            assert [content["status"] for content in desk.replies("block")] == [status]
            assert desk.idles("block") == 1
            assert not desk.ledger.waits

    def test_an_answer_with_the_reply_last_finishes_the_block(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        desk.take(without(desk.kernel.run("block"), "execute_reply", "idle"))
        desk.ledger.send_question("question")
        busy, reply, idle = desk.kernel.answer("question")
        desk.take([busy, idle])
        assert (desk.idles("block"), desk.replies("block"), desk.ledger.waits_for_half) == (1, [], True)
        desk.take([reply])
        assert desk.replies("block") == [{"status": "ok"}]
        assert not desk.ledger.waits

    def test_an_answer_with_the_reply_first_waits_for_outputs_in_transit(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        letters = desk.kernel.run("block", streams=2)
        desk.take(letters[:2])
        desk.ledger.send_question("question")
        busy, reply, idle = desk.kernel.answer("question")
        desk.take([reply])
        assert desk.idles("block") == 0
        desk.take([*without(letters[2:], "execute_reply"), busy, idle])
        assert [_kind(message) for _, message in desk.made_up] == ["execute_reply"]
        assert (desk.idles("block"), desk.ledger.missing()) == (1, "")

    def test_a_reply_that_overtakes_all_outputs_does_not_finish_the_block(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        *outputs, reply, idle = desk.kernel.run("block", streams=2)
        desk.take([reply])
        assert desk.ledger.waits
        desk.take([*outputs, idle])
        desk.ask()
        assert (desk.made_up, desk.ledger.waits, desk.ledger.missing()) == ([], False, "")

    def test_a_lost_request_does_not_block_the_next_one(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        desk.take(without(desk.kernel.run("block"), "execute_reply", "idle"))
        desk.ledger.send_question("lost")
        desk.ledger.cut()
        desk.ask("found")
        assert (len(desk.replies("block")), desk.idles("block"), desk.ledger.waits) == (1, 1, False)

    def test_messages_of_other_clients_in_between_change_nothing(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        letters = desk.kernel.run("block", streams=2)
        for one in letters:
            desk.take([one, *Kernel("other").answer("theirs"), *Kernel("another").run("theirs too")])
        assert (desk.made_up, desk.ledger.missing(), desk.ledger.waits) == ([], "", False)

    @pytest.mark.parametrize("channel", ["control", "stdin", "", "iopub2"])
    def test_messages_on_other_channels_do_not_finish_a_block(self, channel: str) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        desk.take((channel, message) for _, message in desk.kernel.run("block"))
        assert desk.ledger.waits
        assert not desk.ledger.waits_for_half

    def test_consecutive_blocks_each_finish(self) -> None:
        desk = Desk()
        for number in range(5):
            desk.ledger.send_block(f"block {number}")
            desk.take(without(desk.kernel.run(f"block {number}"), *(["idle"] if number % 2 else ["execute_reply"])))
            desk.ask(f"question {number}")
            assert not desk.ledger.waits
        assert [desk.idles(f"block {number}") for number in range(5)] == [1] * 5
        assert [len(desk.replies(f"block {number}")) for number in range(5)] == [1] * 5


class TestRunsOnce:
    """A block that did not reach the kernel is sent again; one that may have is not."""

    @pytest.mark.parametrize("cells", [0, 1, 7])
    def test_a_block_that_never_reached_the_kernel_is_resent_once(self, cells: int) -> None:
        desk = Desk()
        for number in range(cells):
            desk.ledger.send_block(f"earlier {number}")
            desk.take(desk.kernel.run(f"earlier {number}"))
        desk.ledger.send_block("block")
        desk.ledger.cut()
        desk.ask()
        assert [desk.ledger.wants_block_again(), desk.ledger.wants_block_again()] == [True, False]
        assert (desk.made_up, desk.ledger.waits) == ([], True)
        desk.take(desk.kernel.run("block", streams=2))
        desk.ask("later")
        assert (desk.made_up, desk.ledger.missing(), desk.ledger.waits) == ([], "", False)

    def test_a_repeatedly_lost_block_is_resent_each_time(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        for attempt in range(3):
            desk.ledger.cut()
            desk.ask(f"question {attempt}")
            assert desk.ledger.wants_block_again()
        desk.take(without(desk.kernel.run("block"), "execute_reply", "idle"))
        desk.ask("last")
        assert not desk.ledger.wants_block_again()
        assert (len(desk.replies("block")), desk.idles("block")) == (1, 1)

    def test_a_block_that_may_have_run_is_reported_and_not_resent(self) -> None:
        desk = lose("busy", "execute_input", "stream", "execute_reply", "idle")
        assert not desk.ledger.wants_block_again()
        (content,) = desk.replies("block")
        assert (content["status"], content["ename"], content["evalue"]) == ("error", "ConnectionLost", UNKNOWN)
        assert content["traceback"] == []
        assert (desk.idles("block"), desk.ledger.waits, desk.ledger.missing()) == (1, False, UNKNOWN)

    def test_uncertainty_about_a_block_does_not_carry_over_to_the_next(self) -> None:
        desk = lose("busy", "execute_input", "stream", "execute_reply", "idle")
        desk.ledger.send_block("next")
        desk.take(desk.kernel.run("next"))
        assert desk.ledger.missing() == ""

    def test_an_abandoned_request_does_not_affect_the_next_block(self) -> None:
        desk = Desk()
        desk.ledger.send_block("given up")
        desk.ledger.cut()
        desk.ledger.send_block("block")
        desk.take(desk.kernel.run("block"))
        assert (desk.ledger.missing(), desk.ledger.wants_block_again(), desk.ledger.waits) == ("", False, False)

    def test_a_block_that_may_be_counted_for_another_clients_cell_is_not_resent(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        desk.ledger.cut()
        desk.kernel.run("theirs")
        desk.ask()
        assert not desk.ledger.wants_block_again()
        assert desk.ledger.missing() == UNKNOWN

    def test_replies_without_a_count_do_not_make_a_block_run_twice(self) -> None:
        desk = Desk()
        # The first request to a kernel, whose reply has no count; and the last one, queued behind a block that
        # failed: ipykernel aborts it, and its reply has no count either. The block has run.
        desk.ask("first", "kernel_info")
        desk.ledger.send_block("block")
        desk.kernel.run("block", error=ERROR)
        desk.ledger.cut()
        desk.ask("aborted", "kernel_info")
        assert not desk.ledger.wants_block_again()
        assert desk.ledger.missing() == UNKNOWN

    def test_a_reply_without_a_count_keeps_the_last_known_count(self) -> None:
        desk = Desk()
        desk.ask("first", "kernel_info")
        desk.ledger.send_block("block")
        desk.ledger.cut()
        desk.ask()
        assert desk.ledger.wants_block_again()


class TestMissing:
    """After a cut, the kernel's message numbers show whether all messages have arrived."""

    def test_a_cut_that_lost_nothing_is_not_reported(self) -> None:
        for place in range(8):
            desk = Desk()
            desk.ledger.send_block("block")
            letters = desk.kernel.run("block", streams=3)
            desk.take(letters[:place])
            desk.ledger.cut()
            desk.take(letters[place:])
            assert desk.ledger.missing() == ""

    def test_output_may_be_missing_while_a_block_runs_after_a_cut(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        letters = desk.kernel.run("block")
        desk.take(letters[:3])
        assert desk.ledger.missing() == ""
        desk.ledger.cut()
        assert desk.ledger.missing() == CUT
        desk.take(letters[3:])
        assert desk.ledger.missing() == ""

    @pytest.mark.parametrize("lost", range(5))
    def test_one_lost_output_is_detected(self, lost: int) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        letters = desk.kernel.run("block", streams=5)
        desk.ledger.cut()
        desk.take(letters[: 2 + lost] + letters[3 + lost :])
        assert desk.ledger.missing() == CUT

    def test_outputs_lost_together_with_the_beginning_are_detected(self) -> None:
        assert lose("busy", "execute_input", "stream", streams=5).ledger.missing() == CUT

    def test_outputs_lost_together_with_the_end_are_detected(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        desk.take(desk.kernel.run("block", streams=5)[:4])
        desk.ledger.cut()
        desk.ask()
        assert desk.ledger.missing() == CUT

    def test_a_lost_reply_is_not_reported_as_lost_output(self) -> None:
        assert lose("execute_reply", streams=3).ledger.missing() == ""

    @pytest.mark.parametrize("kinds", [["idle"], ["execute_reply", "idle"]])
    def test_if_the_end_was_lost_output_may_be_missing(self, kinds: list[str]) -> None:
        assert lose(*kinds, streams=3).ledger.missing() == CUT

    def test_requests_of_other_clients_explain_gaps_in_the_numbers(self) -> None:
        # A kernel answers on its control channel while a block runs. The reply has a number but goes to another client.
        desk = Desk()
        desk.take(theirs(desk.kernel, ["kernel_info"]))
        desk.ledger.send_block("block")
        busy, code = desk.kernel.state("busy", "block"), desk.kernel.say("iopub", "execute_input", {}, "block")
        desk.take([busy, code, *theirs(desk.kernel, ["kernel_info", "debug"]), desk.kernel.stream("block")])
        desk.ledger.cut()
        reply = desk.kernel.say("shell", "execute_reply", {"status": "ok", "execution_count": 1}, "block")
        desk.take([*theirs(desk.kernel, ["kernel_info"]), reply, desk.kernel.state("idle", "block")])
        assert desk.ledger.missing() == ""

    def test_requests_of_other_clients_explain_only_their_replies(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        busy, code = desk.kernel.state("busy", "block"), desk.kernel.say("iopub", "execute_input", {}, "block")
        desk.take([busy, code, *theirs(desk.kernel, ["kernel_info"])])
        desk.ledger.cut()
        desk.kernel.stream("block")  # is lost
        reply = desk.kernel.say("shell", "execute_reply", {"status": "ok", "execution_count": 1}, "block")
        desk.take([*theirs(desk.kernel, ["kernel_info"]), reply, desk.kernel.state("idle", "block")])
        assert desk.ledger.missing() == CUT

    @pytest.mark.parametrize("name", ["", "a\n"])
    def test_messages_without_numbers_count_as_possibly_missing_only_after_a_cut(self, name: str) -> None:
        desk = Desk(Kernel(name))
        desk.ledger.send_block("block")
        desk.take(desk.kernel.run("block"))
        assert desk.ledger.missing() == ""
        desk.ledger.cut()
        assert desk.ledger.missing() == CUT

    def test_a_cut_after_a_block_does_not_affect_it(self) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        desk.take(desk.kernel.run("block"))
        desk.ledger.cut()
        assert desk.ledger.missing() == ""

    def test_a_cut_between_two_blocks_does_not_affect_the_next(self) -> None:
        desk = Desk(Kernel(""))
        desk.ledger.send_block("block")
        desk.take(desk.kernel.run("block"))
        desk.ledger.cut()
        desk.kernel.run("theirs")  # no client received it
        desk.ledger.send_block("next")
        desk.take(desk.kernel.run("next"))
        assert desk.ledger.missing() == ""

    @pytest.mark.parametrize("line", LIMIT_LINES)
    def test_a_servers_rate_limit_is_reported(self, line: str) -> None:
        desk, server = Desk(), Kernel("server")
        desk.ledger.send_block("block")
        letters = desk.kernel.run("block", streams=3)
        desk.take([*letters[:3], server.stream("block", line), *letters[4:]])
        assert desk.ledger.missing() == RATE_LIMITED
        desk.ledger.send_block("next")
        assert desk.ledger.missing() == ""

    @pytest.mark.parametrize("line", LIMIT_LINES)
    def test_a_block_that_prints_a_rate_limit_message_is_not_reported_as_limited(self, line: str) -> None:
        desk = Desk()
        desk.ledger.send_block("block")
        first, second, *rest = desk.kernel.run("block", streams=0)
        desk.take([first, second, desk.kernel.stream("block", line), *rest])
        assert desk.ledger.missing() == ""

    @pytest.mark.parametrize("text", ["", "x", "the IOPub data rate exceeded.", "IOPub data rate", None, 1, []])
    def test_other_messages_of_a_server_are_not_a_rate_limit(self, text: Any) -> None:
        desk, server = Desk(), Kernel("server")
        desk.ledger.send_block("block")
        letters = desk.kernel.run("block")
        desk.take([*letters[:3], server.stream("block", text), *letters[3:]])
        assert desk.ledger.missing() == ""


def merged(letters: Sequence[Letter], data: st.DataObject) -> list[Letter]:
    """Return the messages in a possible order: each channel keeps its own."""
    queues = {name: [one for one in letters if one[0] == name] for name in ("iopub", "shell")}
    order = data.draw(st.permutations([channel for channel, _ in letters]))
    return [queues[channel].pop(0) for channel in order]


def theirs(kernel: Kernel, kinds: Sequence[str]) -> list[Letter]:
    """Return what is received of another client's requests: everything except the replies."""
    letters = [one for kind in kinds for one in (kernel.run("t") if kind == "run" else kernel.answer("t", kind))]
    return [one for one in letters if one[0] == "iopub"]


OTHERS = st.lists(st.sampled_from(["run", "kernel_info", "complete"]), max_size=2)


@given(st.integers(0, 5), st.sampled_from([None, ERROR]), st.integers(0, 2), OTHERS, st.data())
def test_a_block_with_any_lost_messages_finishes_once_and_lost_output_is_reported(
    streams: int, error: dict[str, Any] | None, earlier: int, others: list[str], data: st.DataObject
) -> None:
    desk = Desk()
    for number in range(earlier):
        desk.ledger.send_block(f"earlier {number}")
        desk.take(merged(desk.kernel.run(f"earlier {number}"), data))
    desk.ledger.send_block("block")
    desk.take(theirs(desk.kernel, others))
    letters = desk.kernel.run("block", streams=streams, error=error)
    kept = [one for one in letters if data.draw(st.booleans(), f"{_kind(one[1])} {_state(one[1])} comes")]
    desk.take(merged(kept, data))
    desk.ledger.cut()
    desk.take(theirs(desk.kernel, others))
    desk.ledger.send_question("question")
    desk.take(merged(desk.kernel.answer("question"), data))
    assert not desk.ledger.wants_block_again(), "it has run"
    assert (len(desk.replies("block")), desk.idles("block"), desk.ledger.waits) == (1, 1, False)
    if any(one not in kept and _kind(one[1]) in {"stream", "error"} for one in letters):
        assert desk.ledger.missing()
    if kept == letters:
        assert desk.ledger.missing() == ""


@given(st.integers(0, 2), OTHERS, st.integers(0, 3), st.data())
def test_a_block_runs_at_most_once_whatever_happens_in_transit(
    earlier: int, others: list[str], attempts: int, data: st.DataObject
) -> None:
    desk, runs = Desk(), 0
    for number in range(earlier):
        desk.ledger.send_block(f"earlier {number}")
        desk.take(merged(desk.kernel.run(f"earlier {number}"), data))
    desk.ledger.send_block("block")
    for attempt in range(attempts + 1):
        letters: list[Letter] = []
        if data.draw(st.booleans(), "the block reaches the kernel"):
            runs += 1
            letters = desk.kernel.run("block")
        desk.take(merged([one for one in letters if data.draw(st.booleans())], data))
        desk.ledger.cut()
        desk.take(theirs(desk.kernel, others))
        desk.ledger.send_question(f"question {attempt}")
        desk.take(merged(desk.kernel.answer(f"question {attempt}"), data))
        if not desk.ledger.wants_block_again():
            break
    assert runs <= 1
    assert desk.ledger.waits == (runs == 0 and not desk.replies("block"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["block", "idle", "k_1"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)
CONTENTS = VALUES | st.fixed_dictionaries(
    {}, optional={"execution_state": VALUES, "execution_count": VALUES, "text": VALUES, "ename": VALUES}
)
IDS = VALUES | st.integers(0).map("k_{}".format) | st.just("k_" + "9" * 5000) | st.just("k_١٢")


@st.composite
def hostile_letters(draw: st.DrawFn) -> Letter:
    kind = draw(st.sampled_from(["status", "stream", "error", "execute_reply", "execute_input"]) | VALUES)
    parent = draw(st.fixed_dictionaries({"msg_id": st.just("block") | VALUES}, optional={"msg_type": VALUES}) | VALUES)
    channel = draw(st.sampled_from(["iopub", "shell", "control"]))
    return letter(channel, kind, draw(CONTENTS), msg_id=draw(IDS), parent=parent)


HOSTILE = hostile_letters()


def of_block(channel: str, kind: str, content: Any) -> Letter:
    return letter(channel, kind, content, msg_id="k_1", parent={"msg_id": "block"})


@given(st.lists(HOSTILE, max_size=6), st.integers(0, 2))
@example([letter("iopub", "status", {}, msg_id=None, parent={})], 1)
@example([of_block("iopub", "status", {"execution_state": {}})], 1)
@example([of_block("shell", "execute_reply", {"execution_count": 10**400})], 1)
@example([of_block("iopub", "error", [])], 1)
@example([of_block("iopub", "error", None)], 1)
@example([of_block("iopub", "error", "x")], 1)
def test_messages_of_any_shape_are_harmless_and_every_block_finishes(letters: list[Letter], place: int) -> None:
    desk = Desk()
    desk.ledger.send_block("block")
    genuine = desk.kernel.run("block")
    desk.take(genuine[:place])
    desk.ledger.cut()
    for channel, message in letters:
        with contextlib.suppress(*_UNREADABLE):  # the connection leaves such a message out and reports it
            desk.ledger.take(channel, message)
    desk.ask()
    desk.ledger.missing()
    assert desk.ledger.wants_block_again() or not desk.ledger.waits


def test_an_incomplete_message_is_rejected_with_an_error_the_connection_handles() -> None:
    desk = Desk()
    desk.ledger.send_block("block")
    _, whole = desk.kernel.stream("block")
    for part in ("header", "parent_header", "msg_type", "content"):
        for channel in ("iopub", "shell"):
            with contextlib.suppress(*_UNREADABLE):
                desk.ledger.take(channel, {name: value for name, value in whole.items() if name != part})
    desk.take(desk.kernel.run("block"))
    assert not desk.ledger.waits
