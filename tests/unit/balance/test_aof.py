"""The append-only file, as a real server writes it: where it can be cut, and what it says."""

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.balance.aof import (
    BASE,
    FOLDER,
    INCREMENT,
    MANIFEST,
    AofFault,
    AofFile,
    born_s,
    commands_from,
    cut_before,
    read_manifest,
    units,
    whole,
    write_manifest,
)
from ocs.balance.embedded import find_binary
from tests.real_valkey import RealValkey


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def transaction(*inside: bytes) -> bytes:
    return command(b"MULTI") + b"".join(inside) + command(b"EXEC")


SET = command(b"SET", b"k", b"v")
TRICKY = command(b"SET", b"k", b"x\r\n#TS:150\r\n*1\r\n$4\r\nEXEC\r\n")


def test_a_manifest_is_read_and_written_as_the_server_has_it(own_valkey: RealValkey) -> None:
    with own_valkey.client() as client:
        client.set("a", "b")
    text = (own_valkey.folder / FOLDER / MANIFEST).read_text()
    files = read_manifest(text)
    assert [each.kind for each in files] == [BASE, INCREMENT]
    assert write_manifest(files) == text


def test_a_manifest_line_that_says_more_than_we_know_is_read() -> None:
    assert read_manifest("file a.aof seq 2 type i startoffset 5\n") == [AofFile("a.aof", 2, INCREMENT)]


def test_a_manifest_names_no_file_elsewhere() -> None:
    """A backup is files that were brought from somewhere: restored, none may be written outside its folder."""
    with pytest.raises(AofFault, match="names a file elsewhere"):
        read_manifest("file ../../a.aof seq 1 type i\n")


@pytest.mark.parametrize("line", ["file a.aof seq x type i", "file a.aof", "nonsense"])
def test_a_manifest_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(AofFault, match="a manifest with the line"):
        read_manifest(line)


def test_a_base_says_when_it_was_begun(own_valkey: RealValkey) -> None:
    base = (
        own_valkey.folder
        / FOLDER
        / read_manifest((own_valkey.folder / FOLDER / MANIFEST).read_text())[0].name
    )
    assert abs(born_s(base) - base.stat().st_mtime) < 60  # of the same minute: it is no other number


def test_what_is_no_snapshot_says_nothing(tmp_path: Path) -> None:
    for octets in (b"", b"REDIS0011", b"REDIS0011\xfa\x05ctime", SET):
        (tmp_path / "base").write_bytes(octets)
        with pytest.raises(AofFault, match="no snapshot that says when"):
            born_s(tmp_path / "base")


def test_a_file_is_cut_before_the_first_line_of_the_instant(tmp_path: Path) -> None:
    path = tmp_path / "incr"
    first = b"#TS:100\r\n" + transaction(SET, TRICKY) + TRICKY
    path.write_bytes(first + b"#TS:200\r\n" + SET)
    assert [cut_before(path, at) for at in (100, 101, 150, 200, 201)] == [
        0,
        len(first),
        len(first),
        len(first),
        None,
    ]


def test_an_instant_inside_a_transaction_belongs_to_what_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "incr"
    path.write_bytes(
        b"#TS:100\r\n" + command(b"MULTI") + SET + b"#TS:150\r\n" + SET + command(b"EXEC") + b"#TS:160\r\n"
    )
    assert cut_before(path, 120) == path.stat().st_size - len(b"#TS:160\r\n")


@given(cut=st.integers(0, 400))
def test_wherever_a_file_is_torn_its_whole_units_are_found(cut: int) -> None:
    pieces = [
        b"#TS:100\r\n",
        SET,
        transaction(SET, TRICKY),
        b"#TS:150\r\n",
        transaction(TRICKY),
        SET,
        b"#other\r\n",
        SET,
    ]
    octets = b"".join(pieces)
    ends = [sum(map(len, pieces[: place + 1])) for place in range(len(pieces))]
    cut = min(cut, len(octets))
    found = [each.end for each in units(octets[:cut])]
    assert found == [end for end in ends if end <= cut]


def test_octets_that_are_no_command_are_told_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "incr").write_bytes(SET + b"rubbish")
    with pytest.raises(AofFault, match=f"incr: cannot be read: no command stands at {len(SET)}"):
        whole(tmp_path / "incr")


def test_the_servers_own_checker_agrees_with_a_cut(own_valkey: RealValkey) -> None:
    with own_valkey.client() as client:
        for number in range(3):
            client.xadd("{p0}:s", {"r": b"\r\n#TS:1\r\n"}, id=f"1-{number + 1}")
            with client.pipeline() as both:
                both.set("a", number)
                both.set("b", number)
                both.execute()
            time.sleep(1.1)
    folder = own_valkey.folder / FOLDER
    path = folder / read_manifest((folder / MANIFEST).read_text())[1].name
    noted = [each.at_s for each in units(path.read_bytes()) if each.at_s]
    assert len(noted) == len(set(noted)) >= 3
    cut = cut_before(path, noted[1])
    assert cut is not None
    assert [words[2:] for words in commands_from(path, cut) if words[0] == b"XADD"] == [
        [b"1-2", b"r", b"\r\n#TS:1\r\n"],
        [b"1-3", b"r", b"\r\n#TS:1\r\n"],
    ]
    copy = own_valkey.folder / "cut.aof"
    copy.write_bytes(path.read_bytes()[:cut])
    done = subprocess.run(
        ["valkey-check-aof", str(copy)], executable=find_binary(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, "is valid" in done.stdout) == (0, True), done.stdout
