//! Lines in a row: are all of them exactly right, from the state that the first one follows?
#![forbid(unsafe_code)]

use crate::batch::{position, Tree, ENTRIES_MAX};
use crate::entry::{is_timestamp, read, Facts, Role};
use crate::hash::{from_hex, is_hex, leaf_hash, sha256, to_hex, Hash};
use crate::json::{Frames, Sure, Unusual};
use crate::rules::{Demand, Rules};
use memchr::{memchr, memmem};
use std::collections::HashMap;

const BATCH_PREFIX: &[u8] = b"attestlog/batch/v1\n";
const SIGNATURE_MARK: &[u8] = b"\"hsm_signature\":\"";
/// Entry ids that are handed on: what an entry depends on usually stands just before it.
const NEIGHBOURS: usize = 1_024;
/// Combinations of types that Python is asked about at once; entries of more go to Python one by one.
const QUESTIONS_MAX: usize = 256;

/// Something that an entry says, for Python to gather.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Judge the whole entry.
    Judge,
    Intent {
        entry_id: &'a [u8],
        is_forbidden: bool,
        act: [u8; 16],
    },
    End {
        depends_on: Vec<&'a [u8]>,
        has_acted: bool,
        act: [u8; 16],
    },
    Counter {
        session: [u8; 16],
        counter: u64,
    },
}

/// A signature that Python must verify: by which key, the last entry under it, and the message.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed {
    pub key: usize,
    pub number: u64,
    pub signature: Vec<u8>,
    pub message: Vec<u8>,
}

/// What lines come to that are all right, once Python has said the same of signatures and events.
#[derive(Default)]
pub struct Chunk<'a> {
    pub first: (u64, &'a [u8], &'a [u8]),
    pub last: Option<(u64, [u8; 64], &'a [u8])>,
    pub leaves: Vec<Hash>,
    /// Where each line begins.
    pub starts: Vec<u32>,
    /// Key → the last entry that it signed.
    pub keys: Vec<Option<u64>>,
    pub before_batch: Option<&'a [u8]>,
    pub erased: Option<(u64, u64)>,
    pub wanted: Vec<(u64, &'a [u8])>,
    /// Entry ids, 16 bytes each.
    pub ids: Vec<u8>,
    /// Those of the last entries, as they are spelled.
    pub last_ids: Vec<&'a [u8]>,
    pub signatures: Vec<Signed>,
    pub events: Vec<(usize, Event<'a>)>,
    /// Demands that are not known, taken for none: key → event type, action type, actor id, and the entries.
    pub questions: HashMap<Vec<u8>, Question<'a>>,
}

pub struct Question<'a> {
    pub event_type: &'a [u8],
    pub action_type: &'a [u8],
    pub actor_id: &'a [u8],
    pub ordinals: Vec<usize>,
}

struct OpenBatch<'a> {
    signature: &'a [u8],
    size: usize,
    key: usize,
    leaves: Vec<Hash>,
    paths: Vec<&'a [u8]>,
}

/// Whether no batch reaches across the place before this line, as far as the line tells.
///
/// The reference looks for `"hsm_signature":"[0-9a-f]*:[1-9][0-9]*/` anywhere in the line, and so must this.
#[must_use]
pub fn begins_batch(line: &[u8]) -> bool {
    !memmem::find_iter(line, SIGNATURE_MARK).any(|at| is_within(&line[at + SIGNATURE_MARK.len()..]))
}

fn is_within(text: &[u8]) -> bool {
    let digits = text.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
    let [b':', rest @ ..] = &text[digits..] else {
        return false;
    };
    let index = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    index > 0 && rest[0] != b'0' && rest.get(index) == Some(&b'/')
}

/// The offset of the first whole line, from `from` on, that begins a batch; None if none does.
///
/// # Errors
/// `Unusual` where more lines are passed than a batch can have.
pub fn edge(data: &[u8], from: usize) -> Sure<Option<usize>> {
    let mut at = from;
    for _ in 0..ENTRIES_MAX {
        let Some(size) = data.get(at..).and_then(|rest| memchr(b'\n', rest)) else {
            return Ok(None);
        };
        if begins_batch(&data[at..at + size]) {
            return Ok(Some(at));
        }
        at += size + 1;
    }
    Err(Unusual)
}

/// Judge whole lines, each with its line end.
///
/// # Errors
/// `Unusual` where anything is not plainly right.
pub fn scan<'a>(data: &'a [u8], rules: &Rules) -> Sure<Chunk<'a>> {
    let mut scan = Scan { rules, chunk: Chunk::default(), batch: None };
    scan.chunk.keys.resize(rules.keys.len(), None);
    let mut frames = Frames::default();
    let mut at = 0;
    while at < data.len() {
        let size = memchr(b'\n', &data[at..]).ok_or(Unusual)?;
        let line = &data[at..at + size];
        scan.chunk.starts.push(u32::try_from(at).map_err(|_| Unusual)?);
        scan.add(line, read(line, &mut frames)?)?;
        at += size + 1;
    }
    // A batch that goes on in lines that are not here is not right so far: it is for Python.
    if scan.batch.is_some() || scan.chunk.leaves.is_empty() {
        return Err(Unusual);
    }
    Ok(scan.finish())
}

struct Scan<'a, 'r> {
    rules: &'r Rules,
    chunk: Chunk<'a>,
    batch: Option<OpenBatch<'a>>,
}

impl<'a> Scan<'a, '_> {
    fn add(&mut self, line: &'a [u8], facts: Facts<'a>) -> Sure<()> {
        self.check_link(&facts)?;
        let digest = check_hashes(line, &facts)?;
        if !self.rules.are_named_by(&facts) {
            return Err(Unusual);
        }
        let leaf = leaf_hash(&digest);
        self.check_signature(&facts, &digest, leaf)?;
        if facts.payload.is_none() {
            let (first, _) = self.chunk.erased.unwrap_or((facts.number, 0));
            self.chunk.erased = Some((first, facts.number));
        }
        self.chunk.leaves.push(leaf);
        self.chunk.ids.extend(from_uuid(facts.entry_id)?);
        self.chunk.last_ids.push(facts.entry_id);
        self.chunk.last = Some((facts.number, to_hex(&digest), facts.timestamp));
        let number = facts.number;
        self.chunk.wanted.extend(facts.dependencies.iter().map(|wanted| (number, *wanted)));
        if let (true, Some(snapshot)) = (facts.rollback_executed, facts.snapshot_hash) {
            self.chunk.wanted.push((number, snapshot));
        }
        let ordinal = self.chunk.leaves.len() - 1;
        if self.is_for_python(&facts, ordinal) {
            self.chunk.events.push((ordinal, Event::Judge));
            return Ok(());
        }
        self.gather(facts, ordinal);
        Ok(())
    }

    fn finish(mut self) -> Chunk<'a> {
        let chunk = &mut self.chunk;
        if !chunk.wanted.is_empty() {
            let mut known: Vec<&[u8]> = chunk.last_ids.clone();
            known.sort_unstable();
            chunk.wanted.retain(|(_, wanted)| known.binary_search(wanted).is_err());
        }
        let start = chunk.last_ids.len().saturating_sub(NEIGHBOURS);
        chunk.last_ids.drain(..start);
        self.chunk
    }

    fn check_link(&mut self, facts: &Facts<'a>) -> Sure<()> {
        let chunk = &mut self.chunk;
        let Some((number, hash, timestamp)) = &chunk.last else {
            if !is_hex(facts.prev_hash, 64) || !is_timestamp(facts.timestamp) {
                return Err(Unusual);
            }
            chunk.first = (facts.number, facts.prev_hash, facts.timestamp);
            return Ok(());
        };
        if facts.number != number + 1 || facts.prev_hash != hash {
            return Err(Unusual);
        }
        if facts.timestamp != *timestamp && (!is_timestamp(facts.timestamp) || facts.timestamp < *timestamp) {
            return Err(Unusual);
        }
        Ok(())
    }

    fn check_signature(&mut self, facts: &Facts<'a>, digest: &Hash, leaf: Hash) -> Sure<()> {
        let key = self.rules.keys.iter().position(|key| key.id == facts.key_id).ok_or(Unusual)?;
        let known = &self.rules.keys[key];
        self.chunk.keys[key] = Some(facts.number);
        if facts.algorithm == known.batch_algorithm {
            return self.place_in_batch(facts, key, leaf);
        }
        if facts.algorithm != known.algorithm || self.batch.is_some() || facts.signature.is_empty() {
            return Err(Unusual);
        }
        let signature = from_hex(facts.signature).ok_or(Unusual)?;
        self.chunk.signatures.push(Signed { key, number: facts.number, signature, message: digest.to_vec() });
        Ok(())
    }

    fn place_in_batch(&mut self, facts: &Facts<'a>, key: usize, leaf: Hash) -> Sure<()> {
        let place = position(facts.signature)?;
        if self.batch.is_none() {
            self.chunk.before_batch = Some(facts.prev_hash);
        }
        let batch = self.batch.get_or_insert_with(|| OpenBatch {
            signature: place.signature,
            size: place.size,
            key,
            leaves: Vec::with_capacity(place.size),
            paths: Vec::with_capacity(place.size),
        });
        if place.index != batch.leaves.len()
            || place.size != batch.size
            || place.signature != batch.signature
            || key != batch.key
        {
            return Err(Unusual);
        }
        batch.leaves.push(leaf);
        batch.paths.push(place.path);
        if batch.leaves.len() < batch.size {
            return Ok(());
        }
        let batch = self.batch.take().ok_or(Unusual)?;
        self.close_batch(&batch, facts.number)
    }

    fn close_batch(&mut self, batch: &OpenBatch<'a>, number: u64) -> Sure<()> {
        let tree = Tree::of(&batch.leaves).ok_or(Unusual)?;
        if !batch.paths.iter().enumerate().all(|(index, path)| tree.has_path(index, path)) {
            return Err(Unusual);
        }
        let signature = from_hex(batch.signature).ok_or(Unusual)?;
        if signature.is_empty() {
            return Err(Unusual);
        }
        let message = [BATCH_PREFIX, &tree.root].concat();
        self.chunk.signatures.push(Signed { key: batch.key, number, signature, message });
        Ok(())
    }

    /// Whether the entry is to be judged by Python as a whole.
    fn is_for_python(&mut self, facts: &Facts<'a>, ordinal: usize) -> bool {
        let is_acted_forbidden = facts.role == Role::Outcome && is_forbidden(facts);
        let says = facts.role != Role::Other || facts.counter.is_some();
        if facts.is_for_python || is_acted_forbidden || (says && facts.has_escaped_names) {
            return true;
        }
        if !self.rules.has_rules {
            return !self.rules.derive(facts, 0);
        }
        let key = self.rules.demand_key(facts);
        match self.rules.demand(&key) {
            Some(Demand::Proofs(demanded)) => !self.rules.derive(facts, demanded),
            Some(Demand::Python) => true,
            None => !self.rules.derive(facts, 0) || !self.ask(key, facts, ordinal),
        }
    }

    /// Put the question what is demanded of such entries. False if there are too many.
    fn ask(&mut self, key: Vec<u8>, facts: &Facts<'a>, ordinal: usize) -> bool {
        let questions = &mut self.chunk.questions;
        if questions.len() >= QUESTIONS_MAX && !questions.contains_key(&key) {
            return false;
        }
        let question = questions.entry(key).or_insert_with(|| Question {
            event_type: facts.event_type,
            action_type: facts.action_type,
            actor_id: facts.actor_id,
            ordinals: Vec::new(),
        });
        question.ordinals.push(ordinal);
        true
    }

    /// What the entry says of a guarded act, and its actor's counter.
    fn gather(&mut self, facts: Facts<'a>, ordinal: usize) {
        let act = || short(&[facts.action_hash, b"\n", facts.action_type, b"\n", facts.actor_id]);
        let events = &mut self.chunk.events;
        match facts.role {
            Role::Other => {}
            Role::Intent => {
                let is_forbidden = is_forbidden(&facts) || facts.is_blocked;
                events.push((ordinal, Event::Intent { entry_id: facts.entry_id, is_forbidden, act: act() }));
            }
            Role::Outcome | Role::Violation => {
                let has_acted = facts.role == Role::Outcome;
                let (act, depends_on) = (act(), facts.dependencies);
                events.push((ordinal, Event::End { depends_on, has_acted, act }));
            }
        }
        if let Some(counter) = facts.counter {
            let session = short(&[facts.actor_id, b"\n", facts.session]);
            events.push((ordinal, Event::Counter { session, counter }));
        }
    }
}

/// Of an entry whose proofs are valid and whose quorum is met: whether the policy forbids it.
fn is_forbidden(facts: &Facts<'_>) -> bool {
    facts.floor_met == Some(false) || facts.k_state != 1
}

/// The entry's hash, if it and the payload's are those of their bytes.
fn check_hashes(line: &[u8], facts: &Facts<'_>) -> Sure<Hash> {
    match facts.payload {
        Some(payload) if facts.action_hash != to_hex(&sha256(&[payload])) => return Err(Unusual),
        None if !is_hex(facts.action_hash, 64) => return Err(Unusual),
        _ => {}
    }
    // The line is canonical, so what the hash covers is the line without three of its members.
    let digest = sha256(&[
        &line[..facts.payload_member.0],
        &line[facts.payload_member.1..facts.hash_member.0],
        &line[facts.hash_member.1..facts.signature_member.0],
        &line[facts.signature_member.1..],
    ]);
    (facts.entry_hash == to_hex(&digest)).then_some(digest).ok_or(Unusual)
}

/// The bytes of a UUID as entries spell it.
fn from_uuid(text: &[u8]) -> Sure<Vec<u8>> {
    let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'-').collect();
    from_hex(&digits).ok_or(Unusual)
}

fn short(parts: &[&[u8]]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&sha256(parts)[..16]);
    short
}
