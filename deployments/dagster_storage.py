"""Dagster's storage on PostgreSQL with connections that are kept.

Dagster's own opens a connection for every question (it keeps some for its webserver alone): a process of the
server's each time, and with TLS a handshake. A daemon and its runs ask some dozens of questions a second, so
that connecting was most of what Dagster's database and its clients did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
from sqlalchemy import Engine

KEPT = 2
"""Connections that a process keeps; more are opened while more threads ask at once, and closed after. Few, as
every run is a process.
"""

LIFE_S = 600
"""After so long a connection is replaced, so that no process holds one to a server that is no longer the
database's.
"""


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's storage; its runs, events and schedules ask over one pool of connections, which is the
    process's: a code server makes an instance a tick.
    """

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """As dagster.yaml configures it: with the fields of Dagster's own."""
        url, tokens = pg_url_from_config(config_value), get_token_provider_from_config(config_value)
        create_tables = config_value.get("should_autocreate_tables", True) and url not in _pools
        storage = cls(url, create_tables, inst_data, tokens)
        if url not in _pools:
            _pools[url] = _pooled(url, tokens)
        storage._share(_pools[url])
        return storage

    def _share(self, engine: Engine) -> None:
        """Give the parts the engine in the place of those that keep no connection; the webserver gives them
        others again.
        """
        for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
            part._engine = engine


_pools: dict[str, Engine] = {}
"""Of this process, by the database's URL; the tables of those in here are known to be there."""


def _pooled(url: str, tokens: Any) -> Engine:
    """The last connection is used first: so a process that asks one question at a time needs one. A
    connection that the server closed is found before it is used.
    """
    return create_pg_engine(
        url,
        tokens,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT,
        max_overflow=-1,
        pool_recycle=LIFE_S,
        pool_pre_ping=True,
        pool_use_lifo=True,
    )
