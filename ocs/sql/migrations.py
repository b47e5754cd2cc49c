"""Migrations: what brings a database, empty or of an earlier release, to the tables of this one (Alembic; revisions/versions).

Laws
1. A revision that was released never changes. What it does is written out in it, so that later code cannot change its meaning.
2. An upgrade is one unit of work, and one at a time: it is done, or the database is as it was.
3. Who works on a database first asks whether it is at head (``refusal``); nobody migrates in passing.
4. Revisions and ``ocs.sql.metadata`` do not differ: a test compares them on both databases.
"""

import logging
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from ocs.sql import metadata, reading, writing

__all__ = ["VERSIONS", "differences", "head", "numbers", "refusal", "revision_of", "upgrade"]

_HERE = Path(__file__).resolve().parent / "revisions"
VERSIONS = _HERE / "versions"
_LOCK = 6_297_330_014  # of PostgreSQL's advisory locks: any number that nobody else has


def _config(versions: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _scripts(versions: Path) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(versions))


def numbers(versions: Path = VERSIONS) -> list[str]:
    """Return the revisions that this release knows, newest first."""
    return [each.revision for each in _scripts(versions).walk_revisions()]


def head(versions: Path = VERSIONS) -> str:
    """Return the revision of this release."""
    found = _scripts(versions).get_current_head()
    assert found is not None
    return found


def revision_of(engine: Engine) -> str:
    """Return the revision that a database is at; "" where it has none."""
    with reading(engine) as look:
        return _context(look).get_current_revision() or ""


def _context(look: Connection) -> MigrationContext:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # each look would be a line
    return MigrationContext.configure(look, opts={"compare_type": True, "compare_server_default": True})


def refusal(engine: Engine, versions: Path = VERSIONS) -> str:
    """Return why a database cannot be worked on by this release; "" where it can."""
    found, wanted = revision_of(engine), head(versions)
    if found == wanted:
        return ""
    known = numbers(versions)
    if found and found not in known:
        return f"the database is at revision {found}, which this release does not know: it is of a later one"
    at = f"at revision {found}" if found else "without our tables"
    return f"the database is {at} and this release needs {wanted}"


def upgrade(engine: Engine, versions: Path = VERSIONS) -> tuple[str, str]:
    """Bring a database to head; the revisions before ("": none) and after. Raises ValueError for one that is not ours to bring there."""
    config = _config(versions)
    with writing(engine) as work:
        if work.dialect.name == "postgresql":
            work.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = _context(work).get_current_revision() or ""
        known = numbers(versions)
        if before and before not in known:
            raise ValueError(
                f"the database is at revision {before}, which this release does not know: it is of a later one"
            )
        if not before and (strange := _ours_already(work)):
            raise ValueError(
                f"the database has tables without a revision ({', '.join(strange)}): it was not made by us"
            )
        config.attributes["connection"] = work
        command.upgrade(config, "head")
    return before, head(versions)


def _ours_already(work: Connection) -> list[str]:
    """Return tables of our names in a database that no revision has made."""
    return sorted(set(inspect(work).get_table_names()) & set(metadata.tables))


def differences(engine: Engine) -> list[Any]:
    """Return what ``metadata``, as far as its rooms are imported, has and a database has not, and the other way round (Alembic's words)."""
    with reading(engine) as look:
        context = MigrationContext.configure(
            look, opts={"compare_type": True, "compare_server_default": True}
        )
        found: list[Any] = list(compare_metadata(context, metadata))
        return found
