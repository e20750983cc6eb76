//! `envoy.extensions.access_loggers.stream.v3.StdoutAccessLog` with a JSON format whose bytes are stable: envoy-types'
//! `Struct` writes its fields in random order, prost's in the order of their names.

use prost_reflect::prost_types::{Struct, Value, value::Kind};

/// Writes one line for each connection to standard output.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StdoutAccessLog {
    #[prost(message, optional, tag = "1")]
    log_format: Option<SubstitutionFormatString>,
}

/// `envoy.config.core.v3.SubstitutionFormatString` in its JSON form.
#[derive(Clone, PartialEq, prost::Message)]
struct SubstitutionFormatString {
    #[prost(message, optional, tag = "2")]
    json_format: Option<Struct>,
}

impl StdoutAccessLog {
    /// A line that is a JSON object: the fields' names and Envoy's command operators.
    pub(crate) fn json(fields: &[(&str, &str)]) -> Self {
        let field = |(name, operator): &(&str, &str)| {
            let value = Value { kind: Some(Kind::StringValue((*operator).to_owned())) };
            ((*name).to_owned(), value)
        };
        let json_format = Struct { fields: fields.iter().map(field).collect() };
        Self { log_format: Some(SubstitutionFormatString { json_format: Some(json_format) }) }
    }
}

impl prost::Name for StdoutAccessLog {
    const NAME: &'static str = "StdoutAccessLog";
    const PACKAGE: &'static str = "envoy.extensions.access_loggers.stream.v3";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}
