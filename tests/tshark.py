"""Wireshark's reading of Diameter messages: a capture file in, what `tshark` makes of each message out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

Pairs = list[tuple[str, Any]]
"""A JSON object whose keys may repeat, as tshark's do: values are text or again pairs."""


class Avp(NamedTuple):
    """One AVP; `name` is Wireshark's, empty when it knows none. `inside` are the AVPs of a group."""

    code: int
    name: str
    value: str
    inside: tuple[Avp, ...]


class Dissected(NamedTuple):
    """One message; `complaints` are Wireshark's expert infos, `answers` is the packet that it answers."""

    packet: int
    from_server: bool
    command: int
    is_request: bool
    is_error: bool
    answers: int | None
    avps: tuple[Avp, ...]
    complaints: tuple[str, ...]

    def all_of(self, name: str) -> list[Avp]:
        """The top-level AVPs of a name."""
        return [avp for avp in self.avps if avp.name == name]

    def value(self, name: str) -> str:
        """The value of the only top-level AVP of a name."""
        (avp,) = self.all_of(name)
        return avp.value

    def every(self) -> list[Avp]:
        """AVPs at every depth, but not what Failed-AVP quotes."""
        return list(_every(self.avps))


def _every(avps: tuple[Avp, ...]) -> list[Avp]:
    found = []
    for avp in avps:
        found.append(avp)
        if avp.name != "Failed-AVP":
            found += _every(avp.inside)
    return found


def dissect(capture: Path, server_port: int) -> list[Dissected]:
    """Read the packets of a capture, one message each, in which tshark finds Diameter."""
    done = subprocess.run(
        ["tshark", "-n", "-r", str(capture), "-T", "json"],
        env=os.environ | {"HOME": str(capture.parent), "XDG_CONFIG_HOME": str(capture.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    packets = json.loads(done.stdout, object_pairs_hook=list)
    layers = [dict(dict(packet)["_source"])["layers"] for packet in packets]
    return [_packet(each, server_port) for each in layers if "diameter" in dict(each)]


def _packet(layers: Pairs, server_port: int) -> Dissected:
    by_name = dict(layers)
    messages = [layer for name, layer in layers if name == "diameter"]
    number = int(dict(by_name["frame"])["frame.number"])
    assert len(messages) == 1, f"packet {number}: {[name for name, _ in layers]}"
    (message,) = messages
    head = dict(message)
    flags = dict(head["diameter.flags_tree"])
    return Dissected(
        packet=number,
        from_server=int(dict(by_name["tcp"])["tcp.srcport"]) == server_port,
        command=int(head["diameter.cmd.code"]),
        is_request=flags["diameter.flags.request"] == "1",
        is_error=flags["diameter.flags.error"] == "1",
        answers=int(head["diameter.answer_to"]) if "diameter.answer_to" in head else None,
        avps=_avps(message),
        complaints=tuple(_complaints(layers)),
    )


def _avps(pairs: Pairs) -> tuple[Avp, ...]:
    """The AVPs right below, through whatever trees Wireshark puts between."""
    found: list[Avp] = []
    for name, value in pairs:
        if name == "diameter.avp_tree":
            found.append(_avp(value))
        elif isinstance(value, list):
            found += _avps(value)
    return tuple(found)


def _avp(tree: Pairs) -> Avp:
    names = [
        (name.removeprefix("diameter."), value)
        for name, value in tree
        if name.startswith("diameter.") and not name.startswith("diameter.avp") and isinstance(value, str)
    ]
    name, value = names[0] if names else ("", "")
    return Avp(int(dict(tree)["diameter.avp.code"]), name, value, _avps(tree))


def _complaints(pairs: Pairs) -> list[str]:
    """Expert infos and malformed parts, but not of what Failed-AVP quotes: there it is the request that was wrong."""
    found = []
    for name, value in pairs:
        if name.startswith("_ws."):
            found.append(f"{name}: {value}")
        elif isinstance(value, list) and name != "diameter.Failed-AVP_tree":
            found += _complaints(value)
    return found
