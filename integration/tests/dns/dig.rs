//! Questions asked with dig, and what must and must not stand in its answers.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use xcc_integration::project;
use xcc_integration::world::World;

/// One question, as dig's arguments after `+norec`, and what is expected of the answer.
struct Case {
    /// The rule.
    rule: &'static str,
    question: &'static str,
    want: &'static [Want],
}

/// A property of an answer as dig prints it.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// The status line's code.
    Status(&'static str),
    /// A flag of the header is there.
    Flag(&'static str),
    /// A flag of the header is not there.
    NoFlag(&'static str),
    /// The number of records in the answer section.
    Answers(usize),
    /// A SOA record in the authority section.
    SoaInAuthority,
    /// A SOA record in the answer section.
    SoaInAnswer,
    /// An OPT record of version 0.
    Edns,
    /// No OPT record.
    NoEdns,
    /// The text is somewhere in the output.
    Text(&'static str),
    /// The text is nowhere in the output.
    NoText(&'static str),
    /// The gateway's address is among the answers.
    Gateway,
}
use Want::{Answers, Edns, Flag, Gateway, NoEdns, NoFlag, NoText, SoaInAnswer, SoaInAuthority, Status, Text};

/// RFC 8906 section 8, as the commands of ISC's compliance tester.
const RFC8906: &[Case] = &[
    Case {
        rule: "8.1.1 plain DNS, SOA",
        question: "+noedns +noad soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Answers(1), SoaInAnswer, NoEdns],
    },
    Case {
        rule: "8.1.2 plain DNS, unknown type",
        question: "+noedns +noad type1000 xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Answers(0), SoaInAuthority, NoEdns],
    },
    Case {
        rule: "8.1.3.1 CD set",
        question: "+noedns +noad +cd soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, NoEdns],
    },
    Case {
        rule: "8.1.3.2 AD set: not authenticated, so clear in the answer",
        question: "+noedns +ad soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), NoFlag("ad"), SoaInAnswer, NoEdns],
    },
    Case {
        rule: "8.1.3.3 reserved bit set",
        question: "+noedns +noad +zflag soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, NoText("MBZ")],
    },
    Case {
        rule: "8.1.3.4 recursion desired: copied, and not available",
        question: "+noedns +noad +rec soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Flag("rd"), NoFlag("ra"), SoaInAnswer],
    },
    Case {
        rule: "8.1.4 unknown opcode",
        question: "+noedns +noad +opcode=15 +header-only",
        want: &[Status("NOTIMP"), NoFlag("aa"), Answers(0), NoEdns],
    },
    Case {
        rule: "8.1.5 over TCP",
        question: "+noedns +noad +tcp soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, Text("(TCP)")],
    },
    Case {
        rule: "8.2.1 EDNS",
        question: "+edns=0 +nocookie +noad soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, Edns],
    },
    Case {
        rule: "8.2.2 EDNS version 1",
        question: "+edns=1 +noednsneg +nocookie +noad soa xcc.test",
        want: &[Status("BADVERS"), NoFlag("aa"), Answers(0), Edns],
    },
    Case {
        rule: "8.2.3 unknown EDNS option: ignored, not echoed",
        question: "+edns=0 +nocookie +noad +ednsopt=100 soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, Edns, NoText("OPT=100")],
    },
    Case {
        rule: "8.2.4 unknown flag: ignored, not echoed",
        question: "+edns=0 +nocookie +noad +ednsflags=0x40 soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, Edns, NoText("MBZ")],
    },
    Case {
        rule: "8.2.5 version 1 with an unknown flag",
        question: "+edns=1 +noednsneg +nocookie +noad +ednsflags=0x40 soa xcc.test",
        want: &[Status("BADVERS"), Answers(0), Edns, NoText("MBZ")],
    },
    Case {
        rule: "8.2.6 version 1 with an unknown option",
        question: "+edns=1 +noednsneg +nocookie +noad +ednsopt=100 soa xcc.test",
        want: &[Status("BADVERS"), Answers(0), Edns, NoText("OPT=100")],
    },
    Case {
        rule: "8.2.7 truncation: OPT is there all the same",
        question: "+dnssec +nocookie +noad +bufsize=512 +ignore dnskey xcc.test",
        want: &[Status("NOERROR"), Edns],
    },
    Case {
        rule: "8.2.8 DO set: copied",
        question: "+edns=0 +nocookie +noad +dnssec soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, Edns, Text("flags: do")],
    },
    Case {
        rule: "8.2.9 version 1 with DO",
        question: "+edns=1 +noednsneg +nocookie +noad +dnssec soa xcc.test",
        want: &[Status("BADVERS"), Answers(0), Edns],
    },
    Case {
        rule: "8.2.10 several options",
        question: "+edns=0 +noad +nsid +cookie +expire +subnet=0.0.0.0/0 soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, Edns],
    },
    Case {
        rule: "8.2.11 EDNS over TCP",
        question: "+tcp +dnssec +nocookie +noad soa xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), SoaInAnswer, Edns, Text("(TCP)")],
    },
];

/// What a client of the zone sees, and what it must not be able to do.
const OURS: &[Case] = &[
    Case {
        rule: "a name that is exported",
        question: "a nginx.xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Answers(1), Gateway],
    },
    Case {
        rule: "case is echoed",
        question: "a nGiNx.XcC.tEsT",
        want: &[Status("NOERROR"), Gateway, Text(";nGiNx.XcC.tEsT.")],
    },
    Case {
        rule: "RFC 2308: another type of a known name is NODATA with a SOA",
        question: "aaaa nginx.xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Answers(0), SoaInAuthority],
    },
    Case {
        rule: "RFC 2308: an unknown name is NXDOMAIN with a SOA",
        question: "a unknown.xcc.test",
        want: &[Status("NXDOMAIN"), Flag("aa"), Answers(0), SoaInAuthority],
    },
    Case {
        rule: "RFC 8020: an empty non-terminal exists",
        question: "a deep.xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Answers(0), SoaInAuthority],
    },
    Case {
        rule: "RFC 4592: a wildcard answers for what it covers, under the asked name",
        question: "a some.team.xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Answers(1), Gateway, Text("some.team.xcc.test.")],
    },
    Case {
        rule: "RFC 4592: it does not cover its own parent",
        question: "a team.xcc.test",
        want: &[Status("NOERROR"), Answers(0), SoaInAuthority],
    },
    Case {
        rule: "the apex has a name server",
        question: "ns xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Answers(1), Text("ns.dns.xcc.test.")],
    },
    Case {
        rule: "outside the zone: refused, and not referred",
        question: "a example.com",
        want: &[Status("REFUSED"), NoFlag("aa"), Answers(0), NoText("AUTHORITY SECTION")],
    },
    Case {
        rule: "no transfer of the zone",
        question: "+noidnout axfr xcc.test",
        want: &[Text("Transfer failed")],
    },
    Case {
        rule: "the software does not tell its version",
        question: "ch txt version.bind",
        want: &[Status("REFUSED")],
    },
    Case {
        rule: "RFC 8482: ANY gets something small",
        question: "+notcp any nginx.xcc.test",
        want: &[Status("NOERROR"), Answers(1), Text("HINFO")],
    },
    Case {
        rule: "where a name comes from, for people who wonder",
        question: "txt _xcc.nginx.xcc.test",
        want: &[Status("NOERROR"), Flag("aa"), Answers(1), Text("\"remote=east httpproxy=")],
    },
    Case {
        rule: "the same of a wildcard",
        question: "txt _xcc.*.team.xcc.test",
        want: &[Status("NOERROR"), Answers(1), Text("\"remote=west httpproxy=")],
    },
    Case {
        rule: "HTTPS records are off by default",
        question: "https nginx.xcc.test",
        want: &[Status("NOERROR"), Answers(0), SoaInAuthority],
    },
    Case { rule: "and so are reverse names", question: "-x 127.0.0.1", want: &[Status("REFUSED")] },
];

/// Asks everything and tells all that is wrong.
pub(crate) fn check(world: &World) -> Result<()> {
    let dig = project::dig()?;
    let dns = world.xcc.settings().dns;
    let gateway = world.xcc.settings().gateway_bind.to_string();
    let mut failures = Vec::new();
    let cases = RFC8906.iter().chain(OURS);
    for (case, transport) in cases.flat_map(|case| [(case, "+notcp"), (case, "+tcp")]) {
        let output = Command::new(&dig)
            // The user's own defaults must not matter.
            .env("HOME", "/nonexistent")
            .args([&format!("@{}", dns.ip()), "-p", &dns.port().to_string(), "+norec", "+time=2", "+tries=2"])
            // A question that names its transport has the last word.
            .arg(transport)
            .args(case.question.split(' '))
            .output()
            .context("cannot start dig")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for want in case.want {
            if let Err(error) = examine(&text, *want, &gateway) {
                failures.push(format!("{}: dig {transport} {}: {error}\n{text}", case.rule, case.question));
            }
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn examine(text: &str, want: Want, gateway: &str) -> Result<()> {
    let held = match want {
        Status(code) => text.contains(&format!("status: {code},")),
        Flag(flag) => flags(text)?.contains(&flag),
        NoFlag(flag) => !flags(text)?.contains(&flag),
        Answers(count) => text.contains(&format!("ANSWER: {count},")),
        SoaInAuthority => section(text, "AUTHORITY").contains("\tSOA\t"),
        SoaInAnswer => section(text, "ANSWER").contains("\tSOA\t"),
        Edns => text.contains("; EDNS: version: 0"),
        NoEdns => !text.contains("; EDNS:"),
        Text(part) => text.contains(part),
        NoText(part) => !text.contains(part),
        Gateway => section(text, "ANSWER").contains(&format!("\tA\t{gateway}")),
    };
    ensure!(held, "want {want:?}");
    Ok(())
}

/// The words of the line `;; flags: qr aa; QUERY: ...`.
fn flags(text: &str) -> Result<Vec<&str>> {
    let Some((_before, rest)) = text.split_once(";; flags: ") else { bail!("no answer") };
    Ok(rest.split(';').next().unwrap_or_default().split(' ').collect())
}

/// The lines of a section; empty if there is none.
fn section<'a>(text: &'a str, name: &str) -> &'a str {
    let rest = text.split_once(&format!(";; {name} SECTION:\n")).map_or("", |(_before, rest)| rest);
    rest.split_once("\n\n").map_or(rest, |(section, _after)| section)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n;; flags: qr aa; QUERY: 1, \
        ANSWER: 1, AUTHORITY: 0\n\n;; ANSWER SECTION:\nx.\t30\tIN\tA\t127.0.0.9\n\n;; Query time: 0 msec\n";

    #[test]
    fn digs_output_is_read() {
        for want in
            [Status("NOERROR"), Flag("aa"), NoFlag("ra"), Answers(1), NoEdns, Gateway, NoText("\tSOA\t")]
        {
            examine(TEXT, want, "127.0.0.9").unwrap();
        }
        for want in
            [Status("REFUSED"), Flag("ra"), NoFlag("aa"), Answers(0), Edns, SoaInAnswer, SoaInAuthority]
        {
            examine(TEXT, want, "127.0.0.9").unwrap_err();
        }
        examine("no servers could be reached", NoFlag("aa"), "").unwrap_err();
    }
}
