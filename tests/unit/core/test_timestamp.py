"""The sets of a time stamp's SignedData are brought into the order of DER; nothing else changes."""

import pytest

from attestlog._internal.core.timestamp import order_sets


def der(tag: int, *members: bytes) -> bytes:
    content = b"".join(members)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2)
    return bytes([tag]) + length + content


OID, ONE, TWO, LONG = (der(0x06, b"x"), der(0x02, b"1"), der(0x02, b"2"), der(0x30, b"0" * 200))


def response(*members: bytes, token_type: bytes = OID, after: bytes = b"") -> bytes:
    signed_data = der(0x30, *members)
    return der(0x30, der(0x30, ONE), der(0x30, token_type, der(0xA0, signed_data)), after)


@pytest.mark.parametrize("tag", [0x31, 0xA0, 0xA1])
def test_members_of_a_set_stand_in_the_order_of_their_bytes(tag: int) -> None:
    sent = response(ONE, der(tag, LONG, TWO, ONE), OID)
    assert order_sets(sent) == response(ONE, der(tag, ONE, TWO, LONG), OID)
    assert order_sets(order_sets(sent)) == order_sets(sent)


def test_what_is_no_set_stays_in_its_order() -> None:
    inner = der(0x31, TWO, ONE)
    for sent in (response(TWO, ONE), response(der(0x30, TWO, ONE)), response(der(0x30, inner), TWO, ONE)):
        assert order_sets(sent) == sent


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x30\x85\0\0\0\0\x01x",
        b"\x1f\x01\x01x",
        der(0x30),
        der(0x30, der(0x30, ONE)),
        der(0x30, der(0x30, ONE), der(0x30)),
        der(0x30, der(0x30, ONE), der(0x30, OID, der(0xA0))),
        response(),
        response(der(0x31, TWO, ONE)) + b"x",
        response(der(0x31, TWO, ONE))[:-1],
        response(der(0x31, TWO, ONE), after=ONE),
        response(der(0x31, TWO, ONE)).replace(b"\xa0", b"\xa1"),
        response(der(0x31, TWO + b"\x02\x09")),
    ],
)
def test_what_is_no_time_stamp_is_left_as_it_is(data: bytes) -> None:
    assert order_sets(data) == data
