//! The README's section "On Kubernetes": its commands, run as they stand.

use anyhow::{Context, Result, ensure};

use super::NAME;
use crate::client::{reaches, unresolved};
use crate::progress::Progress;
use crate::world::World;
use crate::{example, layout, process};

const HEADING: &str = "## On Kubernetes";

/// What the section's request has to print.
const ANSWER: &str = "HTTP/2 200";

/// What is done already while scenarios run, and undone after them.
const UP_AND_DOWN: &str = "make e2e-";

/// Runs the section's commands block by block, without the example that other scenarios use.
///
/// # Errors
/// When the section is missing, a command fails, or the request is not answered.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let readme = std::fs::read_to_string(layout::root().join("README.md"))?;
    let blocks = blocks(&readme, HEADING)?;
    example::delete(&world.shared_services).await?;
    unresolved(&world.workloads, NAME).await?;
    let path = format!("export PATH=$PATH:{}\n", layout::cache().join("bin").display());
    let mut printed = String::new();
    for block in &blocks {
        let lines = block.lines().filter(|line| !line.starts_with(UP_AND_DOWN));
        let script: String = lines.flat_map(|line| [line, "\n"]).collect();
        let root = layout::root().display().to_string();
        let argv = ["env", "--chdir", &root, "bash", "-euo", "pipefail"];
        let ran = process::run_with_input(argv, &(path.clone() + &script)).await;
        printed += &ran.context("the README's commands")?;
    }
    ensure!(printed.contains(ANSWER), "the README's commands print no {ANSWER}: {printed}");
    progress.say(format!(
        "README, {:?}: its {} blocks of commands do what it says",
        &HEADING[3..],
        blocks.len()
    ));

    example::delete(&world.shared_services).await?;
    example::deploy(&world.shared_services, NAME).await?;
    example::export(&world.shared_services, NAME).await?;
    reaches(&world.workloads, NAME, world.shared_services.name()).await
}

/// The shell blocks of a section.
fn blocks(readme: &str, heading: &str) -> Result<Vec<String>> {
    let start = readme.find(heading).with_context(|| format!("README.md has no section {heading:?}"))?;
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in readme[start..].lines().skip(1) {
        match (&mut block, line) {
            (None, "```sh") => block = Some(String::new()),
            (None, line) if line.starts_with("## ") => break,
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(text), line) => *text += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    ensure!(!blocks.is_empty(), "the section {heading:?} of README.md has no commands");
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shell_blocks_of_the_section_are_taken() {
        let readme = "## A\n```sh\nno\n```\n## B\ntext\n```sh\n## not a heading\none\n```\n```yaml\nno: 1\n```\n\
                      ```sh\ntwo\nthree\n```\n## C\n```sh\nno\n```\n";
        assert_eq!(blocks(readme, "## B").unwrap(), ["## not a heading\none\n", "two\nthree\n"]);
        assert!(blocks(readme, "## D").unwrap_err().to_string().contains("no section"));
    }
}
