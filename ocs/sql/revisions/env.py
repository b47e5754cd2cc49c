"""Alembic's environment: revisions run in the unit of work that ``ocs.sql.migrations`` has opened, and in no other."""

from alembic import context

from ocs.sql import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # our engine begins by itself, on SQLite too
    render_as_batch=True,  # SQLite can change no column: the table is made anew
)
context.run_migrations()
