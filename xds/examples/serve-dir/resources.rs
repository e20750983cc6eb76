//! A file's JSON to a snapshot: protobuf's JSON form, read with a descriptor set.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind};
use serde_json::{Map, Value};
use xcc_xds::{Resource, ResourceVersion, Snapshot, SnapshotBuilder, TypeUrl};

use crate::file::{File, Item, Object, OfType};

/// Compiled in; a test finds it stale.
static DESCRIPTORS: &[u8] = include_bytes!("../../descriptors/resources.binpb");

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // No input reaches this: the set is part of the program.
    DescriptorPool::decode(DESCRIPTORS).expect("the checked-in descriptor set is valid")
});

/// The number of the field that holds the name in every type of resource.
const NAME_FIELD: u32 = 1;

/// The snapshot that a file describes. Resources that are as in `old` are not made again, so what did not change costs
/// nobody anything.
pub(crate) fn snapshot(text: &[u8], old: Option<&Snapshot>) -> Result<Snapshot> {
    let file = File::parse(text).context("it does not parse")?;
    let mut builder = old.map_or_else(Snapshot::builder, Snapshot::to_builder);
    let types: BTreeSet<TypeUrl> = file.resources.keys().map(|url| TypeUrl::from(url.as_str())).collect();
    for gone in old.into_iter().flat_map(Snapshot::types).filter(|type_url| !types.contains(type_url)) {
        builder.clear(gone);
    }
    for (url, Object(of_type)) in file.resources {
        insert_all(&mut builder, &TypeUrl::from(url.as_str()), of_type, old)?;
    }
    Ok(builder.build()?)
}

fn insert_all(
    builder: &mut SnapshotBuilder,
    type_url: &TypeUrl,
    of_type: OfType,
    old: Option<&Snapshot>,
) -> Result<()> {
    let names: BTreeSet<&str> = of_type.items.iter().map(|item| item.0.name.as_str()).collect();
    for resource in old.into_iter().flat_map(|old| old.resources(type_url)) {
        if !names.contains(&**resource.name()) {
            builder.remove(type_url, resource.name());
        }
    }
    for Object(item) in of_type.items {
        let name = item.name.clone();
        let resource =
            convert(type_url, item, old).with_context(|| format!("{} {name:?}", type_url.short()))?;
        builder.insert(resource);
    }
    match of_type.version {
        Some(label) => builder.with_type_version(type_url.clone(), &label),
        None => builder.without_type_version(type_url),
    };
    Ok(())
}

fn convert(type_url: &TypeUrl, item: Item, old: Option<&Snapshot>) -> Result<Arc<Resource>> {
    let Item { name, version, resource: mut json } = item;
    match json.get("@type").and_then(Value::as_str) {
        Some(text) => ensure!(text == type_url.as_str(), "\"@type\" is {text:?}, not that of its list"),
        None => drop(json.insert("@type".to_owned(), type_url.as_str().into())),
    }
    // The hash is of the JSON and not of the encoded message: protobuf gives maps no order.
    let hash = ResourceVersion::of(&serde_json::to_vec(&json)?);
    let known = old.and_then(|old| old.get(type_url, &name));
    if let (None, Some(known)) = (&version, known)
        && *known.version() == hash
    {
        return Ok(Arc::clone(known));
    }
    let value = encode(type_url, &name, json)?;
    let version = version.unwrap_or_else(|| hash.to_string());
    let resource = Resource::from_encoded(type_url.clone(), name.as_str(), value).with_version(&version);
    Ok(Arc::new(resource))
}

/// Encodes a resource from its JSON with `@type`.
fn encode(type_url: &TypeUrl, name: &str, mut json: Map<String, Value>) -> Result<Bytes> {
    let message_name = type_url.as_str().rsplit('/').next().unwrap_or_default();
    let Some(descriptor) = POOL.get_message_by_name(message_name) else {
        // A type that this program has no description of can still be served by name.
        ensure!(
            json.keys().all(|key| key == "@type" || key == "name"),
            "the type is not known here, so it can have no fields but \"name\""
        );
        return Ok(named(name).into());
    };
    let name_field = descriptor.get_field(NAME_FIELD).filter(|field| field.kind() == Kind::String);
    if let Some(field) = name_field.filter(|_| *type_url != TypeUrl::VirtualHost) {
        // `name` is understood for every type: in a ClusterLoadAssignment the field is called `cluster_name`.
        let spelled = [field.name(), field.json_name()];
        let given = json.keys().any(|key| spelled.contains(&key.as_str()));
        let generic = descriptor.get_field_by_name("name").is_none().then(|| json.remove("name")).flatten();
        if !given {
            json.insert(field.name().to_owned(), generic.unwrap_or_else(|| name.into()));
        }
    }
    let any = POOL
        .get_message_by_name("google.protobuf.Any")
        .ok_or_else(|| anyhow!("the descriptor set has no Any"))?;
    let any = DynamicMessage::deserialize(any, Value::Object(json))?;
    match any.get_field_by_name("value").as_deref() {
        Some(prost_reflect::Value::Bytes(value)) => Ok(value.clone()),
        _ => bail!("it has no content"),
    }
}

/// A message that has a name in its first field, as every resource does.
fn named(name: &str) -> Vec<u8> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Named {
        #[prost(string, tag = "1")]
        name: String,
    }
    Named { name: name.to_owned() }.encode_to_vec()
}
