"""Keeps a consumer run of the exchange's feed alive."""

from assets.exchange_feed import consume_exchange_feed
from exchange_platform.streams.sources.names import EXCHANGE_FEED
from sensors.supervising import supervising_sensor

exchange_feed_sensor = supervising_sensor(
    "exchange_feed_sensor",
    EXCHANGE_FEED,
    consume_exchange_feed,
    "one consumer run of the exchange's event feed",
)
