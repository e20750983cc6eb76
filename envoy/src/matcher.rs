//! The map from SNI to filter chain, in the two forms that Envoys understand.
//!
//! Both decide alike: an exact name before a wildcard, a longer wildcard before a shorter one, and `*.x` covers every
//! depth below `x` but not `x` itself. Envoy compares the SNI in lower case. Without an SNI, in plain text that is or in
//! a ClientHello that has none, the input is absent, nothing matches and the connection is closed.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::ServerNameInput;
use envoy_types::pb::google::protobuf::{Any, StringValue};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;
use prost::{Message, Name};
use xcc_model::{Hostname, ServicePort};

use crate::config::GatewayConfig;
use crate::routing::{Chain, NameCount};
use crate::translate::{Omitted, OmittedReason, PortNames};
use crate::wire::build;
use crate::wire::matcher::{
    DomainMatcher, FieldMatcher, MatchMap, Matcher, MatcherList, MatcherTree, MatcherType, OnMatch,
    OnMatchType, Predicate, PredicateType, ServerNameMatcher, SinglePredicate, SinglePredicateMatcher,
    TreeType,
};

/// The extension that a node must list (`node.extensions`, category `envoy.matching.network.custom_matchers`) to be
/// sent the form [`MatcherForm::ServerNames`].
pub const DOMAIN_MATCHER_EXTENSION: &str = "envoy.matching.custom_matchers.domain_matcher";

/// The most names that one listener carries. Far above what was measured (50,000 names load in 0.6 s and 154 MB).
const NAMES_MAX: usize = 200_000;
/// The most wildcards in the form of an exact map, where Envoy tries them one after another for each connection.
const WILDCARDS_MAX: usize = 1_000;

/// How the names are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatcherForm {
    /// `xds.type.matcher.v3.ServerNameMatcher`: a trie of names in Envoy and a third of the bytes. Envoy has it since
    /// 1.36.
    ServerNames,
    /// `exact_match_map`, and the wildcards as a list of suffixes: for every other Envoy.
    ExactMap,
}

impl MatcherForm {
    /// The best form for a node that lists these extensions.
    pub fn for_extensions<'a>(extensions: impl IntoIterator<Item = &'a str>) -> Self {
        let known = extensions.into_iter().any(|extension| extension == DOMAIN_MATCHER_EXTENSION);
        if known { Self::ServerNames } else { Self::ExactMap }
    }

    /// How many names of a listener are kept: exact ones and wildcards.
    fn wildcards_max(self) -> usize {
        match self {
            Self::ServerNames => NAMES_MAX,
            Self::ExactMap => WILDCARDS_MAX,
        }
    }
}

/// How many names of so many a listener carries.
pub(crate) fn names_admitted(count: NameCount, form: MatcherForm) -> usize {
    let exact = count.names.saturating_sub(count.wildcards);
    count.names.min(NAMES_MAX).min(exact.saturating_add(form.wildcards_max()))
}

/// Splits off the names beyond the limits. What is left out is less specific than everything that stays: were it the
/// other way round, its connections would go to the wrong remote instead of nowhere.
pub(crate) fn admit<'a>(mut names: PortNames<'a>, form: MatcherForm) -> Admitted<'a> {
    let wildcards = names.iter().filter(|(name, _)| name.is_wildcard()).count();
    let limit = names_admitted(NameCount { names: names.len(), wildcards }, form);
    if limit == names.len() {
        return Admitted { names, omitted: Vec::new() };
    }
    names.sort_by_cached_key(|(name, _)| (name.is_wildcard(), specificity(name), *name));
    let omitted = names.split_off(limit);
    names.sort_unstable();
    Admitted { names, omitted }
}

/// The names that a listener carries, in order, and those that it cannot.
pub(crate) struct Admitted<'a> {
    pub(crate) names: PortNames<'a>,
    pub(crate) omitted: PortNames<'a>,
}

/// Sorts long wildcards first. Of two that cover the same name, the longer one is below the shorter one.
fn specificity(name: &Hostname) -> Reverse<usize> {
    Reverse(name.wildcard_domain().map_or(0, str::len))
}

/// The routes of these ports that no listener carries, in order.
pub(crate) fn omitted<'a>(
    ports: impl IntoIterator<Item = (ServicePort, PortNames<'a>)>,
    config: &GatewayConfig,
    form: MatcherForm,
) -> Vec<Omitted> {
    let mut omitted = Vec::new();
    for (port, names) in ports {
        let (left_out, reason) = if config.listener_port(port).is_none() {
            (names, OmittedReason::PortOutOfRange)
        } else {
            (admit(names, form).omitted, OmittedReason::TooManyNames)
        };
        omitted.extend(left_out.into_iter().map(|(name, _)| Omitted {
            hostname: name.clone(),
            port,
            reason,
        }));
    }
    omitted.sort();
    omitted
}

/// The matcher of a listener. The chains, in the order of their names, must not be empty.
pub(crate) fn matcher(chains: &[&Chain], form: MatcherForm) -> Matcher {
    match form {
        MatcherForm::ServerNames => server_names(chains),
        MatcherForm::ExactMap => exact_map(chains),
    }
}

fn server_names(chains: &[&Chain]) -> Matcher {
    // Repeated fields that stand behind one another are one field: a message is made of the chains' parts of it.
    let value = chains.iter().map(|chain| chain.encoded(domain_matcher)).collect::<Vec<_>>().concat();
    let custom = TypedExtensionConfig {
        name: DOMAIN_MATCHER_EXTENSION.to_owned(),
        typed_config: Some(Any { type_url: ServerNameMatcher::type_url(), value }),
    };
    tree(TreeType::CustomMatch(custom), None)
}

/// A [`ServerNameMatcher`] with this chain alone.
fn domain_matcher(chain: &Chain) -> Vec<u8> {
    let domains = chain.names.iter().map(Hostname::to_string).collect();
    let matcher = DomainMatcher { domains, on_match: Some(select_chain(&chain.name)) };
    ServerNameMatcher { domain_matchers: vec![matcher] }.encode_to_vec()
}

fn exact_map(chains: &[&Chain]) -> Matcher {
    let names = chains.iter().flat_map(|chain| chain.names.iter().map(|name| (name, chain.name.as_str())));
    let (wildcards, exact): (Vec<_>, Vec<_>) = names.partition(|(name, _)| name.is_wildcard());
    let map = exact
        .into_iter()
        .map(|(name, chain)| (name.to_string(), select_chain(chain)))
        .collect::<BTreeMap<_, _>>();
    let suffixes = (!wildcards.is_empty()).then(|| suffix_list(wildcards));
    match suffixes {
        // Envoy refuses an empty map.
        Some(list) if map.is_empty() => list,
        suffixes => {
            let otherwise = suffixes
                .map(|list| OnMatch { on_match: Some(OnMatchType::Matcher(Box::new(list))) })
                .map(Box::new);
            tree(TreeType::ExactMatchMap(MatchMap { map }), otherwise)
        }
    }
}

fn tree(tree_type: TreeType, on_no_match: Option<Box<OnMatch>>) -> Matcher {
    let tree = MatcherTree { input: Some(server_name_input()), tree_type: Some(tree_type) };
    Matcher { matcher_type: Some(MatcherType::MatcherTree(Box::new(tree))), on_no_match }
}

fn suffix_list(mut wildcards: Vec<(&Hostname, &str)>) -> Matcher {
    wildcards.sort_by_key(|(name, _)| (specificity(name), *name));
    let matchers = wildcards
        .into_iter()
        .map(|(name, chain)| {
            let suffix = name.as_str().trim_start_matches('*').to_owned();
            let value =
                StringMatcher { match_pattern: Some(MatchPattern::Suffix(suffix)), ignore_case: false };
            let single = SinglePredicate {
                input: Some(server_name_input()),
                matcher: Some(SinglePredicateMatcher::ValueMatch(value)),
            };
            let predicate = Predicate { match_type: Some(PredicateType::SinglePredicate(single)) };
            FieldMatcher { predicate: Some(predicate), on_match: Some(select_chain(chain)) }
        })
        .collect();
    Matcher { matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers })), on_no_match: None }
}

fn server_name_input() -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: "envoy.matching.inputs.server_name".to_owned(),
        typed_config: Some(build::any(&ServerNameInput::default())),
    }
}

fn select_chain(chain: &str) -> OnMatch {
    let action = TypedExtensionConfig {
        name: "filter-chain-name".to_owned(),
        typed_config: Some(build::any(&StringValue { value: chain.to_owned() })),
    };
    OnMatch { on_match: Some(OnMatchType::Action(action)) }
}

#[cfg(test)]
mod tests {
    use xcc_model::{RemoteName, RemoteSet};

    use super::*;

    fn remotes() -> RemoteSet {
        RemoteSet::new([RemoteName::parse("east").unwrap()]).unwrap()
    }

    fn to<'a>(names: &'a [Hostname], remotes: &'a RemoteSet) -> PortNames<'a> {
        names.iter().map(|name| (name, remotes)).collect()
    }

    #[test]
    fn the_extension_decides_on_the_form() {
        let form = |extensions: &[&str]| MatcherForm::for_extensions(extensions.iter().copied());
        assert_eq!(form(&["envoy.a", DOMAIN_MATCHER_EXTENSION]), MatcherForm::ServerNames);
        assert_eq!(form(&["envoy.a"]), MatcherForm::ExactMap);
        assert_eq!(form(&[]), MatcherForm::ExactMap);
    }

    #[test]
    fn what_is_left_out_is_less_specific_than_what_stays() {
        let mut names = (0..WILDCARDS_MAX)
            .map(|number| Hostname::parse(&format!("*.deep.d{number}.xcc.test")).unwrap())
            .collect::<Vec<_>>();
        let shallow = Hostname::parse("*.xcc.test").unwrap();
        let exact = Hostname::parse("a.xcc.test").unwrap();
        names.extend([shallow.clone(), exact.clone()]);
        let remotes = remotes();
        let admitted = admit(to(&names, &remotes), MatcherForm::ExactMap);
        assert_eq!(admitted.omitted, [(&shallow, &remotes)]);
        assert_eq!(admitted.names.len(), WILDCARDS_MAX + 1);
        assert!(admitted.names.is_sorted() && admitted.names.contains(&(&exact, &remotes)));
        assert!(admit(to(&names, &remotes), MatcherForm::ServerNames).omitted.is_empty());
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let names = (0..=NAMES_MAX)
            .map(|number| Hostname::parse(&format!("n{number}.xcc.test")).unwrap())
            .collect::<Vec<_>>();
        let remotes = remotes();
        for form in [MatcherForm::ServerNames, MatcherForm::ExactMap] {
            let admitted = admit(to(&names, &remotes), form);
            assert_eq!((admitted.names.len(), admitted.omitted.len()), (NAMES_MAX, 1));
        }
    }
}
