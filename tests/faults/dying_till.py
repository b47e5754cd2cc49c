"""A process that asks for one transfer, and is killed: python -m tests.faults.dying_till STORE GIVER RECEIVER (places, as identities name them)."""

import asyncio
import sys

from ocs.balance.actions import ActionKind, Asked
from ocs.balance.profiles import read_place
from tests.faults.judgement import room


async def _transfer(url: str, giver: str, receiver: str) -> None:
    (partition, account), (to, receiver) = read_place(giver.encode()), read_place(receiver.encode())
    name = f"of {account}"
    async with room(url) as at:
        await at.accounts.actions.do(
            Asked(
                ActionKind.TRANSFER, "till", name, partition, account, 100, receiver_partition=to, receiver=receiver,
                fee_micros=5,
            )
        )  # fmt: skip


if __name__ == "__main__":
    asyncio.run(_transfer(*sys.argv[1:]))
