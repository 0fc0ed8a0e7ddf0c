"""Keeps a consumer run of `exchange-bets` alive."""

from assets.exchange_bets import consume_bets
from exchange_platform.streams.exchange_bets import EXCHANGE_BETS
from sensors.supervising import supervising_sensor

exchange_bets_sensor = supervising_sensor(
    "exchange_bets_sensor", EXCHANGE_BETS, consume_bets, "one consumer run of `exchange-bets`"
)
