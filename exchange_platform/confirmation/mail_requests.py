"""The request for a confirmation mail, written in the transaction that it belongs to. Not here: what the mail
says (mails.py).
"""

from __future__ import annotations

import sqlalchemy as sa

from exchange_platform.stores.operational.mails.mails import NewMail, WaitingMail, queue_mails

CONFIRMATIONS = "confirmations"
"""The source whose run mails them."""

CONFIRMATION = "confirmation"
WITHHELD = "withheld"
"""The kind of a mail that is not sent: its address has had as many as it may. Queued all the same, so that
asking for it takes as long.
"""


def request_mail(
    connection: sa.Connection, account_id: str, number: int, *, now_us: int, withheld: bool = False
) -> None:
    """Queue the account's confirmation of that number, in the caller's transaction."""
    mail_id = f"confirmation/{account_id}/{number}"
    queue_mails(
        connection,
        [
            NewMail(
                mail_id=mail_id,
                source=CONFIRMATIONS,
                kind=WITHHELD if withheld else CONFIRMATION,
                account_id=account_id,
                thread=mail_id,  # a newer one does not wait for an older one's next try
                changed_at_us=now_us,
                queued_at_us=now_us,
                due_at_us=now_us,
            )
        ],
    )


def number_of(mail: WaitingMail) -> int:
    """Which of its account's confirmations a queued mail is."""
    return int(mail.mail_id.rpartition("/")[2])
