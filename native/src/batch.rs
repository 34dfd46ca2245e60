//! `hsm_signature` of an entry that was signed with others, and the tree of a whole batch.
#![forbid(unsafe_code)]

use crate::hash::{node_hash, to_hex, Hash};
use crate::json::{Sure, Unusual};

/// Entries under one signature.
pub const ENTRIES_MAX: usize = 1_024;

/// `<hex signature>:<index>/<size>:<hex path>`, cut at its marks.
#[derive(Debug, PartialEq, Eq)]
pub struct Position<'a> {
    pub signature: &'a [u8],
    pub index: usize,
    pub size: usize,
    pub path: &'a [u8],
}

/// # Errors
/// `Unusual` unless index and size are in their one spelling, and within the limit. Signature and path are
/// compared later with what they must be.
pub fn position(text: &[u8]) -> Sure<Position<'_>> {
    let mut parts = text.splitn(3, |byte| *byte == b':');
    let (signature, place, path) = (parts.next(), parts.next(), parts.next());
    let place = place.ok_or(Unusual)?;
    let slash = place.iter().position(|byte| *byte == b'/').ok_or(Unusual)?;
    let (index, size) = (number(&place[..slash])?, number(&place[slash + 1..])?);
    if index >= size || size > ENTRIES_MAX {
        return Err(Unusual);
    }
    Ok(Position { signature: signature.ok_or(Unusual)?, index, size, path: path.ok_or(Unusual)? })
}

fn number(digits: &[u8]) -> Sure<usize> {
    if digits.is_empty() || digits.len() > 5 || (digits[0] == b'0' && digits.len() > 1) {
        return Err(Unusual);
    }
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + usize::from(digit - b'0')).ok_or(Unusual)
    })
}

/// The tree over a batch: rows of hashes from the leaves to the root, and their hex.
pub struct Tree {
    rows: Vec<Vec<[u8; 64]>>,
    pub root: Hash,
}

impl Tree {
    /// Of one leaf or more.
    #[must_use]
    pub fn of(leaves: &[Hash]) -> Option<Tree> {
        let mut row = leaves.to_vec();
        let mut rows = Vec::new();
        while row.len() > 1 {
            rows.push(row.iter().map(to_hex).collect());
            // An odd last node has no sibling yet: it rises as it is.
            row = row
                .chunks(2)
                .map(|pair| if let [left, right] = pair { node_hash(left, right) } else { pair[0] })
                .collect();
        }
        Some(Tree { rows, root: *row.first()? })
    }

    /// Whether this text is the inclusion path of a leaf.
    #[must_use]
    pub fn has_path(&self, leaf: usize, text: &[u8]) -> bool {
        let mut rest = text;
        let mut index = leaf;
        for row in &self.rows {
            if let Some(sibling) = row.get(index ^ 1) {
                let Some(after) = rest.strip_prefix(sibling.as_slice()) else {
                    return false;
                };
                rest = after;
            }
            index >>= 1;
        }
        rest.is_empty()
    }
}
