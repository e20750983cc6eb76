//! The table of results: rows by id, kept between runs, as JSON for programs and as Markdown for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The figure that it belongs to, such as `B10`.
    pub id: String,
    /// What the row is known by, such as `B10.cpu.a.1000.nsd`; a later run replaces it.
    pub row: String,
    /// What was measured, in words.
    pub case: String,
    /// Our figure.
    pub ours: f64,
    /// The other program, or the other case of ours.
    pub peer_name: String,
    /// Its figure.
    pub peer: f64,
    /// Ours divided by the peer's, or the median of that over the rounds in which both were measured.
    pub ratio: f64,
    /// The figures' unit.
    pub unit: String,
    /// The ratio that must not be exceeded, or fallen below where more is better. None: for information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// What a ratio has to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// All rows, in order of their names.
#[derive(Debug, Default, PartialEq)]
pub struct Table {
    rows: BTreeMap<String, Row>,
}

impl Row {
    /// A row without limit; the ratio follows from the figures.
    pub fn new(row: &str, case: &str, ours: f64, peer_name: &str, peer: f64, unit: &str) -> Self {
        Self {
            id: row.split('.').next().unwrap_or(row).to_owned(),
            row: row.to_owned(),
            case: case.to_owned(),
            ours,
            peer_name: peer_name.to_owned(),
            peer,
            ratio: ours / peer,
            unit: unit.to_owned(),
            limit: None,
        }
    }

    /// The row with what must hold.
    #[must_use]
    pub fn with_limit(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The row with the median of its rounds' ratios in place of the ratio of the medians.
    #[must_use]
    pub fn with_ratio(self, ratio: f64) -> Self {
        Self { ratio, ..self }
    }

    /// Whether the ratio is what it has to be.
    pub fn holds(&self) -> bool {
        match self.limit {
            None => true,
            Some(Limit::AtMost(most)) => self.ratio <= most,
            Some(Limit::AtLeast(least)) => self.ratio >= least,
        }
    }

    fn verdict(&self) -> String {
        let (sign, limit) = match self.limit {
            None => return String::new(),
            Some(Limit::AtMost(limit)) => ("<=", limit),
            Some(Limit::AtLeast(limit)) => (">=", limit),
        };
        format!("{sign} {limit} {}", if self.holds() { "holds" } else { "**does not hold**" })
    }
}

impl Table {
    /// Reads the rows of earlier runs; none without a file.
    pub fn read(json: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(json) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.with_context(|| format!("cannot read {}", json.display()))?,
        };
        let rows: Vec<Row> =
            serde_json::from_str(&text).with_context(|| format!("no results in {}", json.display()))?;
        let mut table = Self::default();
        table.merge(rows);
        Ok(table)
    }

    /// Takes rows in; those with a name that is there already replace the older ones.
    pub fn merge(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows.into_iter().map(|row| (row.row.clone(), row)));
    }

    /// The rows in order of their names.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Writes `benchmarks.json` and `benchmarks.md` into the folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let machine = crate::machine::describe();
        std::fs::create_dir_all(folder)?;
        let rows: Vec<&Row> = self.rows().collect();
        std::fs::write(folder.join("benchmarks.json"), serde_json::to_string_pretty(&rows)? + "\n")?;
        std::fs::write(folder.join("benchmarks.md"), self.markdown(&machine)?)?;
        Ok(())
    }

    fn markdown(&self, machine: &str) -> Result<String> {
        let mut text = "# Benchmarks\n\nWritten by `make bench` from `benchmarks.json`. Each row compares two programs that \
            ran in turns on one machine\nin one run; only the ratio means something elsewhere.\n\
            For DNS (B10, B11) it is the median of the rounds' ratios, and may differ from the quotient of the two medians.\n\
            [Notes](benchmarks-notes.md): what misses its mark, and why.\n\n"
            .to_owned();
        writeln!(text, "{machine}")?;
        text.push_str(
            "| row | case | ours | peer | its figure | unit | ratio | must hold |\n|---|---|---|---|---|---|---|---|\n",
        );
        for row in self.rows() {
            let Row { row: name, case, peer_name, unit, .. } = row;
            let (ours, peer) = (figure(row.ours), figure(row.peer));
            let verdict = row.verdict();
            writeln!(
                text,
                "| {name} | {case} | {ours} | {peer_name} | {peer} | {unit} | {:.2} | {verdict} |",
                row.ratio
            )?;
        }
        Ok(text)
    }
}

/// Three significant digits, and no more than the number has where it is large.
fn figure(number: f64) -> String {
    match number.abs() {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_merged_by_name_and_come_back_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let row =
            |id: &str, ours| Row::new(id, "case", ours, "peer", 2.0, "us").with_limit(Limit::AtMost(1.0));
        let mut table = Table::read(&folder.path().join("benchmarks.json")).unwrap();
        table.merge([row("B2", 1.0), row("B1", 5.0)]);
        table.write(folder.path()).unwrap();
        let mut again = Table::read(&folder.path().join("benchmarks.json")).unwrap();
        assert_eq!(again, table);
        again.merge([row("B1", 1.5)]);
        again.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("benchmarks.md")).unwrap();
        let rows: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("|---")).skip(1).collect();
        assert_eq!(
            rows,
            [
                "| B1 | case | 1.50 | peer | 2.00 | us | 0.75 | <= 1 holds |",
                "| B2 | case | 1.00 | peer | 2.00 | us | 0.50 | <= 1 holds |",
            ]
        );
        assert_eq!(row("B10.cpu.a.1000.nsd", 1.0).id, "B10");
        assert!(!row("B1", 2.1).holds());
        assert!(row("B1", 2.1).with_limit(Limit::AtLeast(1.0)).holds());
    }
}
