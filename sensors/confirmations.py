"""Keeps a run of `confirmations` alive."""

from exchange_platform.confirmation.mail_requests import CONFIRMATIONS
from ops.confirm_accounts import confirm_accounts
from sensors.supervising import supervising_sensor

confirmations_sensor = supervising_sensor(
    "confirmations_sensor", CONFIRMATIONS, confirm_accounts, "one run that mails confirmations"
)
