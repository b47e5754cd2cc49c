"""Writes the next revision from what ``ocs.sql.metadata`` has and the newest revision has not: for who changes tables.

``python -m postpaid_bridge database revision NUMBER "what it is for" [--table NAME …]`` calls it. What comes out is read by a person, put
right (what is renamed looks removed and added; rows of old tables are to be carried over) and committed; from its release on it is fixed.
One function for each table, so that the house's law of sizes holds.
"""

import re
from collections.abc import Collection
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations.ops import MigrateOperation, UpgradeOps
from sqlalchemy import Engine

from ocs.sql import metadata, reading
from ocs.sql.migrations import VERSIONS

__all__ = ["write_revision"]


def write_revision(
    engine: Engine, number: str, about: str, before: str, only: Collection[str] = (), into: Path = VERSIONS
) -> Path | None:
    """Write a revision behind ``before`` for what a database at it lacks (``only``: of these tables); None where it lacks nothing."""
    with reading(engine) as look:
        context = MigrationContext.configure(look, opts={"compare_type": True, "render_as_batch": True})
        found = produce_migrations(context, metadata).upgrade_ops
        assert found is not None
        groups: dict[str, list[MigrateOperation]] = {}
        for each in found.ops:
            table = str(getattr(each, "table_name", "rest"))
            if not only or table in only:
                groups.setdefault(table, []).append(each)
        if not groups:
            return None
        bodies = {
            name: render_python_code(UpgradeOps(ops=ops), render_as_batch=True, migration_context=context)
            for name, ops in groups.items()
        }
    file = into / f"r{number}_{re.sub(r'[^a-z0-9]+', '_', about.lower()).strip('_')}.py"
    file.write_text(_text(number, about, before, bodies), encoding="utf-8")
    return file


def _text(number: str, about: str, before: str, bodies: dict[str, str]) -> str:
    functions = "\n\n\n".join(f"def _{name}() -> None:\n{_plain(body)}" for name, body in bodies.items())
    calls = "\n".join(f"    _{name}()" for name in bodies)
    return (
        f'"""{about[:1].upper()}{about[1:]}."""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
        f'revision = "{number}"\ndown_revision = {_quoted(before)}\n\n\n'
        f'def upgrade() -> None:\n    """Make the tables of this revision."""\n{calls}\n\n\n{functions}\n'
    )


def _plain(body: str) -> str:
    lines = [line for line in body.splitlines() if line.strip() and not line.strip().startswith("#")]
    return "\n".join(f"    {line}" if not line.startswith("    ") else line for line in lines)


def _quoted(before: str) -> str:
    return f'"{before}"' if before else "None"
