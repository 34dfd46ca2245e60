//! Canonical JSON (RFC 8785) as bytes: is this the one spelling of a value? Nothing is decoded.
//!
//! Whatever is not plainly canonical is `Unusual`, which means: ask Python. There is no recursion: the depth
//! of a value costs no stack.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

/// Not understood here. It says nothing about the line: Python judges it.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusual;

pub type Sure<T> = Result<T, Unusual>;

/// Largest magnitude of an integer.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Containers within containers; the entry itself is level 1.
pub const DEPTH_MAX: usize = 64;

/// Values within one line. The reference takes twice as many; lines with so many are for Python.
const VALUES_MAX: usize = 1 << 22;

/// The inside of a string, as it is spelled.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub raw: &'a [u8],
    pub has_escapes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // every integer here is one that a double keeps
    pub fn value(self) -> f64 {
        match self {
            Number::Integer(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

/// A container that is being read: where its last member's name stands.
#[derive(Clone, Copy)]
struct Frame {
    is_object: bool,
    last: Option<(usize, usize, bool)>,
}

/// Containers that are open. Kept from line to line, so that it is allocated once.
#[derive(Default)]
pub struct Frames(Vec<Frame>);

/// Reads one line from left to right. The line is UTF-8.
pub struct Cursor<'a, 'f> {
    bytes: &'a [u8],
    at: usize,
    frames: &'f mut Vec<Frame>,
    values: usize,
}

impl<'a, 'f> Cursor<'a, 'f> {
    /// # Errors
    /// `Unusual` for what is not UTF-8.
    pub fn new(line: &'a [u8], frames: &'f mut Frames) -> Sure<Self> {
        if !line.is_ascii() && std::str::from_utf8(line).is_err() {
            return Err(Unusual);
        }
        let frames = &mut frames.0;
        frames.clear();
        Ok(Cursor { bytes: line, at: 0, frames, values: 0 })
    }

    #[inline]
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The byte that is next; 0, which no canonical JSON holds, at the end.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Whether these bytes are next; they are then passed.
    #[inline]
    pub fn skips(&mut self, literal: &[u8]) -> bool {
        let is_there = self.bytes[self.at..].starts_with(literal);
        if is_there {
            self.at += literal.len();
        }
        is_there
    }

    #[inline]
    pub fn expect(&mut self, literal: &[u8]) -> Sure<()> {
        self.skips(literal).then_some(()).ok_or(Unusual)
    }

    #[inline]
    pub fn string(&mut self) -> Sure<Text<'a>> {
        if self.peek() != b'"' {
            return Err(Unusual);
        }
        let start = self.at + 1;
        let mut at = start;
        let mut has_escapes = false;
        loop {
            at += plain_size(&self.bytes[at..]);
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { raw: &self.bytes[start..at], has_escapes });
                }
                Some(b'\\') => {
                    has_escapes = true;
                    at += escape_size(&self.bytes[at..])?;
                }
                _ => return Err(Unusual),
            }
        }
    }

    /// A string without escapes.
    #[inline]
    pub fn plain(&mut self) -> Sure<&'a [u8]> {
        let text = self.string()?;
        if text.has_escapes {
            return Err(Unusual);
        }
        Ok(text.raw)
    }

    #[inline]
    pub fn boolean(&mut self) -> Sure<bool> {
        if self.skips(b"true") {
            return Ok(true);
        }
        self.expect(b"false").map(|()| false)
    }

    pub fn number(&mut self) -> Sure<Number> {
        let rest = &self.bytes[self.at..];
        let is_negative = rest.first() == Some(&b'-');
        let digits = &rest[usize::from(is_negative)..];
        let size = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if size == 0 || (size > 1 && digits[0] == b'0') {
            return Err(Unusual);
        }
        if matches!(digits.get(size), Some(b'.' | b'e' | b'E')) {
            return self.float();
        }
        if size > 16 {
            return Err(Unusual);
        }
        let value = digits[..size].iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if value > INTEGER_MAX || (is_negative && value == 0) {
            return Err(Unusual);
        }
        self.at += size + usize::from(is_negative);
        let value = i64::try_from(value).map_err(|_| Unusual)?;
        Ok(Number::Integer(if is_negative { -value } else { value }))
    }

    fn float(&mut self) -> Sure<Number> {
        let rest = &self.bytes[self.at..];
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
        let size = rest.iter().take_while(is_part).count();
        let text = std::str::from_utf8(&rest[..size]).map_err(|_| Unusual)?;
        let value: f64 = text.parse().map_err(|_| Unusual)?;
        if !value.is_finite() || ryu_js::Buffer::new().format_finite(value) != text {
            return Err(Unusual);
        }
        self.at += size;
        Ok(Number::Float(value))
    }

    /// Any value that stands at this level, if it is a container.
    pub fn value(&mut self, level: usize) -> Sure<()> {
        loop {
            if self.begin_value(level)? {
                continue;
            }
            loop {
                let Some(frame) = self.frames.last().copied() else {
                    return Ok(());
                };
                let next = self.peek();
                self.at += 1;
                match next {
                    b',' if frame.is_object => {
                        self.name()?;
                        break;
                    }
                    b',' => break,
                    b'}' if frame.is_object => {}
                    b']' if !frame.is_object => {}
                    _ => return Err(Unusual),
                }
                self.frames.pop();
            }
        }
    }

    /// A value that holds no others, or the beginning of one that does: then true, and its first is due.
    #[inline]
    fn begin_value(&mut self, level: usize) -> Sure<bool> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Unusual);
        }
        let is_object = match self.peek() {
            b'"' => return self.string().map(|_| false),
            b't' => return self.expect(b"true").map(|()| false),
            b'f' => return self.expect(b"false").map(|()| false),
            b'n' => return self.expect(b"null").map(|()| false),
            b'{' => true,
            b'[' => false,
            _ => return self.number().map(|_| false),
        };
        if level + self.frames.len() > DEPTH_MAX {
            return Err(Unusual);
        }
        self.at += 1;
        if self.peek() == if is_object { b'}' } else { b']' } {
            self.at += 1;
            return Ok(false);
        }
        self.frames.push(Frame { is_object, last: None });
        if is_object {
            self.name()?;
        }
        Ok(true)
    }

    /// The name of the next member of the innermost object, and the colon.
    #[inline]
    fn name(&mut self) -> Sure<()> {
        let start = self.at + 1;
        let name = self.string()?;
        self.expect(b":")?;
        let Some(frame) = self.frames.last_mut() else {
            return Err(Unusual);
        };
        if let Some((from, to, has_escapes)) = frame.last {
            let before = Text { raw: &self.bytes[from..to], has_escapes };
            if !ascends(before, name) {
                return Err(Unusual);
            }
        }
        frame.last = Some((start, start + name.raw.len(), name.has_escapes));
        Ok(())
    }

    /// An object at this level; `each` is given every member's name and its value, as spelled.
    pub fn object(&mut self, level: usize, mut each: impl FnMut(Text<'a>, &'a [u8]) -> Sure<()>) -> Sure<()> {
        if level > DEPTH_MAX {
            return Err(Unusual);
        }
        self.expect(b"{")?;
        if self.skips(b"}") {
            return Ok(());
        }
        let mut last: Option<Text<'a>> = None;
        loop {
            let name = self.string()?;
            if last.is_some_and(|before| !ascends(before, name)) {
                return Err(Unusual);
            }
            last = Some(name);
            self.expect(b":")?;
            let start = self.at;
            self.value(level + 1)?;
            each(name, &self.bytes[start..self.at])?;
            if self.skips(b"}") {
                return Ok(());
            }
            self.expect(b",")?;
        }
    }

    /// An array; `each` reads one of its items.
    pub fn array(&mut self, mut each: impl FnMut(&mut Self) -> Sure<()>) -> Sure<()> {
        self.expect(b"[")?;
        if self.skips(b"]") {
            return Ok(());
        }
        loop {
            self.values += 1;
            each(self)?;
            if self.skips(b"]") {
                return Ok(());
            }
            self.expect(b",")?;
        }
    }
}

/// How many bytes come before the first that is a quote, a backslash or a control.
#[inline]
fn plain_size(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // The lowest bit that is set is right: a borrow only reaches the bytes above the first one found.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut size = 0;
    let mut words = bytes.chunks_exact(8);
    for chunk in &mut words {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = quote | backslash | control;
        if found != 0 {
            return size + found.trailing_zeros() as usize / 8;
        }
        size += 8;
    }
    let rest = words.remainder();
    let is_plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    size + rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len())
}

/// The size of an escape, if RFC 8785 writes it: two characters, or six for other controls, in lower case.
fn escape_size(bytes: &[u8]) -> Sure<usize> {
    match bytes.get(1) {
        Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => {
            let code = control_code(bytes.get(2..6).ok_or(Unusual)?).ok_or(Unusual)?;
            if matches!(code, 8 | 9 | 10 | 12 | 13) {
                return Err(Unusual);
            }
            Ok(6)
        }
        _ => Err(Unusual),
    }
}

/// What four digits say, if it is a control below U+0020.
fn control_code(digits: &[u8]) -> Option<u16> {
    let &[b'0', b'0', high @ (b'0' | b'1'), low] = digits else {
        return None;
    };
    let low = match low {
        b'0'..=b'9' => low - b'0',
        b'a'..=b'f' => low - b'a' + 10,
        _ => return None,
    };
    Some(u16::from(high - b'0') * 16 + u16::from(low))
}

/// Whether a name may stand behind another: by UTF-16 code units, so never twice.
#[inline]
fn ascends(before: Text<'_>, name: Text<'_>) -> bool {
    // Below U+E000 the order of UTF-8 is that of UTF-16.
    let is_simple = |text: &Text<'_>| !text.has_escapes && text.raw.iter().all(|byte| *byte < 0xEE);
    if is_simple(&before) && is_simple(&name) {
        return before.raw < name.raw;
    }
    units(before).cmp(units(name)) == Ordering::Less
}

/// The UTF-16 code units that a string stands for.
fn units(text: Text<'_>) -> impl Iterator<Item = u16> + '_ {
    let mut characters = std::str::from_utf8(text.raw).unwrap_or("").chars();
    let mut second = None;
    std::iter::from_fn(move || {
        if let Some(unit) = second.take() {
            return Some(unit);
        }
        let character = characters.next()?;
        let character = if character == '\\' {
            match characters.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let mut digits = [0; 4];
                    for digit in &mut digits {
                        *digit = u8::try_from(characters.next()?).ok()?;
                    }
                    return control_code(&digits);
                }
                plain => plain,
            }
        } else {
            character
        };
        let mut pair = [0; 2];
        let units = character.encode_utf16(&mut pair);
        second = units.get(1).copied();
        Some(units[0])
    })
}

/// How many characters a string stands for.
#[must_use]
pub fn length(text: Text<'_>) -> usize {
    if !text.has_escapes {
        return text.raw.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    }
    units(text).filter(|unit| !(0xDC00..0xE000).contains(unit)).count()
}
