//! Envoy's messages as JSON and YAML: proto3's canonical JSON with every Any expanded, keys sorted.
//!
//! prost's messages know nothing of names, so a message is encoded and read again through a descriptor set, which is
//! made from the proto files of envoy-types (`cargo run -p xcc-envoy --example descriptors`) and holds the types that
//! this crate emits, and what they refer to. A field or type that is not in it is an error, not a gap.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage};
use serde::Serialize;
use serde_json::{Map, Value};

/// Compiled in; a test finds it stale.
static DESCRIPTORS: &[u8] = include_bytes!("../descriptors/envoy.binpb");

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // No input reaches this: the set is part of the program, and every test of this module reads it.
    DescriptorPool::decode(DESCRIPTORS).expect("the checked-in descriptor set is valid")
});

/// Why a message has no text form.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The descriptor set lacks the type.
    #[error(
        "type {0} is not in the descriptor set: add it to descriptors/generate.rs and make the set again"
    )]
    UnknownType(String),
    /// The bytes are no message of the type, or have fields that the descriptor set lacks.
    #[error("not a valid {type_name}: {reason}")]
    Invalid {
        /// The message's full name.
        type_name: String,
        /// What is wrong.
        reason: String,
    },
    /// The JSON form could not be made, for instance because an Any holds an unknown type.
    #[error("{type_name} has no JSON form")]
    Json {
        /// The message's full name.
        type_name: String,
        /// What the serializer said.
        source: serde_json::Error,
    },
    /// The YAML form could not be made.
    #[error("the YAML form cannot be written")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// A message as a JSON value.
pub fn to_value<M: Message + Name>(message: &M) -> Result<Value, YamlError> {
    value_of(&M::full_name(), &message.encode_to_vec())
}

/// The content of an Any or of an xDS resource as a JSON value, with its `@type`.
pub fn any_to_value(type_url: &str, value: &[u8]) -> Result<Value, YamlError> {
    let type_name = type_url.rsplit('/').next().unwrap_or(type_url);
    Ok(with_type(type_url, value_of(type_name, value)?))
}

/// Messages as `{"resources": [{"@type": ..., ...}]}`: the content of a file that Envoy reads as a configuration source.
pub fn resources<'a, M: Message + Name + 'a>(
    messages: impl IntoIterator<Item = &'a M>,
) -> Result<Value, YamlError> {
    let resources = messages
        .into_iter()
        .map(|message| Ok(with_type(&M::type_url(), to_value(message)?)))
        .collect::<Result<Vec<_>, YamlError>>()?;
    Ok(Value::Object(Map::from_iter([("resources".to_owned(), Value::Array(resources))])))
}

/// A message as YAML.
pub fn to_yaml<M: Message + Name>(message: &M) -> Result<String, YamlError> {
    value_to_yaml(&to_value(message)?)
}

/// A message as JSON, indented.
pub fn to_json<M: Message + Name>(message: &M) -> Result<String, YamlError> {
    let value = to_value(message)?;
    serde_json::to_string_pretty(&value)
        .map_err(|source| YamlError::Json { type_name: M::full_name(), source })
}

/// A JSON value as YAML. Strings that some reader would take for a number or a boolean are quoted.
pub fn value_to_yaml(value: &Value) -> Result<String, YamlError> {
    // Folded strings are hard to search for and to compare.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(value, options)?)
}

/// Reads a message from its JSON form. Unknown fields are an error. Where an Any holds a map, its entries are in no
/// particular order: not for bytes that must be stable.
pub fn from_value<M: Message + Name + Default>(value: &Value) -> Result<M, YamlError> {
    let type_name = M::full_name();
    let dynamic = DynamicMessage::deserialize(descriptor(&type_name)?, value)
        .map_err(|source| YamlError::Json { type_name: type_name.clone(), source })?;
    M::decode(dynamic.encode_to_vec().as_slice())
        .map_err(|error| YamlError::Invalid { type_name, reason: error.to_string() })
}

fn descriptor(type_name: &str) -> Result<MessageDescriptor, YamlError> {
    POOL.get_message_by_name(type_name).ok_or_else(|| YamlError::UnknownType(type_name.to_owned()))
}

fn value_of(type_name: &str, bytes: &[u8]) -> Result<Value, YamlError> {
    let invalid = |reason| YamlError::Invalid { type_name: type_name.to_owned(), reason };
    let message =
        DynamicMessage::decode(descriptor(type_name)?, bytes).map_err(|error| invalid(error.to_string()))?;
    if let Some(field) = unknown_field(&message) {
        return Err(invalid(format!("field number {} of {} is unknown", field.1, field.0)));
    }
    let value = message
        .serialize(serde_json::value::Serializer)
        .map_err(|source| YamlError::Json { type_name: type_name.to_owned(), source })?;
    Ok(sorted(value))
}

/// The first field, at any depth, that has a number without a name: its message and number.
fn unknown_field(message: &DynamicMessage) -> Option<(String, u32)> {
    let name = || message.descriptor().full_name().to_owned();
    let own = message.unknown_fields().next().map(|field| (name(), field.number()));
    own.or_else(|| message.fields().find_map(|(_, value)| unknown_field_in(value)))
        .or_else(|| packed(message).as_ref().and_then(unknown_field))
}

fn unknown_field_in(value: &prost_reflect::Value) -> Option<(String, u32)> {
    match value {
        prost_reflect::Value::Message(message) => unknown_field(message),
        prost_reflect::Value::List(list) => list.iter().find_map(unknown_field_in),
        prost_reflect::Value::Map(map) => map.values().find_map(unknown_field_in),
        _ => None,
    }
}

/// The message inside of an Any. One of unknown type is left to the serializer, which refuses it.
fn packed(message: &DynamicMessage) -> Option<DynamicMessage> {
    if message.descriptor().full_name() != "google.protobuf.Any" {
        return None;
    }
    let type_url = message.get_field_by_name("type_url")?;
    let value = message.get_field_by_name("value")?;
    let type_name = type_url.as_str()?.rsplit('/').next()?;
    DynamicMessage::decode(POOL.get_message_by_name(type_name)?, value.as_bytes()?.clone()).ok()
}

/// Puts the type in front. Messages that JSON has a form of its own for (a Duration, a StringValue) stand under `value`.
fn with_type(type_url: &str, value: Value) -> Value {
    let mut fields = Map::new();
    fields.insert("@type".to_owned(), Value::String(type_url.to_owned()));
    match value {
        Value::Object(object) => fields.extend(object),
        other => {
            fields.insert("value".to_owned(), other);
        }
    }
    sorted(Value::Object(fields))
}

/// Sorts the keys at every depth, whatever map serde_json is built with.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries = object.into_iter().collect::<Vec<_>>();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::google::protobuf::StringValue;
    use serde_json::json;

    use super::*;
    use crate::wire::build;
    use crate::{Bootstrap, Cluster};

    #[test]
    fn types_and_fields_without_a_name_are_an_error() {
        let error = any_to_value("type.googleapis.com/xcc.Nothing", &[]).unwrap_err();
        assert!(matches!(error, YamlError::UnknownType(name) if name == "xcc.Nothing"));
        // Field 4095, a varint of 1.
        let error =
            any_to_value("type.googleapis.com/envoy.config.cluster.v3.Cluster", &[0xf8, 0xff, 0x01, 1]);
        assert!(error.unwrap_err().to_string().contains("field number 4095"));
        let mut any = build::any(&StringValue { value: "a".to_owned() });
        any.value.extend([0xf8, 0xff, 0x01, 1]);
        let options = [("a".to_owned(), any)].into();
        let cluster = Cluster { typed_extension_protocol_options: options, ..Cluster::default() };
        assert!(to_value(&cluster).unwrap_err().to_string().contains("google.protobuf.StringValue"));
        let error = any_to_value("type.googleapis.com/envoy.config.cluster.v3.Cluster", &[0x0a, 9]);
        assert!(matches!(error, Err(YamlError::Invalid { .. })));
    }

    #[test]
    fn an_any_of_unknown_type_is_an_error() {
        let any = envoy_types::pb::google::protobuf::Any {
            type_url: "type.googleapis.com/xcc.Nothing".to_owned(),
            value: vec![],
        };
        let options = [("a".to_owned(), any)].into();
        let cluster = Cluster { typed_extension_protocol_options: options, ..Cluster::default() };
        assert!(matches!(to_value(&cluster), Err(YamlError::Json { .. })));
    }

    #[test]
    fn unknown_fields_of_json_are_an_error() {
        assert!(from_value::<Cluster>(&json!({"name": "a", "nmae": "b"})).is_err());
        assert_eq!(from_value::<Cluster>(&json!({"name": "a"})).unwrap().name, "a");
    }

    #[test]
    fn a_wrapper_keeps_its_type() {
        let value = StringValue { value: "east/443".to_owned() };
        let resources = resources([&value]).unwrap();
        let want = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "east/443"});
        assert_eq!(resources["resources"][0], want);
    }

    #[test]
    fn strings_that_look_like_something_else_are_quoted() {
        for text in
            ["on", "y", "no", "null", "~", "1", "1e3", "0x1f", "1.5", "10.0.0.1", "2026-01-01", "a: b", ""]
        {
            let yaml = value_to_yaml(&json!({ "key": text })).unwrap();
            assert_eq!(yaml, format!("key: \"{text}\"\n"));
        }
    }

    #[test]
    fn json_and_yaml_hold_the_same() {
        let mut bootstrap = Bootstrap::default();
        bootstrap.node.get_or_insert_default().id = "gateway-0".to_owned();
        let value = to_value(&bootstrap).unwrap();
        assert_eq!(value, json!({"node": {"id": "gateway-0"}}));
        assert_eq!(serde_json::from_str::<Value>(&to_json(&bootstrap).unwrap()).unwrap(), value);
        assert_eq!(to_yaml(&bootstrap).unwrap(), "node:\n  id: gateway-0\n");
    }
}
