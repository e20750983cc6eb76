//! The bytes of a manifest file to Kubernetes objects: multi-document YAML and JSON, lists flattened. Pure.
//!
//! Must not know what the kinds mean. A file is taken as a whole: a syntax error anywhere refuses all of it, since what
//! comes behind the error cannot be known.

mod plain;

use serde_json::Value;
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Spanned, UserMessageFormatter};

use crate::api::excerpt;

/// Largest file that is parsed, in bytes: `kubectl get -o yaml` of some 10,000 objects.
pub const FILE_SIZE_MAX: usize = 32 * 1024 * 1024;
/// Most objects in one file, those in lists included.
const MANIFESTS_MAX: usize = 50_000;
/// Deepest list in a list.
const LIST_DEPTH_MAX: usize = 4;
/// Most YAML events of one file. Far above what [`FILE_SIZE_MAX`] of ordinary manifests has.
const YAML_EVENTS_MAX: usize = 20_000_000;
/// Most events that YAML aliases may add: manifests hardly ever have any, alias bombs have billions.
const YAML_ALIAS_EVENTS_MAX: usize = 100_000;
/// Deepest nesting of YAML; custom resource schemas nest some 30 deep, and a level takes some 20 KiB of a thread's 2 MiB
/// stack in debug builds. JSON has its parser's own limit of 128.
const YAML_DEPTH_MAX: usize = 64;

/// One Kubernetes object of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The line on which its document starts, from 1; an item of a list has the list's.
    pub line: u64,
    /// `kind`, empty when it is no string or there is none.
    pub kind: String,
    /// `apiVersion`, empty when it is no string or there is none.
    pub api_version: String,
    /// All of it.
    pub object: Value,
}

/// Why the bytes are no manifests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// What is wrong there.
    pub message: String,
}

/// Parses a file. Empty documents and comments are skipped; `List`, and the lists of a kind such as `NodeList`, are
/// replaced by their items.
pub fn parse(bytes: &[u8]) -> Result<Vec<Manifest>, ParseError> {
    fold(bytes, Vec::new, Vec::push)
}

/// The same, one object after the other into what `start` makes: a file's objects take far more memory than what is kept of
/// them. What was taken before an error is dropped, or begun anew when the rest of the file takes the whole library.
pub fn fold<T>(
    bytes: &[u8],
    start: impl Fn() -> T,
    mut take: impl FnMut(&mut T, Manifest),
) -> Result<T, ParseError> {
    if bytes.len() > FILE_SIZE_MAX {
        return Err(at_start(format!("the file has more than {FILE_SIZE_MAX} bytes: split it")));
    }
    let text = text(bytes)?;
    if !starts_like_json(text) {
        let mut taken = start();
        let mut objects = Objects { count: 0, take: |manifest| take(&mut taken, manifest) };
        if plain::documents(text, |line, document| objects.flatten(line, document, None, 0).ok()).is_some() {
            return Ok(taken);
        }
    }
    let mut taken = start();
    let mut objects = Objects { count: 0, take: |manifest| take(&mut taken, manifest) };
    for (line, document) in documents(text)? {
        objects.flatten(line, document, None, 0)?;
    }
    Ok(taken)
}

fn text(bytes: &[u8]) -> Result<&str, ParseError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(at_start("the file is UTF-16: save it as UTF-8".to_owned()));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() as u64 + 1;
        ParseError { line: line_of(before), column, message: "the file is not UTF-8".to_owned() }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The documents with the line on which each starts. What starts as JSON is parsed as JSON first: it has its own rules
/// for several documents and for tabs. It may still be YAML in flow style.
fn documents(text: &str) -> Result<Vec<(u64, Value)>, ParseError> {
    if !starts_like_json(text) {
        return yaml(text);
    }
    json(text).or_else(|error| yaml(text).map_err(|_| error))
}

fn starts_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn json(text: &str) -> Result<Vec<(u64, Value)>, ParseError> {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    // Counted on from document to document: from the start each time would be quadratic.
    let (mut line, mut counted) = (1, 0);
    loop {
        let start = stream.byte_offset();
        let start = start + text[start..].len() - text[start..].trim_start().len();
        match stream.next() {
            None => return Ok(documents),
            Some(Ok(document)) => {
                line += newlines(&text.as_bytes()[counted..start]);
                counted = start;
                documents.push((line, document));
            }
            Some(Err(error)) => {
                let text = error.to_string();
                let message = text.split(" at line ").next().unwrap_or_default().to_owned();
                return Err(ParseError {
                    line: error.line().max(1) as u64,
                    column: error.column().max(1) as u64,
                    message,
                });
            }
        }
    }
}

/// All of YAML, and what is wrong with what is not.
fn yaml(text: &str) -> Result<Vec<(u64, Value)>, ParseError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: YAML_EVENTS_MAX,
            max_nodes: YAML_EVENTS_MAX,
            max_documents: MANIFESTS_MAX,
            max_depth: YAML_DEPTH_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: YAML_ALIAS_EVENTS_MAX,
        },
        // A number that is none in some field of some kind must not refuse the file.
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        emit_comments: false,
        with_snippet: false,
    };
    match serde_saphyr::from_multiple_with_options::<Spanned<Value>>(text, options) {
        Ok(documents) => Ok(documents.into_iter().map(|it| (it.referenced.line(), it.value)).collect()),
        Err(error) => {
            let location = error.location();
            let text = error.render_with_formatter(&UserMessageFormatter);
            let message = text.split(" at line ").next().unwrap_or_default();
            Err(ParseError {
                line: location.map_or(1, |it| it.line().max(1)),
                column: location.map_or(1, |it| it.column().max(1)),
                message: excerpt(message).into_owned(),
            })
        }
    }
}

/// Where the objects of a file go.
struct Objects<F> {
    count: usize,
    take: F,
}

impl<F: FnMut(Manifest)> Objects<F> {
    /// Takes an object, or the items of a list. `item_type` is the type that a list of a kind gives its items, which may
    /// leave it out themselves.
    fn flatten(
        &mut self,
        line: u64,
        mut object: Value,
        item_type: Option<(&str, &str)>,
        depth: usize,
    ) -> Result<(), ParseError> {
        let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (mut kind, mut api_version) = (field("kind"), field("apiVersion"));
        if let Some((item_kind, item_version)) = item_type
            && kind.is_empty()
            && api_version.is_empty()
        {
            (kind, api_version) = (item_kind.to_owned(), item_version.to_owned());
        }
        // An object may be of a kind that ends in "List" and be none: only a list has items.
        let items = match object.get_mut("items") {
            Some(Value::Array(items)) if kind.ends_with("List") && depth < LIST_DEPTH_MAX => {
                std::mem::take(items)
            }
            _ => {
                if self.count >= MANIFESTS_MAX {
                    let message = format!("the file has more than {MANIFESTS_MAX} objects: split it");
                    return Err(ParseError { line, column: 1, message });
                }
                self.count += 1;
                (self.take)(Manifest { line, kind, api_version, object });
                return Ok(());
            }
        };
        let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        let item_type = item_kind.map(|kind| (kind, api_version.as_str()));
        items.into_iter().try_for_each(|item| self.flatten(line, item, item_type, depth + 1))
    }
}

fn at_start(message: String) -> ParseError {
    ParseError { line: 1, column: 1, message }
}

fn line_of(before: &[u8]) -> u64 {
    newlines(before) + 1
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn summary(text: &str) -> Vec<(u64, String, String)> {
        let manifests = parse(text.as_bytes()).unwrap();
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or("-").to_owned();
        manifests
            .iter()
            .map(|it| (it.line, format!("{} {}", it.api_version, it.kind), name(&it.object)))
            .collect()
    }

    fn one(line: u64, kind: &str, name: &str) -> (u64, String, String) {
        (line, kind.to_owned(), name.to_owned())
    }

    #[test]
    fn documents_have_the_line_they_start_on_and_empty_ones_are_skipped() {
        let text = "# a comment\n---\n# only a comment\n---\napiVersion: v1\nkind: Node\nmetadata: {name: a}\n\
                    ---\n\n---\nkind: HTTPProxy\napiVersion: projectcontour.io/v1\nmetadata:\n  name: b\n...\n";
        assert_eq!(summary(text), [one(5, "v1 Node", "a"), one(11, "projectcontour.io/v1 HTTPProxy", "b")]);
        for empty in ["", "\n\n", "# nothing\n", "---\n---\n", "null\n"] {
            assert_eq!(summary(empty), [], "{empty:?}");
        }
    }

    #[test]
    fn lists_are_flattened_and_lists_of_a_kind_name_it_for_their_items() {
        let text = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: a}}
- apiVersion: projectcontour.io/v1
  kind: HTTPProxyList
  items:
  - metadata: {name: b}
  - {apiVersion: other/v1, kind: Other, metadata: {name: c}}
---
{apiVersion: v1, kind: NodeList, items: []}
---
{apiVersion: v1, kind: List, items: [{metadata: {name: d}}, 5]}
"#;
        let want = [
            one(2, "v1 Node", "a"),
            one(2, "projectcontour.io/v1 HTTPProxy", "b"),
            one(2, "other/v1 Other", "c"),
            one(14, " ", "d"),
            one(14, " ", "-"),
        ];
        assert_eq!(summary(text), want);
        // Not a list: it has no items.
        assert_eq!(summary("{apiVersion: a/v1, kind: AllowList, items: 5}"), [one(1, "a/v1 AllowList", "-")]);
    }

    #[test]
    fn lists_in_lists_have_an_end() {
        let text = format!("{}{}", r#"{"kind":"List","items":["#.repeat(30), "]}".repeat(30));
        assert_eq!(summary(&text).len(), 1);
    }

    #[test]
    fn json_may_be_several_documents_and_what_starts_like_json_may_be_yaml() {
        let text = "{\"kind\":\t\"Node\",\"apiVersion\":\"v1\"}\n\n {\n\"kind\":\"List\", \"items\": [{\"kind\":\"A\"}]}{\"kind\":\"B\"}\n";
        assert_eq!(summary(text), [one(1, "v1 Node", "-"), one(3, " A", "-"), one(4, " B", "-")]);
        assert_eq!(
            summary("{kind: Node, apiVersion: v1}\n---\nkind: B\n"),
            [one(1, "v1 Node", "-"), one(3, " B", "-")]
        );
    }

    #[test]
    fn errors_have_line_and_column() {
        for (text, line, column) in [
            ("kind: A\n---\nkind: [B\nc: d\n", 4, 2),
            ("a: 1\na: 2\n", 2, 1),
            ("a:\n\t- b\n", 2, 2),
            ("a: b: c\n", 1, 5),
            ("a: \"open\n", 1, 4),
            ("{\"a\": 1}\n{\"b\": }\n", 2, 7),
            ("{\"a\": [1,\n", 2, 0),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!((error.line, error.column), (line, column.max(1)), "{text:?}: {error}");
            assert!(!error.message.contains(" at line ") && !error.message.is_empty(), "{error}");
        }
        let error = parse(b"a: 1\nb: \xc3\xa4\xff\n").unwrap_err();
        assert_eq!(error.to_string(), "2:5: the file is not UTF-8");
        assert!(parse(b"\xff\xfea\0").unwrap_err().message.contains("UTF-16"));
    }

    #[test]
    fn an_alias_bomb_is_refused_quickly() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(parse(bomb.as_bytes()).is_err());
        assert_eq!(summary("a: &a {kind: x}\nkind: Node\nb: *a\n"), [one(1, " Node", "-")]);
    }

    #[test]
    fn what_takes_the_whole_library_late_in_a_file_is_read_once() {
        let text = "kind: A\n---\nkind: B\n---\nkind: C\na: &x 1\nb: *x\n";
        assert_eq!(summary(text), [one(1, " A", "-"), one(3, " B", "-"), one(5, " C", "-")]);
    }

    #[test]
    fn nesting_and_size_are_bounded() {
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse(format!("a: {}", "[".repeat(100_000)).as_bytes()).is_err());
        let nested: String = (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(parse(nested.as_bytes()).is_err());
        assert!(parse(&vec![b'#'; FILE_SIZE_MAX + 1]).unwrap_err().message.contains("split it"));
        assert!(parse("---\na: 1\n".repeat(MANIFESTS_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn values_that_other_kinds_may_have_do_not_refuse_the_file() {
        let text = "kind: A\nnumber: 1e999\nhuge: 123456789012345678901234567890\nbinary: !!binary aGk=\n\
                    tag: !foo bar\n8080: x\nmerge: &m {a: 1}\nother: {<<: *m, b: 2}\n";
        assert_eq!(summary(text), [one(1, " A", "-")]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn arbitrary_text_of_yaml_signs_never_panics(text in "[-a: \\[\\]{},&*!|>'\"#%@`\n\t?0]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
