"""Registering accounts and confirming them by mail. Not here: the routes and pages (api/), how mail is sent
(mail/), mails about bets (notifications/).
"""
