"""Signed notes and verifier keys: values of other implementations, and one spelling only."""

import base64
from hashlib import sha256
from typing import Any

import pytest
from tests.support.shapes import ed25519_key

from attestlog._internal.core.note import (
    KEY_NAME_SIZE_MAX_BYTES,
    NOTE_SIZE_MAX_BYTES,
    SIGNATURES_MAX,
    Note,
    NoteSignature,
    VerifierKey,
    check_key_name,
    format_note,
    format_vkey,
    open_note,
    parse_note,
    parse_vkey,
    sign_note,
)
from attestlog.errors import MalformedNoteError, SignatureInvalidError, TrustError

# The example of the C2SP signed-note specification.
SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_BLOB = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
SPEC_NOTE = f"This is an example message.\n\n— example.com/foo {SPEC_BLOB}\n".encode()

# Values of the tests of Go's golang.org/x/mod/sumdb/note.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
PETER_BLOB = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
ENOCH_BLOB = "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
# Of the test log in github.com/transparency-dev/tessera.
TESSERA_VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = f"— PeterNeumann {PETER_BLOB}\n"
ENOCH_LINE = f"— EnochRoot {ENOCH_BLOB}\n"
PETER, ENOCH, SPEC = parse_vkey(PETER_VKEY), parse_vkey(ENOCH_VKEY), parse_vkey(SPEC_VKEY)


def note_of(*lines: str, text: str = TEXT) -> bytes:
    return f"{text}\n{''.join(lines)}".encode()


def changed(blob: str, at: int = 40) -> str:
    data = bytearray(base64.b64decode(blob))
    data[at] ^= 1
    return base64.b64encode(data).decode()


def test_the_specifications_example_verifies() -> None:
    note = open_note(SPEC_NOTE, [SPEC])
    assert note.text == "This is an example message.\n"
    assert [(line.name, line.key_id.hex()) for line in note.signatures] == [("example.com/foo", "530d903a")]
    assert format_note(note.text, note.signatures) == SPEC_NOTE


def test_gos_two_signers_verify_apart_and_together() -> None:
    data = note_of(PETER_LINE, ENOCH_LINE)
    for keys in ([PETER], [ENOCH], [PETER, ENOCH], [ENOCH, SPEC, PETER]):
        assert open_note(data, keys).text == TEXT


@pytest.mark.parametrize("vkey", [SPEC_VKEY, PETER_VKEY, ENOCH_VKEY, TESSERA_VKEY])
def test_vkeys_of_others_have_their_key_id(vkey: str) -> None:
    key = parse_vkey(vkey)
    name, key_id, material = vkey.split("+", 2)
    assert (key.name, key.key_id.hex()) == (name, key_id)
    assert key.key_id == sha256(name.encode() + b"\n" + base64.b64decode(material)).digest()[:4]
    assert format_vkey(key) == vkey


def test_every_part_of_a_vkey_and_every_changed_character_is_refused() -> None:
    for start in range(len(PETER_VKEY)):
        for stop in range(start, len(PETER_VKEY) + 1):
            if (start, stop) != (0, len(PETER_VKEY)):
                with pytest.raises(MalformedNoteError):
                    parse_vkey(PETER_VKEY[start:stop])
    for at, character in enumerate(PETER_VKEY):
        with pytest.raises(MalformedNoteError):
            parse_vkey(PETER_VKEY[:at] + chr(ord(character) + 1) + PETER_VKEY[at + 1 :])


def vkey_of(name: str, material: bytes) -> str:
    """Right in everything but what `material` says."""
    key_id = sha256(name.encode("utf-8", "surrogatepass") + b"\n" + material).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(material).decode()}"


@pytest.mark.parametrize(
    "vkey",
    [
        vkey_of("a", b"\x01" + bytes(31)),
        vkey_of("a", b"\x01" + bytes(33)),
        vkey_of("a", b"\x02" + bytes(32)),
        vkey_of("a", b"\x04" + bytes(31)),
        vkey_of("a", b"\x04" + bytes(33)),
        vkey_of("a", b"\x05" + bytes(32)),
        vkey_of("a", b"\x06" + bytes(32)),
        vkey_of("a", b"\x06" + bytes(1311)),
        vkey_of("a", b"\x06" + bytes(1313)),
        vkey_of("a", b"\xff" + bytes(32)),
        vkey_of("a", b""),
        vkey_of("", b"\x01" + bytes(31) + b"\x07"),
        vkey_of("a b", b"\x01" + bytes(31) + b"\x07"),
        vkey_of("a\u3000b", b"\x01" + bytes(31) + b"\x07"),
        vkey_of("a\tb", b"\x01" + bytes(31) + b"\x07"),
        vkey_of("a\udc80", b"\x01" + bytes(31) + b"\x07"),
        vkey_of("a" * 256, b"\x01" + bytes(31) + b"\x07"),
        PETER_VKEY.replace("c74f20a3", "C74F20A3"),
        PETER_VKEY.replace("c74f20a3", "0c74f20a3"),
        PETER_VKEY + "\n",
        " " + PETER_VKEY,
        PETER_VKEY.replace("ARpc", "AR pc"),
        PETER_VKEY.replace("/", "_"),
        "PRIVATE+KEY+" + PETER_VKEY,
        "é+00000000+é",
        "",
        "+",
        "++",
    ],
)
def test_what_is_no_vkey(vkey: str) -> None:
    with pytest.raises(MalformedNoteError):
        parse_vkey(vkey)


def test_names_of_keys_at_the_limit_and_one_past_it() -> None:
    longest = "é" * 127 + "x"
    assert len(longest.encode()) == KEY_NAME_SIZE_MAX_BYTES
    check_key_name(longest)
    assert parse_vkey(vkey_of(longest, b"\x01" + bytes(31) + b"\x07")).name == longest
    with pytest.raises(MalformedNoteError, match="256 bytes"):
        check_key_name(longest + "x")


SPACES = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"


@pytest.mark.parametrize("space", [*SPACES, "+"])
def test_spaces_and_plus_in_names(space: str) -> None:
    for name in (space, f"a{space}", f"{space}a", f"a{space}b"):
        with pytest.raises(MalformedNoteError):
            check_key_name(name)


@pytest.mark.parametrize(
    "name", ["a\u200db", "\U0001fae9", "a\u0300", "\ue000", "\U000e0001", "tên", "a\x7fb"]
)
def test_names_no_rule_forbids_can_be_read(name: str) -> None:
    """Not even where this interpreter's Unicode tables do not know the character yet."""
    unknown = f"— {name} {PETER_BLOB}\n"
    note = open_note(note_of(unknown, PETER_LINE), [PETER])
    assert note.signatures[0].name == name
    check_key_name(name)


def test_an_unknown_key_may_have_a_long_name() -> None:
    unknown = f"— {'x' * 300} {PETER_BLOB}\n"
    assert len(open_note(note_of(unknown, PETER_LINE), [PETER]).signatures) == 2


def test_signatures_of_unknown_keys_are_ignored() -> None:
    same_name = f"— PeterNeumann {ENOCH_BLOB}\n"  # another key ID
    same_id = f"— Peter {PETER_BLOB}\n"  # another name
    bad_unknown = f"— EnochRoot {changed(ENOCH_BLOB)}\n"
    short_unknown = f"— someone {base64.b64encode(b'1234x').decode()}\n"
    for line in (same_name, same_id, bad_unknown, short_unknown):
        for data in (note_of(line, PETER_LINE), note_of(PETER_LINE, line)):
            assert open_note(data, [PETER]).text == TEXT


def test_no_known_signature_is_no_trust() -> None:
    for keys in ([], [SPEC]):
        with pytest.raises(TrustError) as caught:
            open_note(note_of(PETER_LINE, ENOCH_LINE), keys)
        assert caught.value.found == ["PeterNeumann+c74f20a3", "EnochRoot+af0cfe78"]
        assert caught.value.expected == [format_vkey(key) for key in keys]


def test_a_bad_signature_of_a_known_key_rejects_the_note() -> None:
    bad = f"— PeterNeumann {changed(PETER_BLOB)}\n"
    for lines in ([bad], [bad, ENOCH_LINE], [ENOCH_LINE, bad], [PETER_LINE, bad], [bad, PETER_LINE]):
        with pytest.raises(SignatureInvalidError) as caught:
            open_note(note_of(*lines), [PETER, ENOCH])
        assert (caught.value.key_name, caught.value.key_id) == ("PeterNeumann", "c74f20a3")


@pytest.mark.parametrize("cut", [1, 63])
def test_a_signature_of_another_length_is_bad(cut: int) -> None:
    blob = base64.b64decode(PETER_BLOB)
    for wrong in (blob[:-cut], blob + bytes(cut)):
        line = NoteSignature("PeterNeumann", wrong[:4], wrong[4:])
        with pytest.raises(SignatureInvalidError):
            open_note(format_note(TEXT, [line]), [PETER])


@pytest.mark.parametrize(
    "text", [TEXT + "\n", TEXT[:-1] + " \n", "\n" + TEXT, TEXT.replace("your", "my"), "\n"]
)
def test_another_text_is_not_signed(text: str) -> None:
    with pytest.raises(SignatureInvalidError):
        open_note(note_of(PETER_LINE, text=text), [PETER])


@pytest.mark.parametrize("text", ["\n", "a\n\nb\n", "\n\n\n", "a\n\n— x AAAAAAA=\n", "\x7f\x85\u2028tên\n"])
def test_the_last_blank_line_ends_the_text(text: str) -> None:
    key = VerifierKey("k", 1, ed25519_key("note").public_key().public_bytes_raw())
    data = format_note(text, [sign_note(text, key, ed25519_key("note").sign)])
    assert open_note(data, [key]).text == text


MALFORMED: list[bytes] = [
    b"",
    b"\n",
    b"\n\n",
    TEXT.encode(),
    note_of(),
    note_of(PETER_LINE[:-1]),
    note_of(PETER_LINE, "Unexpected line.\n"),
    note_of("Unexpected line.\n", PETER_LINE),
    note_of(PETER_LINE, "\n"),
    note_of(PETER_LINE) + b"x",
    b"\x01" + note_of(PETER_LINE),
    b"\xff" + note_of(PETER_LINE),
    b"\xef\xbb\xbf" + note_of(PETER_LINE).replace(b"\n", b"\r\n"),
    note_of(PETER_LINE).replace(b"\n", b"\r\n"),
    note_of(PETER_LINE).replace(b"you ", b"you\t", 1),
    note_of(PETER_LINE).replace("—".encode(), b"-"),
    note_of(PETER_LINE).replace("—".encode(), "\u2013".encode()),
    note_of(PETER_LINE).replace("— ".encode(), "—".encode()),
    note_of(PETER_LINE).replace("— ".encode(), "—  ".encode()),
    note_of(PETER_LINE.replace("PeterNeumann", "Peter Neumann")),
    note_of(PETER_LINE.replace("PeterNeumann", "Peter\u00a0Neumann")),
    note_of(PETER_LINE.replace("PeterNeumann", "Peter+Neumann")),
    note_of(PETER_LINE.replace("PeterNeumann", "")),
    note_of(PETER_LINE.replace("nAM=", "nAM")),
    note_of(PETER_LINE.replace("nAM=", "nAN=")),  # the same bytes with other trailing bits
    note_of(PETER_LINE.replace("nAM=", "nAM=\n=")),
    note_of(PETER_LINE.replace("nAM=", "nAM= ")),
    note_of(PETER_LINE.replace("x08g", "x0-g")),
    note_of(PETER_LINE.replace("x08g", "x08g ")),
    note_of(PETER_LINE.replace("x08g", "x08é")),
    note_of("— PeterNeumann x08gow==\n"),  # a key ID and no signature
    note_of("— PeterNeumann x08g\n"),
    note_of("— PeterNeumann \n"),
    note_of("— PeterNeumann\n"),
    note_of("— \n"),
    note_of("—\n"),
]


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_note(data: bytes) -> None:
    with pytest.raises(MalformedNoteError):
        open_note(data, [PETER])


def test_the_trailing_bits_are_what_was_wrong() -> None:
    assert base64.b64decode("nAN=") == base64.b64decode("nAM=")


def test_number_of_signatures_at_the_limit_and_one_past_it() -> None:
    assert len(open_note(note_of(*[PETER_LINE] * SIGNATURES_MAX), [PETER]).signatures) == SIGNATURES_MAX
    with pytest.raises(MalformedNoteError, match="101 signatures"):
        open_note(note_of(*[PETER_LINE] * (SIGNATURES_MAX + 1)), [PETER])


def test_size_of_a_note_at_the_limit_and_one_past_it() -> None:
    rest = len(note_of(PETER_LINE, text="\n"))
    data = note_of(PETER_LINE, text="x" * (NOTE_SIZE_MAX_BYTES - rest) + "\n")
    assert len(data) == NOTE_SIZE_MAX_BYTES
    assert isinstance(parse_note(data), Note)
    with pytest.raises(MalformedNoteError, match=str(NOTE_SIZE_MAX_BYTES + 1)):
        parse_note(b"x" + data)


def test_sixteen_post_quantum_signatures_fit() -> None:
    line = f"— {'n' * 255} {base64.b64encode(bytes(4 + 8 + 2420)).decode()}\n"
    parse_note(note_of(*[line] * 16, PETER_LINE))


def test_a_signers_wrong_answer_is_not_written_down() -> None:
    key = VerifierKey("k", 1, ed25519_key("note").public_key().public_bytes_raw())
    for answer in (b"", bytes(64), ed25519_key("another").sign(TEXT.encode())):

        def sign(message: bytes, answer: bytes = answer) -> bytes:
            return answer

        with pytest.raises(SignatureInvalidError):
            sign_note(TEXT, key, sign)


def test_what_is_parsed_is_formatted_back() -> None:
    for data in (SPEC_NOTE, note_of(PETER_LINE, ENOCH_LINE), note_of(PETER_LINE, text="a\n\n\nb\n")):
        note: Any = parse_note(data)
        assert format_note(note.text, note.signatures) == data
