//! Record types and query types by number (RFC 6895, section 3.1, and IANA's registry).

use std::fmt;

/// The type of a record, or of a question.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordType(pub u16);

/// What a question's type asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records of one type.
    Data,
    /// Whatever there is (RFC 8482).
    Any,
    /// The whole zone, or its changes (RFC 5936, RFC 1995).
    Transfer,
    /// A type that cannot be asked for at all.
    Nonsense,
    /// A meta type or query type that is not implemented here.
    Unimplemented,
}

impl RecordType {
    /// No type: the reserved number, and what a request without a readable question counts as.
    pub const NONE: Self = Self(0);
    /// IPv4 address.
    pub const A: Self = Self(1);
    /// Name server.
    pub const NS: Self = Self(2);
    /// Start of authority.
    pub const SOA: Self = Self(6);
    /// Pointer, used for reverse lookup.
    pub const PTR: Self = Self(12);
    /// Host information, the answer to ANY.
    pub const HINFO: Self = Self(13);
    /// Mail exchange.
    pub const MX: Self = Self(15);
    /// Text.
    pub const TXT: Self = Self(16);
    /// IPv6 address.
    pub const AAAA: Self = Self(28);
    /// Service location.
    pub const SRV: Self = Self(33);
    /// The pseudo record of EDNS.
    pub const OPT: Self = Self(41);
    /// Delegation signer, which belongs to the parent's zone.
    pub const DS: Self = Self(43);
    /// Service binding for HTTP (RFC 9460).
    pub const HTTPS: Self = Self(65);
    /// Marks a name that does not exist in signed answers (RFC 9824); asking for it is a format error.
    pub const NXNAME: Self = Self(128);
    /// Incremental zone transfer.
    pub const IXFR: Self = Self(251);
    /// Zone transfer.
    pub const AXFR: Self = Self(252);
    /// All types.
    pub const ANY: Self = Self(255);

    pub(crate) fn mnemonic(self) -> Option<&'static str> {
        Some(match self {
            Self::A => "A",
            Self::NS => "NS",
            Self::SOA => "SOA",
            Self::PTR => "PTR",
            Self::HINFO => "HINFO",
            Self::MX => "MX",
            Self::TXT => "TXT",
            Self::AAAA => "AAAA",
            Self::SRV => "SRV",
            Self::OPT => "OPT",
            Self::DS => "DS",
            Self::HTTPS => "HTTPS",
            Self::IXFR => "IXFR",
            Self::AXFR => "AXFR",
            Self::ANY => "ANY",
            _ => return None,
        })
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::NONE | Self::OPT | Self::NXNAME => Kind::Nonsense,
            Self::ANY => Kind::Any,
            Self::AXFR | Self::IXFR => Kind::Transfer,
            Self(129..=254) => Kind::Unimplemented,
            _ => Kind::Data,
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.write_str(mnemonic),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
