//! The form of a file, before its resources are understood.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};

/// A whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// By type URL.
    #[serde(default)]
    pub(crate) resources: BTreeMap<String, Object<OfType>>,
}

/// The resources of one type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfType {
    /// The forced version of the type.
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) items: Vec<Object<Item>>,
}

/// One resource.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    pub(crate) name: String,
    /// Its forced version.
    pub(crate) version: Option<String>,
    pub(crate) resource: Map<String, Value>,
}

impl File {
    /// Reads a file.
    pub(crate) fn parse(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text).map(|Object(file)| file)
    }
}

/// What stands in the file as a JSON object. serde would take a list of the members as well, and so `[]` for a file that
/// deletes everything.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}
