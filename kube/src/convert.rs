//! HTTPProxy to [`ServiceExport`]: what is exported, and why something is not. Pure.
//!
//! The rules are the design's "What is exported". Whether the name may be imported is not decided here.

use std::num::NonZeroU16;

use serde_json::Value;
use xcc_model::{
    Diagnostic, ExportKey, Hostname, Ingress, ObjectKind, ObjectRef, Reason, RemoteName, ServiceExport,
    ServicePort,
};

use crate::api::{self, EXPORT_LABEL, HttpProxy, SERVICE_PORT_ANNOTATION, ShapeError, excerpt};

/// What an HTTPProxy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conversion {
    /// It has no export label: nothing else of it was looked at.
    NotExported,
    /// It is labelled; an error says why it cannot be exported.
    Export(ExportKey, Result<ServiceExport, Diagnostic>),
    /// It has not the shape of an HTTPProxy, so what it was before stays in force.
    Malformed(Diagnostic),
}

/// Converts the JSON form of a `projectcontour.io/v1` HTTPProxy. An object without the label is not looked at any further,
/// whatever its shape.
pub fn http_proxy(remote: &RemoteName, object: &Value) -> Conversion {
    match is_labelled(object) {
        Ok(false) => return Conversion::NotExported,
        Ok(true) => {}
        Err(error) => return Conversion::Malformed(malformed(remote, ObjectKind::HTTPProxy, object, &error)),
    }
    let read = api::object_name(object)
        .and_then(|name| Ok((ExportKey::new(name.namespace, name.name), api::read::<HttpProxy>(object)?)));
    match read {
        Ok((key, proxy)) => {
            let export = service_export(remote, &key, &proxy);
            Conversion::Export(key, export)
        }
        Err(error) => Conversion::Malformed(malformed(remote, ObjectKind::HTTPProxy, object, &error)),
    }
}

/// Converts a labelled HTTPProxy; the error says why it cannot be exported and what to do about it.
pub fn service_export(
    remote: &RemoteName,
    key: &ExportKey,
    proxy: &HttpProxy,
) -> Result<ServiceExport, Diagnostic> {
    try_export(proxy).map_err(|(reason, message)| Diagnostic {
        remote: remote.clone(),
        object: key.object(),
        reason,
        message,
    })
}

/// The diagnostic of an object that has not the shape of its kind.
pub(crate) fn malformed(
    remote: &RemoteName,
    kind: ObjectKind,
    object: &Value,
    error: &ShapeError,
) -> Diagnostic {
    let object = match api::object_name(object) {
        Ok(name) if matches!(kind, ObjectKind::HTTPProxy | ObjectKind::Service) => {
            ObjectRef::new(kind, name.namespace, name.name)
        }
        Ok(name) => ObjectRef::new(kind, "", name.name),
        Err(_) => ObjectRef::new(kind, "", ""),
    };
    let message = format!("{error}; the object's last good state stays in force: correct the field");
    Diagnostic { remote: remote.clone(), object, reason: Reason::Malformed, message }
}

fn is_labelled(object: &Value) -> Result<bool, ShapeError> {
    match object.pointer("/metadata/labels") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Object(labels)) => Ok(labels.contains_key(EXPORT_LABEL)),
        Some(_) => {
            Err(ShapeError { path: "metadata.labels".into(), message: "is not a map of strings".into() })
        }
    }
}

fn try_export(proxy: &HttpProxy) -> Result<ServiceExport, (Reason, String)> {
    let Some(host) = &proxy.spec.virtualhost else {
        let message = "it has no spec.virtualhost, so it has no name of its own: label the root HTTPProxy that \
                       includes it instead";
        return Err((Reason::NotARootProxy, message.to_owned()));
    };
    if host.tls.secret_name.is_empty() && !host.tls.passthrough {
        let message = "it has no TLS, and the gateway routes by the server name of TLS: set \
                       spec.virtualhost.tls.secretName or spec.virtualhost.tls.passthrough";
        return Err((Reason::NoTls, message.to_owned()));
    }
    let hostname = Hostname::parse(&host.fqdn).map_err(|error| {
        let message = format!(
            "spec.virtualhost.fqdn {:?}: {error}; use a fully qualified host name",
            excerpt(&host.fqdn)
        );
        (Reason::InvalidHostname, message)
    })?;
    check_status(proxy)?;
    let port = service_port(proxy.metadata.annotations.service_port.as_ref())?;
    let created_seconds = created_seconds(&proxy.metadata.creation_timestamp);
    Ok(ServiceExport { hostname, port, created_seconds })
}

/// Only what Contour calls invalid or orphaned is refused: there may be no Contour to write a status.
fn check_status(proxy: &HttpProxy) -> Result<(), (Reason, String)> {
    let status = &proxy.status;
    if !matches!(status.current_status.as_str(), "invalid" | "orphaned") {
        return Ok(());
    }
    let description = match status.description.as_str() {
        "" => "without a description",
        text => text,
    };
    let message = format!(
        "Contour says that it is {}: {}; correct it in its own cluster",
        status.current_status,
        excerpt(description)
    );
    Err((Reason::InvalidProxy, message))
}

/// Who sets the annotation means that port: a value that is none refuses the export, since the service on some other
/// port would look like success to xcc and like failure to every client.
fn service_port(annotation: Option<&Value>) -> Result<ServicePort, (Reason, String)> {
    let text = match annotation {
        None | Some(Value::Null) => return Ok(Ingress::DEFAULT_PORT),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<NonZeroU16>() {
        Ok(port) if digits => Ok(port),
        _ => {
            let text = excerpt(&text);
            let message = format!(
                "annotation {SERVICE_PORT_ANNOTATION} is {text:?}: set it to a port from 1 to 65535, or remove \
                 it for {}",
                Ingress::DEFAULT_PORT
            );
            Err((Reason::InvalidServicePort, message))
        }
    }
}

fn created_seconds(timestamp: &Value) -> Option<i64> {
    timestamp.as_str()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
