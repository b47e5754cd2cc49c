"""`ocs tariff activate`: put a version of a tariff into the store, for every worker to know before its instant comes.

Laws
1. It is read and checked as a server reads it, and compared with all that is known, before anything is written.
2. A version never changes: the same content again is no news, other content a conflict.
3. Its instant lies so far ahead, by the store's own time, that every worker knows it by then; nothing stops meanwhile.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ocs.balance.tariffs import Listed, Shelf
from ocs.limits import TARIFF_AHEAD_MS_MIN
from ocs.rating.tariff import Tariff
from ocs.rating.tariff_text import instant_ms
from ocs.rating.windows import AT_MS_MAX
from ocs.rating.written import Written
from ocs.roof import say
from ocs.roof.audited import Deed, run_change
from ocs.roof.build import Keepers, read_settings, read_tariffs
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.roof.tariff import one_tariff
from ocs.roof.tariff_files import written_tariffs
from ocs.settings import Settings

_AHEAD_S = TARIFF_AHEAD_MS_MIN // 1000


class _New(NamedTuple):
    """The version that is to be put into the store; the instant may be said in seconds from now instead."""

    tariff: Tariff
    written: Written
    at_ms: int | None
    in_s: int | None


class _Done(NamedTuple):
    """What the store says of the version, its revision, and whether it stood there before."""

    listed: Listed
    revision: int
    stood: bool


def activate(place: Place, path: Path, at: str | None, in_s: int | None, *, as_json: bool) -> None:
    """Put a version of a tariff into the store, to count from an instant on."""
    settings = read_settings(place)
    new = _read(settings, path, at, in_s)

    async def work(keepers: Keepers, deed: Deed) -> _Done:
        deed.begins(resource=new.tariff.key)
        done = await _put(settings, keepers, new)
        deed.made(after={"effective": say.instant(done.listed.effective_ms), "replayed": done.stood})
        return done

    done = run_change(place, "tariff.activate", work)
    told: dict[str, Any] = {
        "tariff": new.tariff.key,
        "effective": say.instant(done.listed.effective_ms),
        "revision": done.revision,
        "already": done.stood,
    }
    if as_json:
        say.as_json(told)
        return
    how = "stands in the store already" if done.stood else "is in the store"
    along = ", and running ones go on with it" if new.tariff.takes_along else ""
    say.line(f"{told['tariff']} {how}; new sessions get it from {told['effective']}{along}")
    say.remark(f"every worker knows it when all of them say ocs_tariff_revision {done.revision}")


def _read(settings: Settings, path: Path, at: str | None, in_s: int | None) -> _New:
    """Read the file and when it is to count; Ended (usage) says what is wrong with either."""
    tariff = one_tariff(settings, path)
    given = [bool(tariff.effective_ms), at is not None, in_s is not None]
    if sum(given) != 1:
        raise Ended(
            Exit.USAGE,
            "say once when it counts from: effective in the file, --at or --in"
            + ("" if any(given) else "; none of them is given"),
        )
    at_ms = tariff.effective_ms or None
    if at is not None:
        try:
            at_ms = instant_ms(at)
        except ValueError as fault:
            raise Ended(Exit.USAGE, f"--at: {fault}") from fault
    return _New(tariff, written_tariffs(path, settings.zones_folder)[tariff.key], at_ms, in_s)


async def _put(settings: Settings, keepers: Keepers, new: _New) -> _Done:
    key, shelf = new.tariff.key, Shelf(keepers.store)
    listed = await shelf.listed()
    standing = listed.get(key)
    if standing is not None:
        return _Done(_same(new, standing), len(listed), stood=True)
    if await shelf.changed({key: new.written.said}):
        raise Ended(
            Exit.CONFLICT,
            f"{key} was served from a tariffs' folder with other content; a tariff never changes: raise its version",
        )
    _refuse_beside_others(settings, new, listed)
    await shelf.put(key, new.written)
    effective_ms = await _instant(keepers, shelf, new)
    ours = Listed(effective_ms, new.written.digest)
    named = await shelf.name(key, ours)
    return _Done(_same(new, named), await shelf.revision(), stood=named != ours)


def _same(new: _New, standing: Listed) -> Listed:
    """Return what stands in the store under the version's key; Ended (conflict) when it is not this one."""
    key = new.tariff.key
    if standing.digest != new.written.digest:
        raise Ended(
            Exit.CONFLICT,
            f"{key} stands in the store with other content; a tariff never changes: raise its version",
        )
    if new.at_ms is not None and new.at_ms != standing.effective_ms:
        raise Ended(
            Exit.CONFLICT,
            f"{key} stands in the store and counts from {say.instant(standing.effective_ms)}; raise its version to have another",
        )
    return standing


def _refuse_beside_others(settings: Settings, new: _New, listed: dict[str, Listed]) -> None:
    """Refuse a version that the folder has otherwise, or that is lower than one that is known."""
    tariff = new.tariff
    read_tariffs(settings.tariffs_folder, settings.zones_folder)  # a folder with faults is told as such
    folder = written_tariffs(settings.tariffs_folder, settings.zones_folder)
    if tariff.key in folder and folder[tariff.key].digest != new.written.digest:
        raise Ended(
            Exit.CONFLICT,
            f"{tariff.key} stands in {settings.tariffs_folder} with other content; a tariff never changes: raise its version",
        )
    if tariff.key in folder and not tariff.effective_ms:
        raise Ended(
            Exit.CONFLICT,
            f"{tariff.key} stands in {settings.tariffs_folder} without an instant, so a server that starts has it from always: "
            "write effective into it, or move it elsewhere",
        )
    versions = [
        int(version)
        for name, _, version in (key.partition("@") for key in (*folder, *listed))
        if name == tariff.name
    ]
    newest = max(versions, default=0)
    if tariff.version < newest:
        raise Ended(
            Exit.CONFLICT,
            f"{tariff.key} is lower than {tariff.name}@{newest}, which is known; give it version {newest + 1}",
        )


async def _instant(keepers: Keepers, shelf: Shelf, new: _New) -> int:
    """Return when the version counts from; Ended (usage) when that is too soon by the store's time."""
    offset_ms = (await keepers.parts.epoch(0)).offset_ms
    now_ms = await shelf.now_ms() + offset_ms
    in_ms = -(-now_ms // 1000) * 1000 + 1000 * (new.in_s or 0)  # a whole second, as it is shown
    effective_ms = new.at_ms if new.at_ms is not None else in_ms
    if effective_ms > AT_MS_MAX:
        raise Ended(Exit.USAGE, "--in is in seconds: that instant lies beyond the year 2099")
    if effective_ms - now_ms < TARIFF_AHEAD_MS_MIN or (new.in_s or _AHEAD_S) < _AHEAD_S:
        raise Ended(
            Exit.USAGE,
            f"{say.instant(effective_ms)} is less than {_AHEAD_S} s ahead; every worker has to know {new.tariff.key} before it "
            f"counts: choose {say.instant(now_ms + TARIFF_AHEAD_MS_MIN + 999)} or later",
        )
    return effective_ms
