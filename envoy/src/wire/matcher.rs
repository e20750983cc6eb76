//! `xds.type.matcher.v3.Matcher` with its map kept sorted, and `ServerNameMatcher`, which envoy-types lacks.
//!
//! The types of envoy-types decode a protobuf map into a hash map and write it in random order, so that equal maps
//! differ in their bytes. The bytes are what versions are made of. Field numbers are those of xDS' `matcher.proto` and
//! `domain.proto`; what a message means is said there. Fields that nothing here uses are left out.

use std::collections::BTreeMap;

use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::StringMatcher;

/// Decides on an action from the properties of a connection.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Matcher {
    /// What is done if nothing matches.
    #[prost(message, optional, boxed, tag = "3")]
    pub on_no_match: Option<Box<OnMatch>>,
    /// How it is decided.
    #[prost(oneof = "MatcherType", tags = "1, 2")]
    pub matcher_type: Option<MatcherType>,
}

/// A list or a tree.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum MatcherType {
    /// The first match wins.
    #[prost(message, tag = "1")]
    MatcherList(MatcherList),
    /// One look-up.
    #[prost(message, tag = "2")]
    MatcherTree(Box<MatcherTree>),
}

/// What is done on a match.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OnMatch {
    /// Another matcher or an action.
    #[prost(oneof = "OnMatchType", tags = "1, 2")]
    pub on_match: Option<OnMatchType>,
}

/// Another matcher or an action.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum OnMatchType {
    /// Ask on.
    #[prost(message, tag = "1")]
    Matcher(Box<Matcher>),
    /// For a filter chain matcher a `google.protobuf.StringValue`: the name of the filter chain.
    #[prost(message, tag = "2")]
    Action(TypedExtensionConfig),
}

/// Predicates in order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MatcherList {
    /// The first that holds wins.
    #[prost(message, repeated, tag = "1")]
    pub matchers: Vec<FieldMatcher>,
}

/// A predicate and what follows from it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FieldMatcher {
    /// The condition.
    #[prost(message, optional, tag = "1")]
    pub predicate: Option<Predicate>,
    /// What is done if it holds.
    #[prost(message, optional, tag = "2")]
    pub on_match: Option<OnMatch>,
}

/// A condition.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Predicate {
    /// Its kind.
    #[prost(oneof = "PredicateType", tags = "1")]
    pub match_type: Option<PredicateType>,
}

/// Only single conditions are used here.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PredicateType {
    /// A condition on one input.
    #[prost(message, tag = "1")]
    SinglePredicate(SinglePredicate),
}

/// A condition on one input.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SinglePredicate {
    /// What is looked at.
    #[prost(message, optional, tag = "1")]
    pub input: Option<TypedExtensionConfig>,
    /// What it is compared with.
    #[prost(oneof = "SinglePredicateMatcher", tags = "2")]
    pub matcher: Option<SinglePredicateMatcher>,
}

/// Only string conditions are used here.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum SinglePredicateMatcher {
    /// Compares with a string.
    #[prost(message, tag = "2")]
    ValueMatch(StringMatcher),
}

/// Looks an input up.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MatcherTree {
    /// What is looked at.
    #[prost(message, optional, tag = "1")]
    pub input: Option<TypedExtensionConfig>,
    /// What it is looked up in.
    #[prost(oneof = "TreeType", tags = "2, 4")]
    pub tree_type: Option<TreeType>,
}

/// A map, or an extension of Envoy.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TreeType {
    /// The whole input is the key.
    #[prost(message, tag = "2")]
    ExactMatchMap(MatchMap),
    /// An extension decides.
    #[prost(message, tag = "4")]
    CustomMatch(TypedExtensionConfig),
}

/// A map, written in the order of its keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MatchMap {
    /// What is done for each key.
    #[prost(btree_map = "string, message", tag = "1")]
    pub map: BTreeMap<String, OnMatch>,
}

/// Looks a server name up among domains: an exact name before a wildcard, a longer wildcard before a shorter one.
/// Implemented by Envoy's extension [`DOMAIN_MATCHER_EXTENSION`](crate::DOMAIN_MATCHER_EXTENSION).
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServerNameMatcher {
    /// Each domain may occur once.
    #[prost(message, repeated, tag = "1")]
    pub domain_matchers: Vec<DomainMatcher>,
}

/// The domains that share an action.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DomainMatcher {
    /// Names, or `*.` and a suffix.
    #[prost(string, repeated, tag = "1")]
    pub domains: Vec<String>,
    /// What is done for all of them.
    #[prost(message, optional, tag = "2")]
    pub on_match: Option<OnMatch>,
}

impl prost::Name for ServerNameMatcher {
    const NAME: &'static str = "ServerNameMatcher";
    const PACKAGE: &'static str = "xds.type.matcher.v3";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}
