"""The sources' names in checkpoints, consumers and dead letters."""

EXCHANGE_BETS = "exchange-bets"
EXCHANGE_FEED = "exchange-feed"
