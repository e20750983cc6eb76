//! What is in a Pod's volumes: the files of ConfigMaps, Secrets, the downward API and tokens. Pure, but for tokens,
//! which are asked for beforehand.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Secret, Volume, VolumeProjection,
};

use super::atomic::{File, Payload};
use super::environment::{Facts, Lookup, field};

/// The mode of files whose volume says none.
const DEFAULT_MODE: u32 = 0o644;

/// A token that a volume needs: its audience and how long it lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenWanted {
    /// The audience; the API server's own with none.
    pub audience: Option<String>,
    /// How long it lives, in seconds.
    pub expiration_seconds: i64,
}

/// Tokens that have been asked for.
pub type Tokens = BTreeMap<TokenWanted, String>;

/// The tokens that the volumes of a Pod need.
pub fn tokens_wanted(volumes: &[Volume]) -> Vec<TokenWanted> {
    let sources = volumes.iter().filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
    sources.filter_map(token_wanted).collect()
}

fn token_wanted(source: &VolumeProjection) -> Option<TokenWanted> {
    let token = source.service_account_token.as_ref()?;
    Some(TokenWanted {
        audience: token.audience.clone(),
        expiration_seconds: token.expiration_seconds.unwrap_or(3600),
    })
}

/// The files of a volume; none if it is not one that is made of API objects.
///
/// # Errors
/// When an object or a key is missing that is not optional.
pub fn payload(
    volume: &Volume,
    facts: Facts<'_>,
    lookup: &impl Lookup,
    tokens: &Tokens,
) -> Result<Option<Payload>> {
    let mut files = Payload::new();
    if let Some(source) = &volume.config_map {
        let map = lookup.config_map(&source.name);
        let from = Source::ConfigMap(&source.name, map.as_deref());
        from.add(&mut files, source.items.as_deref(), mode(source.default_mode), source.optional)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let secret = lookup.secret(name);
        let from = Source::Secret(name, secret.as_deref());
        from.add(&mut files, source.items.as_deref(), mode(source.default_mode), source.optional)?;
    } else if let Some(source) = &volume.downward_api {
        downward(&mut files, source.items.as_deref().unwrap_or_default(), mode(source.default_mode), facts)?;
    } else if let Some(source) = &volume.projected {
        for projection in source.sources.iter().flatten() {
            project(&mut files, projection, mode(source.default_mode), facts, lookup, tokens)?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

fn project(
    files: &mut Payload,
    projection: &VolumeProjection,
    mode: u32,
    facts: Facts<'_>,
    lookup: &impl Lookup,
    tokens: &Tokens,
) -> Result<()> {
    if let Some(source) = &projection.config_map {
        let map = lookup.config_map(&source.name);
        let from = Source::ConfigMap(&source.name, map.as_deref());
        from.add(files, source.items.as_deref(), mode, source.optional)?;
    }
    if let Some(source) = &projection.secret {
        let secret = lookup.secret(&source.name);
        let from = Source::Secret(&source.name, secret.as_deref());
        from.add(files, source.items.as_deref(), mode, source.optional)?;
    }
    if let Some(source) = &projection.downward_api {
        downward(files, source.items.as_deref().unwrap_or_default(), mode, facts)?;
    }
    if let (Some(source), Some(wanted)) = (&projection.service_account_token, token_wanted(projection)) {
        let Some(token) = tokens.get(&wanted) else { bail!("no token yet") };
        files.insert(source.path.clone(), File { bytes: token.clone().into_bytes(), mode });
    }
    Ok(())
}

fn downward(files: &mut Payload, items: &[DownwardAPIVolumeFile], mode: u32, facts: Facts<'_>) -> Result<()> {
    for item in items {
        let Some(reference) = &item.field_ref else { bail!("resourceFieldRef is not supported here") };
        let bytes = field(reference, facts)?.into_bytes();
        files.insert(item.path.clone(), File { bytes, mode: item.mode.map_or(mode, permissions) });
    }
    Ok(())
}

enum Source<'a> {
    ConfigMap(&'a str, Option<&'a ConfigMap>),
    Secret(&'a str, Option<&'a Secret>),
}

impl Source<'_> {
    /// All keys, or those that are listed under the paths they are given.
    fn add(
        &self,
        files: &mut Payload,
        items: Option<&[KeyToPath]>,
        mode: u32,
        optional: Option<bool>,
    ) -> Result<()> {
        let optional = optional == Some(true);
        let Some(keys) = self.keys() else {
            if optional {
                return Ok(());
            }
            bail!("{self} not found");
        };
        match items {
            None | Some([]) => files.extend(keys.into_iter().map(|(key, bytes)| (key, File { bytes, mode }))),
            Some(items) => {
                for item in items {
                    match keys.get(&item.key) {
                        Some(bytes) => {
                            let mode = item.mode.map_or(mode, permissions);
                            files.insert(item.path.clone(), File { bytes: bytes.clone(), mode });
                        }
                        None if optional => {}
                        None => bail!("{self} references non-existent key: {}", item.key),
                    }
                }
            }
        }
        Ok(())
    }

    fn keys(&self) -> Option<BTreeMap<String, Vec<u8>>> {
        let mut keys = BTreeMap::new();
        match self {
            Self::ConfigMap(_name, map) => {
                let map = (*map)?;
                keys.extend(
                    map.data.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes())),
                );
                keys.extend(
                    map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone())),
                );
            }
            Self::Secret(_name, secret) => {
                let secret = (*secret)?;
                keys.extend(secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone())));
            }
        }
        Some(keys)
    }
}

impl std::fmt::Display for Source<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConfigMap(name, _map) => write!(formatter, "configmap \"{name}\""),
            Self::Secret(name, _secret) => write!(formatter, "secret \"{name}\""),
        }
    }
}

fn mode(bits: Option<i32>) -> u32 {
    bits.map_or(DEFAULT_MODE, permissions)
}

fn permissions(bits: i32) -> u32 {
    bits.unsigned_abs() & 0o777
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    struct One;

    impl Lookup for One {
        fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
            let map = json!({"data": {"ca.crt": "CA", "other": "x"}});
            (name == "here").then(|| Arc::new(serde_json::from_value(map).unwrap()))
        }
        fn secret(&self, _name: &str) -> Option<Arc<Secret>> {
            None
        }
    }

    fn files(volume: serde_json::Value, tokens: &Tokens) -> Result<Option<Payload>> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "shop"}})).unwrap();
        let volume: Volume = serde_json::from_value(volume).unwrap();
        payload(&volume, Facts { pod: &pod, pod_ips: &[], host_ips: &[] }, &One, tokens)
    }

    #[test]
    fn items_choose_and_rename() {
        let volume =
            json!({"name": "v", "configMap": {"name": "here", "items": [{"key": "other", "path": "a/b"}]}});
        let files = files(volume, &Tokens::new()).unwrap().unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a/b"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let volume = json!({"name": "v", "secret": {"secretName": "certs"}});
        let error = files(volume, &Tokens::new()).unwrap_err();
        assert_eq!(error.to_string(), "secret \"certs\" not found");
        let volume = json!({"name": "v", "secret": {"secretName": "certs", "optional": true}});
        assert_eq!(files(volume, &Tokens::new()).unwrap(), Some(Payload::new()));
    }

    #[test]
    fn a_service_account_volume_has_its_three_files() {
        let volume: serde_json::Value = json!({"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "here", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]}});
        let wanted = tokens_wanted(&[serde_json::from_value(volume.clone()).unwrap()]);
        let tokens = wanted.into_iter().map(|wanted| (wanted, "jwt".to_owned())).collect();
        let files = files(volume, &tokens).unwrap().unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["ca.crt", "namespace", "token"]);
        assert_eq!(files["namespace"].bytes, b"shop");
    }

    #[test]
    fn an_empty_dir_is_not_made_of_objects() {
        assert_eq!(files(json!({"name": "v", "emptyDir": {}}), &Tokens::new()).unwrap(), None);
    }
}
