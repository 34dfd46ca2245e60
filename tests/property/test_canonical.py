"""One value, one spelling: ours, the RFC's transcription and the rfc8785 package, byte for byte."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from tests.property import strategies
from tests.property.million_doubles import disagreement, doubles

from attestlog._internal.core.canonical import decode, encode, encode_reference, is_canonical
from attestlog.errors import MalformedJSONError


@given(value=strategies.json_values)
@settings(max_examples=500)
def test_encode_is_rfc8785_or_refuses(value: Any) -> None:
    want = rfc8785.dumps(value)
    assert encode_reference(value) == want
    if strategies.spelled_beyond_2_53(value):
        with pytest.raises(MalformedJSONError):
            encode(value)
    else:
        assert encode(value) == want


@given(number=strategies.floats)
@settings(max_examples=500)
def test_each_double_alone(number: float) -> None:
    assert disagreement(number) is None


def test_twenty_thousand_doubles() -> None:
    assert [text for text in map(disagreement, doubles(20_000, seed=8785)) if text] == []


@given(value=strategies.storable_values)
def test_what_is_encoded_can_be_decoded_and_is_its_own_canonical_form(value: Any) -> None:
    once = encode(value)
    again = decode(once)
    assert encode(again) == once
    assert again == value  # numbers compare by value: 1.0 comes back as 1


@given(value=strategies.storable_values)
def test_what_is_canonical_to_msgspec_is_canonical(value: Any) -> None:
    again = decode(encode(value))
    assert not is_canonical(again) or rfc8785.dumps(again) == encode(again)


@given(text=strategies.texts)
def test_any_text_is_read_or_malformed(text: str) -> None:
    try:
        value = decode(text)
    except MalformedJSONError:
        return
    assert decode(encode(value)) == value
