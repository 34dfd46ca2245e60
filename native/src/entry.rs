//! One line: is it exactly the canonical spelling of an entry, member by member, and what does it say?
//!
//! The members stand in the order of the reference's `Entry`, with the types and limits that it gives them.
#![forbid(unsafe_code)]

use crate::hash::is_hex;
use crate::json::{length, Cursor, Frames, Sure, Text, Unusual};

/// An entry without its payload.
const ENTRY_SIZE_MAX: usize = 65_535;
const PAYLOAD_SIZE_MAX: usize = 16 << 20;
const NAME_LENGTH_MAX: usize = 256;
const SCORE_MAX: f64 = 10.0;

/// A part of a line: where it begins, and the first byte after it.
pub type Part = (usize, usize);

/// Proofs that an entry itself proves or refutes, a bit each; and the one of an actor, which is for Python.
pub mod proof {
    pub const SAFETY_FLOOR: u8 = 1;
    pub const PILLARS: u8 = 2;
    pub const K1_STATE: u8 = 4;
    pub const ROLLBACK: u8 = 8;
    pub const ATTRIBUTION_INTACT: u8 = 16;

    /// The bit of a type; 0 for others.
    #[must_use]
    pub fn bit(kind: &[u8]) -> u8 {
        match kind {
            b"safety_floor" => SAFETY_FLOOR,
            b"pillars" => PILLARS,
            b"k1_state" => K1_STATE,
            b"rollback" => ROLLBACK,
            b"attribution_intact" => ATTRIBUTION_INTACT,
            _ => 0,
        }
    }
}

const INVARIANTS: [&[u8]; 7] = [
    b"\"INVARIANT_1_APPEND_ONLY\"",
    b"\"INVARIANT_2_SAFETY_FLOOR\"",
    b"\"INVARIANT_3_K1_STATE\"",
    b"\"INVARIANT_4_PROOFS\"",
    b"\"INVARIANT_5_QUORUM\"",
    b"\"INVARIANT_6_ROLLBACK\"",
    b"\"INVARIANT_7_ATTRIBUTION\"",
];

/// What a guard says that an entry is to an act of its.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Other,
    Intent,
    Outcome,
    Violation,
}

/// What a line says. Parts of it are as they are spelled.
#[derive(Default)]
pub struct Facts<'a> {
    /// Python must judge it, too: something about it is for Python to say.
    pub is_for_python: bool,
    pub action_hash: &'a [u8],
    /// With its name and the comma after it.
    pub payload_member: Part,
    /// None: erased.
    pub payload: Option<&'a [u8]>,
    pub action_type: &'a [u8],
    pub actor_id: &'a [u8],
    /// Whether names that what follows is derived from are spelled with escapes.
    pub has_escaped_names: bool,
    pub role: Role,
    pub counter: Option<u64>,
    pub session: &'a [u8],
    pub composite: Option<f64>,
    pub has_conflicts: bool,
    pub dependencies: Vec<&'a [u8]>,
    pub hash_member: Part,
    pub entry_hash: &'a [u8],
    pub entry_id: &'a [u8],
    pub rules_pointer: Option<&'a [u8]>,
    pub holds_pointer: Option<&'a [u8]>,
    pub event_type: &'a [u8],
    pub is_success: bool,
    pub is_blocked: bool,
    pub signature_member: Part,
    pub signature: &'a [u8],
    pub k_state: u8,
    /// In the order of the sum: `an_toan`, `duong_dai`, `tin_vao_so_lieu`, `han_che_rui_ro`.
    pub scores: [Option<f64>; 4],
    pub prev_hash: &'a [u8],
    pub proofs_valid: bool,
    /// Bits of the types that are claimed.
    pub claimed: u8,
    pub quorum_met: bool,
    pub required_proofs: u8,
    pub rollback_available: bool,
    pub rollback_executed: bool,
    pub snapshot_hash: Option<&'a [u8]>,
    pub floor_met: Option<bool>,
    pub number: u64,
    pub algorithm: &'a [u8],
    pub key_id: &'a [u8],
    pub timestamp: &'a [u8],
}

/// What a line without its line end says.
///
/// # Errors
/// `Unusual` for everything that is not plainly an entry in its one spelling.
#[allow(clippy::too_many_lines)] // 40 members, one after the other
pub fn read<'a>(line: &'a [u8], frames: &mut Frames) -> Sure<Facts<'a>> {
    let mut facts = Facts::default();
    let cursor = &mut Cursor::new(line, frames)?;
    cursor.expect(b"{\"action_hash\":")?;
    facts.action_hash = cursor.plain()?;
    cursor.expect(b",")?;
    let start = cursor.at();
    cursor.expect(b"\"action_payload\":")?;
    facts.payload = nullable_object(cursor, line)?;
    cursor.expect(b",")?;
    facts.payload_member = (start, cursor.at());
    cursor.expect(b"\"action_type\":")?;
    let action_type = name(cursor)?;
    cursor.expect(b",\"actor_context\":")?;
    let has_escaped_session = context(cursor, &mut facts)?;
    cursor.expect(b",\"actor_id\":")?;
    let actor_id = name(cursor)?;
    (facts.action_type, facts.actor_id) = (action_type.raw, actor_id.raw);
    facts.has_escaped_names = has_escaped_session || action_type.has_escapes || actor_id.has_escapes;
    cursor.expect(b",\"actor_type\":")?;
    one_of(cursor, &[b"HUMAN", b"AUTONOMOUS_AGENT", b"SYSTEM", b"EXTERNAL"])?;
    cursor.expect(b",\"attribution\":\"alpha_prime_omega\",\"composite_score\":")?;
    facts.composite = if cursor.skips(b"null") { None } else { Some(score(cursor)?) };
    cursor.expect(b",\"conflicts_detected\":")?;
    cursor.array(|cursor| {
        facts.has_conflicts = true;
        cursor.string().map(|_| ())
    })?;
    cursor.expect(b",\"dependencies\":")?;
    cursor.array(|cursor| {
        facts.dependencies.push(uuid(cursor)?);
        Ok(())
    })?;
    cursor.expect(b",")?;
    let start = cursor.at();
    cursor.expect(b"\"entry_hash\":")?;
    facts.entry_hash = cursor.plain()?;
    cursor.expect(b",")?;
    facts.hash_member = (start, cursor.at());
    cursor.expect(b"\"entry_id\":")?;
    facts.entry_id = uuid(cursor)?;
    cursor.expect(b",\"environment\":")?;
    environment(cursor, &mut facts)?;
    cursor.expect(b",\"error_details\":")?;
    let names_unknown_invariant = error_details(cursor)?;
    cursor.expect(b",\"event_category\":")?;
    one_of(cursor, &[b"NORMAL", b"WARNING", b"ERROR", b"CRITICAL"])?;
    cursor.expect(b",\"event_type\":")?;
    let kinds: [&[u8]; 6] = [b"ACTION", b"DECISION", b"VIOLATION", b"CHANGE", b"BOOT", b"SHUTDOWN"];
    facts.event_type = one_of(cursor, &kinds)?;
    cursor.expect(b",\"execution_status\":")?;
    let status = one_of(cursor, &[b"SUCCESS", b"FAILED", b"BLOCKED", b"ROLLED_BACK"])?;
    (facts.is_success, facts.is_blocked) = (status == b"SUCCESS", status == b"BLOCKED");
    cursor.expect(b",")?;
    let start = cursor.at();
    cursor.expect(b"\"hsm_signature\":")?;
    facts.signature = cursor.plain()?;
    cursor.expect(b",")?;
    facts.signature_member = (start, cursor.at());
    cursor.expect(b"\"k_state\":")?;
    facts.k_state = if cursor.skips(b"1") { 1 } else { cursor.expect(b"0").map(|()| 0)? };
    cursor.expect(b",\"pillars_scores\":")?;
    facts.scores = pillars(cursor)?;
    cursor.expect(b",\"prev_entry_hash\":")?;
    facts.prev_hash = cursor.plain()?;
    cursor.expect(b",\"proofs_valid\":")?;
    facts.proofs_valid = cursor.boolean()?;
    cursor.expect(b",\"provided_proofs\":")?;
    provided_proofs(cursor, &mut facts)?;
    cursor.expect(b",\"quorum_met\":")?;
    facts.quorum_met = cursor.boolean()?;
    cursor.expect(b",\"received_approvals\":")?;
    let start = cursor.at();
    cursor.array(|cursor| cursor.object(3, |_, value| is_string(value)))?;
    facts.is_for_python |= cursor.at() - start > b"[]".len();
    cursor.expect(b",\"replicas\":")?;
    cursor.array(|cursor| cursor.string().map(|_| ()))?;
    cursor.expect(b",\"required_approvals\":")?;
    facts.is_for_python |= count(cursor)? > 0;
    cursor.expect(b",\"required_proofs\":")?;
    required_proofs(cursor, &mut facts)?;
    cursor.expect(b",\"result_data\":")?;
    nullable_object(cursor, line)?;
    cursor.expect(b",\"rollback_available\":")?;
    facts.rollback_available = cursor.boolean()?;
    cursor.expect(b",\"rollback_executed\":")?;
    facts.rollback_executed = cursor.boolean()?;
    cursor.expect(b",\"rollback_snapshot_hash\":")?;
    facts.snapshot_hash = if cursor.skips(b"null") { None } else { Some(hash(cursor)?) };
    cursor.expect(b",\"safety_floor_met\":")?;
    facts.floor_met = if cursor.skips(b"null") { None } else { Some(cursor.boolean()?) };
    cursor.expect(b",\"schema_version\":\"1.0.0\",\"sequence_number\":")?;
    facts.number = count(cursor)?;
    cursor.expect(b",\"severity\":")?;
    if count(cursor)? > 10 {
        return Err(Unusual);
    }
    cursor.expect(b",\"signature_algorithm\":")?;
    facts.algorithm = cursor.plain()?;
    cursor.expect(b",\"signing_key_id\":")?;
    facts.key_id = cursor.plain()?;
    cursor.expect(b",\"system_state_snapshot\":")?;
    cursor.object(2, |_, _| Ok(()))?;
    cursor.expect(b",\"timestamp\":")?;
    facts.timestamp = cursor.plain()?;
    cursor.expect(b"}")?;
    if !cursor.is_at_end() {
        return Err(Unusual);
    }
    check_sizes(line, &facts)?;
    facts.is_for_python |= facts.event_type == b"BOOT"
        || facts.event_type == b"SHUTDOWN"
        || (facts.event_type == b"VIOLATION" && names_unknown_invariant)
        || (facts.event_type == b"CHANGE"
            && facts.is_success
            && facts.action_type.starts_with(b"attestlog."))
        || (facts.rollback_executed && facts.snapshot_hash.is_none());
    Ok(facts)
}

/// Whether it is a real date, from 1970 to 9999, in the one spelling of entries.
#[must_use]
pub fn is_timestamp(text: &[u8]) -> bool {
    let shape = b"0000-00-00T00:00:00.000000Z";
    let fits = |(byte, mark): (&u8, &u8)| if *mark == b'0' { byte.is_ascii_digit() } else { byte == mark };
    if text.len() != shape.len() || !text.iter().zip(shape).all(fits) {
        return false;
    }
    let read = |from: usize, to: usize| {
        text[from..to].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    };
    let (year, month, day) = (read(0, 4), read(5, 7), read(8, 10));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    year >= 1970 && (1..=days).contains(&day) && read(11, 13) < 24 && read(14, 16) < 60 && read(17, 19) < 60
}

fn check_sizes(line: &[u8], facts: &Facts<'_>) -> Sure<()> {
    if line.len() <= ENTRY_SIZE_MAX {
        return Ok(());
    }
    let payload = facts.payload.map_or(b"null".len(), <[u8]>::len);
    let member = facts.payload_member.1 - facts.payload_member.0;
    if payload > PAYLOAD_SIZE_MAX || line.len() - member > ENTRY_SIZE_MAX {
        return Err(Unusual);
    }
    Ok(())
}

fn nullable_object<'a>(cursor: &mut Cursor<'a, '_>, line: &'a [u8]) -> Sure<Option<&'a [u8]>> {
    if cursor.skips(b"null") {
        return Ok(None);
    }
    let start = cursor.at();
    object(cursor)?;
    Ok(Some(&line[start..cursor.at()]))
}

fn object(cursor: &mut Cursor<'_, '_>) -> Sure<()> {
    if cursor.peek() != b'{' {
        return Err(Unusual);
    }
    cursor.value(2)
}

fn name<'a>(cursor: &mut Cursor<'a, '_>) -> Sure<Text<'a>> {
    let text = cursor.string()?;
    if (1..=NAME_LENGTH_MAX).contains(&length(text)) {
        Ok(text)
    } else {
        Err(Unusual)
    }
}

fn one_of<'a>(cursor: &mut Cursor<'a, '_>, names: &[&[u8]]) -> Sure<&'a [u8]> {
    let found = cursor.plain()?;
    names.contains(&found).then_some(found).ok_or(Unusual)
}

fn is_string(value: &[u8]) -> Sure<()> {
    value.starts_with(b"\"").then_some(()).ok_or(Unusual)
}

fn hash<'a>(cursor: &mut Cursor<'a, '_>) -> Sure<&'a [u8]> {
    let text = cursor.plain()?;
    is_hex(text, 64).then_some(text).ok_or(Unusual)
}

fn uuid<'a>(cursor: &mut Cursor<'a, '_>) -> Sure<&'a [u8]> {
    let text = cursor.plain()?;
    let fits = |(place, byte): (usize, &u8)| match place {
        8 | 13 | 18 | 23 => *byte == b'-',
        14 => *byte == b'4',
        19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    (text.len() == 36 && text.iter().enumerate().all(fits)).then_some(text).ok_or(Unusual)
}

/// A whole number from 0 on, spelled in digits.
fn count(cursor: &mut Cursor<'_, '_>) -> Sure<u64> {
    match cursor.number()? {
        crate::json::Number::Integer(value) => u64::try_from(value).map_err(|_| Unusual),
        crate::json::Number::Float(_) => Err(Unusual),
    }
}

fn score(cursor: &mut Cursor<'_, '_>) -> Sure<f64> {
    let value = cursor.number()?.value();
    (0.0..=SCORE_MAX).contains(&value).then_some(value).ok_or(Unusual)
}

/// Whether the session is spelled with escapes.
fn context<'a>(cursor: &mut Cursor<'a, '_>, facts: &mut Facts<'a>) -> Sure<bool> {
    let mut has_escapes = false;
    cursor.object(2, |name, value| {
        match name.raw {
            b"guard" => {
                facts.role = match value {
                    b"\"intent\"" => Role::Intent,
                    b"\"outcome\"" => Role::Outcome,
                    b"\"violation\"" => Role::Violation,
                    _ => Role::Other,
                }
            }
            b"counter" if value.iter().all(u8::is_ascii_digit) => {
                let text = std::str::from_utf8(value).map_err(|_| Unusual)?;
                facts.counter = Some(text.parse().map_err(|_| Unusual)?);
            }
            b"session" if value.starts_with(b"\"") => {
                facts.session = &value[1..value.len() - 1];
                has_escapes = facts.session.contains(&b'\\');
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(has_escapes)
}

fn environment<'a>(cursor: &mut Cursor<'a, '_>, facts: &mut Facts<'a>) -> Sure<()> {
    cursor.object(2, |name, value| {
        is_string(value)?;
        let inside = &value[1..value.len() - 1];
        match name.raw {
            b"attestlog_rules" => facts.rules_pointer = Some(inside),
            b"attestlog_holds" => facts.holds_pointer = Some(inside),
            _ => {}
        }
        Ok(())
    })
}

/// Whether they name something else than one of the invariants.
fn error_details(cursor: &mut Cursor<'_, '_>) -> Sure<bool> {
    if cursor.skips(b"null") {
        return Ok(false);
    }
    let mut names_unknown = false;
    cursor.object(2, |name, value| {
        if name.raw == b"violated_invariant" {
            names_unknown = value != b"null" && !INVARIANTS.contains(&value);
        }
        Ok(())
    })?;
    Ok(names_unknown)
}

fn pillars(cursor: &mut Cursor<'_, '_>) -> Sure<[Option<f64>; 4]> {
    // As they are spelled, and their places in the sum.
    const NAMES: [(&[u8], usize); 4] = [
        (b"\"an_toan\":", 0),
        (b"\"duong_dai\":", 1),
        (b"\"han_che_rui_ro\":", 3),
        (b"\"tin_vao_so_lieu\":", 2),
    ];
    let mut scores = [None; 4];
    cursor.expect(b"{")?;
    if cursor.skips(b"}") {
        return Ok(scores);
    }
    for (name, place) in NAMES {
        if cursor.skips(name) {
            scores[place] = Some(score(cursor)?);
            if cursor.skips(b"}") {
                return Ok(scores);
            }
            cursor.expect(b",")?;
        }
    }
    Err(Unusual)
}

fn provided_proofs(cursor: &mut Cursor<'_, '_>, facts: &mut Facts<'_>) -> Sure<()> {
    cursor.array(|cursor| {
        let (mut kind, mut is_valid) = (None, None);
        cursor.object(3, |name, value| {
            match name.raw {
                b"type" => {
                    is_string(value)?;
                    kind = Some(proof::bit(&value[1..value.len() - 1]));
                }
                b"valid" => {
                    is_valid = Some(match value {
                        b"true" => true,
                        b"false" => false,
                        _ => return Err(Unusual),
                    });
                }
                _ => {}
            }
            Ok(())
        })?;
        let (kind, is_valid) = (kind.ok_or(Unusual)?, is_valid.ok_or(Unusual)?);
        facts.is_for_python |= kind == 0;
        facts.claimed |= if is_valid { kind } else { 0 };
        Ok(())
    })
}

fn required_proofs(cursor: &mut Cursor<'_, '_>, facts: &mut Facts<'_>) -> Sure<()> {
    cursor.array(|cursor| {
        let bit = proof::bit(cursor.string()?.raw);
        facts.is_for_python |= bit == 0;
        facts.required_proofs |= bit;
        Ok(())
    })
}
