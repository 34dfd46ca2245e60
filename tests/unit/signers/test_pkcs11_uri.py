"""`pkcs11:` URIs: what is understood, spelled once, and refused rather than ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestlog._internal.signers.pkcs11_uri import (
    TIMEOUT_MAX_S,
    TIMEOUT_S,
    KeyUri,
    format_key_uri,
    matches,
    parse_key_uri,
)
from attestlog.errors import MalformedConfigError

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
PATH = TEXT.map(lambda text: f"/{text}")


def test_all_attributes_in_any_order() -> None:
    uri = (
        "pkcs11:object=log%20key;type=private;id=%01%ab;model=SoftHSM%20v2;serial=75723a;manufacturer=M;token=t"
        "?timeout-s=2.5&public-key=/k.pem&pin-source=file:/run/pin&module-path=/usr/lib/m.so"
    )
    parsed = parse_key_uri(uri)
    assert parsed == KeyUri(
        token="t", manufacturer="M", serial="75723a", model="SoftHSM v2", object="log key", id=b"\x01\xab",
        module_path="/usr/lib/m.so", pin_source="file:/run/pin", public_key="/k.pem", timeout_s=2.5,
    )  # fmt: skip
    assert format_key_uri(parsed) == (
        "pkcs11:token=t;manufacturer=M;serial=75723a;model=SoftHSM%20v2;object=log%20key;id=%01%ab"
        "?module-path=/usr/lib/m.so&pin-source=file:/run/pin&public-key=/k.pem&timeout-s=2.5"
    )


def test_a_uri_as_other_tools_print_it() -> None:
    printed = (
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=1bf7766e145ab1eb;token=attest;"
        "id=%4B%5D%19;object=n;type=private"
    )
    parsed = parse_key_uri(printed)
    assert (parsed.token, parsed.object, parsed.id) == ("attest", "n", b"\x4b\x5d\x19")
    assert parsed.timeout_s == TIMEOUT_S


KEY_URIS = st.builds(
    KeyUri,
    **{
        name: st.none() | TEXT
        for name in ("token", "manufacturer", "serial", "model", "object", "pin_source")
    },
    **{name: st.none() | PATH for name in ("module_path", "public_key")},
    id=st.none() | st.binary(min_size=1, max_size=20),
    timeout_s=st.sampled_from([TIMEOUT_S, 0.001, 1.5, TIMEOUT_MAX_S]),
)


@given(uri=KEY_URIS)
def test_what_is_formatted_is_parsed_as_it_was(uri: KeyUri) -> None:
    assert parse_key_uri(format_key_uri(uri)) == uri


@pytest.mark.parametrize(
    "uri, said",
    [
        ("pkcs12:object=x", "does not begin"),
        ("pkcs11", "does not begin"),
        ("PKCS11:object=x", "does not begin"),
        ("pkcs11:object=x;object=y", "object twice"),
        ("pkcs11:object=x?module-path=/a&module-path=/b", "module-path twice"),
        ("pkcs11:object=", "empty or not percent-encoded"),
        ("pkcs11:object=a b", "empty or not percent-encoded"),
        ("pkcs11:object=a%2", "empty or not percent-encoded"),
        ("pkcs11:object=a%zz", "empty or not percent-encoded"),
        ("pkcs11:object=a/b", "empty or not percent-encoded"),
        ("pkcs11:object=%ff", "not UTF-8"),
        ("pkcs11:object", "empty or not percent-encoded"),
        ("pkcs11:;object=x", "not supported"),
        ("pkcs11:object=x;", "not supported"),
        ("pkcs11:object=x;slot-id=3", "not supported \\(slot-id\\)"),
        ("pkcs11:object=x;module-path=/m.so", "not supported \\(module-path\\)"),
        ("pkcs11:object=x?token=t", "not supported \\(token\\)"),
        ("pkcs11:object=x?module-name=m", "not supported \\(module-name\\)"),
        ("pkcs11:object=x;type=public", "type other than private"),
        ("pkcs11:object=x?module-path=lib.so", "no absolute path"),
        ("pkcs11:object=x?public-key=k.pem", "no absolute path"),
        ("pkcs11:object=x?timeout-s=0", "timeout-s"),
        ("pkcs11:object=x?timeout-s=-1", "timeout-s"),
        ("pkcs11:object=x?timeout-s=nan", "timeout-s"),
        ("pkcs11:object=x?timeout-s=1e1", "timeout-s"),
        ("pkcs11:object=x?timeout-s=%31%ff", "timeout-s"),
    ],
)
def test_what_is_refused(uri: str, said: str) -> None:
    with pytest.raises(MalformedConfigError, match=said) as caught:
        parse_key_uri(uri)
    assert caught.value.member == "signer"


def test_a_device_may_be_given_up_to_25_seconds() -> None:
    assert parse_key_uri(f"pkcs11:object=x?timeout-s={TIMEOUT_MAX_S:g}").timeout_s == TIMEOUT_MAX_S
    with pytest.raises(MalformedConfigError, match="at most 25"):
        parse_key_uri(f"pkcs11:object=x?timeout-s={TIMEOUT_MAX_S + 0.001:g}")


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:object=x?pin-value=4711",
        "pkcs11:object=x;pin-value=4711",
        "pkcs11:object=x?4711",
        "pkcs11:object=x?pin=4711",
        "pkcs11:object=x;object=4711 4711",
    ],
)
def test_what_may_be_a_pin_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(MalformedConfigError) as caught:
        parse_key_uri(uri)
    assert "4711" not in str(caught.value)
    assert "4711" not in repr(caught.value.evidence())


@pytest.mark.parametrize("where", [";", "?"])
def test_a_pin_in_a_uri_is_refused_as_one(where: str) -> None:
    with pytest.raises(MalformedConfigError, match="a secret has no place in a URI"):
        parse_key_uri(f"pkcs11:object=x{where}pin-value=1")


def test_a_token_is_meant_if_all_that_is_asked_for_fits() -> None:
    token = {"token": "attest", "manufacturer": "M", "serial": "7", "model": "v2"}
    assert matches(KeyUri(), token)
    assert matches(KeyUri(token="attest", serial="7", manufacturer="M", model="v2"), token)
    for other in (KeyUri(token="attest2"), KeyUri(serial="8"), KeyUri(manufacturer="m"), KeyUri(model="v")):
        assert not matches(other, token)
