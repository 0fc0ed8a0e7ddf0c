"""What Betfair's numbers and codes are called. Not here: what a stream says of them.

Sources: Betfair developer documentation, "Event type IDs" and "Market types"; selections that have one id in
every market.
"""

from __future__ import annotations

SPORTS = {
    "1": "Soccer",
    "2": "Tennis",
    "3": "Golf",
    "4": "Cricket",
    "5": "Rugby Union",
    "6": "Boxing",
    "7": "Horse Racing",
    "8": "Motor Sport",
    "10": "Special Bets",
    "11": "Cycling",
    "1477": "Rugby League",
    "3503": "Darts",
    "4339": "Greyhound Racing",
    "6422": "Snooker",
    "6423": "American Football",
    "7511": "Baseball",
    "7522": "Basketball",
    "7524": "Ice Hockey",
    "61420": "Australian Rules",
    "468328": "Handball",
    "998917": "Volleyball",
    "2152880": "Gaelic Games",
    "2378961": "Politics",
    "26420387": "Mixed Martial Arts",
    "27454571": "Esports",
}
RACING = frozenset({"Horse Racing", "Greyhound Racing"})
THE_DRAW = "The Draw"
SELECTIONS = {58805: THE_DRAW, 60443: THE_DRAW}
CRICKET = SPORTS["4"]


def sport_of(event_type_id: str | None) -> str:
    """The sport's name; `Sport 12345` for one that is not known here."""
    if not event_type_id:
        return "Unknown"
    return SPORTS.get(event_type_id) or f"Sport {event_type_id}"[:60]


def market_name(market_type: str | None) -> str:
    """A market's name by its type: `MATCH_ODDS` is `Match Odds`."""
    return (market_type or "").replace("_", " ").title()
