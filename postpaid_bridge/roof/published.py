"""From settings to what makes documents and mails them; nobody else builds them."""

import asyncio
import ssl

from ocs.notices import senders
from ocs.roof.event_sections import secret_of
from postpaid_bridge.documents.facts import Seller, ThirdParty
from postpaid_bridge.jobs.filing import Filing
from postpaid_bridge.jobs.publish import Postman, Printer
from postpaid_bridge.roof.ground import Ground
from postpaid_bridge.sql.document_facts import Shop

__all__ = ["Publishing", "postman_of", "printer_of", "shop_of"]


def shop_of(ground: Ground) -> Shop:
    """Return who sells and what is never shown."""
    told = ground.settings.documents
    third = {each.revenue: ThirdParty(each.name, each.address, each.contact) for each in told.third_parties}
    return Shop(Seller(**ground.settings.seller.model_dump()), third, told.help_lines, ground.settings.zone)


def printer_of(ground: Ground) -> Printer:
    """Build what makes documents, in the folder of the settings: `documents` in the data folder if none is set."""
    told = ground.settings.documents
    folder = told.folder or ground.charging.server.data_dir / "documents"
    return Printer(ground.engine, shop_of(ground), Filing(folder), ground.clock, told.threads)


def postman_of(ground: Ground, printer: Printer) -> Postman | None:
    """Build what mails documents; None where there is no mail server. Raises OSError and ssl.SSLError for ``mail.ca``."""
    told = ground.settings.mail
    if not told.host:
        return None
    trusted = ssl.create_default_context(cafile=str(told.ca)) if told.ca else None
    password = secret_of(told.password, told.password_file)
    mail = senders.Mail(
        told.host, told.port, told.tls, told.sender, told.user, password, told.timeout_s, trusted
    )
    return Postman(ground.engine, printer, mail, ground.clock, pauses_s=told.retry_s, at_once=told.at_once)


class Publishing:
    """The job of `serve`: makes what is published and mails what is due, again and again until it is stopped."""

    __slots__ = ("_every_s", "_postman", "_printer", "_stopped")

    def __init__(self, printer: Printer, postman: Postman | None, every_s: float) -> None:
        self._printer, self._postman, self._every_s = printer, postman, every_s
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End behind what is being done."""
        self._stopped.set()

    async def run(self) -> None:
        """Work until stopped."""
        while not self._stopped.is_set():
            await asyncio.to_thread(self._printer.once)
            if self._postman is not None:
                await self._postman.once()
            try:
                await asyncio.wait_for(self._stopped.wait(), self._every_s)
            except TimeoutError:
                continue
