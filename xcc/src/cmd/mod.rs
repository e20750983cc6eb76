//! The commands that print something and end.

pub(crate) mod bootstrap;
pub(crate) mod crd;
pub(crate) mod dns_config;
pub(crate) mod translate;
pub(crate) mod version;

use std::io::{self, Write};

use anyhow::Context;

use crate::cli::OutputFormat;

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Writes a value in the form that was asked for, keys sorted.
fn render(value: &serde_json::Value, format: OutputFormat) -> anyhow::Result<String> {
    Ok(match format {
        OutputFormat::Yaml => xcc_envoy::yaml::value_to_yaml(value)?,
        OutputFormat::Json => serde_json::to_string_pretty(value)? + "\n",
    })
}
