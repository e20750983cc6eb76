//! The block that sends our zones' queries to xcc, in CoreDNS' Corefile. Pure: text in, text out.
//!
//! The block stands between two marker lines and is put after the user's text. What it takes to do so is undone exactly
//! by taking it out, so that removal gives back the bytes that were there before. Text that xcc did not write is never
//! changed: where the markers leave a doubt, the answer is an error that names the line.

mod syntax;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::ops::Range;

use xcc_model::ZoneName;

use super::Edit;
use syntax::{Parsed, ServerBlock, Token};

/// The line before the block.
pub const BEGIN: &str = "### BEGIN CROSS CLUSTER CONNECTIVITY";
/// The line after the block.
pub const END: &str = "### END CROSS CLUSTER CONNECTIVITY";

/// Where CoreDNS listens if a server block does not say.
const DEFAULT_PORT: &str = "53";
/// What the block may hold: by this, text that somebody else put between the markers is told from ours.
const OUR_DIRECTIVES: [&str; 3] = ["bind", "forward", "reload"];

/// Why a Corefile is left as it is. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorefileError {
    /// CoreDNS would refuse the file too.
    #[error("line {line} of the Corefile: {problem}; put that right first")]
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A second server block cannot be added to a file in the short form.
    #[error(
        "line {line} of the Corefile: its one server has no braces; put {{ and }} around what follows its name"
    )]
    NoBraces {
        /// Where the server's name stands.
        line: usize,
    },
    /// One marker without the other: where the block ends cannot be known.
    #[error(
        "line {line} of the Corefile: {marker:?} without its counterpart; delete what is left of the block by hand"
    )]
    HalfBlock {
        /// Where the marker stands.
        line: usize,
        /// The marker.
        marker: &'static str,
    },
    /// The markers were moved into a server block.
    #[error(
        "line {line} of the Corefile: the block of xcc stands inside a server block; move it out or delete it"
    )]
    InsideServer {
        /// Where the block begins.
        line: usize,
    },
    /// Somebody wrote between the markers, and replacing it would lose that.
    #[error(
        "line {line} of the Corefile: not written by xcc, but between its markers; move it out of the block"
    )]
    Foreign {
        /// Where.
        line: usize,
    },
    /// CoreDNS would refuse to load a file with two blocks for one zone.
    #[error(
        "line {line} of the Corefile: the zone {zone} is served there already; take it out, or leave the zone to it"
    )]
    ZoneTaken {
        /// Where.
        line: usize,
        /// The zone.
        zone: String,
    },
}

/// Puts the block for `zones` in, or puts it right: their queries go to `servers`, on port 53.
///
/// The block listens where the file's server for the root zone does: `bind` and a port other than 53 are taken over.
pub fn apply(corefile: &str, zones: &[ZoneName], servers: &[IpAddr]) -> Result<Edit, CorefileError> {
    let regions = regions(corefile)?;
    check_regions(corefile, &regions)?;
    if let Some(first) = regions.first() {
        let before = syntax::parse(&corefile[..first.start], 1);
        before.map_err(|_| CorefileError::InsideServer { line: line_of(corefile, first.start) })?;
    }
    let others = syntax::parse(&blanked(corefile, &regions), 1)?;
    let listens = Listens::of(&others);
    check_others(&others, zones, &listens)?;
    let block = block(zones, servers, &listens);
    let Some((first, doubled)) = regions.split_first() else {
        return Ok(Edit::Added(appended(corefile, &block)));
    };
    let once = cut(corefile, doubled);
    // Cutting the last block may have taken the first one's line end.
    let (old, rest) = once[first.start..].split_at(first.len().min(once.len() - first.start));
    let line_end = if old.ends_with('\n') { "\n" } else { "" };
    let text = format!("{}{block}{line_end}{rest}", &once[..first.start]);
    Ok(if text == corefile { Edit::None } else { Edit::Replaced(text) })
}

/// Takes the block out.
pub fn remove(corefile: &str) -> Result<Edit, CorefileError> {
    let regions = regions(corefile)?;
    check_regions(corefile, &regions)?;
    Ok(if regions.is_empty() { Edit::None } else { Edit::Removed(cut(corefile, &regions)) })
}

/// The lines, markers included, without the last line's end.
fn block(zones: &[ZoneName], servers: &[IpAddr], listens: &Listens) -> String {
    let mut text = format!("{BEGIN}\n");
    let servers: Vec<String> = servers.iter().map(IpAddr::to_string).collect();
    // The order in which zones are given must not make a difference to the file.
    for zone in zones.iter().map(ZoneName::as_str).collect::<BTreeSet<_>>() {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{} {{", listens.keys(zone).join(" "));
        for bind in &listens.binds {
            let _ = writeln!(text, "    {bind}");
        }
        let _ = writeln!(text, "    forward . {}\n    reload\n}}", servers.join(" "));
    }
    text.push_str(END);
    text
}

/// A file that does not end with a line end shall not end with one afterwards either: [`cut`] tells by that whether the
/// line end before the block is ours.
fn appended(corefile: &str, block: &str) -> String {
    if corefile.is_empty() || corefile.ends_with('\n') {
        format!("{corefile}{block}\n")
    } else {
        format!("{corefile}\n{block}")
    }
}

fn cut(corefile: &str, regions: &[Range<usize>]) -> String {
    let mut text = corefile.to_owned();
    for region in regions.iter().rev() {
        let ours = region.end == corefile.len() && !corefile.ends_with('\n') && region.start > 0;
        text.replace_range(region.start - usize::from(ours)..region.end, "");
    }
    text
}

/// The file with nothing but line ends where the blocks are, so that line numbers stay.
fn blanked(corefile: &str, regions: &[Range<usize>]) -> String {
    let mut text = corefile.to_owned();
    for region in regions.iter().rev() {
        let lines = corefile[region.clone()].matches('\n').count();
        text.replace_range(region.clone(), &"\n".repeat(lines));
    }
    text
}

/// From the first byte of each BEGIN line to the line end of its END line.
fn regions(corefile: &str) -> Result<Vec<Range<usize>>, CorefileError> {
    let mut regions = Vec::new();
    let mut open = None;
    let mut at = 0;
    for (index, line) in corefile.split_inclusive('\n').enumerate() {
        match (line.trim(), open) {
            (BEGIN, None) => open = Some((at, index + 1)),
            (BEGIN, Some((_, line))) => return Err(CorefileError::HalfBlock { line, marker: BEGIN }),
            (END, Some((start, _))) => {
                regions.push(start..at + line.len());
                open = None;
            }
            (END, None) => return Err(CorefileError::HalfBlock { line: index + 1, marker: END }),
            _ => {}
        }
        at += line.len();
    }
    match open {
        Some((_, line)) => Err(CorefileError::HalfBlock { line, marker: BEGIN }),
        None => Ok(regions),
    }
}

fn line_of(corefile: &str, at: usize) -> usize {
    corefile[..at].matches('\n').count() + 1
}

/// Nothing may be lost that xcc, or its ancestor, has not written.
fn check_regions(corefile: &str, regions: &[Range<usize>]) -> Result<(), CorefileError> {
    for region in regions {
        let lines: Vec<&str> = corefile[region.clone()].split_inclusive('\n').collect();
        let inside = lines.get(1..lines.len().saturating_sub(1)).unwrap_or_default().concat();
        let parsed = syntax::parse(&inside, line_of(corefile, region.start) + 1)?;
        let foreign_block = parsed.blocks.iter().find_map(foreign);
        let foreign_import = parsed.imports.first().and_then(|import| import.first()).map(|token| token.line);
        if let Some(line) = parsed.comment.or(foreign_import).or(foreign_block) {
            return Err(CorefileError::Foreign { line });
        }
    }
    Ok(())
}

/// The first line of a server block that is not ours.
fn foreign(block: &ServerBlock) -> Option<usize> {
    if !block.braced {
        return block.keys.first().map(|key| key.line);
    }
    let ours = |directive: &Vec<Token>| {
        let name = directive.first().map(|token| token.text.as_str());
        name.is_some_and(|name| OUR_DIRECTIVES.contains(&name))
            && !directive.iter().any(|token| token.text == "{")
    };
    block
        .directives
        .iter()
        .find(|directive| !ours(directive))
        .and_then(|directive| directive.first())
        .map(|token| token.line)
}

/// Whether a block can stand beside what the user has.
fn check_others(others: &Parsed, zones: &[ZoneName], listens: &Listens) -> Result<(), CorefileError> {
    for block in &others.blocks {
        if let Some(key) = block.keys.first().filter(|_| !block.braced) {
            return Err(CorefileError::NoBraces { line: key.line });
        }
        for key in &block.keys {
            let Some((zone, port)) = zone_and_port(&key.text) else { continue };
            if zones.iter().any(|ours| ours.as_str() == zone) && listens.ports.contains(&port) {
                return Err(CorefileError::ZoneTaken { line: key.line, zone });
            }
        }
    }
    Ok(())
}

/// Where the user's server for the root zone, which gets what no other server takes, waits for queries.
#[derive(Debug)]
struct Listens {
    ports: BTreeSet<String>,
    /// `bind` directives as they are written.
    binds: Vec<String>,
}

impl Listens {
    fn of(parsed: &Parsed) -> Self {
        let root_ports = |block: &ServerBlock| -> BTreeSet<String> {
            let keys = block.keys.iter().filter_map(|key| zone_and_port(&key.text));
            keys.filter(|(zone, _)| zone.is_empty()).map(|(_, port)| port).collect()
        };
        let root =
            parsed.blocks.iter().map(|block| (root_ports(block), block)).find(|(ports, _)| !ports.is_empty());
        let Some((ports, block)) = root else {
            return Self { ports: [DEFAULT_PORT.to_owned()].into(), binds: Vec::new() };
        };
        let binds = block
            .directives
            .iter()
            .filter(|directive| directive.first().is_some_and(|name| name.text == "bind"));
        Self { ports, binds: binds.map(|directive| written(directive)).collect() }
    }

    /// The server block's keys for a zone. The usual port is not written.
    fn keys(&self, zone: &str) -> Vec<String> {
        if self.ports.iter().all(|port| port == DEFAULT_PORT) {
            return vec![zone.to_owned()];
        }
        self.ports.iter().map(|port| format!("{zone}:{port}")).collect()
    }
}

/// A directive on one line.
fn written(directive: &[Token]) -> String {
    let words = directive.iter().map(|token| {
        let plain = !token.text.is_empty()
            && !token.text.contains(|c: char| c.is_whitespace() || c == '"' || c == '#');
        if plain { token.text.clone() } else { format!("\"{}\"", token.text.replace('"', "\\\"")) }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A server block's key without the final dot, in lower case; the root zone is empty. None for other transports than
/// plain DNS and for snippets.
fn zone_and_port(key: &str) -> Option<(String, String)> {
    let key = match key.split_once("://") {
        Some((scheme, rest)) => Some(rest).filter(|_| scheme.eq_ignore_ascii_case("dns"))?,
        None => key,
    };
    if key.starts_with('(') || key.is_empty() {
        return None;
    }
    let (zone, port) = match key.rsplit_once(':') {
        Some((zone, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (zone, port)
        }
        _ => (key, DEFAULT_PORT),
    };
    Some((zone.trim_end_matches('.').to_ascii_lowercase(), port.to_owned()))
}

#[cfg(test)]
mod tests;
