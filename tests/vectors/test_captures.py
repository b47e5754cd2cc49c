"""Every message that a real network element sent: cut right, decoded, and stable when encoded again."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from diameter.message import Message as Stranger

from ocs.diameter.codec import Codec, header
from ocs.diameter.frame import Framer

FOLDER = Path(__file__).parent / "captures"
LIMIT = 65_536


class Captured(NamedTuple):
    """One message of a capture; `name` is its comment line without the hash."""

    file: str
    name: str
    frame: bytes


def captured() -> list[Captured]:
    """All messages of all captures, in order."""
    found = []
    for path in sorted(FOLDER.glob("*.hex")):
        lines = path.read_text().splitlines()
        for comment, octets in zip(lines[::2], lines[1::2], strict=True):
            assert comment.startswith("# ")
            found.append(Captured(path.stem, comment[2:], bytes.fromhex(octets)))
    return found


MESSAGES = captured()
FILES = sorted({message.file for message in MESSAGES})
each_message = pytest.mark.parametrize(
    "message", MESSAGES, ids=lambda message: f"{message.file}-{message.name}"
)
each_file = pytest.mark.parametrize("file", FILES)


def frames_of(file: str) -> list[bytes]:
    return [message.frame for message in MESSAGES if message.file == file]


def test_the_captures_are_those_of_the_readme() -> None:
    rows = [
        line.split("|") for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("| ")
    ]
    listed = {row[1].strip(): int(row[3]) for row in rows if row[3].strip().isdigit()}
    assert listed == Counter(message.file for message in MESSAGES)
    assert sum(listed.values()) == 74


@each_message
def test_it_decodes_and_is_stable_when_encoded_again(message: Captured) -> None:
    codec = Codec()
    decoded = codec.decode(message.frame)
    again = codec.encode(decoded)
    assert codec.decode(again) == decoded
    assert codec.encode(codec.decode(again)) == again


@each_message
def test_its_unique_top_level_avps_hold_what_python_diameter_reads(message: Captured) -> None:
    decoded = Codec().decode(message.frame)
    theirs = Stranger.from_bytes(message.frame, plain_msg=True)
    counts = Counter(avp.name for avp in theirs.avps)
    compared = 0
    for avp in theirs.avps:
        ours = decoded.avps.get(avp.name)
        if counts[avp.name] > 1 or isinstance(ours, list | dict) or avp.name == "Event-Timestamp":
            continue
        value = avp.value.decode() if isinstance(avp.value, bytes) else avp.value
        assert ours == value, avp.name
        compared += 1
    assert compared >= 2


@each_file
def test_a_connection_fed_whole_message_by_message(file: str) -> None:
    framer = Framer(LIMIT)
    assert [framer.feed(frame) for frame in frames_of(file)] == [[frame] for frame in frames_of(file)]


@each_file
def test_a_connection_fed_octet_by_octet(file: str) -> None:
    framer = Framer(LIMIT)
    octets = b"".join(frames_of(file))
    assert [frame for at in range(len(octets)) for frame in framer.feed(octets[at : at + 1])] == frames_of(
        file
    )


@each_file
def test_a_connection_glued_into_one_read_with_the_next_message_begun(file: str) -> None:
    frames = frames_of(file)
    framer = Framer(LIMIT)
    assert framer.feed(b"".join(frames) + frames[0][:21]) == frames
    assert framer.feed(frames[0][21:]) == frames[:1]


def test_one_codec_decodes_all_of_them_as_a_fresh_one_does() -> None:
    worker = Codec()
    for message in MESSAGES * 2:
        assert worker.decode(message.frame) == Codec().decode(message.frame)
    assert worker.ignored_in_service_information == 0


def test_the_messages_are_the_kinds_that_their_comments_say() -> None:
    commands = {"CER": 257, "CCR": 272, "DWR": 280, "DPR": 282, "RAA": 258}
    for message in MESSAGES:
        head = header(message.frame)
        assert head.command == commands[message.name[:3]]
        assert bool(head.flags & 0x80) == (message.name[2] == "R")


def test_kamailio_and_open5gs_read_as_clients_says() -> None:
    codec = Codec()
    kamailio = codec.decode(
        next(m.frame for m in MESSAGES if m.file == "kamailio" and m.name.startswith("CCR-I"))
    ).avps
    open5gs = codec.decode(
        next(m.frame for m in MESSAGES if m.file == "open5gs" and m.name.startswith("CCR-I"))
    ).avps
    assert "Auth-Application-Id" not in kamailio
    assert kamailio["Origin-Host"] == "scscf.example.org"
    assert kamailio["Multiple-Services-Credit-Control"] == [
        {"Requested-Service-Unit": {"CC-Time": 10}, "Service-Identifier": [1000], "Rating-Group": 100}
    ]
    assert open5gs["Multiple-Services-Indicator"] == 0
    assert open5gs["Multiple-Services-Credit-Control"][0]["Requested-Service-Unit"] == {
        "CC-Total-Octets": 1_000_000
    }
    assert open5gs["Service-Information"]["PS-Information"]["Called-Station-Id"] == "internet"
    assert open5gs["Service-Information"]["PS-Information"]["3GPP-SGSN-MCC-MNC"] == "00101"
