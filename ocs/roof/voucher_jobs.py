"""The keeper's job for vouchers: redemptions and changes of batches that died half-way are finished."""

import asyncio
from contextlib import suppress
from typing import Final

from ocs.balance.link import StoreFault
from ocs.balance.voucher_batches import BatchRefused
from ocs.roof.build import Keepers
from ocs.roof.jobs import Advance, Job
from ocs.roof.vouchers import batches_of, vouchers_of
from ocs.server.counters import Counters

PASS_S: Final = 5.0
TEND_PASSES: Final = 6
"""Batches are looked at every so many passes."""


def voucher_job(keepers: Keepers, counters: Counters) -> Job:
    """Give the keeper the job."""
    batches = batches_of(keepers)
    vouchers = vouchers_of(keepers, batches)
    advance = Advance(counters)

    async def finish() -> None:
        passes = 0
        while True:
            try:
                with suppress(StoreFault, BatchRefused):  # looked at again
                    await vouchers.finish_left()
                    if passes % TEND_PASSES == 0:
                        await batches.tend()
            finally:
                advance("ocs_vouchers_finished_total", vouchers.finished)
                advance("ocs_voucher_faults_total", vouchers.faults)
            passes += 1
            await asyncio.sleep(PASS_S)

    return finish
