//! A second opinion on what a listener does: decodes its bytes with envoy-types and evaluates the matcher as Envoy's
//! documentation says, in a plain way.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::google::protobuf::{Any, StringValue};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::single_predicate;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, SinglePredicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::TreeType;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch, on_match};
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, string_matcher::MatchPattern};
use prost::Message;
use xcc_envoy::{OnMatch as OwnOnMatch, OnMatchType, ServerNameMatcher};

const SERVER_NAME_INPUT: &str =
    "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.ServerNameInput";

/// The chain that a listener chooses for an SNI in lower case; none: the connection is closed.
pub fn chain(listener: &xcc_envoy::Listener, server_name: &str) -> Option<String> {
    let listener = Listener::decode(listener.encode_to_vec().as_slice()).unwrap();
    assert_eq!(listener.default_filter_chain, None);
    let chain = evaluate(listener.filter_chain_matcher.as_ref().unwrap(), server_name)?;
    assert!(listener.filter_chains.iter().any(|each| each.name == chain), "no chain {chain}");
    Some(chain)
}

fn evaluate(matcher: &Matcher, server_name: &str) -> Option<String> {
    // Without an SNI there is no input, and nothing matches.
    if server_name.is_empty() {
        return None;
    }
    let matched = match matcher.matcher_type.as_ref().unwrap() {
        MatcherType::MatcherList(list) => list
            .matchers
            .iter()
            .find(|matcher| {
                let predicate = matcher.predicate.as_ref().unwrap().match_type.as_ref().unwrap();
                let MatchType::SinglePredicate(single) = predicate else { panic!("{predicate:?}") };
                holds(single, server_name)
            })
            .and_then(|matcher| on_match(matcher.on_match.as_ref().unwrap(), server_name)),
        MatcherType::MatcherTree(tree) => {
            assert_server_name(tree.input.as_ref().unwrap());
            match tree.tree_type.as_ref().unwrap() {
                TreeType::ExactMatchMap(map) => {
                    map.map.get(server_name).and_then(|found| on_match(found, server_name))
                }
                TreeType::CustomMatch(custom) => server_names(custom, server_name),
                TreeType::PrefixMatchMap(map) => panic!("{map:?}"),
            }
        }
    };
    matched.or_else(|| on_match(matcher.on_no_match.as_ref()?, server_name))
}

fn holds(predicate: &SinglePredicate, server_name: &str) -> bool {
    assert_server_name(predicate.input.as_ref().unwrap());
    let Some(single_predicate::Matcher::ValueMatch(value)) = &predicate.matcher else {
        panic!("{predicate:?}")
    };
    let Some(MatchPattern::Suffix(suffix)) = &value.match_pattern else { panic!("{value:?}") };
    server_name.ends_with(suffix)
}

fn on_match(on_match: &OnMatch, server_name: &str) -> Option<String> {
    match on_match.on_match.as_ref().unwrap() {
        on_match::OnMatch::Matcher(matcher) => evaluate(matcher, server_name),
        on_match::OnMatch::Action(action) => Some(chain_name(action)),
    }
}

/// The exact name, then ever shorter suffixes as wildcards.
fn server_names(custom: &TypedExtensionConfig, server_name: &str) -> Option<String> {
    assert_eq!(custom.name, xcc_envoy::DOMAIN_MATCHER_EXTENSION);
    let any = custom.typed_config.as_ref().unwrap();
    assert_eq!(any.type_url, "type.googleapis.com/xds.type.matcher.v3.ServerNameMatcher");
    let matcher = ServerNameMatcher::decode(any.value.as_slice()).unwrap();
    let mut domains = BTreeMap::new();
    for group in &matcher.domain_matchers {
        for domain in &group.domains {
            // Envoy refuses a listener with one domain twice.
            assert!(
                domains.insert(domain.clone(), group.on_match.as_ref().unwrap()).is_none(),
                "{domain} twice"
            );
        }
    }
    let suffixes = server_name.match_indices('.').map(|(dot, _)| format!("*{}", &server_name[dot..]));
    let found =
        std::iter::once(server_name.to_owned()).chain(suffixes).find_map(|name| domains.get(&name))?;
    let OwnOnMatch { on_match: Some(OnMatchType::Action(action)) } = found else { panic!("{found:?}") };
    Some(chain_name(action))
}

fn chain_name(action: &TypedExtensionConfig) -> String {
    assert!(!action.name.is_empty());
    unpack::<StringValue>(action.typed_config.as_ref().unwrap()).value
}

fn unpack<M: Message + prost::Name + Default>(any: &Any) -> M {
    assert_eq!(any.type_url, M::type_url());
    M::decode(any.value.as_slice()).unwrap()
}

fn assert_server_name(input: &TypedExtensionConfig) {
    assert_eq!(input.typed_config.as_ref().unwrap().type_url, SERVER_NAME_INPUT);
}
