# ruff: noqa: E501 - what stands in the source is quoted as it stands
"""Leave out one check of the native core at a time: `python -m tests.native.mutants` sees that a test notices.

Each mutant is built (cargo is needed), put in front of the installed core, and given to the tests of this
folder. One that they let pass is printed, and the exit code is 1.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "native-mutants"
CRATE = BUILD / "crate"
FOUND = BUILD / "found"
"""Where Python finds the mutant."""

MUTANTS: tuple[tuple[str, str, str], ...] = (
    # canonical form
    ("json.rs", "if !line.is_ascii() && std::str::from_utf8(line).is_err()", "if false"),
    ("json.rs", "if size == 0 || (size > 1 && digits[0] == b'0')", "if size == 0"),
    ("json.rs", "if value > INTEGER_MAX || (is_negative && value == 0)", "if value > INTEGER_MAX"),
    ("json.rs", "if value > INTEGER_MAX || (is_negative && value == 0)", "if is_negative && value == 0"),
    ("json.rs", "if !value.is_finite() || ryu_js::Buffer::new().format_finite(value) != text", "if !value.is_finite()"),
    ("json.rs", "if level + self.frames.len() > DEPTH_MAX", "if level + self.frames.len() > DEPTH_MAX + 1"),
    ("json.rs", "if !ascends(before, name) {", "if false {"),
    ("json.rs", "if last.is_some_and(|before| !ascends(before, name))", "if false"),
    ("json.rs", "!text.has_escapes && text.raw.iter().all(|byte| *byte < 0xEE)", "!text.has_escapes"),
    ("json.rs", "let is_simple = |text: &Text<'_>| !text.has_escapes && ", "let is_simple = |text: &Text<'_>| "),
    ("json.rs", "if matches!(code, 8 | 9 | 10 | 12 | 13) {", "if false {"),
    ("json.rs", "b'a'..=b'f' => low - b'a' + 10,", "b'a'..=b'f' => low - b'a' + 10, b'A'..=b'F' => low - b'A' + 10,"),
    ("json.rs", "let found = quote | backslash | control;", "let found = quote | backslash;"),
    # types and ranges
    ("entry.rs", "if (1..=NAME_LENGTH_MAX).contains(&length(text)) {", "if (0..=NAME_LENGTH_MAX).contains(&length(text)) {"),
    ("entry.rs", "if (1..=NAME_LENGTH_MAX).contains(&length(text)) {", "if length(text) > 0 {"),
    ("entry.rs", "names.contains(&found).then_some(found).ok_or(Unusual)", "Ok(found)"),
    ("entry.rs", "14 => *byte == b'4',", "14 => true,"),
    ("entry.rs", "19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),", "19 => true,"),
    ("entry.rs", "(0.0..=SCORE_MAX).contains(&value).then_some(value).ok_or(Unusual)", "Ok(value)"),
    ("entry.rs", "is_hex(text, 64).then_some(text).ok_or(Unusual)", "Ok(text)"),
    ("entry.rs", "    if count(cursor)? > 10 {", "    if count(cursor)? > 11 {"),
    ("entry.rs", "crate::json::Number::Float(_) => Err(Unusual),", "crate::json::Number::Float(value) => Ok(value as u64),"),
    ("entry.rs", "if !cursor.is_at_end() {", "if false {"),
    ("entry.rs", "2 if is_leap => 29,", "2 => 29,"),
    ("entry.rs", "4 | 6 | 9 | 11 => 30,", "4 | 6 | 9 | 11 => 31,"),
    ("entry.rs", "&& read(11, 13) < 24", "&& read(11, 13) < 25"),
    ("entry.rs", "&& read(17, 19) < 60", "&& read(17, 19) < 61"),
    ("entry.rs", "        is_string(value)?;\n        let inside", "        let inside"),
    # what is for Python
    ("entry.rs", '    facts.is_for_python |= cursor.at() - start > b"[]".len();\n', ""),
    ("entry.rs", "facts.is_for_python |= count(cursor)? > 0;", "count(cursor)?;"),
    ("entry.rs", '    facts.is_for_python |= facts.event_type == b"BOOT"\n        || facts.event_type', "    facts.is_for_python |= facts.event_type"),
    ("entry.rs", '(facts.event_type == b"VIOLATION" && names_unknown_invariant)', "false"),
    ("entry.rs", "(facts.rollback_executed && facts.snapshot_hash.is_none())", "false"),
    ("entry.rs", "        facts.is_for_python |= kind == 0;\n", ""),
    ("entry.rs", "        facts.is_for_python |= bit == 0;\n", ""),
    # what the policy derives
    ("rules.rs", "composite == facts.composite\n            && floor_met", "floor_met"),
    ("rules.rs", "&& floor_met == facts.floor_met", ""),
    ("rules.rs", "&& facts.k_state == u8::from(!facts.has_conflicts)", ""),
    ("rules.rs", "&& facts.claimed & !proven == 0", ""),
    ("rules.rs", "&& required & !facts.claimed == 0", ""),
    ("rules.rs", "&& facts.proofs_valid", ""),
    ("rules.rs", "            && facts.quorum_met\n", ""),
    ("rules.rs", "if self.floor_per_pillar { lowest } else { composite }", "composite"),
    ("rules.rs", "let required = facts.required_proofs | demanded;", "let required = facts.required_proofs;"),
    ("rules.rs", "facts.rules_pointer == Some(&self.rules_pointer)", "true"),
    ("rules.rs", "&& facts.holds_pointer == self.holds_pointer.as_deref()", ""),
    ("rules.rs", "return facts.rules_pointer.is_none() && facts.holds_pointer.is_none();", "return true;"),
    # links, hashes, signatures
    ("chunk.rs", "facts.number != number + 1 || facts.prev_hash != hash", "facts.prev_hash != hash"),
    ("chunk.rs", "facts.number != number + 1 || facts.prev_hash != hash", "facts.number != number + 1"),
    ("chunk.rs", "(!is_timestamp(facts.timestamp) || facts.timestamp < *timestamp)", "!is_timestamp(facts.timestamp)"),
    ("chunk.rs", "Some(payload) if facts.action_hash != to_hex(&sha256(&[payload])) => return Err(Unusual),", ""),
    ("chunk.rs", "(facts.entry_hash == to_hex(&digest)).then_some(digest).ok_or(Unusual)", "Ok(digest)"),
    ("chunk.rs", ".position(|key| key.id == facts.key_id).ok_or(Unusual)?", ".position(|key| key.id == facts.key_id).unwrap_or(0)"),
    ("chunk.rs", "if facts.algorithm != known.algorithm || self.batch", "if self.batch"),
    ("chunk.rs", "if scan.batch.is_some() || scan.chunk.leaves.is_empty()", "if scan.chunk.leaves.is_empty()"),
    ("chunk.rs", "if !batch.paths.iter().enumerate().all(|(index, path)| tree.has_path(index, path)) {", "if false {"),
    ("chunk.rs", "            || place.signature != batch.signature\n", ""),
    ("chunk.rs", "if place.index != batch.leaves.len()\n            || place.size", "if place.size"),
    ("chunk.rs", "let is_acted_forbidden = facts.role == Role::Outcome && is_forbidden(facts);", "let is_acted_forbidden = false;"),
    ("chunk.rs", "let is_forbidden = is_forbidden(&facts) || facts.is_blocked;", "let is_forbidden = is_forbidden(&facts);"),
    ("batch.rs", "        rest.is_empty()", "        true"),
    ("batch.rs", "|| (digits[0] == b'0' && digits.len() > 1)", ""),
)  # fmt: skip
"""File, what stands there, and what the mutant has instead."""


def is_noticed(place: int, name: str, old: str, new: str) -> str | None:
    """How it was noticed; None if it was not."""
    source = (ROOT / "native" / "src" / name).read_text(encoding="utf-8")
    if source.count(old) != 1:
        return (
            f"mutant {place} does not fit {name} any more"
            if not source.count(old)
            else _mutate(name, old, new)
        )
    return _mutate(name, old, new)


def _mutate(name: str, old: str, new: str) -> str | None:
    shutil.rmtree(CRATE, ignore_errors=True)
    shutil.copytree(ROOT / "native", CRATE, ignore=shutil.ignore_patterns("target"))
    file = CRATE / "src" / name
    file.write_text(file.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    command = [
        "cargo",
        "build",
        "--quiet",
        "--features",
        "extension-module",
        "--manifest-path",
        str(CRATE / "Cargo.toml"),
    ]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(BUILD / "target"), "RUSTFLAGS": "-Awarnings"}
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if built.returncode:
        raise SystemExit(f"{name}: {old!r}: the mutant cannot be built\n{built.stderr[-2_000:]}")
    FOUND.mkdir(parents=True, exist_ok=True)
    shutil.copy(BUILD / "target" / "debug" / "libattestlog_native.so", FOUND / "attestlog_native.abi3.so")
    environment = {**os.environ, "PYTHONPATH": f"{FOUND}{os.pathsep}{ROOT}", "ATTESTLOG_NATIVE": "1"}
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
    ]
    done = subprocess.run(
        [*tests, str(ROOT / "tests" / "native")], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    return next((line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "?")


def main() -> int:
    chosen = [int(place) for place in sys.argv[1:]] or range(len(MUTANTS))
    survived = 0
    for place in chosen:
        name, old, new = MUTANTS[place]
        how = is_noticed(place, name, old, new)
        survived += how is None
        print(place, name, repr(old[:70]), "SURVIVED" if how is None else how[:110], flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
