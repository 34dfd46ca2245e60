"""Trust policies: what a file may say, and which checkpoints it accepts."""

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa
from tests.support.shapes import ORIGIN, ed25519_key

from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.cosignature import Signed, cosign
from attestlog._internal.core.note import NoteSignature, VerifierKey, format_note, format_vkey, sign_note
from attestlog._internal.core.trust import (
    TRUST_SIZE_MAX_BYTES,
    Group,
    TrustedLog,
    TrustedWitness,
    TrustPolicy,
    format_trust_policy,
    open_trusted_checkpoint,
    parse_trust_policy,
    verify_quorum,
)
from attestlog.errors import MalformedTrustError, SignatureInvalidError, TrustError

TEXT = format_checkpoint(Checkpoint(ORIGIN, 7, bytes(32)))
NOW_S = 1_761_825_600


def key(name: str, kind: int = 4) -> VerifierKey:
    return VerifierKey(name, kind, ed25519_key(name).public_key().public_bytes_raw())


LOG = key(ORIGIN, 1)
ML_DSA = mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))
LOG_PQ = VerifierKey(ORIGIN, 6, ML_DSA.public_key().public_bytes_raw())
NAMES = ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
KEYS = {name: key(f"{name.lower()}.example") for name in NAMES}
WITNESSES = [
    "\n".join(f"witness {name} {format_vkey(KEYS[name])}" for name in NAMES[:3]),
    "\n".join(f"witness {name}\t {format_vkey(KEYS[name])} https://{name}.example/ " for name in NAMES[3:]),
]
EXAMPLE = f"""
# The example of the specification, with keys
log {format_vkey(LOG)}

{WITNESSES[0]}
group X-witnesses 2 X1 X2 X3
  \t# comments may be indented
{WITNESSES[1]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
""".encode()
POLICY = parse_trust_policy(EXAMPLE)
LOG_LINE = sign_note(TEXT, LOG, ed25519_key(ORIGIN).sign)


def cosigned(*names: str, log: bool = True) -> bytes:
    lines = [cosign(TEXT, KEYS[name], NOW_S, ed25519_key(KEYS[name].name).sign) for name in names]
    return format_note(TEXT, [LOG_LINE, *lines] if log else lines)


def test_the_example_of_the_specification() -> None:
    assert (
        TrustPolicy(
            (TrustedLog(LOG),),
            tuple(
                TrustedWitness(name, KEYS[name], f"https://{name}.example/" if name[0] == "Y" else None)
                for name in NAMES
            ),
            (
                Group("X-witnesses", 2, ("X1", "X2", "X3")),
                Group("Y-witnesses", 1, ("Y1", "Y2", "Y3")),
                Group("X-and-Y", 2, ("X-witnesses", "Y-witnesses")),
            ),
            "X-and-Y",
        )
        == POLICY
    )
    spelled = format_trust_policy(POLICY)
    assert parse_trust_policy(spelled) == POLICY
    assert format_trust_policy(parse_trust_policy(spelled)) == spelled


@pytest.mark.parametrize(
    "names, holds",
    [
        ("X1 X2 Y1", True),
        ("Y3 X3 X1", True),
        ("X1 X2 X3 Y1 Y2 Y3", True),
        ("X1 X2 X3", False),
        ("X1 Y1 Y2 Y3", False),
        ("X1 X1 Y1", False),
        ("", False),
    ],
)
def test_two_levels_of_groups(names: str, holds: bool) -> None:
    data = cosigned(*names.split())
    if holds:
        found = open_trusted_checkpoint(data, POLICY)
        assert found.logs == (Signed(LOG),)
        assert found.witnesses == tuple((name, Signed(KEYS[name], NOW_S)) for name in names.split())
        return
    with pytest.raises(TrustError) as caught:
        open_trusted_checkpoint(data, POLICY)
    assert caught.value.have == sorted(set(names.split()))


def test_what_is_lacking_is_named() -> None:
    with pytest.raises(TrustError) as caught:
        verify_quorum(POLICY, ["X1", "Y1"])
    assert caught.value.have == ["X1", "Y1"]
    assert caught.value.need == [
        "group X-and-Y: 2 of X-witnesses Y-witnesses, 1 cosigned",
        "group X-witnesses: 2 of X1 X2 X3, 1 cosigned",
    ]
    with pytest.raises(TrustError) as caught:
        verify_quorum(
            parse_trust_policy(EXAMPLE.replace(b"quorum X-and-Y", b"quorum Y2")), ["Y1", "stranger"]
        )
    assert caught.value.need == ["witness Y2"]


def test_a_name_that_is_no_witness_does_not_count() -> None:
    for name in ("X-witnesses", "X-and-Y"):
        with pytest.raises(TrustError):
            verify_quorum(POLICY, [name])


def test_the_quorum_none_needs_the_log_only() -> None:
    policy = parse_trust_policy(f"log {format_vkey(LOG)}\nquorum none\n".encode())
    assert open_trusted_checkpoint(cosigned("X1"), policy).witnesses == ()
    with pytest.raises(TrustError):
        open_trusted_checkpoint(cosigned("X1", log=False), policy)


def test_witnesses_without_the_log_are_not_enough() -> None:
    with pytest.raises(TrustError, match="no log that is trusted"):
        open_trusted_checkpoint(cosigned(*NAMES, log=False), POLICY)


def test_a_log_signs_for_its_own_origin_only() -> None:
    other = key("example.com/other", 1)
    line = sign_note(TEXT, other, ed25519_key(other.name).sign)
    policy = TrustPolicy((TrustedLog(other),))
    with pytest.raises(TrustError) as caught:
        open_trusted_checkpoint(format_note(TEXT, [line, LOG_LINE]), policy)
    assert caught.value.have == [format_vkey(other)]
    assert caught.value.need == [f"log {format_vkey(other)}"]


def test_logs_known_from_elsewhere() -> None:
    policy = parse_trust_policy(b"quorum none\n")
    assert open_trusted_checkpoint(cosigned(), policy, [LOG]).logs == (Signed(LOG),)
    with pytest.raises(TrustError):
        open_trusted_checkpoint(cosigned(), policy)


def test_either_key_of_a_log_with_two_suffices() -> None:
    policy = TrustPolicy((TrustedLog(LOG), TrustedLog(LOG_PQ)))
    both = format_note(TEXT, [LOG_LINE, cosign(TEXT, LOG_PQ, 0, ML_DSA.sign)])
    assert open_trusted_checkpoint(both, policy).logs == (Signed(LOG), Signed(LOG_PQ, 0))
    assert open_trusted_checkpoint(cosigned(), policy).logs == (Signed(LOG),)


def test_a_bad_line_of_a_known_witness_spoils_the_note() -> None:
    bad = NoteSignature(KEYS["X3"].name, KEYS["X3"].key_id, bytes(72))
    data = cosigned("X1", "X2", "Y1") + format_note("", [bad])[1:]
    with pytest.raises(SignatureInvalidError):
        open_trusted_checkpoint(data, POLICY)


W1, W2 = f"witness a {format_vkey(key('a'))}\n", f"witness b {format_vkey(key('b'))}\n"
TWINS = format_vkey(VerifierKey("other", 4, key("a").public_key))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "quorum none",
        "quorum none\nquorum none\n",
        "quorum nobody\n",
        "Quorum none\n",
        "quorum none #comment\n",
        "quorum\n",
        "quorum a\n" + W1,
        "log\nquorum none\n",
        "log x+00000000+AAAA\nquorum none\n",
        f"log {format_vkey(LOG)} https://a https://b\nquorum none\n",
        f"log {format_vkey(LOG)}\nlog {format_vkey(VerifierKey('b', 1, LOG.public_key))}\nquorum none\n",
        f"log\u00a0{format_vkey(LOG)}\nquorum none\n",
        f"witness a {format_vkey(LOG)}\nquorum a\n",
        f"witness none {format_vkey(key('a'))}\nquorum none\n",
        "witness a\nquorum none\n",
        W1 + W1 + "quorum a\n",
        W1 + f"witness b {TWINS}\nquorum a\n",
        W1 + f"witness a {format_vkey(key('b'))}\nquorum a\n",
        W1 + "group a any a\nquorum a\n",
        W1 + "group g any\nquorum a\n",
        W1 + "group g any a a\nquorum a\n",
        W1 + "group g any b\n" + W2 + "quorum g\n",
        W1 + "group g any g\nquorum g\n",
        W1 + "group g any none\nquorum g\n",
        W1 + "group g 0 a\nquorum g\n",
        W1 + "group g 2 a\nquorum g\n",
        W1 + "group g 01 a\nquorum g\n",
        W1 + "group g +1 a\nquorum g\n",
        W1 + "group g \uff11 a\nquorum g\n",
        W1 + "group g ALL a\nquorum g\n",
        W1 + "group g any a\ngroup h any a\nquorum g\n",
        W1 + "group none any a\nquorum none\n",
        W1 + "quorum a\r\n",
        W1 + "quorum\x0ba\n",
        W1 + "quorum a\x00\n",
        W1 + "quorum a\x7f\n",
    ],
)
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(MalformedTrustError):
        parse_trust_policy(text.encode())


def test_the_line_at_fault_is_named() -> None:
    with pytest.raises(MalformedTrustError, match="line 3: 'b' is not defined above") as caught:
        parse_trust_policy(("\n" + W1 + "quorum b\n").encode())
    assert caught.value.line == 3


def test_names_are_bytes() -> None:
    kelvin, latin = "\u212a".encode(), b"\xff\xfe"
    data = b"".join(
        b"witness %s %s\n" % (name, format_vkey(key(f"w{number}")).encode())
        for number, name in enumerate([b"K", kelvin, latin, b"k", b"all", b"2", b"quorum"])
    )
    policy = parse_trust_policy(data + b"group g any K \xff\xfe all 2\nquorum g\n")
    assert format_trust_policy(policy).count(latin) == 2
    assert parse_trust_policy(format_trust_policy(policy)) == policy
    with pytest.raises(MalformedTrustError):
        parse_trust_policy(data + b"group g any \xff\nquorum g\n")


def test_size_at_the_limit_and_one_past_it() -> None:
    rest = b"quorum none\n"
    data = b"#" * (TRUST_SIZE_MAX_BYTES - len(rest) - 1) + b"\n" + rest
    assert parse_trust_policy(data) == TrustPolicy()
    with pytest.raises(MalformedTrustError, match="bytes"):
        parse_trust_policy(b"#" + data)


def test_many_of_each_fit() -> None:
    logs = "".join(f"log {format_vkey(key(f'log{number}', 1))}\n" for number in range(33))
    witnesses = "".join(f"witness w{number} {format_vkey(key(f'w{number}'))}\n" for number in range(33))
    groups = "group g0 all w0\n" + "".join(
        f"group g{number} all w{number} g{number - 1}\n" for number in range(1, 33)
    )
    policy = parse_trust_policy(f"{logs}{witnesses}{groups}quorum g32\n".encode())
    names = [witness.name for witness in policy.witnesses]
    verify_quorum(policy, names)
    with pytest.raises(TrustError) as caught:
        verify_quorum(policy, names[1:])
    assert len(caught.value.need) == 33
