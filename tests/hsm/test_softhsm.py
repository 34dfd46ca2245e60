"""A key in SoftHSM: it signs what it should and nothing else, is found without doubt, stays where it is."""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, Mechanism, ObjectClass, TokenFlag
from tests.support.logs import config_file
from tests.support.tokens import LABEL, PIN, SO_PIN, SoftToken
from tests.support.tools import tool

from attestlog._internal.core.signature import ECDSA_P256, ED25519, load_public_key
from attestlog._internal.log import Log
from attestlog._internal.signers import open_signer, pkcs11_module
from attestlog._internal.signers.asking import ask
from attestlog._internal.signers.pkcs11 import Pkcs11Signer, make_pkcs11_key, open_pkcs11_signer
from attestlog._internal.signers.pkcs11_keys import (
    PRIVATE_TEMPLATE,
    PUBLIC_TEMPLATE,
    SCHEMES,
    decode_public_key,
)
from attestlog._internal.signers.pkcs11_keys import read as read_attribute
from attestlog._internal.signers.pkcs11_module import Module, OpenToken
from attestlog._internal.signers.secret import Secret
from attestlog.errors import MalformedConfigError, MalformedSignatureError, SignatureInvalidError, SignerError
from attestlog.testing import MemorySigner, check_log

ORIGIN = "example.com/agents"


def loaded() -> list[Module]:
    return [module for module in pkcs11_module._modules.values() if module._library is not None]


def pkcs11_tool(token: SoftToken, *arguments: str) -> str:
    return token.run(
        "pkcs11-tool", "--module", token.module, "--token-label", LABEL, "--login", "--pin", PIN, *arguments
    )


@pytest.mark.parametrize("label, algorithm", [("entries", ECDSA_P256), ("checkpoints", ED25519)])
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 1_300, 20_000])
def test_a_signature_covers_all_of_the_message(
    keys: SoftToken, label: str, algorithm: str, size: int
) -> None:
    """CKM_ECDSA given a message in place of its hash signs the first 32 bytes, and verifies as such."""
    signer = open_signer(keys.uri(label))
    message = b"m" * size  # no byte of it is the "x" below: of random bytes, one in 256 would be
    assert signer.public_key.algorithm == algorithm
    signature = ask(signer, message)
    signer.public_key.verify(signature, message)
    for other in (message[:32] + b"x", message + b"x"):
        with pytest.raises(SignatureInvalidError):
            signer.public_key.verify(signature, other)
    signer.close()


def test_another_tool_verifies_the_signature(keys: SoftToken, tmp_path: Path) -> None:
    signer = open_signer(keys.uri("entries"))
    message = b"to be checked by openssl"
    for name, data in (("m", message), ("s", signer.sign(message)), ("k", signer.public_key.pem.encode())):
        (tmp_path / name).write_bytes(data)
    signer.close()
    said = subprocess.run(
        [tool("openssl"), "dgst", "-sha256", "-verify", "k", "-signature", "s", "m"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said == "Verified OK\n"


def test_a_log_signed_in_hardware_entries_and_checkpoints(keys: SoftToken, tmp_path: Path) -> None:
    with Log.create(
        tmp_path / "audit",
        origin=ORIGIN,
        signer=keys.uri("entries"),
        checkpoint_signer=keys.uri("checkpoints"),
    ) as log:
        receipts = [log.append(event_type="ACTION", action_type="a", actor_id="b") for _ in range(3)]
        receipts += log.append_many([{"event_type": "ACTION", "action_type": "a", "actor_id": "b"}] * 5)
    with Log.open(tmp_path / "audit") as log:  # by the URIs in its configuration
        receipts.append(log.append(event_type="ACTION", action_type="a", actor_id="b"))
    check_log(tmp_path / "audit", receipts)
    assert loaded() == []
    assert PIN not in config_file(tmp_path / "audit").read_text()


def test_a_new_key_signs_and_does_nothing_else_and_cannot_leave(token: SoftToken) -> None:
    for label, algorithm in (("p", ECDSA_P256), ("e", ED25519)):
        signer = make_pkcs11_key(token.uri(label), algorithm)
        assert signer.describe() == {
            "sensitive": True, "extractable": False, "always_sensitive": True, "never_extractable": True,
            "local": True, "private": True, "sign": True, "decrypt": False, "unwrap": False, "derive": False,
            "always_authenticate": False,
        }  # fmt: skip
        again = open_signer(signer.uri)
        assert again.public_key == signer.public_key
        again.close()
        signer.close()


def test_keys_of_another_tool_are_understood(token: SoftToken) -> None:
    """pkcs11-tool writes Ed25519's parameters as a name, ours as an object identifier."""
    kinds = (("p", "EC:prime256v1", ECDSA_P256), ("e", "EC:edwards25519", ED25519))
    for number, (label, kind, algorithm) in enumerate(kinds):
        pkcs11_tool(token, "--keypairgen", "--key-type", kind, "--label", label, "--id", f"0{number}")
        signer = open_signer(token.uri(label))
        assert signer.public_key.algorithm == algorithm
        signer.public_key.verify(ask(signer, b"m"), b"m")
        signer.close()


@pytest.mark.parametrize("kind, said", [("EC:secp384r1", "on curve"), ("RSA:2048", "attribute type invalid")])
def test_keys_that_cannot_sign_a_log_are_refused(token: SoftToken, kind: str, said: str) -> None:
    pkcs11_tool(token, "--keypairgen", "--key-type", kind, "--label", "other", "--id", "01")
    with pytest.raises(SignerError, match=said) as caught:
        open_signer(token.uri("other"))
    assert caught.value.retryable is False
    assert loaded() == []


def test_a_label_is_never_shadowed(keys: SoftToken) -> None:
    with pytest.raises(SignerError, match="has a key of this label already"):
        make_pkcs11_key(keys.uri("entries"), ED25519)
    signer = open_pkcs11_signer(keys.uri("entries"))
    signer.close()
    held = keys.uri("entries")
    made = make_pkcs11_key(held.replace("object=entries", "object=new;id=%01%02"), ECDSA_P256)
    made.close()
    with pytest.raises(SignerError, match="has a key of this id already"):
        make_pkcs11_key(held.replace("object=entries", "object=newer;id=%01%02"), ECDSA_P256)


def test_a_label_that_names_two_keys_is_refused_and_an_id_decides(token: SoftToken) -> None:
    for number in ("01", "02"):
        pkcs11_tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "twice", "--id", number)
    with pytest.raises(SignerError, match="2 private keys are meant, want one"):
        open_signer(token.uri("twice"))
    both = [open_signer(token.uri("twice").replace("?", f";id=%{number}?")) for number in ("01", "02")]
    assert both[0].public_key != both[1].public_key
    for signer in both:
        signer.public_key.verify(ask(signer, b"m"), b"m")
        signer.close()


def test_two_public_keys_beside_one_private_key_are_refused(keys: SoftToken) -> None:
    signer = make_pkcs11_key(keys.uri("entries").replace("object=entries", "object=mine;id=%07"), ECDSA_P256)

    (module,) = loaded()

    def add_a_stranger(library: Any) -> None:
        (held,) = module.tokens
        session = module.open_session(library, held, writable=True)
        other = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label="other")
        wanted = (Attribute.CLASS, Attribute.KEY_TYPE, Attribute.EC_PARAMS, Attribute.EC_POINT)
        session.create_object(
            {name: other[name] for name in wanted} | {Attribute.ID: b"\x07", Attribute.TOKEN: True}
        )
        session.close()

    module.call(add_a_stranger, 30)
    with pytest.raises(SignerError, match="2 public keys stand beside"):
        open_signer(signer.uri)
    signer.close()


def test_two_tokens_of_one_name_are_refused_and_a_serial_number_decides(keys: SoftToken) -> None:
    keys.run("softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", SO_PIN)
    with pytest.raises(SignerError, match="2 tokens are meant, want one: their serial numbers are") as caught:
        open_signer(keys.uri("entries"))
    serials = re.findall(r"'([0-9a-f]{16})'", str(caught.value))
    opened = []
    for serial in serials:
        with contextlib.suppress(SignerError):
            opened.append(open_signer(keys.uri("entries").replace("?", f";serial={serial}?")))
    (signer,) = opened
    signer.public_key.verify(ask(signer, b"m"), b"m")
    signer.close()


def test_a_point_is_read_with_and_without_its_wrapping() -> None:
    """CKA_EC_POINT is a DER OCTET STRING, and some devices give the bare point."""
    for algorithm, wrapping in ((ECDSA_P256, b"\x04\x41"), (ED25519, b"\x04\x20")):
        key = MemorySigner(algorithm).public_key
        point = key.spki[-65:] if algorithm == ECDSA_P256 else key.spki[-32:]
        for curve in SCHEMES[algorithm].curves:
            for spelled in (point, wrapping + point):
                held = {Attribute.EC_PARAMS: curve, Attribute.EC_POINT: spelled}
                assert decode_public_key(held) == key
        for bad in (b"", point[:-1], wrapping + point + b"x", b"\x05" + wrapping[1:] + point):
            with pytest.raises(SignerError, match="is no point of its curve"):
                decode_public_key({Attribute.EC_PARAMS: curve, Attribute.EC_POINT: bad})


def test_an_attribute_that_a_device_does_not_tell_is_unknown() -> None:
    class Silent:
        def __getitem__(self, name: Attribute) -> None:
            raise pkcs11.AttributeSensitive

    assert read_attribute(Silent(), Attribute.EXTRACTABLE) is None


def test_a_login_by_other_code_in_this_process_is_used(
    keys: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pkcs11_module.module_at(keys.module)
    other = module.call(lambda library: library.get_token(token_label=LABEL).open(user_pin=PIN), 30)
    signer = open_signer(keys.uri("entries"))
    signer.public_key.verify(ask(signer, b"m"), b"m")
    del other
    signer.close()


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_a_signature_of_another_length_is_none(keys: SoftToken, size: int) -> None:
    signer = open_pkcs11_signer(keys.uri("entries"))
    signer._key = SimpleNamespace(sign=lambda *_, **__: bytes(size))
    with pytest.raises(SignerError, match=f"a signature of {size} bytes, want 64"):
        signer.sign(b"m")
    signer.close()


@pytest.mark.parametrize(
    "change, said, kind",
    [
        (("object=entries", "object=nobody"), "no such private key", SignerError),
        (("object=entries", "object=entries;id=%99"), "no such private key", SignerError),
        (("token=attest", "token=other"), "no such token: it has 'attest'", SignerError),
        (("object=entries", "type=private"), "names no key", MalformedConfigError),
        (("libsofthsm2.so", "nowhere.so"), "cannot be loaded: OS exception", SignerError),
    ],
)
def test_what_is_not_there(
    keys: SoftToken, change: tuple[str, str], said: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=said):
        open_signer(keys.uri("entries").replace(*change))
    assert loaded() == []


def test_a_library_that_is_not_there_is_not_waited_for_and_one_that_cannot_begin_is(
    keys: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SignerError, match="cannot be loaded") as missing:
        open_signer(keys.uri("entries").replace("libsofthsm2.so", "nowhere.so"))
    monkeypatch.setenv("SOFTHSM2_CONF", "/nowhere.conf")
    with pytest.raises(SignerError, match=r"cannot be loaded: general error|no such token") as unready:
        open_signer(keys.uri("entries"))
    assert (missing.value.retryable, unready.value.retryable) == (False, True)


def test_an_algorithm_that_no_device_here_makes_keys_of(token: SoftToken) -> None:
    with pytest.raises(MalformedSignatureError, match="algorithm is 'RSA'"):
        make_pkcs11_key(token.uri("x"), "RSA")
    with pytest.raises(MalformedConfigError, match="no label"):
        make_pkcs11_key(token.uri("x").replace("object=x", "id=%01"), ECDSA_P256)


def test_the_module_comes_from_the_uri_or_the_environment(
    keys: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MalformedConfigError, match="ATTESTLOG_PKCS11_MODULE is not set"):
        open_signer("pkcs11:object=entries")
    monkeypatch.setenv("ATTESTLOG_PKCS11_MODULE", keys.module)
    signer = open_signer("pkcs11:object=entries")
    assert (
        signer.uri == f"pkcs11:object=entries?module-path={keys.module}"
    )  # works where the variable is not set
    signer.close()


def test_a_public_key_from_a_file(keys: SoftToken, tmp_path: Path) -> None:
    """For devices that keep no public half; where there is one, the two must agree."""
    signer, other = open_signer(keys.uri("entries")), open_signer(keys.uri("other"))
    (tmp_path / "entries.pem").write_text(signer.public_key.pem)
    (tmp_path / "other.pem").write_text(other.public_key.pem)
    signer.close()
    other.close()
    (tmp_path / "rubbish.pem").write_text("-----BEGIN PUBLIC KEY-----")
    good = open_signer(keys.uri("entries", public_key=str(tmp_path / "entries.pem")))
    assert good.public_key == signer.public_key
    good.close()
    for name, said in (
        ("other", "its public-key file"),
        ("rubbish", "not a public key"),
        ("gone", "cannot be read"),
    ):
        with pytest.raises(SignerError, match=said):
            open_signer(keys.uri("entries", public_key=str(tmp_path / f"{name}.pem")))
    pkcs11_tool(keys, "--delete-object", "--type", "pubkey", "--label", "entries")
    with pytest.raises(SignerError, match="keeps no public key beside"):
        open_signer(keys.uri("entries"))
    alone = open_signer(keys.uri("entries", public_key=str(tmp_path / "entries.pem")))
    assert alone.public_key == load_public_key((tmp_path / "entries.pem").read_bytes())
    alone.public_key.verify(ask(alone, b"m"), b"m")
    alone.close()


def test_a_signature_that_is_not_the_logs_is_stored_by_nobody(keys: SoftToken, tmp_path: Path) -> None:
    """The device signs with another key than its public half says."""
    other = open_signer(keys.uri("other"))
    (tmp_path / "other.pem").write_text(other.public_key.pem)
    other.close()
    pkcs11_tool(keys, "--delete-object", "--type", "pubkey", "--label", "entries")
    uri = keys.uri("entries", public_key=str(tmp_path / "other.pem"))
    with pytest.raises(SignerError, match="returned a signature that does not verify"):
        Log.create(tmp_path / "audit", origin=ORIGIN, signer=uri, checkpoint_signer=MemorySigner(ED25519))
    assert not (tmp_path / "audit").exists()


def test_another_logs_key_is_refused_when_the_log_is_opened(keys: SoftToken, tmp_path: Path) -> None:
    Log.create(
        tmp_path / "audit",
        origin=ORIGIN,
        signer=keys.uri("entries"),
        checkpoint_signer=keys.uri("checkpoints"),
    ).close()
    with pytest.raises(SignerError, match="the log is signed by"):
        Log.open(tmp_path / "audit", signer=keys.uri("other"))
    assert loaded() == []


# --- PINs ---


def test_a_refused_pin_is_not_sent_again(keys: SoftToken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTESTLOG_PIN", "wrong")
    with pytest.raises(SignerError, match=r"refused the PIN$") as caught:
        open_signer(keys.uri("entries"))
    assert caught.value.retryable is False
    with pytest.raises(SignerError, match="has refused this PIN before; it was not tried again"):
        open_signer(keys.uri("entries"))
    monkeypatch.setenv("ATTESTLOG_PIN", PIN)
    open_signer(keys.uri("entries")).close()


@pytest.mark.parametrize("source", ["environment", "file", "person"])
def test_a_traceback_that_shows_locals_does_not_show_the_pin(
    keys: SoftToken, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = "wrong-314159"
    monkeypatch.delenv("ATTESTLOG_PIN")
    query = {}
    if source == "environment":
        monkeypatch.setenv("ATTESTLOG_PIN", pin)
    elif source == "file":
        (tmp_path / "pin").write_text(pin)
        (tmp_path / "pin").chmod(0o600)
        query["pin_source"] = f"file:{tmp_path}/pin"
    with pytest.raises(SignerError, match="refused the PIN") as caught:
        open_signer(keys.uri("entries", **query), passphrase=lambda what: b"-".join((b"wrong", b"314159")))
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(frames.format()).replace(f"pin = {pin!r}", "")
    assert "Secret(…)" in shown
    assert pin not in shown


def test_without_a_pin_nothing_is_tried(keys: SoftToken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTESTLOG_PIN")
    with pytest.raises(SignerError, match="token 'attest' needs a PIN") as caught:
        open_signer(keys.uri("entries"))
    assert caught.value.needs_pin is True
    asked: list[str] = []

    def person(what: str) -> bytes:
        asked.append(what)
        return PIN.encode()

    first = open_signer(keys.uri("entries"), passphrase=person)
    second = open_signer(keys.uri("checkpoints"), passphrase=person)
    assert asked == ["token attest"], "one login, one question"
    first.close()
    second.public_key.verify(ask(second, b"m"), b"m")  # who logged in first has not logged out the other
    second.close()


def test_a_pin_from_a_file(keys: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTESTLOG_PIN")
    (tmp_path / "pin").write_text(f"{PIN}\n")
    (tmp_path / "pin").chmod(0o600)
    signer = open_signer(keys.uri("entries", pin_source=f"file:{tmp_path}/pin"))
    signer.public_key.verify(ask(signer, b"m"), b"m")
    signer.close()


def make_cautious_key(token: SoftToken) -> str:
    """A key that wants the PIN for every signature, as the signing key of many cards does."""
    uri = f"{token.uri('cautious')}"
    make_pkcs11_key(token.uri("entries"), ECDSA_P256).close()
    holder = open_signer(token.uri("entries"))
    (module,) = loaded()

    def make(library: Any) -> None:
        session = module.open_session(library, module.tokens[0], writable=True)
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC, {Attribute.EC_PARAMS: SCHEMES[ECDSA_P256].curves[0]}, local=True
        )
        parameters.generate_keypair(
            mechanism=Mechanism.EC_KEY_PAIR_GEN, store=True, label="cautious", id=b"\x0c",
            private_template=PRIVATE_TEMPLATE | {Attribute.ALWAYS_AUTHENTICATE: True},
            public_template=PUBLIC_TEMPLATE,
        )  # fmt: skip
        session.close()

    module.call(make, 30)
    holder.close()
    return uri


def test_a_key_that_wants_the_pin_for_every_signature(token: SoftToken) -> None:
    signer = open_pkcs11_signer(make_cautious_key(token))
    assert signer.describe()["always_authenticate"] is True
    for message in (b"one", b"two"):
        signer.public_key.verify(ask(signer, message), message)
    (module,) = loaded()
    module.tokens[0].pin = Secret("wrong-314159")  # it was changed meanwhile
    for said in (r"refused the PIN$", "has refused this PIN before; it was not tried again"):
        with pytest.raises(SignerError, match=said):
            signer.sign(b"m")
    signer.close()


class UntouchedToken:
    """A token whose flags say that its PIN is, or is about to be, locked: it must not be logged in to."""

    label, serial, manufacturer_id, model = "t", b"1", "m", "v"

    def __init__(self, flag: TokenFlag) -> None:
        self.flags = TokenFlag.TOKEN_INITIALIZED | TokenFlag.LOGIN_REQUIRED | flag

    def open(self, **_: Any) -> None:
        pytest.fail("a login was tried")


@pytest.mark.parametrize(
    "flag, said",
    [(TokenFlag.USER_PIN_LOCKED, "is locked"), (TokenFlag.USER_PIN_FINAL_TRY, "one try left")],
)
def test_the_last_try_is_never_spent(flag: TokenFlag, said: str) -> None:
    token = UntouchedToken(flag)
    library = SimpleNamespace(get_slots=lambda token_present: [SimpleNamespace(get_token=lambda: token)])
    held = OpenToken("t", "1", needs_pin=True, pin=Secret(PIN))
    with pytest.raises(SignerError, match=said):
        Module("/m.so").session(library, held)


# --- what the driver raises ---


@pytest.mark.parametrize(
    "error, said, retryable",
    [
        (pkcs11.DeviceError(), "device error", True),
        (pkcs11.DeviceRemoved("pulled"), "device removed: pulled", True),
        (pkcs11.PKCS11Error("CKR 0x190"), "CKR 0x190", True),
        (pkcs11.SessionCount(), "session count", True),
        (pkcs11.MechanismInvalid(), "mechanism invalid", False),
        (pkcs11.KeyTypeInconsistent(), "key type inconsistent", False),
    ],
)
def test_an_error_of_the_driver_is_one_of_ours_in_words(
    token: SoftToken, error: Exception, said: str, retryable: bool
) -> None:
    """From a library that was just loaded there is nothing to mend: it is not asked again."""
    module, made = pkcs11_module.module_at(token.module), []

    def work(library: Any) -> None:
        made.append(library)
        raise error

    with pytest.raises(SignerError) as caught:
        module.call(work, 30)
    assert str(caught.value) == f"PKCS#11 module {module.path}: {said}"
    assert caught.value.retryable is retryable
    assert len(made) == 1
    assert caught.value.__cause__ is None
    module.let_go(30)


def test_after_a_loss_the_library_is_loaded_anew_and_asked_once_more(token: SoftToken) -> None:
    module, made = pkcs11_module.module_at(token.module), []
    generation = module.generation
    module.call(lambda library: None, 30)

    def work(library: Any) -> int:
        made.append(library)
        if len(made) == 1:
            raise pkcs11.DeviceError
        return 7

    assert module.call(work, 30) == 7
    assert made[0] is not made[1]
    assert module.generation == generation + 1
    module.let_go(30)


# --- threads, forks, ends ---


def test_many_threads_share_one_session(keys: SoftToken) -> None:
    """The library crashes when it is used by several threads: here they never reach it."""
    first, second = open_signer(keys.uri("entries")), open_signer(keys.uri("checkpoints"))
    bad: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for count in range(25):
                signer, message = (first, second)[count % 2], f"{number}/{count}".encode()
                signer.public_key.verify(ask(signer, message), message)
        except BaseException as error:  # noqa: BLE001
            bad.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    second.close()
    assert bad == []


def test_threads_that_all_open_the_library_first(keys: SoftToken) -> None:
    opened: list[Pkcs11Signer] = []
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait()
        opened.append(open_pkcs11_signer(keys.uri("entries")))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({signer.public_key.key_id for signer in opened}) == 1
    assert len(opened) == 8
    assert len(loaded()) == 1
    for signer in opened:
        signer.close()
        signer.close()
    assert loaded() == []


def test_a_forked_child_may_not_use_it_and_opens_its_own(keys: SoftToken, tmp_path: Path) -> None:
    signer = open_signer(keys.uri("entries"))
    child = os.fork()
    if not child:
        try:
            try:
                signer.sign(b"m")
            except SignerError as error:
                assert "a forked child opens its own" in str(error)  # noqa: PT017
                signer.close()
                own = open_signer(keys.uri("entries"))
                own.public_key.verify(ask(own, b"child"), b"child")
                own.close()
                (tmp_path / "done").touch()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "done").exists()
    signer.public_key.verify(ask(signer, b"parent"), b"parent")
    signer.close()


def test_a_closed_signer_signs_no_more_and_the_library_is_gone(keys: SoftToken) -> None:
    signer = open_signer(keys.uri("entries"))
    signer.close()
    signer.close()
    assert loaded() == []
    with pytest.raises(SignerError, match="is closed"):
        signer.sign(b"m")


def test_sessions_that_were_lost_are_opened_again_and_logged_in(keys: SoftToken) -> None:
    first, second = open_signer(keys.uri("entries")), open_signer(keys.uri("checkpoints"))
    (module,) = loaded()
    for harm in (
        lambda library: module.tokens[0].session.close(),  # logged out by somebody else
        lambda library: library.reinitialize(),
        lambda library: library.finalize(),
    ):
        module.call(harm, 30)
        for signer in (first, second):
            signer.public_key.verify(ask(signer, b"m"), b"m")
    first.close()
    second.close()


def test_a_key_that_was_replaced_is_not_taken_for_the_old_one(keys: SoftToken) -> None:
    signer = open_signer(keys.uri("entries"))
    (module,) = loaded()
    for kind in ("privkey", "pubkey"):
        pkcs11_tool(keys, "--delete-object", "--type", kind, "--label", "entries")
    pkcs11_tool(keys, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "entries", "--id", "09")
    module.call(lambda library: library.reinitialize(), 30)
    with pytest.raises(SignerError, match=r"the token now holds key .* in place of") as caught:
        signer.sign(b"m")
    assert caught.value.retryable is False
    signer.close()


def test_the_process_ends_whatever_is_still_open(keys: SoftToken) -> None:
    script = (
        "from attestlog._internal.signers import open_signer\n"
        f"s = open_signer({keys.uri('entries')!r}); s.sign(b'm')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_trap_is_there(keys: SoftToken) -> None:
    """Why the signer hashes itself: if this fails, the device has learned better."""
    signer = open_pkcs11_signer(keys.uri("entries"))
    message = os.urandom(1_300)
    raw = signer._module.call(
        lambda library: signer._held_key(library).sign(message, mechanism=Mechanism.ECDSA), 30
    )
    half = pkcs11.util.ec.encode_ecdsa_signature(raw)
    signer.close()
    with pytest.raises(SignatureInvalidError):
        signer.public_key.verify(half, message)
    assert hashlib.sha256(message).digest() != message[:32]
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    assert isinstance(signer.public_key.key, EllipticCurvePublicKey)
    signer.public_key.key.verify(half, message[:32], ECDSA(Prehashed(SHA256())))
