"""What a wish for a confirmation becomes when it leaves, and that a hostile registration says nothing
in it.
"""

from __future__ import annotations

import email
import email.policy

import pytest

from exchange_platform.confirmation.mails import TRIED_AGAIN_AFTER_S, ConfirmationMails, in_words
from exchange_platform.confirmation.service import Pressed
from exchange_platform.domain.accounts import AccountState
from exchange_platform.mail.channel import Skip
from exchange_platform.mail.message import OutgoingMail, compose
from exchange_platform.settings.aws import aws_client
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.dynamodb.confirmation_tokens import ConfirmationTokens
from exchange_platform.stores.operational.accounts.accounts import (
    mark_address_undeliverable,
    mark_undeliverable,
)
from tests.support.account_parts import CLIENT, MINUTE, AccountParts, codes_in


def _only_mail(parts: AccountParts) -> OutgoingMail:
    (mail,) = parts.mail()
    assert isinstance(mail, OutgoingMail)
    return mail


def test_the_mail_has_its_code_behind_a_hash_and_once_more_to_paste(parts: AccountParts) -> None:
    account_id = parts.register()
    mail = _only_mail(parts)
    (code,) = codes_in([mail.text])
    url = f"{parts.settings.public_base_url}/confirm#{code}"
    assert code.startswith(f"{account_id}.")
    assert url in mail.text
    assert f'href="{url}"' in mail.html
    assert f">{code}<" in mail.html
    assert "works for 24 hours" in mail.text
    assert mail.unsubscribe_url is None
    for body in (mail.text, mail.html):
        assert f"?{code}" not in body
        assert body.count(code) == 2


def test_nothing_that_was_typed_at_the_registration_is_in_the_mail(parts: AccountParts) -> None:
    """Else whoever registers somebody else's address writes to that person in our name."""
    parts.register("ann@example.com", "You won! http://evil.example <b>")
    mail = _only_mail(parts)
    message = compose(mail, "Exchange <mail@exchange.example>").as_string()
    assert "won" not in message.lower()
    assert "evil" not in f"{mail}"
    assert email.message_from_string(message, policy=email.policy.default)["To"] == "ann@example.com"


def test_the_same_wish_has_the_same_message_id_and_another_token_each_time_it_leaves(
    parts: AccountParts,
) -> None:
    parts.register()
    due = parts.mails.collect(10, ())
    first, second = parts.mails.render(due)[0], parts.mails.render(due)[0]
    assert isinstance(first, OutgoingMail)
    assert isinstance(second, OutgoingMail)
    assert first.mail_id == second.mail_id
    one, other = codes_in([first.text, second.text])
    assert one != other
    assert parts.service.confirm(one, CLIENT) is Pressed.CONFIRMED
    assert parts.service.confirm(other, CLIENT) is Pressed.USED


def test_a_wish_of_an_account_that_is_confirmed_or_gone_is_not_mailed(parts: AccountParts) -> None:
    account_id = parts.register()
    (code,) = parts.codes()
    parts.clock.now += MINUTE
    parts.service.ask_again(account_id)
    parts.service.confirm(code, CLIENT)
    assert parts.mail() == [Skip("its account is CONFIRMED")]


def test_the_owner_is_told_at_the_address_that_was_confirmed(parts: AccountParts) -> None:
    first = parts.register("Ann@example.com")
    parts.service.confirm(parts.codes()[0], CLIENT)
    parts.register("ANN@example.com")
    assert _only_mail(parts).to_address == "Ann@example.com"
    assert parts.account(first).state is AccountState.CONFIRMED


def _refuse(parts: AccountParts, account_id: str, reason: str = "550 5.1.1 no such user") -> None:
    with parts.database.write() as connection:
        mark_undeliverable(connection, account_id, reason, parts.clock.now)


def test_a_dead_address_that_is_registered_again_looks_like_a_fresh_dead_one_and_is_tried_once_a_day(
    parts: AccountParts,
) -> None:
    """The account of a known dead address stayed PENDING for ever, that of an unknown one became
    UNDELIVERABLE: it showed who had an account.
    """
    first = parts.register()
    parts.service.confirm(parts.codes()[0], CLIENT)
    _refuse(parts, first)
    fresh = parts.register("nobody@example.com")
    assert isinstance(parts.mail()[0], OutgoingMail)
    _refuse(parts, fresh)
    for _ in range(2):
        again = parts.register("ANN@example.com")
        assert parts.mail() == [Skip("550 5.1.1 no such user", as_refused=True)]
        seen = [
            (account.state, account.state_reason, account.version)
            for account in (parts.account(again), parts.account(fresh))
        ]
        assert seen[0] == seen[1]
    parts.clock.now += (TRIED_AGAIN_AFTER_S + 1) * 1_000_000
    tried = parts.register()
    assert _only_mail(parts).to_address == "ann@example.com"
    _refuse(parts, tried)
    parts.register()
    assert parts.mail() == [Skip("550 5.1.1 no such user", as_refused=True)]
    assert parts.account(first).state is AccountState.UNDELIVERABLE
    parts.clock.now += MINUTE
    parts.service.ask_again(first)
    (code,) = parts.codes()
    assert parts.service.confirm(code, CLIENT) is Pressed.CONFIRMED


def test_a_bounce_that_is_told_later_begins_the_pause_again_and_an_old_one_does_not(
    parts: AccountParts,
) -> None:
    first = parts.register()
    parts.service.confirm(parts.codes()[0], CLIENT)
    _refuse(parts, first, "bounced: 5.1.1")
    began_us = parts.account(first).changed_at_us
    parts.clock.now += (TRIED_AGAIN_AFTER_S + 1) * 1_000_000
    for observed_at_us, changed_at_us in ((began_us - 1, began_us), (parts.clock.now, parts.clock.now)):
        with parts.database.write() as connection:
            mark_address_undeliverable(
                connection,
                "Ann@example.com",
                "bounced: 5.1.1",
                observed_at_us=observed_at_us,
                now_us=parts.clock.now,
            )
        assert parts.account(first).changed_at_us == changed_at_us


def test_who_complained_gets_no_mail_for_a_registration_and_it_stays_pending_as_a_fresh_one(
    parts: AccountParts,
) -> None:
    first = parts.register()
    parts.service.confirm(parts.codes()[0], CLIENT)
    _refuse(parts, first, "complained: as spam")
    parts.clock.now += 2 * TRIED_AGAIN_AFTER_S * 1_000_000
    again = parts.register()
    assert isinstance(parts.mail()[0], Skip)
    assert parts.account(again).state is AccountState.PENDING


def test_no_mail_is_rendered_while_its_token_can_t_be_stored(parts: AccountParts) -> None:
    parts.register()
    away = parts.settings.model_copy(update={"aws_endpoint_url": "http://127.0.0.1:9"})
    tokens = ConfirmationTokens(aws_client(away, "dynamodb"), away.tokens_table)
    mails = ConfirmationMails(parts.settings, parts.database, tokens, clock=parts.clock)
    with pytest.raises(StoreUnavailable):
        mails.render(parts.mails.collect(10, ()))
    assert len(parts.codes()) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (45, "45 seconds"),
        (60, "1 minute"),
        (5400, "90 minutes"),
        (7200, "2 hours"),
        (86_400, "24 hours"),
        (172_800, "2 days"),
    ],
)
def test_lifetimes_are_told_in_words(seconds: int, words: str) -> None:
    assert in_words(seconds) == words


def test_only_a_confirmation_that_was_asked_for_again_lifts_ses_suppression(parts: AccountParts) -> None:
    """SES keeps a list of addresses that bounced and drops what is sent to them without a word."""
    account_id = parts.register()
    assert not _only_mail(parts).lifts_suppression
    parts.clock.now += MINUTE
    parts.service.ask_again(account_id)
    assert _only_mail(parts).lifts_suppression
    dead = parts.register("nobody@example.com")
    assert not _only_mail(parts).lifts_suppression
    _refuse(parts, dead)
    parts.clock.now += MINUTE
    parts.service.ask_again(dead)
    assert _only_mail(parts).lifts_suppression
