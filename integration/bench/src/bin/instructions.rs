//! Counts the instructions of hot paths with valgrind's callgrind and holds them against `instructions.json`: a regression
//! gate that a loaded machine does not disturb.
//!
//! A figure is what one more repetition costs: the difference of two runs, so that the start does not count. Debug and
//! release builds have figures of their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use xcc_bench::hot_paths::HotPath;
use xcc_bench::peer::find;

/// More than so many times the figure is a regression. Other compilers and processors differ by less.
const MARGIN: f64 = 1.4;
/// A change among ten thousand may cost so many times what it costs among a hundred: the depth of a map is in it.
const GROWTH: f64 = 3.0;

/// Figures by build and by hot path.
type Figures = BTreeMap<String, BTreeMap<String, u64>>;

#[derive(Parser)]
struct Arguments {
    /// Write the figures instead of comparing them.
    #[arg(long)]
    update: bool,
    /// The file of figures.
    #[arg(long, default_value = "integration/bench/instructions.json")]
    figures: std::path::PathBuf,
    /// Only repeat this one; what valgrind runs.
    #[arg(long, requires = "times")]
    run: Option<HotPath>,
    /// So often.
    #[arg(long)]
    times: Option<usize>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let (Some(path), Some(times)) = (arguments.run, arguments.times) {
        path.run(times)?;
        return Ok(ExitCode::SUCCESS);
    }
    let valgrind = find("valgrind", "valgrind")?;
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut figures = read(&arguments.figures)?;
    let known = figures.entry(build.to_owned()).or_default();
    let mut counted = BTreeMap::new();
    let mut good = true;
    for path in HotPath::value_variants() {
        let name = path.to_possible_value().context("it has a name")?.get_name().to_owned();
        let count = count(&valgrind, &name, path.repetitions())?;
        let before = known.get(&name).copied();
        let holds = before.is_some_and(|before| count as f64 <= before as f64 * MARGIN);
        let verdict = if holds || arguments.update { "" } else { "  too many" };
        let known = before.map_or_else(|| "not known".to_owned(), |before| format!("known {before}"));
        tell(&format!("{name:16} {count:>10} instructions, {known}{verdict}"));
        good &= holds;
        counted.insert(name, count);
    }
    for (few, many) in [("change100", "change10000"), ("push100", "push10000")] {
        let (few, many) = (counted[few] as f64, counted[many] as f64);
        if many > few * GROWTH {
            tell(&format!(
                "a change costs {:.1} times as much with a hundred times the resources",
                many / few
            ));
            good = false;
        }
    }
    if arguments.update {
        *known = counted;
        std::fs::write(&arguments.figures, serde_json::to_string_pretty(&figures)? + "\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> Result<Figures> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Figures::default()),
        text => {
            Ok(serde_json::from_str(&text?).with_context(|| format!("no figures in {}", file.display()))?)
        }
    }
}

/// What one more repetition costs.
fn count(valgrind: &Path, name: &str, repetitions: usize) -> Result<u64> {
    let few = repetitions.div_ceil(4);
    let many = few + repetitions;
    let (few, many) = (run(valgrind, name, few)?, run(valgrind, name, many)?);
    ensure!(many > few, "{name}: more repetitions cost nothing");
    Ok((many - few) / repetitions as u64)
}

fn run(valgrind: &Path, name: &str, times: usize) -> Result<u64> {
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--run", name, "--times", &times.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    Ok(collected.context("callgrind says nothing")?.1.trim().parse()?)
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn tell(line: &str) {
    println!("{line}");
}
