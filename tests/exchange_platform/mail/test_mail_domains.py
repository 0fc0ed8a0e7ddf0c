"""Whether a domain takes mail, asked of a real DNS server: refused only when that is certain."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from exchange_platform.domain.accounts import InvalidAddress
from exchange_platform.mail.mail_domains import AnyDomain, DnsDomains

ZONE: dict[str, dict[str, str]] = {
    "mail.example": {"MX": "10 mx.mail.example."},
    "null.example": {"MX": "0 ."},
    "host.example": {"A": "93.184.216.34"},
    "inside.example": {"A": "10.0.0.1"},
    "text.example": {"TXT": '"hello"'},
}


class _Dns:
    """A DNS server on 127.0.0.1 that knows the zone, and of some names nothing good."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while data := self._socket.recvfrom(4096):
            if not data[0]:
                return
            question = dns.message.from_wire(data[0])
            asked = question.question[0]
            name = asked.name.to_text(omit_final_dot=True)
            self.asked[name] += 1
            if name == "silent.example":
                continue
            answer = dns.message.make_response(question)
            answer.flags |= dns.flags.RA
            if name == "broken.example":
                answer.set_rcode(dns.rcode.SERVFAIL)
            elif name not in ZONE:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            else:
                kind = dns.rdatatype.to_text(asked.rdtype)
                if kind in ZONE[name]:
                    answer.answer.append(dns.rrset.from_text(asked.name, 300, "IN", kind, ZONE[name][kind]))
            self._socket.sendto(answer.to_wire(), data[1])


@pytest.fixture
def server() -> Iterator[_Dns]:
    made = _Dns()
    yield made
    made.stop()


@pytest.fixture
def domains(server: _Dns) -> DnsDomains:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.port
    return DnsDomains(resolver, patience_s=1)


@pytest.mark.parametrize("domain", ["mail.example", "host.example"])
def test_a_domain_with_an_mx_record_or_else_an_address_takes_mail(domains: DnsDomains, domain: str) -> None:
    domains.require(domain)


@pytest.mark.parametrize("domain", ["nowhere.example", "null.example", "text.example", "inside.example"])
def test_a_domain_that_takes_no_mail_is_refused(domains: DnsDomains, domain: str) -> None:
    with pytest.raises(InvalidAddress, match=rf"{domain} .* is it spelled right\?"):
        domains.require(domain)


@pytest.mark.parametrize("domain", ["silent.example", "broken.example"])
def test_nobody_is_refused_while_dns_does_not_answer(domains: DnsDomains, domain: str) -> None:
    domains.require(domain)


def test_answers_are_remembered_for_their_time(domains: DnsDomains, server: _Dns) -> None:
    for _ in range(5):
        domains.require("mail.example")
    assert server.asked["mail.example"] == 1


def test_where_domains_are_not_checked_any_is_accepted() -> None:
    AnyDomain().require("nowhere.example")
