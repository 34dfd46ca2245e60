"""Redaction: what is a secret is replaced, what is none is not, and the holder of the key can show which."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins
from tests.support.logs import parsed
from tests.support.secrets import (
    FOUND_NAMES,
    MISSED_NAMES,
    MISSED_SHAPES,
    PARTS_FOUND,
    PLAIN_MEMBERS,
    VALUE,
    WHOLE_SHAPES,
)

import attestlog
from attestlog._internal.core import canonical
from attestlog._internal.core.entry import parse_draft
from attestlog._internal.core.policy import Redaction, parse_policy
from attestlog._internal.core.policy_change import modify_rule_payload, set_policy_payload
from attestlog._internal.core.redaction import (
    REDACTED_MEMBERS,
    Redactor,
    commitment,
    find_nonces,
    subkey,
    verify_commitment,
)
from attestlog._internal.core.secrets import PATTERN_SOURCES
from attestlog._internal.signers.redaction_key import read_redaction_key, redaction_key, redaction_key_path
from attestlog.errors import HashMismatchError, KeyFileError, MalformedEntryError, MalformedPolicyError
from attestlog.testing import check_log

KEY = bytes(range(32))
SECRETS = {
    "access_key": ["AKIAIOSFODNN7EXAMPLE", "AIza" + "A" * 35],
    "private_key": ["-----BEGIN EC PRIVATE KEY-----\n" + "MHcCAQEE" * 8 + "\n-----END EC PRIVATE KEY-----"],
    "token": [
        "ghp_" + "a1" * 18, "github_pat_" + "x" * 40, "xoxb-1234567890-abcdefghij", "glpat-" + "y" * 20,
        "sk-ant-" + "z9" * 15, "sk_live_" + "q" * 24, "hf_" + "T" * 34, "npm_" + "k" * 36,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r", "Bearer " + "t0" * 12,
        "BEARER " + "T0" * 12,
    ],
    "email": ["bob@example.com", "ngọc.anh+log@mail.example.vn"],
}  # fmt: skip
ALL = Redaction(patterns=["access_key", "email", "private_key", "token"])
PLAIN: dict[str, Any] = {
    "description": "refactor the scheduler; see https://example.com/a/very/long/path/without/spaces.html",
    "sha256": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "id": "0b6a2f9c-7c1f-4b7e-9d0d-5a7f2b1c3d4e",
    "max_tokens": 1000, "tokens": 12, "key": "a", "note": "the password is kept elsewhere",
    "pinned": True,
}  # fmt: skip


def commit(what: str, value: bytes) -> str:
    return commitment(KEY, os.urandom(8), what, value)


def redacted(value: Any, redaction: Redaction | None = None) -> tuple[bool, Any]:
    """Whether the quick look suspects a payload, and what becomes of it."""
    redactor = Redactor(redaction or Redaction())
    given = parsed(action_payload=value)
    return redactor.suspects(given, [canonical.encode(value)]), redactor.redact(given, commit).action_payload


@pytest.mark.parametrize("kind, secret", [(kind, text) for kind, texts in SECRETS.items() for text in texts])
def test_secrets_within_text_are_cut_out(kind: str, secret: str) -> None:
    suspected, payload = redacted({"log": [f"before {secret} after"], "n": {"x": secret}}, ALL)
    assert suspected
    assert secret not in json.dumps(payload)
    before, text, after = payload["log"][0].partition("[redacted:")
    assert (before, text, after.partition("] ")[2]) == ("before ", "[redacted:", "after")
    assert payload["n"]["x"].startswith(f"[redacted:{kind}:")


@pytest.mark.parametrize("kind, secret", [(kind, text) for kind, texts in SECRETS.items() for text in texts])
def test_a_pattern_that_is_not_asked_for_is_left(kind: str, secret: str) -> None:
    _, payload = redacted({"text": secret}, Redaction(patterns=[], fields=[]))
    assert payload == {"text": secret}
    suspected, _ = redacted({"text": secret}, Redaction(patterns=[], fields=[]))
    assert not suspected
    assert kind in PATTERN_SOURCES


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "PASSWORD",
        "Client_Secret",
        "api_key",
        "OPENAI_API_KEY",
        "pin",
    ],
)
@pytest.mark.parametrize("value", ["hunter2", 1234, 0, ["a", "b"], {"user": "u", "value": "v"}])
def test_fields_are_replaced_whole_at_any_depth(name: str, value: Any) -> None:
    suspected, payload = redacted({"a": [{"b": {name: value}}, 1]})
    assert suspected
    text = payload["a"][0]["b"][name]
    assert text.startswith("[redacted:field:")
    (nonce,) = find_nonces(text)
    verify_commitment(text, value, subkey(KEY, nonce))


@pytest.mark.parametrize("value", [None, True, False, "", [], {}])
def test_nothing_is_no_secret(value: Any) -> None:
    assert redacted({"password": value})[1] == {"password": value}


def test_plain_payloads_are_not_even_suspected() -> None:
    assert redacted(PLAIN) == (False, PLAIN)


def test_names_of_members_hold_secrets_too() -> None:
    _, payload = redacted({"seen": {"bob@example.com": 1, "eve@example.com": 2}}, ALL)
    assert all(name.startswith("[redacted:email:") for name in payload["seen"])
    assert sorted(payload["seen"].values()) == [1, 2]


def test_equal_values_do_not_look_equal_and_each_has_a_key_of_its_own() -> None:
    _, payload = redacted({"password": "same", "secret": "same"})
    one, two = payload["password"], payload["secret"]
    assert one[-65:] != two[-65:]
    verify_commitment(one, "same", subkey(KEY, *find_nonces(one)))
    with pytest.raises(HashMismatchError):
        verify_commitment(one, "same", subkey(KEY, *find_nonces(two)))
    with pytest.raises(HashMismatchError):
        verify_commitment(one, "other", subkey(KEY, *find_nonces(one)))
    with pytest.raises(MalformedEntryError):
        verify_commitment(one + " ", "same", subkey(KEY, *find_nonces(one)))


def test_redacting_again_changes_nothing() -> None:
    _, once = redacted({"password": "x", "text": "to bob@example.com, ghp_" + "a" * 36}, ALL)
    assert redacted(once, ALL)[1] == once


def test_every_member_that_is_named_is_covered_and_no_other() -> None:
    redactor = Redactor(Redaction())
    members: dict[str, Any] = {name: {"password": "hunter2"} for name in REDACTED_MEMBERS}
    given = parsed(**members, provided_proofs=[{"type": "t", "valid": False, "password": "hunter2"}])
    out = redactor.redact(given, commit)
    for name in REDACTED_MEMBERS:
        assert "hunter2" not in json.dumps(getattr(out, name))
        one = parsed(**{name: {"password": "hunter2"}})
        assert redactor.suspects(one, [])
    assert out.provided_proofs == given.provided_proofs


def test_patterns_of_the_log_s_own() -> None:
    redaction = Redaction(custom_patterns={"case no.": r"CASE-\d+"})
    suspected, payload = redacted({"text": "see CASE-17"}, redaction)
    assert suspected
    assert payload["text"].startswith("see [redacted:case_no_:")


@pytest.mark.parametrize("name", [name.rstrip("*") for name in FOUND_NAMES])
def test_names_of_secrets_are_found(name: str) -> None:
    for value in ({name: VALUE}, {"headers": [{"name": name, "value": VALUE}]}, {"pairs": [[name, VALUE]]}):
        suspected, payload = redacted({"a": [value]})
        assert suspected
        assert VALUE not in json.dumps(payload)
        assert "[redacted:field:" in json.dumps(payload)


def test_the_tables_are_as_long_as_they_were() -> None:
    assert len(FOUND_NAMES) == len(set(FOUND_NAMES)) >= 86
    assert len(WHOLE_SHAPES) + len(PARTS_FOUND) >= 41
    of_sentry = [name for name in (*FOUND_NAMES, *MISSED_NAMES) if name.endswith("*")]
    assert len(of_sentry) == 31
    assert all(MISSED_NAMES.values())
    assert all(MISSED_SHAPES.values())


@pytest.mark.parametrize("name", [name.rstrip("*") for name in MISSED_NAMES])
def test_names_that_are_not_found_are_listed(name: str) -> None:
    assert redacted({name: VALUE})[1] == {name: VALUE}


@pytest.mark.parametrize("name, value", PLAIN_MEMBERS.items())
def test_evidence_stays(name: str, value: Any) -> None:
    assert redacted({name: value})[1] == {name: value}


@pytest.mark.parametrize("shape", WHOLE_SHAPES)
def test_shapes_of_secrets_are_cut_out(shape: str) -> None:
    secret = WHOLE_SHAPES[shape]
    suspected, payload = redacted({"a": f"see {secret} here", "b": secret, "c": f"'{secret}'", secret: 1})
    assert suspected
    assert secret not in json.dumps(payload)
    assert payload["a"].startswith("see [redacted:")
    assert payload["a"].endswith("] here")
    assert payload["c"].endswith("]'")


@pytest.mark.parametrize("text, what", PARTS_FOUND)
def test_secrets_given_in_texts_are_cut_out(text: str, what: str) -> None:
    before, _, after = text.partition("%s")
    secret = VALUE + "XXXXXXXX" if "webhook" in what else VALUE
    suspected, payload = redacted({"text": before + secret + after})
    assert suspected, what
    assert secret not in payload["text"]
    start = before.removesuffix("Bearer ").removesuffix("T0001/B0001/")
    assert payload["text"].startswith(f"{start}[redacted:")
    assert payload["text"].endswith("]" + after if "Cookie" not in text else "]")


@pytest.mark.parametrize("text", MISSED_SHAPES)
def test_shapes_that_are_not_found_are_listed(text: str) -> None:
    assert redacted({"text": text})[1] == {"text": text}


@pytest.mark.parametrize(
    "spelling", ["sessionKey", "session-key", "SESSION_KEY", "session.key", "SessionKey2", "_sessionKey"]
)
@pytest.mark.parametrize("glob", ["session_key", "sessionKey", "SESSION-KEY", "*ion_key", "sess?on_key"])
def test_a_name_is_one_however_it_is_spelled(spelling: str, glob: str) -> None:
    for value in (7, "x", ["a"]):
        suspected, payload = redacted({spelling: value}, Redaction(fields=[glob]))
        assert suspected
        assert payload[spelling].startswith("[redacted:field:")
    suspected, payload = redacted({"text": f"{spelling}=hunter2"}, Redaction(fields=[glob]))
    assert suspected
    assert "hunter2" not in payload["text"]


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=60), max_size=4), st.sampled_from(PARTS_FOUND))
def test_what_is_not_suspected_has_nothing_to_redact(payload: dict[str, str], part: tuple[str, str]) -> None:
    for value in (
        payload,
        {"a": payload, "text": "".join(payload.values()) + part[0].replace("%s", "v4lue7x")},
    ):
        suspected, out = redacted(value)
        assert suspected or out == value


def test_a_glob_s_token_is_replaced_whatever_it_is() -> None:
    assert redacted({"page_token": 3}, Redaction(fields=["page_token"]))[1]["page_token"].startswith(
        "[redacted:"
    )
    assert redacted({"token": 3, "b": {"token": "secret7"}})[1]["token"] == 3
    nested = redacted({"authorization": {"scheme": "Digest", "realm": ["a", "dXNlcjpwYXNz"]}})[1][
        "authorization"
    ]
    assert nested["scheme"].startswith("[redacted:")
    assert nested["realm"][0] == "a"
    assert nested["realm"][1].startswith("[redacted:")


def test_commitments_stay_beside_new_ones() -> None:
    _, once = redacted({"text": f"password={VALUE} and token={VALUE}"})
    _, twice = redacted({"text": once["text"] + f" secret={VALUE}"})
    assert twice["text"].startswith(once["text"] + " secret=[redacted:field:")


def test_off_is_off() -> None:
    assert redacted({"password": "x"}, Redaction(enabled=False))[0] is False


def test_an_entry_that_changes_the_rules_is_left_as_it_is() -> None:
    given = parsed(action_payload={"password": "x"})
    rules = msgspec.structs.replace(given, event_type="CHANGE", action_type="attestlog.rotate_signing_key")
    redactor = Redactor(Redaction())
    assert redactor.suspects(given, [])
    assert not redactor.suspects(parse_draft(rules), [])


def test_made_up_names_do_not_fill_memory() -> None:
    redactor = Redactor(Redaction())
    redactor.redact_value({f"name{number}": number for number in range(10_000)}, commit)
    assert len(redactor._plain) <= 4_096


# --- through the log ---


def test_a_receipt_says_what_was_redacted(tmp_path: Path, own_home: Path) -> None:
    payload = {"a.b": [{"pin": 1234}, f"key {SECRETS['token'][0]} and {SECRETS['access_key'][0]}"], "n": 1}
    with attestlog.create(tmp_path / "log", origin="example.com/r") as log:
        receipt = log.append(parsed(action_payload=payload, result_data={"ok": True, "cookie": VALUE}))
        assert log.append(parsed(action_payload={"text": "plain"})).redacted == []
    assert receipt.redacted == [
        ('action_payload."a.b"[0].pin', "field"),
        ('action_payload."a.b"[1]', "token"),
        ('action_payload."a.b"[1]', "access_key"),
        ("result_data.cookie", "field"),
    ]


@pytest.mark.parametrize("source", ["(", "a(?=b)", r"(a)\1", "a*?", "(?P<x>a)", "a{2000}", "[z-a]"])
def test_a_policy_whose_patterns_cannot_be_run_is_not_written(
    tmp_path: Path, own_home: Path, source: str
) -> None:
    policy = parse_policy({"redaction": {"custom_patterns": {"x": source}}})  # a verifier reads no patterns
    with pytest.raises(MalformedPolicyError, match="not a pattern") as caught:
        attestlog.create(tmp_path / "refused", origin="example.com/r", policy=policy)
    assert caught.value.member == "redaction.custom_patterns.x"
    assert not (tmp_path / "refused").exists()
    with attestlog.create(tmp_path / "log", origin="example.com/r") as log:
        changes = [set_policy_payload(log.rules, policy)] + [
            modify_rule_payload(log.rules, scope, value, proposal_id="P", change_description="d")
            for scope, value in [
                ("redaction.custom_patterns.x", source),
                ("redaction.custom_patterns", {"x": source}),
                ("redaction", to_builtins(policy.redaction)),
            ]
        ]
        for payload in changes:
            name = "attestlog.set_policy" if "policy" in payload else "attestlog.modify_policy_rule"
            with pytest.raises(MalformedPolicyError, match="not a pattern"):
                log.change(name, actor_id="a", action_payload=payload)
        assert log.head().size == 1


def test_a_log_whose_policy_cannot_be_run_takes_another_policy_and_no_other_entry(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = parse_policy({"redaction": {"custom_patterns": {"x": "a(?=b)"}}})
    with monkeypatch.context() as patch:
        patch.setattr("attestlog._internal.log.opening.compile_patterns", lambda _: [])
        attestlog.create(tmp_path / "log", origin="example.com/r", policy=policy).close()
    attestlog.verify(tmp_path / "log").raise_for_verdict()
    with attestlog.open(tmp_path / "log") as log:
        with pytest.raises(MalformedPolicyError, match="not a pattern"):
            log.append(parsed(action_payload={"a": 1}))
        payload = set_policy_payload(log.rules, parse_policy({}))
        log.change("attestlog.set_policy", actor_id="a", action_payload=payload)
        log.append(parsed(action_payload={"a": 1}))


def test_a_secret_never_reaches_the_disk(tmp_path: Path, own_home: Path) -> None:
    policy = parse_policy({"redaction": {"patterns": list(ALL.patterns)}})
    with attestlog.create(tmp_path / "log", origin="example.com/r", policy=policy) as log:
        receipts = [
            log.append(parsed(action_payload={"url": "x", "password": "hunter2"})),
            log.append(parsed(result_data={"mail": "bob@example.com"}, action_payload={"a": 1})),
            log.append(parsed(error_details={"traceback": f"... {SECRETS['token'][0]}"})),
            *log.append_many([parsed(actor_context={"access_token": "hunter2"})]),
            log.submit(parsed(environment={"X_API_KEY": "hunter2"})).result(),
        ]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "log").rglob("*") if path.is_file())
    for secret in ("hunter2", "bob@example.com", SECRETS["token"][0]):
        assert secret.encode() not in stored
    check_log(tmp_path / "log", receipts)
    payload = receipts[0].entry.action_payload
    assert payload is not None
    text = payload["password"]
    key = read_redaction_key(redaction_key_path("example.com/r"))
    assert key.hex().encode() not in stored
    verify_commitment(text, "hunter2", subkey(key, *find_nonces(text)))


def test_unredacted_is_as_given(tmp_path: Path, own_home: Path) -> None:
    with attestlog.create(tmp_path / "log", origin="example.com/r") as log:
        (receipt,) = log.append_unredacted([parsed(action_payload={"password": "x"})])
    assert receipt.entry.action_payload == {"password": "x"}


def test_a_payload_that_contains_itself_is_refused_before_it_is_redacted(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def redact(*_: object) -> None:
        raise AssertionError("it would never end")

    loop: dict[str, Any] = {"a": 1}
    loop["loop"] = [loop]
    members: dict[str, Any] = {"action_type": "a", "actor_id": "b", "action_payload": loop}
    with attestlog.create(tmp_path / "log", origin="example.com/r") as log:
        monkeypatch.setattr(Redactor, "redact_value", redact)
        monkeypatch.setattr(Redactor, "suspects", redact)
        calls: list[Callable[[], object]] = [
            lambda: log.storable_payload(loop, "a"),
            lambda: log.guard(**members).__enter__(),
            lambda: log.guard(**members).request,
            lambda: log.append(event_type="ACTION", **members),
            lambda: log.check({"event_type": "ACTION", **members}),
            lambda: log.request(event_type="ACTION", **members),
        ]
        for call in calls:
            with pytest.raises(MalformedEntryError, match="nested deeper than 64 levels") as caught:
                call()
            assert caught.value.member == "action_payload.loop"
        assert log.head().size == 1


def test_the_policy_turns_it_off(tmp_path: Path, own_home: Path) -> None:
    policy = parse_policy({"redaction": {"enabled": False}})
    with attestlog.create(tmp_path / "log", origin="example.com/r", policy=policy) as log:
        receipt = log.append(parsed(action_payload={"password": "x"}))
    assert receipt.entry.action_payload == {"password": "x"}
    assert not redaction_key_path("example.com/r").exists()


def test_without_a_key_nothing_is_written(tmp_path: Path, own_home: Path) -> None:
    with attestlog.create(tmp_path / "log", origin="example.com/r") as log:
        path = redaction_key_path("example.com/r")
        path.write_text("no key")
        path.chmod(0o600)
        with pytest.raises(KeyFileError, match="holds no redaction key"):
            log.append(parsed(action_payload={"password": "x"}))
        log.append(parsed(action_payload={"plain": "x"}))
        assert log.head().size == 2


def test_the_key_is_made_once_and_only_for_its_owner(own_home: Path) -> None:
    key = redaction_key("example.com/r")
    path = redaction_key_path("example.com/r")
    assert redaction_key("example.com/r") == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert redaction_key("example.com/s") != key
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="others can read"):
        redaction_key("example.com/r")


@pytest.mark.parametrize("size", [31, 33])
def test_a_key_has_one_size(size: int) -> None:
    with pytest.raises(ValueError, match="want 32"):
        subkey(bytes(size), bytes(8))
