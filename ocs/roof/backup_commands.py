"""`ocs backup …` as people type it."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from pathlib import Path
from typing import Annotated

import typer

from ocs.roof.options import JsonOption, at_place, group
from ocs.roof.place import Place

backup_app = group("Backups of the embedded store.")

BackupArgument = Annotated[
    str,
    typer.Argument(metavar="BACKUP", help="Its path, its name in the folder of backups, or newest."),
]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", metavar="F", help="Folder of backups; default backup.dir.")
]


@backup_app.command("create")
@at_place
def backup_create(
    folder: FolderOption = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Remove all but the newest N afterwards.")
    ] = None,
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Back up store, archive, spool and configuration; a server that charges goes on."""
    from ocs.roof.backup import create

    create(place, folder, keep, as_json=json)


@backup_app.command("list")
@at_place
def backup_list(folder: FolderOption = None, *, json: JsonOption = False, place: Place) -> None:
    """List backups, and which instants each can be restored to."""
    from ocs.roof.backup import listing

    listing(place, folder, as_json=json)


@backup_app.command("verify")
@at_place
def backup_verify(
    backup: BackupArgument,
    folder: FolderOption = None,
    *,
    load: Annotated[
        bool,
        typer.Option("--load", help="Also restore it into a folder that is removed again, and audit it."),
    ] = False,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Prove that every file of a backup is what was written."""
    from ocs.roof.restore import verify

    verify(place, backup, folder, load=load, as_json=json)


@backup_app.command("restore")
@at_place
def backup_restore(
    backup: BackupArgument,
    folder: FolderOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="ISO8601",
            help="As it was when the clock struck this second; default the backup's end. Without zone: this machine's.",
        ),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(metavar="F", help="The archive that has outlived the store, instead of the backup's."),
    ] = None,
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Make an empty data folder (--data-dir) what the backup holds, and tell what was undone."""
    from ocs.roof.restore import restore

    restore(place, (backup, folder), to, archive, as_json=json)
