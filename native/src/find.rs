//! Lines that may be the entries which others depend on. Python looks at each before it believes so.
#![forbid(unsafe_code)]

use memchr::{memchr, memmem};

const MARKS: [(&[u8], usize); 2] = [(b"\"entry_id\":\"", 36), (b"\"rollback_snapshot_hash\":\"", 64)];

/// The lines, begin and end, in which one of these ids or hashes stands behind a member's name.
///
/// `wanted` is sorted.
#[must_use]
pub fn candidates(data: &[u8], wanted: &[Vec<u8>]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let finders = MARKS.map(|(mark, size)| (memmem::Finder::new(mark), mark.len(), size));
    let mut at = 0;
    while at < data.len() {
        let size = memchr(b'\n', &data[at..]).unwrap_or(data.len() - at);
        let line = &data[at..at + size];
        let is_there = finders.iter().any(|(finder, skip, digits)| {
            finder.find_iter(line).any(|place| {
                let start = place + skip;
                let text = line.get(start..start + digits);
                text.is_some_and(|text| wanted.binary_search_by(|known| known.as_slice().cmp(text)).is_ok())
            })
        });
        if is_there {
            found.push((at, at + size));
        }
        at += size + 1;
    }
    found
}
