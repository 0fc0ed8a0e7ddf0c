"""Whether a domain takes mail, as DNS says. Not here: an address's syntax (domain/accounts.py)."""

from __future__ import annotations

import logging
from typing import Protocol

import dns.exception
import dns.resolver
from email_validator import EmailUndeliverableError
from email_validator.deliverability import caching_resolver, validate_email_deliverability

from exchange_platform.domain.accounts import InvalidAddress

log = logging.getLogger(__name__)

_PATIENCE_S = 3


class MailDomains(Protocol):
    """Knows which domains take mail."""

    def require(self, domain: str) -> None:
        """Raise `InvalidAddress` if the domain takes no mail for certain."""
        ...


class AnyDomain:
    """Asks nobody: every domain may take mail."""

    def require(self, domain: str) -> None:
        """Accept it."""


class DnsDomains:
    """Asks DNS for MX records (or, as RFC 5321 has it, for an address), and remembers the answers for their
    time.

    A domain is refused only when DNS says that it does not exist or takes no mail; while DNS does not answer,
    none is.
    """

    def __init__(
        self, resolver: dns.resolver.Resolver | None = None, *, patience_s: int = _PATIENCE_S
    ) -> None:
        """Ask through the resolver; the system's, unless given. A registration waits so long for each answer,
        at most.
        """
        self._resolver = caching_resolver(timeout=patience_s, dns_resolver=resolver)

    def require(self, domain: str) -> None:
        """Raise `InvalidAddress` if the domain takes no mail for certain."""
        try:
            validate_email_deliverability(domain, domain, dns_resolver=self._resolver)
        except EmailUndeliverableError as error:
            raise InvalidAddress(
                f"{error} An address whose domain takes mail is needed: is it spelled right?"
            ) from None
        except dns.exception.DNSException as error:
            log.warning("the mail exchangers of %s are not known: %s", domain, error)
