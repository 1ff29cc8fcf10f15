"""What is asked is read without trust, and what is answered is whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.drivers.resolver.server.messages import Query, address_of, refusal

from support import dns

NAME = "www.example.org"


def test_a_question_is_read():
    query = Query(dns.question("WWW.Example.org", dns.AAAA, identifier=77, edns=4096))
    assert (query.name, query.kind, query.identifier) == (NAME, dns.AAAA, 77)
    assert (query.has_edns, query.limit) == (True, 1232)
    assert Query(dns.question(NAME, edns=100)).limit == Query(dns.question(NAME)).limit == 512


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (dns.question(NAME, flags=0x8100), None),  # an answer
        (dns.question(NAME, flags=0x2900), dns.NOT_IMPLEMENTED),  # an update
        (dns.question(NAME)[:-1], dns.FORMAT_ERROR),
        (dns.question(NAME)[:20], dns.FORMAT_ERROR),
        (b"\0\7\1\0\0\2" + dns.question(NAME)[6:], dns.FORMAT_ERROR),  # two questions
        (dns.question(NAME)[:12] + b"\xc0\x0c\0\1\0\1", dns.FORMAT_ERROR),  # a name that points to itself
        (dns.question(NAME)[:-1] + b"\3", dns.REFUSED),  # of class CHAOS
        (dns.question(".".join(["a" * 60] * 5)), dns.FORMAT_ERROR),  # longer than a name may be
    ],
)
def test_what_cannot_be_answered_is_refused(data, code):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its argument is the code
        Query(data)
    assert caught.value.args == (() if code is None else (code,))
    if code is not None:
        answer = dns.Answer(refusal(data, code))
        assert (answer.identifier, answer.code, bool(answer.flags & 0x8000)) == (7, code, True)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_question_or_refused(data):
    for each in (data, dns.question("")[:12] + data):
        try:
            query = Query(each)
        except ValueError:
            continue
        assert query.is_answered_by(query.reply(0))


def test_an_answer_is_to_its_own_question_alone():
    query = Query(dns.question(NAME))
    assert query.is_answered_by(Query(dns.question(NAME.upper(), identifier=9)).reply(0))
    assert not query.is_answered_by(dns.question(NAME))  # a question itself
    assert not query.is_answered_by(Query(dns.question("www.example.com")).reply(0))
    assert not query.is_answered_by(b"")


def test_an_answer_is_cut_to_what_its_asker_takes():
    query = Query(dns.question(NAME, edns=600))
    addresses = [bytes([10, 0, 0, number]) for number in range(100)]
    cut, whole = (dns.Answer(query.reply_addresses(addresses, limit)) for limit in (query.limit, 0))
    assert cut.is_cut
    assert len(query.reply_addresses(addresses, query.limit)) <= 600
    assert cut.values == whole.values[: len(cut.values)]
    assert not whole.is_cut
    assert len(whole.values) == 100


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.0.0.10.in-addr.arpa", b"\x0a\0\0\2"),
        ("1." + "0." * 29 + "d.f.ip6.arpa", b"\xfd" + b"\0" * 14 + b"\1"),
        ("0.0.10.in-addr.arpa", None),
        ("256.0.0.10.in-addr.arpa", None),
        ("x.0.0.10.in-addr.arpa", None),
        ("1." + "0." * 29 + "d.g.ip6.arpa", None),
        ("arpa", None),
        ("", None),
    ],
)
def test_reverse_names_stand_for_addresses(name, address):
    assert address_of(name) == address


def test_a_name_that_no_message_has_room_for_is_no_answer():
    query = Query(dns.question("2.0.0.10.in-addr.arpa", dns.PTR))
    assert dns.Answer(query.reply_name("a" * 64)).code == dns.NAME_ERROR
    assert dns.Answer(query.reply_name("web.front")).values == ["web.front"]
