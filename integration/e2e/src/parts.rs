//! What must be installed and built before a cluster can start: the scripts below `parts/`.

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::layout;

/// The scripts, in order. Each does nothing when all is there.
const SCRIPTS: [(&str, &[&str]); 3] = [
    ("integration/e2e/parts/install.sh", &[]),
    ("integration/tools/install-envoy.sh", &[layout::ENVOY_VERSION]),
    ("integration/e2e/parts/build.sh", &[]),
];

/// Installs and builds what is missing. The scripts' progress goes to this program's standard error.
///
/// # Errors
/// When one of them fails: it has said why.
pub async fn provide() -> Result<()> {
    for (script, arguments) in SCRIPTS {
        let path = layout::root().join(script);
        let mut child = Command::new(&path)
            .args(arguments)
            .stdout(std::io::stderr())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {script}"))?;
        let status = child.wait().await?;
        ensure!(status.success(), "{script} failed ({status})");
    }
    Ok(())
}
