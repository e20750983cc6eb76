//! YAML as nearly all manifests are written, at a third of the library's price: straight from the parser's events to values.
//!
//! The syntax is the parser's that the library has below it. Whatever is not plain here, anchors, tags, merged maps, unusual
//! numbers, and every error, is left to the library: what is read here is what it would read.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use super::{MANIFESTS_MAX, YAML_DEPTH_MAX, YAML_EVENTS_MAX};

/// Longest number that surely fits 64 bits.
const DIGITS_MAX: usize = 18;

/// What the parser calls a scalar that is not there; written out it means the same.
const EMPTY: &str = "~";

/// A collection whose end has not come.
enum Open {
    /// With the key whose value is next.
    Map(Map<String, Value>, Option<String>),
    Sequence(Vec<Value>),
}

/// A scalar without quotes.
enum Plain {
    Text,
    Null,
    Bool(bool),
    Number(u64),
}

/// Gives the documents with the line on which each starts; none if `take` gives none, or if the text is not plain, or not
/// YAML: then the documents so far are to be forgotten.
pub(super) fn documents(text: &str, mut take: impl FnMut(u64, Value) -> Option<()>) -> Option<()> {
    let options = granit_parser::options! { emit_comments: false };
    let mut open: Vec<Open> = Vec::new();
    let (mut line, mut starts, mut events) = (0, 0, 0);
    for item in Parser::new_from_str_with_options(text, options) {
        let (event, span) = item.ok()?;
        events += 1;
        if events > YAML_EVENTS_MAX {
            return None;
        }
        let value = match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_, None) => {
                starts += 1;
                if starts > MANIFESTS_MAX {
                    return None;
                }
                continue;
            }
            Event::MappingStart(_, 0, None) => {
                if open.is_empty() {
                    line = span.start.line() as u64;
                }
                push(&mut open, Open::Map(Map::new(), None))?;
                continue;
            }
            Event::SequenceStart(_, 0, None) if !open.is_empty() => {
                push(&mut open, Open::Sequence(Vec::new()))?;
                continue;
            }
            Event::Scalar(text, style, 0, None) => match open.last_mut() {
                // An empty document.
                None if style == ScalarStyle::Plain && matches!(&*text, "" | EMPTY) => continue,
                None => return None,
                Some(Open::Map(map, key @ None)) => {
                    *key = Some(new_key(map, text, style)?);
                    continue;
                }
                Some(_) => scalar(text, style)?,
            },
            Event::MappingEnd | Event::SequenceEnd => match open.pop()? {
                Open::Map(map, _) => Value::Object(map),
                Open::Sequence(items) => Value::Array(items),
            },
            _ => return None,
        };
        match open.last_mut() {
            None => take(line, value)?,
            Some(Open::Sequence(items)) => items.push(value),
            Some(Open::Map(map, key)) => {
                map.insert(key.take()?, value);
            }
        }
    }
    Some(())
}

fn push(open: &mut Vec<Open>, collection: Open) -> Option<()> {
    // A collection cannot be a key of JSON.
    if open.len() >= YAML_DEPTH_MAX || matches!(open.last(), Some(Open::Map(_, None))) {
        return None;
    }
    open.push(collection);
    Some(())
}

fn new_key(map: &Map<String, Value>, text: Cow<'_, str>, style: ScalarStyle) -> Option<String> {
    let is_text = style != ScalarStyle::Plain || matches!(plain(&text)?, Plain::Text);
    (is_text && !map.contains_key(&*text)).then(|| text.into_owned())
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Option<Value> {
    if style != ScalarStyle::Plain {
        return Some(Value::String(text.into_owned()));
    }
    Some(match plain(&text)? {
        Plain::Text => Value::String(text.into_owned()),
        Plain::Null => Value::Null,
        Plain::Bool(bool) => Value::Bool(bool),
        Plain::Number(number) => Value::from(number),
    })
}

/// What a scalar without quotes is; none if that takes more rules than these.
fn plain(text: &str) -> Option<Plain> {
    match text {
        "" | EMPTY | "null" => return Some(Plain::Null),
        "true" => return Some(Plain::Bool(true)),
        "false" => return Some(Plain::Bool(false)),
        _ => {}
    }
    let first = *text.as_bytes().first()?;
    let is_text = match first {
        b'0'..=b'9' => {
            if text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit()) {
                let canonical = first != b'0' || text.len() == 1;
                return if canonical { text.parse().ok().map(Plain::Number) } else { None };
            }
            is_no_number(text)
        }
        b'/' => true,
        _ => first.is_ascii_alphabetic() && !is_word(text),
    };
    is_text.then_some(Plain::Text)
}

/// Whether a text that starts with a digit is an address, a network, a version, a quantity or a date.
fn is_no_number(text: &str) -> bool {
    let count = |sign: u8| text.bytes().filter(|byte| *byte == sign).count();
    // Other letters are in 0x, 0o, 0b, exponents, infinity and no number.
    let is_foreign =
        |byte: u8| matches!(byte.to_ascii_lowercase(), b'g' | b'h' | b'j'..=b'm' | b'p'..=b'w' | b'z' | b'/');
    text.is_ascii() && (count(b'.') >= 2 || count(b'-') >= 2 || text.bytes().any(is_foreign))
}

/// Whether some version of YAML gives the word a meaning.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) || text.eq_ignore_ascii_case("infinity")
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
