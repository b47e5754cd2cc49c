"""From settings and files to dunning: policies, laws and rates are read, faults told all at once; the jobs of `serve`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from sqlalchemy.exc import DBAPIError

from ocs.rating.document import DocumentFault
from ocs.roof.ends import Ended, Exit
from ocs.settings import config_folder
from postpaid_bridge.dunning import rules_de
from postpaid_bridge.dunning.policy import LawBook, Rates, read_law, read_policies, read_rates
from postpaid_bridge.jobs.dunning import Dunning, Terms
from postpaid_bridge.roof.ground import Ground

__all__ = ["RULES", "daily_run", "dunning_of", "read_terms", "relief"]

RULES = {"de": rules_de.refused}
"""Rule packs by law."""


def read_terms(folder: Path) -> Terms:
    """Read a folder of dunning: policies/*.yaml, law-*.yaml, rates.yaml. Ended (usage) names every fault of every file."""
    problems: list[str] = []
    laws: dict[str, LawBook] = {}
    rates = Rates({})
    try:
        for file in sorted(folder.glob("law-*.yaml")):
            book = read_law(file.read_text(encoding="utf-8"), str(file))
            laws[book.key] = book
        rates = read_rates((folder / "rates.yaml").read_text(encoding="utf-8"), str(folder / "rates.yaml"))
        pages = {str(each): each.read_text(encoding="utf-8") for each in (folder / "policies").glob("*.yaml")}
        return Terms(read_policies(pages, laws, RULES), laws, rates)
    except DocumentFault as fault:
        problems += fault.problems
    except (OSError, UnicodeDecodeError) as fault:
        problems.append(f"{folder}: cannot be read: {fault}")
    raise Ended(Exit.USAGE, "dunning cannot be used:\n" + "\n".join(problems))


def dunning_of(ground: Ground) -> Dunning:
    """Build dunning on the database."""
    terms = read_terms(ground.settings.dunning.dir or config_folder() / "dunning")
    return Dunning(ground.engine, terms, ground.clock)


def daily_run(ground: Ground) -> Callable[[], Awaitable[None]]:
    """Make a run of the day of now."""
    dunning = dunning_of(ground)

    async def work() -> None:
        totals = await asyncio.to_thread(dunning.run, ground.today)
        structlog.get_logger().bind(process="bridge").info(
            "accounts dunned", looked=totals.looked, failed=len(totals.failed), **totals.steps
        )

    return work


def relief(ground: Ground) -> Callable[[], Awaitable[None]]:
    """Make the job that lifts bars as soon as their reason is gone (TKG section 61(7)); a database that is away is waited for."""
    dunning = dunning_of(ground)

    async def job() -> None:
        while True:
            try:
                await asyncio.to_thread(dunning.relieve, ground.today)
            except DBAPIError as fault:
                structlog.get_logger().bind(process="bridge").warning(
                    "relief waits", fault=str(fault.orig)[:200]
                )
            await asyncio.sleep(ground.settings.dunning.relief_s)

    return job
