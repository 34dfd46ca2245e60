//! What Python gave for entries to be judged by: keys in force, the policy, the pointers that name them.
#![forbid(unsafe_code)]

use crate::entry::{proof, Facts};
use std::collections::HashMap;
use std::sync::RwLock;

/// Combinations of types (and actors) that are remembered.
const KNOWN_MAX: usize = 4_096;

/// A key that may sign: its id, and how entries signed alone and in a batch name its algorithm.
pub struct Key {
    pub id: Vec<u8>,
    pub algorithm: Vec<u8>,
    pub batch_algorithm: Vec<u8>,
}

/// What the policy's rules ask of entries of some types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// These proofs, a bit each, and nothing else.
    Proofs(u8),
    /// Something that Python judges.
    Python,
}

pub struct Rules {
    pub keys: Vec<Key>,
    /// In the order of the sum.
    pub weights: [f64; 4],
    pub safety_floor: f64,
    pub floor_per_pillar: bool,
    pub rules_pointer: Vec<u8>,
    pub holds_pointer: Option<Vec<u8>>,
    pub has_rules: bool,
    pub names_actors: bool,
    demands: RwLock<HashMap<Vec<u8>, Demand>>,
}

impl Rules {
    #[must_use]
    pub fn new(
        keys: Vec<(String, String)>,
        weights: [f64; 4],
        safety_floor: f64,
        floor_per_pillar: bool,
        pointers: (String, Option<String>),
        has_rules: bool,
        names_actors: bool,
    ) -> Rules {
        let keys = keys
            .into_iter()
            .map(|(id, algorithm)| Key {
                id: id.into_bytes(),
                batch_algorithm: format!("{algorithm}+BATCH").into_bytes(),
                algorithm: algorithm.into_bytes(),
            })
            .collect();
        Rules {
            keys,
            weights,
            safety_floor,
            floor_per_pillar,
            rules_pointer: pointers.0.into_bytes(),
            holds_pointer: pointers.1.map(String::into_bytes),
            has_rules,
            names_actors,
            demands: RwLock::default(),
        }
    }

    /// What decides the demand on an entry, as one key. No part of it holds a quote.
    #[must_use]
    pub fn demand_key(&self, facts: &Facts<'_>) -> Vec<u8> {
        let actor = if self.names_actors { facts.actor_id } else { b"" };
        [facts.event_type, facts.action_type, actor].join(&b'"')
    }

    #[must_use]
    pub fn demand(&self, key: &[u8]) -> Option<Demand> {
        self.demands.read().ok()?.get(key).copied()
    }

    /// Remember what Python found out.
    pub fn learn(&self, key: Vec<u8>, demand: Demand) {
        if let Ok(mut demands) = self.demands.write() {
            if demands.len() >= KNOWN_MAX {
                demands.clear();
            }
            demands.insert(key, demand);
        }
    }

    /// Whether an entry names these rules. Entry 0 names none.
    #[must_use]
    pub fn are_named_by(&self, facts: &Facts<'_>) -> bool {
        if facts.number == 0 {
            return facts.rules_pointer.is_none() && facts.holds_pointer.is_none();
        }
        facts.rules_pointer == Some(&self.rules_pointer)
            && facts.holds_pointer == self.holds_pointer.as_deref()
    }

    /// Whether the derived members are what the policy derives, and nothing is missing.
    #[must_use]
    pub fn derive(&self, facts: &Facts<'_>, demanded: u8) -> bool {
        let composite = self.composite(facts);
        let floor_met = composite.map(|composite| {
            let lowest = facts.scores.iter().flatten().copied().fold(f64::INFINITY, f64::min);
            let lowest = if self.floor_per_pillar { lowest } else { composite };
            composite >= self.safety_floor && lowest >= self.safety_floor
        });
        let proven = proven(facts, floor_met);
        let required = facts.required_proofs | demanded;
        composite == facts.composite
            && floor_met == facts.floor_met
            && facts.k_state == u8::from(!facts.has_conflicts)
            && facts.claimed & !proven == 0
            && required & !facts.claimed == 0
            && facts.proofs_valid
            && facts.quorum_met
    }

    /// The weighted mean of the scores given, to six decimals; None where nothing given has weight.
    fn composite(&self, facts: &Facts<'_>) -> Option<f64> {
        let (mut total, mut weights) = (0.0, 0.0);
        for (score, weight) in facts.scores.iter().zip(self.weights) {
            if let Some(score) = score {
                total += weight * score;
                weights += weight;
            }
        }
        (weights != 0.0).then(|| round(total / weights))
    }
}

/// What the entry itself proves.
fn proven(facts: &Facts<'_>, floor_met: Option<bool>) -> u8 {
    let bits = [
        (proof::SAFETY_FLOOR, floor_met == Some(true)),
        (proof::PILLARS, facts.scores.iter().all(Option::is_some)),
        (proof::K1_STATE, !facts.has_conflicts),
        (proof::ROLLBACK, facts.rollback_available && facts.snapshot_hash.is_some()),
        (proof::ATTRIBUTION_INTACT, true),
    ];
    bits.iter().filter(|(_, holds)| *holds).fold(0, |sum, (bit, _)| sum | bit)
}

/// To six decimals, ties to even, as Python's `round(value, 6)`.
#[must_use]
pub fn round(value: f64) -> f64 {
    let scaled = value * 1e6;
    let rest = scaled - scaled.floor();
    // Far from a tie, and small enough for an exact quotient, the nearest whole number is the right one.
    if (rest - 0.5).abs() > 1e-3 && scaled < 1e9 {
        return scaled.round() / 1e6;
    }
    format!("{value:.6}").parse().unwrap_or(f64::NAN)
}
