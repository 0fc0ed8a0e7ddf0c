"""Keeps the consumer runs of `exchange-bets` alive: one a share of its shards."""

from assets.exchange_bets import consume_bets, exchange_bets_consumer
from exchange_platform.streams.sources.names import EXCHANGE_BETS
from sensors.supervising import supervising_sensor

exchange_bets_sensor = supervising_sensor(
    "exchange_bets_sensor",
    EXCHANGE_BETS,
    consume_bets,
    "a consumer run of `exchange-bets`, or of each share of its shards,",
    configured=lambda share: {
        "ops": {exchange_bets_consumer.op.name: {"config": {"share": share.index + 1}}}
    },
)
