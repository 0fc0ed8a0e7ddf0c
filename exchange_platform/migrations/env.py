"""Alembic's entry: runs the migrations on the connection it is handed (stores/schema.py)."""

from alembic import context

from exchange_platform.stores import (  # noqa: F401  (their tables join the metadata)
    account_tables,
    event_tables,
    lost_spans,
    mail_tables,
    security_tables,
    wallet_tables,
)
from exchange_platform.stores.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
