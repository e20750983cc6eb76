//! `xcc crd`.

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{CrdArgs, OutputFormat};

/// Prints the CustomResourceDefinitions, as `kubectl apply -f -` takes them, or writes each into a file of its own.
pub(crate) fn run(args: &CrdArgs) -> anyhow::Result<ExitCode> {
    for crd in xcc_kube::crd::crds() {
        let text = super::render(&serde_json::to_value(&crd)?, OutputFormat::Yaml)?;
        let Some(directory) = &args.output_directory else {
            super::print(&format!("---\n{text}"))?;
            continue;
        };
        let path = directory.join(format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
