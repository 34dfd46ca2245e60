"""Lines to try a native core with: right ones in many spellings, and what one change makes of them.

Hashes are made from the bytes of the changed line, so that the change itself must be noticed, not its hash.
"""

import random
from collections.abc import Callable

from attestlog._internal.native.selftest import ALGORITHM, MEMBERS, RULES, seal

_ID = '"%s9d1f2e-5a53-4d30-9c1b-6a1f0c2b7e11"'
_HASH = b'"' + b"5a" * 32 + b'"'
_RULES = f'"attestlog_rules":"{RULES}"'

FRAGMENTS = (
    b" ",
    b"0",
    b"-",
    b".0",
    b"e0",
    b"E5",
    b"1e21",
    b"-0",
    b"\\u0041",
    b"\\/",
    b"\\u001F",
    b"\\u000a",
    b"\\ud800",
    b"\\u001f",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"null",
    b"true",
    b'"',
    b",",
    b"{}",
    b"[]",
    b'"a":1,',
    b"\t",
    b"\x00",
    b"9007199254740993",
    b"1.0",
    b"00",
    b"Infinity",
    b"NaN",
    b"1e400",
    b"\xee\x80\x80",
    b"\xf0\x9f\x98\x80",
    b"\xe2\x80\xa8",
    b"\x7f",
    b"\\",
    b"}",
    b"]",
    b":",
    b"[[",
    b"]]",
    b"1e-7",
)

VALUES: dict[str, tuple[bytes, ...]] = {
    "action_payload": (
        b"{}",
        b"null",
        b'{"a":[1,2.5,-3,1e+21,1e-7,0.000001,123456.789]}',
        '{"é":"\\n","\U0001f600":{}}'.encode(),
        b'{"hsm_signature":"ab:1/2:"}',
        b'{"guard":"intent"}',
        '{"\U0001f600":1,"\ue000":2}'.encode(),
        b'{"x":' + b"[" * 61 + b"]" * 61 + b"}",
        b'{"x":' + b"[" * 62 + b"]" * 62 + b"}",
        b'{"":0,"\\u0000":1}',
        b'{"\\\\":1,"]":2}',
        b'{"":5e-324,"b":1.7976931348623157e+308}',
    ),
    "action_type": (b'"deploy"', b'"attestlog.x"', '"é"'.encode(), b'"a\\"b"', b'"' + b"x" * 256 + b'"'),
    "actor_context": (
        b'{"counter":1,"session":"s"}',
        b'{"guard":"intent"}',
        b'{"guard":"outcome"}',
        b'{"guard":"violation"}',
        b'{"counter":0,"guard":"outcome","session":"\\n"}',
        b'{"counter":1.5}',
        b'{"counter":-1}',
        b'{"guard":1,"session":2}',
    ),
    "actor_id": (b'"ROOT"', b'"root"', '"\U0001f600"'.encode(), b'"\\\\"'),
    "actor_type": (b'"HUMAN"', b'"SYSTEM"', b'"EXTERNAL"'),
    "composite_score": (b"8.75", b"9", b"null", b"8.5", b"0", b"10", b"8.666667", b"8.666666", b"0.0078125"),
    "conflicts_detected": (b'["a"]', b'["",""]'),
    "dependencies": (b"[" + (_ID % "1d").encode() + b"]", b"[" + (_ID % "0d").encode() + b"]"),
    "environment": (
        f'{{"a":"b",{_RULES}}}'.encode(),
        f'{{{_RULES},"z":""}}'.encode(),
        f'{{"attestlog_holds":"8:{"cd" * 32}",{_RULES}}}'.encode(),
        b"{}",
    ),
    "error_details": (
        b"{}",
        b'{"violated_invariant":"INVARIANT_5_QUORUM"}',
        b'{"violated_invariant":"X"}',
        b'{"violated_invariant":null}',
        b'{"violated_invariant":1}',
    ),
    "event_category": (b'"WARNING"', b'"ERROR"', b'"CRITICAL"'),
    "event_type": (b'"DECISION"', b'"VIOLATION"', b'"CHANGE"', b'"BOOT"', b'"SHUTDOWN"'),
    "execution_status": (b'"FAILED"', b'"BLOCKED"', b'"ROLLED_BACK"'),
    "hsm_signature": (b'"ab"', b'"00:0/1:"', b'""', b'"0"', b'"AB"', b'"00:0/1:00"'),
    "k_state": (b"0", b"1"),
    "pillars_scores": (
        b"{}",
        b'{"an_toan":9}',
        b'{"an_toan":9,"duong_dai":8,"han_che_rui_ro":9,"tin_vao_so_lieu":8.5}',
        b'{"an_toan":1.5,"tin_vao_so_lieu":10}',
        b'{"han_che_rui_ro":0,"tin_vao_so_lieu":0.1}',
        b'{"an_toan":10.5}',
    ),
    "proofs_valid": (b"false",),
    "provided_proofs": (
        b'[{"type":"k1_state","valid":true}]',
        b'[{"type":"pillars","valid":true}]',
        b'[{"type":"x","valid":true}]',
        b'[{"type":"safety_floor","valid":true},{"a":1,"type":"rollback","valid":false}]',
        b'[{"type":"x"}]',
        b'[{"type":"actor_signature","valid":true}]',
        b'[{"type":"x","valid":1}]',
        b'[{"type":"attribution_intact","valid":true},{"type":"rollback","valid":true}]',
    ),
    "quorum_met": (b"false",),
    "received_approvals": (
        b'[{"signature":"00","signer":"a","timestamp":"2026-01-01T00:00:00.000000Z"}]',
        b"[{}]",
        b'[{"signer":1}]',
    ),
    "replicas": (b'["a","b"]',),
    "required_approvals": (b"1", b"9007199254740991", b"-1"),
    "required_proofs": (b'["k1_state"]', b'["safety_floor","k1_state"]', b'["x"]', b'["k1\\u0001"]'),
    "result_data": (b'{"ok":true}', b"{}"),
    "rollback_available": (b"true",),
    "rollback_executed": (b"true",),
    "rollback_snapshot_hash": (_HASH, _HASH.upper()),
    "safety_floor_met": (b"true", b"false", b"null"),
    "sequence_number": (b"0", b"9007199254740991", b"9007199254740992", b"1.0"),
    "severity": (b"0", b"10", b"11", b"5.0"),
    "signature_algorithm": (b'"%b+BATCH"' % ALGORITHM.encode(), b'"Ed25519"'),
    "signing_key_id": (b'"' + b"00" * 32 + b'"',),
    "system_state_snapshot": (b'{"log_head":{"entry_hash":"' + b"ef" * 32 + b'","size":12}}', b'{"a":[]}'),
    "timestamp": (
        b'"2024-02-29T23:59:59.999999Z"',
        b'"2023-02-29T00:00:00.000000Z"',
        b'"2026-12-31T24:00:00.000000Z"',
        b'"2026-13-01T00:00:00.000000Z"',
        b'"2026-04-31T00:00:00.000000Z"',
        b'"2100-02-29T00:00:00.000000Z"',
        b'"2026-01-01T00:00:00.000000Z\\n"',
        b'"2026-01-01 00:00:00.000000Z"',
        b'"0000-01-01T00:00:00.000000Z"',
    ),
}
"""Values of members that are right, nearly right, or right only beside others."""

_CONSISTENT: tuple[dict[str, bytes], ...] = (
    # Right where each pillar counts and the second weighs nothing; the other way round, wrong there.
    {
        "composite_score": b"9",
        "pillars_scores": b'{"an_toan":9,"duong_dai":5}',
        "safety_floor_met": b"false",
    },
    {"composite_score": b"9", "pillars_scores": b'{"an_toan":9,"duong_dai":5}'},
    {"action_type": b'"deploy"'},
    {"action_type": b'"deploy"', "provided_proofs": b'[{"type":"k1_state","valid":true}]'},
    {"composite_score": b"null", "pillars_scores": b"{}", "safety_floor_met": b"null"},
    {"composite_score": b"9", "pillars_scores": b'{"an_toan":9}'},
    {"conflicts_detected": b'["a"]', "k_state": b"0"},
    {"event_type": b'"DECISION"', "actor_context": b'{"counter":4,"guard":"intent"}'},
    {"actor_context": b'{"guard":"outcome"}', "dependencies": b"[" + (_ID % "1d").encode() + b"]"},
    {"provided_proofs": b'[{"type":"k1_state","valid":true}]', "required_proofs": b'["k1_state"]'},
    {"rollback_executed": b"true", "rollback_snapshot_hash": _HASH},
    {"signature_algorithm": b'"%b+BATCH"' % ALGORITHM.encode(), "hsm_signature": b'"00:0/1:"'},
    {"action_payload": b"null", "action_hash": _HASH},
)


class Fuzzer:
    """Makes lines, from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._damages: tuple[Callable[[dict[str, bytes]], bytes], ...] = (
            self._value,
            self._value,
            self._spelling,
            self._spelling,
            self._borrowed,
            self._order,
            self._bytes,
        )

    def lines(self) -> list[bytes]:
        """One line, or two or three in a row; mostly one of them is changed."""
        chosen = self._random
        count = chosen.choice((1, 1, 2, 3))
        changed = chosen.randrange(count) if chosen.random() < 0.8 else None
        lines: list[bytes] = []
        previous, number = MEMBERS["prev_entry_hash"], 12
        for place in range(count):
            members = {
                **MEMBERS,
                **self._right(),
                "prev_entry_hash": previous,
                "sequence_number": b"%d" % (number + place),
                "entry_id": (_ID % f"{0 if chosen.random() < 0.1 else place:02x}").encode(),
            }
            line = self._changed(members) if place == changed else seal(members)
            lines.append(line)
            at = line.find(b'"entry_hash":"')
            previous = line[at + 13 : at + 79]
        return lines

    def _right(self) -> dict[str, bytes]:
        chosen = self._random
        made = dict(chosen.choice(_CONSISTENT)) if chosen.random() < 0.5 else {}
        for name in (
            "action_payload",
            "environment",
            "event_category",
            "result_data",
            "replicas",
            "actor_type",
        ):
            if chosen.random() < 0.3 and name not in made:
                made[name] = chosen.choice(VALUES[name])
        return made

    def _changed(self, members: dict[str, bytes]) -> bytes:
        return self._random.choice(self._damages)(members)

    def _value(self, members: dict[str, bytes]) -> bytes:
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            name = self._random.choice(tuple(VALUES))
            members[name] = self._random.choice(VALUES[name])
        return seal(members)

    def _spelling(self, members: dict[str, bytes]) -> bytes:
        name = self._random.choice([name for name in members if members[name]])
        members[name] = self._mutated(members[name])
        return seal(members)

    def _borrowed(self, members: dict[str, bytes]) -> bytes:
        name, other = self._random.sample([name for name in members if members[name]], 2)
        members[name] = members[other]
        return seal(members)

    def _order(self, members: dict[str, bytes]) -> bytes:
        names = list(members)
        place = self._random.randrange(len(names) - 1)
        kind = self._random.randrange(3)
        if kind == 0:
            names[place], names[place + 1] = names[place + 1], names[place]
            return seal({name: members[name] for name in names})
        line = seal(members)
        member = b'"%b":%b,' % (names[place].encode(), members[names[place]] or b'""')
        return line.replace(member, b"" if kind == 1 else member * 2, 1)

    def _bytes(self, members: dict[str, bytes]) -> bytes:
        return self._mutated(seal(members))

    def _mutated(self, data: bytes) -> bytes:
        chosen = self._random
        for _ in range(chosen.choice((1, 1, 1, 2))):
            at = chosen.randrange(len(data) + 1)
            kind = chosen.randrange(5)
            if kind == 0 and at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << chosen.randrange(8))]) + data[at + 1 :]
            elif kind == 1:
                data = data[:at] + chosen.choice(FRAGMENTS) + data[at:]
            elif kind == 2:
                data = data[:at] + data[at + chosen.randrange(1, 4) :]
            elif kind == 3:
                data = data[:at] + bytes([chosen.randrange(256)]) + data[at:]
            else:
                data = data[:at] + data[at : at + chosen.randrange(1, 9)] + data[at:]
        return data.replace(b"\n", b"\\n") or b"x"
