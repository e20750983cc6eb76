//! Which fields of an object are kept while it is parsed. Everything else is skipped without being stored, so that what
//! an API server sends costs no more memory than what is read of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The fields that are kept. A value that has another shape than the mask expects is kept as it is: that it is wrong
/// is for those to say who read it.
#[derive(Debug)]
pub(crate) enum Mask {
    /// All of the value.
    Whole,
    /// These fields of an object, or of each object in a list.
    Fields(&'static [(&'static str, Self)]),
}

impl Mask {
    fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Whole => Some(&Self::Whole),
            Self::Fields(fields) => fields.iter().find(|(field, _)| *field == name).map(|(_, mask)| mask),
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Mask {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Masked(self, &[]))
    }
}

/// Keeps what the mask keeps and, of the value itself, these fields.
struct Masked<'a>(&'a Mask, &'static [&'static str]);

impl<'de> Visitor<'de> for Masked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let also = || self.1.contains(&name.as_str()).then_some(&Mask::Whole);
            match self.0.field(&name).or_else(also) {
                Some(mask) => {
                    let value = access.next_value_seed(mask)?;
                    map.insert(name, value);
                }
                None => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(self.0)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.deserialize(deserializer)
    }
}

/// One page of a list.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    /// `metadata.resourceVersion`.
    pub(crate) version: String,
    /// `metadata.continue`: there are more pages.
    pub(crate) next: Option<String>,
    /// The objects, masked.
    pub(crate) items: Vec<Value>,
}

impl Page {
    /// Parses the answer to a list request.
    pub(crate) fn parse(bytes: &[u8], mask: &Mask) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let page = deserializer.deserialize_map(PageVisitor(mask))?;
        deserializer.end()?;
        Ok(page)
    }
}

struct PageVisitor<'a>(&'a Mask);

impl<'de> Visitor<'de> for PageVisitor<'_> {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list with metadata.resourceVersion and items")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Page, A::Error> {
        let (mut metadata, mut items) = (Value::Null, None);
        while let Some(name) = access.next_key::<String>()? {
            match name.as_str() {
                "metadata" => metadata = access.next_value()?,
                "items" => items = Some(access.next_value_seed(self.0)?),
                _ => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        let text = |field: &str| metadata[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        // An empty list may be `null`, but one that is not there at all is no list.
        let items = match items {
            Some(Value::Array(items)) => items,
            Some(Value::Null) => Vec::new(),
            _ => return Err(serde::de::Error::missing_field("items")),
        };
        let version = text("resourceVersion")
            .ok_or_else(|| serde::de::Error::missing_field("metadata.resourceVersion"))?;
        Ok(Page { version, next: text("continue"), items })
    }
}

/// One event of a watch.
#[derive(Debug, PartialEq)]
pub(crate) struct Notice {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub(crate) kind: String,
    /// The object, masked; of a Status its code and message.
    pub(crate) object: Value,
}

impl Notice {
    /// Parses a line of a watch.
    pub(crate) fn parse(line: &[u8], mask: &Mask) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let notice = deserializer.deserialize_map(NoticeVisitor(mask))?;
        deserializer.end()?;
        Ok(notice)
    }
}

struct NoticeVisitor<'a>(&'a Mask);

impl<'de> Visitor<'de> for NoticeVisitor<'_> {
    type Value = Notice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a watch event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Notice, A::Error> {
        let (mut kind, mut object) = (String::new(), Value::Null);
        while let Some(name) = access.next_key::<String>()? {
            match name.as_str() {
                "type" => kind = access.next_value()?,
                // Whether it is an object or a Status may show only behind it.
                "object" => object = access.next_value_seed(ObjectOrStatus(self.0))?,
                _ => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Notice { kind, object })
    }
}

struct ObjectOrStatus<'a>(&'a Mask);

impl<'de> DeserializeSeed<'de> for ObjectOrStatus<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Masked(self.0, &["code", "message"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MASK: Mask = Mask::Fields(&[
        ("metadata", Mask::Fields(&[("name", Mask::Whole)])),
        ("spec", Mask::Fields(&[("list", Mask::Fields(&[("a", Mask::Whole)]))])),
    ]);

    #[test]
    fn only_the_masked_fields_are_kept_and_wrong_shapes_stay() {
        for (object, want) in [
            (
                json!({"metadata": {"name": "x", "managedFields": [1]}, "spec": {"list": [{"a": {"b": 1}, "c": 2}]}}),
                json!({"metadata": {"name": "x"}, "spec": {"list": [{"a": {"b": 1}}]}}),
            ),
            (json!({"metadata": 5, "spec": {"list": "x"}}), json!({"metadata": 5, "spec": {"list": "x"}})),
            (json!([null, 1.5, -1, true]), json!([null, 1.5, -1, true])),
        ] {
            let text = object.to_string();
            let mut deserializer = serde_json::Deserializer::from_str(&text);
            assert_eq!((&MASK).deserialize(&mut deserializer).unwrap(), want);
        }
    }

    #[test]
    fn a_page_must_say_where_it_stands_and_have_items() {
        let parse = |page: Value| Page::parse(page.to_string().as_bytes(), &MASK);
        let page = parse(json!({
            "kind": "List", "items": [{"metadata": {"name": "x", "uid": "u"}}],
            "metadata": {"resourceVersion": "5", "continue": "next"},
        }))
        .unwrap();
        let items = vec![json!({"metadata": {"name": "x"}})];
        assert_eq!(page, Page { version: "5".into(), next: Some("next".into()), items });
        let empty =
            parse(json!({"metadata": {"resourceVersion": "5", "continue": ""}, "items": null})).unwrap();
        assert_eq!(empty, Page { version: "5".into(), next: None, items: vec![] });
        for page in [
            json!({"items": []}),
            json!({"metadata": {"resourceVersion": ""}, "items": []}),
            json!({"metadata": {"resourceVersion": "5"}}),
            json!({"metadata": {"resourceVersion": "5"}, "items": {}}),
            json!([]),
        ] {
            assert!(parse(page.clone()).is_err(), "{page}");
        }
    }

    #[test]
    fn an_error_event_keeps_its_code() {
        let line = json!({"type": "ERROR", "object": {"code": 410, "message": "too old"}}).to_string();
        let notice = Notice::parse(line.as_bytes(), &MASK).unwrap();
        assert_eq!(notice.object["code"], 410);
    }
}
