"""What operators do with subscribers over HTTP, whichever API they ask by: find, create, change, terminate, and what a refusal says.

Laws
1. A refusal changes nothing, and says what is wrong and what would be right; it never repeats a number or an IMSI.
2. Whatever is asked again with the same content gets the same answer; what is so already stays so.
3. Every attempted change is in the audit log (audit_log.py): who, which account, amounts and states before and after; of a number or an
   IMSI only that it changed.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from fastapi import HTTPException

from ocs.balance.accounts import Account, Accounts, NewSubscriber
from ocs.balance.changes import Changed, Wish
from ocs.balance.described import facts_of
from ocs.balance.directory import Directory
from ocs.balance.holdings import Holdings
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.profiles import identities_of, owned
from ocs.balance.subscribers import TariffRefused, create_with_life, tariff_given, unused_until_ms
from ocs.clock import Clock
from ocs.http.asked import read_number
from ocs.http.audit_log import Change
from ocs.limits import BOOK_MICROS_MAX, TOPUP_MICROS_MAX
from ocs.money import AmountError, format_amount, parse_amount
from ocs.names import E164, IMSI, SubscriberId, e164, imsi
from ocs.outcomes import Code
from ocs.rating.tariff import Tariff
from ocs.rating.versions import Tariffs
from ocs.records import Status
from ocs.sessions.closing import Closed, Closing

_ID = re.compile(r"[a-z0-9]{10}(-[a-z0-9]{5})?")
"""Names of accounts and members (balance/accounts.py)."""
ENDED = "the subscriber is terminated; create a new one"


class New(NamedTuple):
    """A subscriber to be created, as asked for: amounts as text, ``payer`` names who pays for a member ("": nobody else)."""

    msisdn: str
    tariff: str
    imsi: str = ""
    kind: str = "prepaid"
    credit: str = ""
    credit_floor: str = ""
    payer: str = ""
    cap: str = ""
    state: str = "active"


class Asked(NamedTuple):
    """A change, as asked for; None: as it is."""

    status: Any = None
    tariff: str | None = None
    credit_floor: str | None = None
    cap: str | None = None
    msisdn: str | None = None
    imsi: str | None = None


def id_of(account: Account) -> str:
    """Return what names a subscriber for ever: its account, behind a dash its member."""
    return account.profile.path.replace("/", "-")


def read_imsi(text: str) -> str:
    """Read an IMSI, "" for none; 422 for anything else."""
    found = imsi(text) if text else None
    if text and found is None:
        raise HTTPException(422, "imsi: write up to 15 digits")
    return found.value if found is not None else ""


def read_amount(text: str, name: str, least: int, most: int) -> int:
    """Read decimal text as micro-units within bounds; 422 for anything else."""
    try:
        micros = parse_amount(text)
    except AmountError:
        raise HTTPException(
            422, f"{name}: write decimal text with up to six decimals, such as 10.00"
        ) from None
    if not least <= micros <= most:
        raise HTTPException(
            422, f"{name}: write an amount from {format_amount(least)} to {format_amount(most)}"
        )
    return micros


def read_floor(text: str) -> int:
    """Read a credit floor; 422 for one above zero."""
    try:
        return read_amount(text, "credit_floor", -BOOK_MICROS_MAX, 0)
    except HTTPException as fault:
        raise HTTPException(422, f"{fault.detail}; a credit limit of 50.00 is -50.00") from None


class Desk:
    """The operators' desk on one store."""

    def __init__(
        self,
        parts: Parts,
        accounts: Accounts,
        holdings: Holdings,
        clock: Clock,
        tariffs: Tariffs,
        look: Callable[[], Awaitable[None]],
        currency: str,
        closing: Closing,
    ) -> None:
        self._closing = closing
        self.parts, self.accounts, self.holdings, self.clock = parts, accounts, holdings, clock
        self.directory = Directory(parts, accounts)
        self._tariffs, self._look, self._currency = tariffs, look, currency

    # -- finding

    async def find(self, name: str) -> Account:
        """Return a subscriber by its number or by its id; 404 where there is none.

        A number that a subscriber gave up names it as long as it rests (balance/changes.py).
        """
        number = e164(name)
        found = await self.accounts.find(number) if number is not None else None
        if found is None and not name.startswith("+"):
            found = await self.by_id(name)
        if found is None:
            raise HTTPException(404, "no subscriber has this number or id")
        return found

    async def by_id(self, name: str) -> Account | None:
        """Return a subscriber by its id alone."""
        if _ID.fullmatch(name) is None:
            return None  # all partitions would be asked in vain
        return await self.directory.find(name.replace("-", "/"))

    async def of_imsi(self, text: str) -> Account | None:
        """Return whom an IMSI names."""
        return await self.accounts.find(SubscriberId(IMSI, read_imsi(text)))

    async def again(self, account: Account) -> Account:
        """Read a subscriber once more."""
        found = await self.accounts.read(account.profile.partition, account.profile.path)
        if found is None:
            raise HTTPException(404, "no subscriber has this number or id")
        return found

    async def now_ms(self, account: Account) -> int:
        """Return the time that holds for a subscriber."""
        return await self.holdings.now_ms(account.profile.partition)

    # -- creating

    async def tariff(self, name: str) -> Tariff:
        """Return the tariff that a subscriber is to have; 422 names the known ones."""
        for is_last in (False, True):
            now_ms = await self.holdings.now_ms(0)
            try:
                return tariff_given(self._tariffs, name, self._currency, now_ms)
            except TariffRefused as why:
                if why.is_known or is_last:
                    raise HTTPException(422, f"tariff: {why}") from None
                await self._look()  # it may have come into the store a moment ago
        raise AssertionError("the last try does not look again")

    async def create(self, new: New, change: Change) -> Account:
        """Create a subscriber, once by its number and content: 409 where number or IMSI is another's, or the content was another.

        One whose ``state`` is inactive is barred from the first moment that it is of use; repeated later, it bars nobody again.
        """
        number, card = read_number(new.msisdn).value, read_imsi(new.imsi)
        if new.payer and (new.credit or new.credit_floor):
            raise HTTPException(422, "credit, credit_floor: a member has no money of its own; leave them out")
        if new.cap and not new.payer:
            raise HTTPException(422, "cap: it is for a member of a shared account; name who pays: member_of")
        credit = read_amount(new.credit, "credit", 0, TOPUP_MICROS_MAX) if new.credit else 0
        floor = read_floor(new.credit_floor) if new.credit_floor else 0
        cap = read_amount(new.cap, "cap", 0, TOPUP_MICROS_MAX) if new.cap else 0
        tariff = await self.tariff(new.tariff)
        shared = await self._payer(new.payer) if new.payer else None
        until_ms = unused_until_ms(tariff.life)
        wanted = NewSubscriber(number, card, new.tariff, new.kind, self._currency, floor, until_ms)
        payer = shared.profile.account if shared is not None else ""
        content = _content(number, card, new.tariff, new.kind, floor, credit, payer, cap, new.state)
        asked = {"tariff": new.tariff, "kind": new.kind, "credit": format_amount(credit), "state": new.state}
        await change.begins("subscriber.create", account=payer, before=asked)
        code, account = await create_with_life(
            self.parts, self.accounts, self.clock, tariff.life, wanted, credit, shared, cap, content
        )
        if code == Code.UNKNOWN_SUBSCRIBER:
            raise HTTPException(409, "member_of: who pays is terminated; name another account")
        if code != Code.SUCCESS and (account.ended or await self.accounts.asked_for(account) != content):
            raise HTTPException(409, _taken(account, identities_of(number, card)))
        if new.state == "inactive" and account.book.version == 1:
            account = await self._changed(account, Wish(Status.BARRED))
        after = facts_of(account) | {"replayed": code != Code.SUCCESS}
        change.made(resource=id_of(account), account=account.profile.path, after=after)
        return account

    async def _payer(self, name: str) -> Account:
        try:
            found = await self.find(name)
        except HTTPException:
            raise HTTPException(422, "member_of: no subscriber has this number or id") from None
        if found.profile.member:
            raise HTTPException(422, "member_of: it is a member itself; name who pays")
        if found.ended:
            raise HTTPException(409, "member_of: who pays is terminated; name another account")
        return found

    # -- changing

    async def change(self, account: Account, asked: Asked, change: Change) -> Account:
        """Change a subscriber, all that is asked for or nothing. 409 says what stands in its way."""
        if account.ended:
            raise HTTPException(409, ENDED)
        wish = await self._wish(account, asked)
        fields = [name for name, value in asked._asdict().items() if value is not None]
        await begins(change, "subscriber.change", account, fields=fields)
        after = await self._changed(account, wish)
        change.made(after=facts_of(after) | _identities_changed(account, after))
        return after

    async def _changed(self, account: Account, wish: Wish) -> Account:
        done = await self.holdings.changes.change(account, wish)
        if done.code != Code.SUCCESS:
            raise await self._refused(done)
        return done.account

    async def _wish(self, account: Account, asked: Asked) -> Wish:
        """Read what a change is to lead to; 422 for what cannot be."""
        member = account.profile.member
        if asked.tariff is not None and asked.tariff != account.profile.tariff:
            await self.tariff(asked.tariff)
        if asked.credit_floor is not None and member:
            raise HTTPException(422, "credit_floor: a member has no money of its own; change who pays")
        if asked.cap is not None and not member:
            raise HTTPException(422, "cap: it is for a member of a shared account")
        return Wish(
            asked.status,
            asked.tariff,
            read_floor(asked.credit_floor) if asked.credit_floor is not None else None,
            read_amount(asked.cap, "cap", 0, TOPUP_MICROS_MAX) if asked.cap is not None else None,
            read_number(asked.msisdn).value if asked.msisdn is not None else None,
            read_imsi(asked.imsi) if asked.imsi is not None else None,
        )

    async def _refused(self, done: Changed) -> HTTPException:
        """Return what a change that was refused is told."""
        if done.code == Code.EXISTS and done.taken is not None:
            holder = await self.accounts.find(done.taken)
            if holder is not None:
                return HTTPException(409, _taken(holder, [done.taken]))
            return HTTPException(409, f"{_field(done.taken)}: another subscriber has it; choose another")
        if done.code == Code.CREDIT_LIMIT:
            book = done.account.book
            least = format_amount(book.balance_micros - book.pending_micros)
            return HTTPException(
                409,
                f"credit_floor: available would fall below zero; choose {least} or lower, or let the debt be paid first",
            )
        if done.code == Code.UNKNOWN_SUBSCRIBER:
            return HTTPException(409, ENDED)
        return HTTPException(422, f"the change was refused: {done.code.name}")

    async def end(self, account: Account, change: Change) -> Account:
        """Terminate a subscriber; one that is terminated stays so."""
        await begins(change, "subscriber.terminate", account)
        if not account.ended:
            code = await self.holdings.lives.terminate(account)
            if code not in {Code.SUCCESS, Code.UNKNOWN_SUBSCRIBER}:
                raise StoreFault(f"the change was refused: {code.name}")
        after = await self.again(account)
        change.made(after=facts_of(after))
        return after

    async def refund(
        self, account: Account, change: Change, channel: str, name: str
    ) -> tuple[Account, Closed]:
        """Terminate a subscriber and refund what its account has left, once by (channel, name); 409 and 422 say why not."""
        if account.profile.member:
            raise HTTPException(
                422,
                "refund: a member has no money of its own; terminate it without, or who pays with a refund",
            )
        await begins(change, "subscriber.refund", account, f"{channel}:{name}")
        done = await self._closing.close(account, channel, name)
        if done.code == Code.BARRED:
            raise HTTPException(
                409, "refund: a reservation holds money of the account; post it or let it go first"
            )
        if done.code == Code.CONFLICT:
            raise HTTPException(409, "id: it was used for something else; nothing was changed")
        if done.code != Code.SUCCESS or done.action is None:
            raise HTTPException(
                409, "the subscriber was terminated before, and nothing is left to be refunded"
            )
        said = format_amount(done.action.settled)
        change.made(after={"refunded": said, "replayed": done.replayed, "sessions": done.sessions})
        return await self.again(account), done


async def begins(change: Change, action: str, account: Account, resource: str = "", **facts: object) -> None:
    """Say that a subscriber is about to be changed, and how it is before (law 3)."""
    await change.begins(
        action,
        resource=resource or id_of(account),
        account=account.profile.path,
        before=facts_of(account) | facts,
    )


def _identities_changed(before: Account, after: Account) -> dict[str, str]:
    names = {
        "number": before.profile.msisdn != after.profile.msisdn,
        "imsi": before.profile.imsi != after.profile.imsi,
    }
    return {name: "changed" for name, is_other in names.items() if is_other}


def _field(identity: SubscriberId) -> str:
    return "msisdn" if identity.kind == E164 else "imsi"


def _taken(holder: Account, wanted: list[SubscriberId]) -> str:
    """Say why identities cannot be had, naming the account that has one."""
    mine = next((each for each in wanted if owned(holder.profile, each)), None)
    if mine is None or holder.ended:
        field = _field(mine if mine is not None else wanted[0])
        return f"{field}: it rests after account {id_of(holder)} gave it up; choose another, or wait"
    return f"{_field(mine)}: account {id_of(holder)} has it; choose another, or change that account"


def _content(*words: Any) -> str:
    """Return the digest by which a repeated create is known."""
    return hashlib.blake2b(json.dumps(words).encode(), digest_size=16).hexdigest()
