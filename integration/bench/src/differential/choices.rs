//! Where xcc differs from NSD or Knot on purpose, with the reason.

use std::collections::BTreeSet;

use crate::differential::generate::Question;
use crate::differential::reply::{Aspect, Reply};

/// A deliberate difference.
pub struct Choice {
    /// Why.
    pub reason: &'static str,
    /// What it explains. A difference is explained when all of its aspects are.
    pub aspects: &'static [Aspect],
    /// When.
    pub applies: fn(&Case<'_>) -> bool,
}

/// A question and what came back.
pub struct Case<'a> {
    /// The other server's name.
    pub server: &'a str,
    /// The question.
    pub question: &'a Question,
    /// Our reply.
    pub ours: &'a Reply,
    /// The other server's.
    pub theirs: &'a Reply,
}

const FORMERR: u16 = 1;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const BADVERS: u16 = 16;
const CLASS_IN: u16 = 1;
const TXT: u16 = 16;
const ANY: u16 = 255;
const AXFR: u16 = 252;
const IXFR: u16 = 251;

/// CD in the header's flags.
const CD: u16 = 0x0010;

/// What differs in a reply that is nothing but a code, and so is never too long.
const CODE_ALONE: &[Aspect] = &[
    Aspect::Code,
    Aspect::Flags,
    Aspect::Answers,
    Aspect::Authorities,
    Aspect::Question,
    Aspect::Edns,
    Aspect::Truncation,
];

/// All of them.
pub const CHOICES: &[Choice] = &[
    Choice {
        reason: "an opcode other than QUERY is NOTIMP with the question given back: there is neither NOTIFY nor UPDATE",
        aspects: CODE_ALONE,
        applies: |case| case.question.opcode() != 0 && case.ours.code == NOTIMP,
    },
    Choice {
        reason: "a transfer is REFUSED whatever its name and transport (RFC 5936); others have more codes for it",
        aspects: CODE_ALONE,
        applies: |case| matches!(case.question.record_type, AXFR | IXFR) && case.ours.code == REFUSED,
    },
    Choice {
        reason: "types that cannot be asked for are FORMERR or NOTIMP (RFC 6895); others look them up as if they were data",
        aspects: CODE_ALONE,
        applies: |case| {
            matches!(case.question.record_type, 0 | 41 | 128..=250 | 253 | 254)
                && matches!(case.ours.code, FORMERR | NOTIMP)
        },
    },
    Choice {
        reason: "ANY is answered with HINFO (RFC 8482, section 4.2), by others with all records",
        aspects: &[Aspect::Answers, Aspect::Authorities, Aspect::Truncation],
        applies: |case| {
            case.question.record_type == ANY && case.ours.answers.len() == 1 && case.ours.code == 0
        },
    },
    Choice {
        reason: "classes other than IN are REFUSED and told nothing of",
        aspects: CODE_ALONE,
        applies: |case| case.question.class != CLASS_IN && case.ours.code == REFUSED,
    },
    Choice {
        reason: "BADVERS gives the question back, and DO (RFC 3225, section 3), and no bit that must be zero",
        aspects: &[Aspect::Question, Aspect::Flags, Aspect::Edns],
        applies: |case| case.ours.code == BADVERS && case.theirs.code == BADVERS,
    },
    Choice {
        reason: "texts that nobody but people read go by TCP where they are more than twice as long as the question",
        aspects: &[Aspect::Answers, Aspect::Truncation],
        applies: |case| case.question.record_type == TXT && case.ours.truncated && !case.theirs.truncated,
    },
    Choice {
        reason: "CD is copied (RFC 4035, section 3); others clear it (section 3.1.6)",
        aspects: &[Aspect::Flags],
        applies: |case| {
            let asked = case.question.flags & CD;
            case.ours.flags == case.theirs.flags & !CD | asked
        },
    },
];

/// The reasons that together explain all the aspects; none if something is left over.
pub fn explain(case: &Case<'_>, aspects: &BTreeSet<Aspect>) -> Option<Vec<&'static str>> {
    let applying: Vec<&Choice> = CHOICES
        .iter()
        .filter(|choice| {
            choice.aspects.iter().any(|aspect| aspects.contains(aspect)) && (choice.applies)(case)
        })
        .collect();
    let explained = |aspect| applying.iter().any(|choice| choice.aspects.contains(aspect));
    aspects.iter().all(explained).then(|| applying.iter().map(|choice| choice.reason).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> Reply {
        let answers = BTreeSet::from(["a.xcc.test. 30 in a 10.0.0.1".to_owned()]);
        let (question, authorities) = (vec![1], BTreeSet::new());
        Reply {
            code: 0,
            flags: 0x8400,
            question,
            answers,
            authorities,
            edns: None,
            truncated: false,
            octets: 50,
            additionals: 0,
            opt: None,
        }
    }

    /// The reasons for what is different between the two replies to a question.
    fn reasons(question: &Question, ours: &Reply, theirs: &Reply) -> Option<usize> {
        let aspects = ours.differences(theirs).into_keys().collect();
        explain(&Case { server: "nsd", question, ours, theirs }, &aspects).map(|reasons| reasons.len())
    }

    #[test]
    fn only_what_a_reason_covers_is_explained() {
        let mut question =
            Question { id: 1, flags: CD, labels: vec![b"a".to_vec()], record_type: 1, class: 1, edns: None };
        let with_cd = Reply { flags: 0x8410, ..reply() };
        assert_eq!(reasons(&question, &with_cd, &reply()), Some(1));
        let without_aa = Reply { flags: 0x8000, ..reply() };
        assert_eq!(reasons(&question, &with_cd, &without_aa), None, "CD does not excuse AA");
        let no_answer = Reply { answers: BTreeSet::new(), ..reply() };
        assert_eq!(reasons(&question, &with_cd, &no_answer), None, "CD does not excuse an answer");
        assert_eq!(reasons(&question, &Reply { code: 3, ..reply() }, &reply()), None);
        question.record_type = ANY;
        assert_eq!(
            reasons(&question, &with_cd, &Reply { answers: BTreeSet::from(["x".to_owned()]), ..reply() }),
            Some(2)
        );
        assert_eq!(
            reasons(&question, &Reply { code: 3, ..reply() }, &reply()),
            None,
            "ANY does not excuse NXDOMAIN"
        );
    }
}
