"""An exchange's reasons in plain words. Pure. Not here: where they stand in a mail (wording.py)."""

from __future__ import annotations

from exchange_platform.mail.message import one_line

_MAX_SHOWN = 200

# The first that the reason contains; the more special ones come first.
_IN_WORDS = (
    ("suspended during the bet delay", "The market was suspended while your bet waited to be placed."),
    ("closed during the bet delay", "The market closed while your bet waited to be placed."),
    ("void during the bet delay", "The market was declared void while your bet waited to be placed."),
    ("suspended in play", "The market was suspended because of something that happened in play."),
    ("turned in play", "The event began, and what was not matched by then no longer stands."),
    ("market suspended", "The market was suspended when your bet reached the exchange."),
    ("market closed", "The market had closed when your bet reached the exchange."),
    ("market void", "The market was declared void."),
    ("unknown market", "The exchange does not know this market."),
    ("unknown selection", "The exchange does not have this selection in the market."),
    ("invalid odds", "The exchange does not take bets at these odds."),
    ("invalid stake", "The exchange does not take this stake."),
    ("nothing more to match with", "There were no further offers to match it with."),
    ("less of the replaced bet rested", "Some of the bet that it replaced had been matched by then."),
    (
        "nothing of the replaced bet rests",
        "The bet that it was to replace had been matched or cancelled by then.",
    ),
    ("insufficient funds", "There was not enough money in your account."),
    ("removed", "The selection was withdrawn."),
    ("abandoned", "The event was abandoned."),
)


def in_plain_words(reason: str | None) -> str | None:
    """The reason as a sentence for the bet's owner; None where there is none.

    One that is not known is quoted as it is, on one line.
    """
    if reason is None or not (shown := one_line(reason, _MAX_SHOWN)):
        return None
    lower = shown.lower()
    for part, sentence in _IN_WORDS:
        if part in lower:
            return sentence
    return f"The exchange says: {shown}"
