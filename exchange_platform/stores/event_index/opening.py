"""Opening the event index that is configured. Not here: what an engine promises (event_index/index.py), the
engines.
"""

from __future__ import annotations

from exchange_platform.process.clock import SYSTEM_CLOCK, Clock
from exchange_platform.settings import Settings
from exchange_platform.stores.event_index.index import EMBEDDED_INDEX, EventIndex


def open_event_index(
    settings: Settings, *, writable: bool = False, clock: Clock = SYSTEM_CLOCK
) -> EventIndex:
    """The configured index: Elasticsearch where there is a URL, else the embedded one in the data directory.
    Nothing is opened before it is used.

    Only a `writable` one can `put`. Of the embedded one there is a single writer at a time: from its first
    put until it is closed or its process ends; another gets `StoreUnavailable` meanwhile. `rebuild` needs
    neither.
    """
    if settings.elasticsearch_url is not None:
        from exchange_platform.stores.event_index.elasticsearch import ElasticsearchEventIndex

        key = settings.elasticsearch_api_key
        return ElasticsearchEventIndex(
            settings.elasticsearch_url,
            alias=settings.event_index,
            api_key=key.get_secret_value() if key is not None else None,
            clock=clock,
        )
    from exchange_platform.stores.event_index.tantivy import TantivyEventIndex

    return TantivyEventIndex(settings.data_dir / EMBEDDED_INDEX, writable=writable, clock=clock)


def embedded_index_damage(settings: Settings) -> str | None:
    """What is wrong with the embedded index's files; None if nothing is, or there is no index. Reads all of
    it.
    """
    from exchange_platform.stores.event_index.directory import IndexDirectory

    return IndexDirectory(settings.data_dir / EMBEDDED_INDEX).damage_now()
