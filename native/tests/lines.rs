//! The crate by itself: JSON, hashes, batches, rounding, dates. Whole lines are tried from Python, beside the
//! reference.

use attestlog_native::batch::{position, Tree};
use attestlog_native::chunk::{begins_batch, edge};
use attestlog_native::entry::is_timestamp;
use attestlog_native::hash::{from_hex, leaf_hash, node_hash, to_hex};
use attestlog_native::json::{Cursor, Frames};
use attestlog_native::rules::round;

fn is_canonical(text: &[u8]) -> bool {
    let mut frames = Frames::default();
    let Ok(mut cursor) = Cursor::new(text, &mut frames) else {
        return false;
    };
    cursor.value(1).is_ok() && cursor.is_at_end()
}

#[test]
fn one_spelling_of_a_value() {
    let right = [
        "null",
        "true",
        "0",
        "-1",
        "9007199254740991",
        "1.5",
        "1e+21",
        "1e-7",
        "0.000001",
        "\"\"",
        "[]",
        "{}",
        "[1,[2,{}]]",
        "{\"a\":1,\"b\":[]}",
        "\"\\u001f\\n\\\"\\\\\"",
        "{\"\u{1f600}\":1,\"\u{e000}\":2}",
        "{\"\\n\":1,\"\u{e9}\":2}",
    ];
    for text in right {
        assert!(is_canonical(text.as_bytes()), "{text}");
    }
    let wrong = [
        "",
        " 1",
        "01",
        "-0",
        "1.0",
        "1e21",
        "1E+21",
        "9007199254740992",
        "1e400",
        "+1",
        ".5",
        "\"\\/\"",
        "\"\\u0041\"",
        "\"\\u001F\"",
        "\"\\u000a\"",
        "\"\n\"",
        "[1,]",
        "[1 ]",
        "{\"a\":1,\"a\":1}",
        "{\"b\":1,\"a\":1}",
        "{\"a\"}",
        "[}",
        "{\"\u{e000}\":1,\"\u{1f600}\":2}",
        "NaN",
        "tru",
        "\"",
        "[",
        "1 ",
        "{\"a\":1]",
    ];
    for text in wrong {
        assert!(!is_canonical(text.as_bytes()), "{text}");
    }
    assert!(!is_canonical(b"\"\xff\""));
}

#[test]
fn depth_costs_no_stack() {
    let nested = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
    assert!(is_canonical(nested(64).as_bytes()));
    assert!(!is_canonical(nested(65).as_bytes()));
    assert!(!is_canonical("[".repeat(1 << 20).as_bytes()));
}

#[test]
fn rounding_is_to_even() {
    let ties =
        [(0.007_812_5, 0.007_812), (0.023_437_5, 0.023_438), (8.666_666_666_666_666, 8.666_667), (7.0, 7.0)];
    for (value, rounded) in ties {
        assert_eq!(round(value), rounded);
    }
}

#[test]
fn dates_are_real() {
    for text in ["2024-02-29T23:59:59.999999Z", "2000-02-29T00:00:00.000000Z", "9999-12-31T00:00:00.000000Z"]
    {
        assert!(is_timestamp(text.as_bytes()), "{text}");
    }
    let wrong = [
        "2023-02-29T00:00:00.000000Z",
        "2100-02-29T00:00:00.000000Z",
        "2024-04-31T00:00:00.000000Z",
        "2024-13-01T00:00:00.000000Z",
        "2024-01-00T00:00:00.000000Z",
        "2024-01-01T24:00:00.000000Z",
        "2024-01-01T00:60:00.000000Z",
        "2024-01-01T00:00:60.000000Z",
        "2024-01-01T00:00:00.00000Z",
        "2024-01-01 00:00:00.000000Z",
        "2024-01-01T00:00:00.000000z",
        "",
    ];
    for text in wrong {
        assert!(!is_timestamp(text.as_bytes()), "{text}");
    }
}

#[test]
fn places_in_a_batch() {
    let place = position(b"ab:3/10:cd").unwrap();
    assert_eq!((place.signature, place.index, place.size, place.path), (&b"ab"[..], 3, 10, &b"cd"[..]));
    for text in
        ["", "ab", "ab:1", "ab:1/2", "ab:2/2:", "ab:01/2:", "ab:1/02:", "ab:0/0:", "ab:0/1025:", "ab:/2:"]
    {
        assert!(position(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn the_tree_of_three() {
    let leaves: Vec<_> = (0..3_u8).map(|byte| leaf_hash(&[byte; 32])).collect();
    let tree = Tree::of(&leaves).unwrap();
    let left = node_hash(&leaves[0], &leaves[1]);
    assert_eq!(tree.root, node_hash(&left, &leaves[2]));
    let first = [to_hex(&leaves[1]), to_hex(&leaves[2])].concat();
    assert!(tree.has_path(0, &first));
    assert!(!tree.has_path(1, &first));
    assert!(!tree.has_path(0, &first[..64]));
    assert!(tree.has_path(2, &to_hex(&left)));
    assert!(!tree.has_path(2, &[&to_hex(&left)[..], b"00"].concat()));
    assert!(Tree::of(&[]).is_none());
}

#[test]
fn where_a_batch_begins() {
    assert!(begins_batch(b"{\"hsm_signature\":\"ab:0/2:\"}"));
    assert!(!begins_batch(b"{\"hsm_signature\":\"ab:1/2:\"}"));
    assert!(!begins_batch(b"{\"x\":{\"hsm_signature\":\"ab:1/2:\"},\"hsm_signature\":\"ab\"}"));
    let within = b"\"hsm_signature\":\"ab:1/2:\"\n";
    let lines = [&within[..], b"other\nrest"].concat();
    assert_eq!(edge(&lines, 0), Ok(Some(within.len())));
    assert_eq!(edge(&lines, within.len() + b"other\n".len()), Ok(None));
    assert!(edge(&b"\"hsm_signature\":\"ab:1/2:\"\n".repeat(2_000), 0).is_err());
}

#[test]
fn hex_is_lower_case_and_even() {
    assert_eq!(from_hex(b"00ff"), Some(vec![0, 255]));
    for text in ["0", "0G", "FF", "0x"] {
        assert_eq!(from_hex(text.as_bytes()), None, "{text}");
    }
}
