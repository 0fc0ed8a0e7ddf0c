"""Alembic's entry: runs the migrations on the connection it is handed (stores/schema.py)."""

from alembic import context

from exchange_platform.stores.operational.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
