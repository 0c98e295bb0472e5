//! The text form of a native key, both ways, as Qt writes and reads it: `type:path[?legacyKey=name]`.
//!
//! It is nearly, but not quite, a URL. The rules were found by reading and running Qt 6.12 and are checked
//! against what it answered. `robust:` is ours, by the same rules.

use std::fmt::{self, Write};
use std::str::{FromStr, Utf8Chunk};

use super::key_type::{KeyType, ProjectId};
use super::native::NativeIpcKey;
use crate::error::{Cause, Error, ErrorKind};

const LEGACY_ITEM: &str = "legacyKey";

impl NativeIpcKey {
    /// Its text form, as [`to_string`](ToString::to_string) makes it, but sooner.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.native.len() + self.legacy.len() + 32);
        write(self, &mut text).expect("a string takes all");
        text
    }
}

impl fmt::Display for NativeIpcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, f)
    }
}

impl FromStr for NativeIpcKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|reason| {
            Error::new("read the key text", text, Cause::new(ErrorKind::KeyError, reason.to_string()))
        })
    }
}

fn write(key: &NativeIpcKey, f: &mut impl Write) -> fmt::Result {
    write!(f, "{}:", key.key_type)?;
    // "//" would begin an authority
    match key.native.strip_prefix("//") {
        Some(rest) => {
            f.write_str("/%2F")?;
            write_encoded(rest, &['%', '?', '#'], f)?;
        }
        None => write_encoded(&key.native, &['%', '?', '#'], f)?,
    }
    if let Some(legacy) = key.legacy_key() {
        write!(f, "?{LEGACY_ITEM}=")?;
        write_encoded(legacy, &['%', '#', '&', '='], f)?;
    }
    Ok(())
}

/// Percent-encodes ASCII control characters and `special` ones; all else, non-ASCII too, stays as it is.
fn write_encoded(text: &str, special: &[char], f: &mut impl Write) -> fmt::Result {
    let mut rest = text;
    while let Some(at) =
        rest.find(|character: char| character.is_ascii_control() || special.contains(&character))
    {
        // all of them are ASCII
        f.write_str(&rest[..at])?;
        write!(f, "%{:02X}", rest.as_bytes()[at])?;
        rest = &rest[at + 1..];
    }
    f.write_str(rest)
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Malformed {
    Scheme,
    Authority,
    Query,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => {
                "it must begin with robust:, systemv:, systemv-N: (N from 1 to 255), posix: or windows:"
            }
            Self::Authority => {
                "behind the type, // would begin a host name; write /%2F for a name that begins with //"
            }
            Self::Query => "behind ? only legacyKey=NAME may stand; write %3F for a ? in the name",
        })
    }
}

fn parse(text: &str) -> Result<NativeIpcKey, Malformed> {
    let (scheme, rest) = text.split_once(':').ok_or(Malformed::Scheme)?;
    let key_type = parse_scheme(scheme).ok_or(Malformed::Scheme)?;
    let rest = rest.split_once('#').map_or(rest, |(before, _fragment)| before);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let native = decode(strip_authority(path)?, Noncharacters::Malformed);
    let legacy = parse_query(query)?;
    Ok(NativeIpcKey { key_type, native, legacy })
}

fn parse_scheme(scheme: &str) -> Option<KeyType> {
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "robust" => Some(KeyType::Robust),
        "systemv" => Some(KeyType::SYSTEM_V),
        "posix" => Some(KeyType::Posix),
        "windows" => Some(KeyType::Windows),
        _ => {
            let digits = scheme.strip_prefix("systemv-")?;
            // u8's own parser would take a sign
            let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            let id = digits.parse().ok().filter(|_| all_digits)?;
            ProjectId::new(id).map(KeyType::SystemV)
        }
    }
}

/// The path behind an authority that says nothing.
fn strip_authority(path: &str) -> Result<&str, Malformed> {
    let Some(rest) = path.strip_prefix("//") else { return Ok(path) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority {
        "" | "@" | ":" | "@:" => Ok(path),
        _ => Err(Malformed::Authority),
    }
}

/// The legacy key in a query of nothing but `legacyKey` items, of which the last counts.
fn parse_query(query: &str) -> Result<String, Malformed> {
    if query.is_empty() {
        return Ok(String::new());
    }
    let has_malformed = has_malformed_percent(query);
    let decode = |part: &str| {
        if has_malformed { part.to_owned() } else { decode(part, Noncharacters::Allowed) }
    };
    let mut legacy = String::new();
    for item in query.strip_suffix('&').unwrap_or(query).split('&') {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        if decode(name) != LEGACY_ITEM {
            return Err(Malformed::Query);
        }
        legacy = decode(value);
    }
    Ok(legacy)
}

/// What an encoded noncharacter (U+FFFE and the like) decodes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noncharacters {
    Allowed,
    Malformed,
}

/// Percent-decodes, unless any `%` is malformed: then all of them are literal.
fn decode(text: &str, noncharacters: Noncharacters) -> String {
    if !text.contains('%') || has_malformed_percent(text) {
        return text.to_owned();
    }
    let mut decoded = String::with_capacity(text.len());
    let mut run = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if character == '%' {
            run.push(u8::from_str_radix(&rest[1..3], 16).expect("every % was checked"));
            rest = &rest[3..];
        } else {
            push_utf8(&mut decoded, &run, noncharacters);
            run.clear();
            decoded.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    push_utf8(&mut decoded, &run, noncharacters);
    decoded
}

fn has_malformed_percent(text: &str) -> bool {
    text.split('%').skip(1).any(|after| {
        let hex = after.as_bytes().get(..2);
        !hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Decodes UTF-8 with one U+FFFD for *each* byte that is in no well-formed sequence. (Rust's own lossy decoder
/// writes one for each maximal part of a sequence.)
fn push_utf8(decoded: &mut String, bytes: &[u8], noncharacters: Noncharacters) {
    let push_malformed = |decoded: &mut String, count: usize| {
        decoded.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, count));
    };
    for chunk in bytes.utf8_chunks() {
        let chunk: Utf8Chunk<'_> = chunk;
        for character in chunk.valid().chars() {
            if noncharacters == Noncharacters::Malformed && is_noncharacter(character) {
                push_malformed(decoded, character.len_utf8());
            } else {
                decoded.push(character);
            }
        }
        push_malformed(decoded, chunk.invalid().len());
    }
}

fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code)
}
