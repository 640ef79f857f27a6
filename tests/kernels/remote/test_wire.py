"""Frames: nbtape and a Jupyter server, with its own code, read each other's frames; damaged ones break nothing."""

from __future__ import annotations

import json
import struct
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection import base as jupyter

from nbtape.kernels.remote.client import _UNREADABLE
from nbtape.kernels.remote.wire import BINARY, BinaryWire, JsonWire, Wire, wire_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbtape.kernels.protocols import Message

WIRES: list[Wire] = [BinaryWire(), JsonWire()]
NAMES = ["binary", "json"]

# jupyter_server's own functions for writing and reading; they have no type annotations.
serialize: Callable[..., bytes] = jupyter.serialize_msg_to_ws_v1
serialize_with_buffers: Callable[..., bytes] = jupyter.serialize_binary_message
deserialize: Callable[..., tuple[str, list[bytes]]] = jupyter.deserialize_msg_from_ws_v1

# Kernel and server share a key, as in a connection file.
KERNEL = Session(key=b"key", username="kernel")
SERVER = Session(key=b"key", username="server")
CLIENT = Session(username="nbtape")

#: The limit for the part of a large message that is read.
ROOM = 1 << 20

TEXT = "zoë 名前 😀 \0 \u2028 \x1b[31m"


def sent(kind: str = "stream", content: dict[str, Any] | None = None, **more: Any) -> Message:
    """Return a message as its sender's session serializes it."""
    return {**KERNEL.msg(kind, content or {"name": "stdout", "text": TEXT}, CLIENT.msg("execute_request")), **more}


def arrived(message: Message, buffers: Sequence[bytes] = ()) -> list[bytes]:
    """Return the parts of a kernel's message as the server gets them from ZMQ: checked, without the signature."""
    _, parts = SERVER.feed_identities([*KERNEL.serialize(message), *buffers])
    return list(parts[1:])  # type: ignore[arg-type]  # bytes, for they are not tracked


def frame_of_server(wire: Wire, channel: str, message: Message, buffers: Sequence[bytes] = ()) -> bytes | str:
    """Return what jupyter_server writes on a websocket: `handle_outgoing_message`, `_reserialize_reply`."""
    if isinstance(wire, BinaryWire):
        return serialize(arrived(message, buffers), channel)
    _, parts = SERVER.feed_identities([*KERNEL.serialize(message), *buffers])
    relayed = {**SERVER.deserialize(parts), "channel": channel}
    if relayed["buffers"]:
        return serialize_with_buffers(relayed)
    return json.dumps(relayed, default=json_default)


def read_by_server(wire: Wire, frame: bytes | str) -> tuple[str, list[Any]]:
    """Return channel, headers, metadata and content as a kernel gets them: `handle_incoming_message`."""
    if isinstance(wire, BinaryWire):
        channel, parts = deserialize(frame)
    else:
        message = json.loads(frame)
        channel = message.pop("channel")
        parts = SERVER.serialize(message)[2:]
    assert len(parts) == 4, "a request has no buffers"
    return channel, [json.loads(part) for part in parts]


def plain(message: Message) -> list[Any]:
    """Return the parts of a message as JSON, in whatever form they are kept."""
    return [
        json.loads(json.dumps(message[part], default=json_default))
        for part in ("header", "parent_header", "metadata", "content")
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)


def test_the_connection_uses_the_negotiated_protocol() -> None:
    assert isinstance(wire_of(BINARY), BinaryWire)
    for other in (None, "", "v2.kernel.websocket.jupyter.org"):
        assert isinstance(wire_of(other), JsonWire)


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
@given(content=OBJECTS, metadata=OBJECTS)
def test_a_jupyter_server_reads_the_messages_nbtape_sends(
    wire: Wire, content: dict[str, Any], metadata: dict[str, Any]
) -> None:
    message = CLIENT.msg("execute_request", content, metadata=metadata)
    assert read_by_server(wire, wire.encode("shell", message)) == ("shell", plain(message))


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
@given(content=OBJECTS, metadata=OBJECTS, buffers=st.lists(st.binary(max_size=20), max_size=3))
def test_nbtape_reads_the_messages_a_jupyter_server_sends(
    wire: Wire, content: dict[str, Any], metadata: dict[str, Any], buffers: list[bytes]
) -> None:
    message = sent("comm_msg", content, metadata=metadata)
    channel, read = wire.decode(frame_of_server(wire, "iopub", message, buffers), ROOM)
    assert channel == "iopub"
    assert plain(read) == plain(message)
    assert [bytes(buffer) for buffer in read["buffers"]] == buffers


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
@given(content=OBJECTS)
def test_written_frames_can_be_read_back(wire: Wire, content: dict[str, Any]) -> None:
    message = CLIENT.msg("execute_request", content)
    channel, read = wire.decode(wire.encode("shell", message), ROOM)
    assert channel == "shell"
    assert read == {**message, "buffers": []}


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
def test_a_message_has_all_fields_that_jupyter_client_adds(wire: Wire) -> None:
    message = sent(metadata={"é": TEXT})
    _, read = wire.decode(frame_of_server(wire, "iopub", message), ROOM)
    parts = [KERNEL.sign([]), *arrived(message)]
    assert read == {**Session(key=b"").deserialize(parts), "buffers": []}
    assert (read["msg_id"], read["msg_type"]) == (message["header"]["msg_id"], "stream")


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
def test_dates_in_headers_are_dates_and_those_in_contents_are_text(wire: Wire) -> None:
    text = "2024-02-29T12:00:00.000000Z"
    message = sent(content={"date": text}, metadata={"date": text})
    for header in ("header", "parent_header"):
        message[header]["date"] = text
    _, read = wire.decode(frame_of_server(wire, "iopub", message), ROOM)
    assert read["header"]["date"] == read["parent_header"]["date"] == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert read["content"]["date"] == read["metadata"]["date"] == text


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
def test_a_message_without_a_parent_can_be_read(wire: Wire) -> None:
    message = KERNEL.msg("status", {"execution_state": "starting"})
    _, read = wire.decode(frame_of_server(wire, "iopub", message), ROOM)
    assert read["parent_header"] == {}


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
def test_messages_of_an_older_protocol_version_are_understood(wire: Wire) -> None:
    message = sent("pyout", {"execution_count": 1, "data": {"text/plain": "1"}, "metadata": {}})
    message["header"]["version"] = "4.1"
    _, read = wire.decode(frame_of_server(wire, "iopub", message), ROOM)
    assert (read["msg_type"], read["header"]["msg_type"]) == ("execute_result", "execute_result")


def test_the_old_binary_frame_is_a_count_offsets_from_its_start_json_and_buffers() -> None:
    message = {**sent(), "header": {"msg_id": "1", "msg_type": "comm_msg", "version": "5.3"}, "channel": "iopub"}
    body = json.dumps(
        {name: part for name, part in message.items() if name != "buffers"}, default=json_default
    ).encode()
    start = 4 * (1 + 3)
    offsets = [start, start + len(body), start + len(body) + 2]
    frame = struct.pack("!4I", 3, *offsets) + body + b"ab" + b"\0\xff\0"
    channel, read = JsonWire().decode(frame, ROOM)
    assert channel == "iopub"
    assert read["header"]["msg_id"] == "1"
    assert [bytes(buffer) for buffer in read["buffers"]] == [b"ab", b"\0\xff\0"]


def test_the_binary_frame_is_a_count_offsets_from_its_start_the_channel_and_the_parts() -> None:
    frame = BinaryWire().encode("shell", CLIENT.msg("execute_request", {"code": "é"}))
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    assert (count, offsets[0], offsets[-1]) == (6, 8 * 7, len(frame))
    assert frame[offsets[0] : offsets[1]] == b"shell"
    assert json.loads(frame[offsets[4] : offsets[5]]) == {"code": "é"}


VERSIONS: list[Any] = [5, None, "", "x", [], {}, "1" * 5000]
OLD_TYPES: list[Any] = [[], {}, "stream", "kernel_info_reply"]
DATES: list[Any] = ["2024-99-99T99:99:99Z", "0000-01-01T00:00:00Z", "2024-01-01T00:00:00+99:99", [["2024"]]]
BAD_HEADERS: list[Any] = [
    *(None, 1, "x", [], {}, {"msg_id": "1"}, {"msg_type": "x"}),
    *({"msg_id": "1", "msg_type": "x", "version": version} for version in VERSIONS),
    *({"msg_id": "1", "msg_type": kind, "version": "4.1"} for kind in OLD_TYPES),
    *({"msg_id": "1", "msg_type": "x", "version": "5.3", "date": date} for date in DATES),
]
#: A day that dateutil accepts and datetime does not have: the one after its last.
DAY_AFTER_THE_LAST = {"msg_id": "1", "msg_type": "x", "version": "5.3", "date": "9999-12-31T24:00:00Z"}


def framed(wire: Wire, header: Any, content: Any = None) -> bytes | str:
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    if isinstance(wire, BinaryWire):
        return serialize(message, "iopub", lambda part: json.dumps(part).encode())
    return json.dumps({**message, "channel": "iopub"})


def read_or_refuse(wire: Wire, frame: bytes | str) -> None:
    """Read a frame, or reject it with one of the errors that the connection expects."""
    try:
        channel, message = wire.decode(frame, ROOM)
    except _UNREADABLE:
        return
    assert isinstance(channel, str)
    assert message["header"]["msg_id"] == message["msg_id"]


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
@pytest.mark.parametrize("content", [None, [], "x", {}])
@pytest.mark.parametrize("header", BAD_HEADERS, ids=lambda header: repr(header)[:60])
def test_a_header_of_any_shape_breaks_nothing(wire: Wire, header: Any, content: Any) -> None:
    read_or_refuse(wire, framed(wire, header, content))


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
def test_a_date_beyond_the_calendar_breaks_nothing(wire: Wire) -> None:
    read_or_refuse(wire, framed(wire, DAY_AFTER_THE_LAST))


@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
def test_very_deep_nesting_breaks_nothing(wire: Wire) -> None:
    for nested in ("[" * 100_000, '{"a":' * 100_000):
        read_or_refuse(JsonWire(), nested)
        read_or_refuse(wire, serialize([nested.encode()] * 4, "iopub"))
        read_or_refuse(wire, struct.pack("!2I", 1, 8) + nested.encode())


COUNTS = st.sampled_from([0, 1, 2, 3, 5, 6, 2**31, 2**32 - 1, 2**40, 2**60, 2**61, 2**63, 2**64 - 1])
FRAMES = st.one_of(
    st.binary(),
    st.text(),
    st.builds(
        lambda count, offsets, rest: struct.pack(f"<{len(offsets) + 1}Q", count, *offsets) + rest,
        COUNTS,
        st.lists(st.integers(0, 100) | COUNTS, max_size=8),
        st.binary(),
    ),
    st.builds(
        lambda count, offsets, rest: struct.pack(f"!{len(offsets) + 1}I", count & 0xFFFFFFFF, *offsets) + rest,
        COUNTS,
        st.lists(st.integers(0, 100) | st.just(2**32 - 1), max_size=8),
        st.binary(),
    ),
    JSON.map(json.dumps),
    st.fixed_dictionaries(
        {"header": OBJECTS | JSON},
        optional={"channel": JSON, "parent_header": OBJECTS | JSON, "metadata": JSON, "content": JSON},
    ).map(json.dumps),
)


# A date without a time zone is a warning of jupyter_client, which is an error only here.
@pytest.mark.filterwarnings("ignore:Interpreting naive datetime:DeprecationWarning")
@pytest.mark.parametrize("wire", WIRES, ids=NAMES)
@given(frame=FRAMES)
@example(frame=b"")
@example(frame="")
@example(frame=b"\xff" * 64)
def test_any_frame_is_read_or_rejected(wire: Wire, frame: bytes | str) -> None:
    read_or_refuse(wire, frame)


SOUND = [frame_of_server(wire, "iopub", sent(), [b"buffer"]) for wire in WIRES]


@pytest.mark.filterwarnings("ignore:Interpreting naive datetime:DeprecationWarning")
@pytest.mark.parametrize(("wire", "sound"), [*zip(WIRES, SOUND, strict=True)], ids=NAMES)
@given(where=st.floats(0, 1), added=st.binary(max_size=4), lost=st.integers(0, 8))
def test_a_damaged_frame_is_read_or_rejected(wire: Wire, sound: bytes, where: float, added: bytes, lost: int) -> None:
    position = round(where * len(sound))
    read_or_refuse(wire, sound[:position] + added + sound[position + lost :])


def peak_of_reading(wire: Wire, frame: bytes) -> int:
    tracemalloc.start()
    try:
        read_or_refuse(wire, frame)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [2**20, 2**31, 2**32 - 1, 2**40, 2**60, 2**63, 2**64 - 1])
def test_a_frame_that_claims_too_many_offsets_uses_no_extra_memory(count: int) -> None:
    assert peak_of_reading(BinaryWire(), struct.pack("<Q", count) + b"\0" * 100) < 1 << 20
    assert peak_of_reading(JsonWire(), struct.pack("!I", count & 0xFFFFFFFF) + b"\0" * 100) < 1 << 20


@pytest.mark.parametrize(
    ("wire", "size", "count", "offset"), [(BinaryWire(), 8, "<Q", "Q"), (JsonWire(), 4, "!I", "I")]
)
def test_a_frame_with_overlapping_parts_uses_memory_in_proportion_to_its_size(
    wire: Wire, size: int, count: str, offset: str
) -> None:
    length = 1 << 15
    offsets = [1, length] * (length // size // 2 - 1)  # as many copies of the whole as there are offsets
    frame = struct.pack(f"{count}{len(offsets)}{offset}", len(offsets), *offsets).ljust(length, b"\0")
    assert peak_of_reading(wire, frame) < 100 * length
