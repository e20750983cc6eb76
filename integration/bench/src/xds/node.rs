//! The node that clients send first: an Envoy names all its extensions in it, some 61 KB.

use envoy_types::pb::envoy::config::core::v3::{Extension, Node};

/// How many extensions Envoy 1.40 has.
const EXTENSIONS: usize = 516;
/// How many octets Envoy 1.40's first request has for its node.
const OCTETS: usize = 61_143;

/// A node with nothing but its id.
pub fn small(id: &str) -> Node {
    Node { id: id.to_owned(), cluster: "xcc-gateway".to_owned(), ..Node::default() }
}

/// A node as large as an Envoy's, in as many parts.
pub fn large(id: &str) -> Node {
    let extension = |number: usize| Extension {
        name: format!("envoy.filters.http.extension_{number:03}"),
        category: "envoy.filters.http".to_owned(),
        type_urls: vec![format!("envoy.extensions.filters.http.ext{number:03}.v3.Config")],
        ..Extension::default()
    };
    let mut node = Node { extensions: (0..EXTENSIONS).map(extension).collect(), ..small(id) };
    node.extensions.push(Extension {
        name: "envoy.matching.custom_matchers.domain_matcher".to_owned(),
        category: "envoy.matching.network.custom_matchers".to_owned(),
        ..Extension::default()
    });
    let missing = OCTETS.saturating_sub(prost::Message::encoded_len(&node));
    node.user_agent_name = "x".repeat(missing);
    node
}

#[cfg(test)]
mod tests {
    use prost::Message;

    #[test]
    fn a_large_node_has_an_envoys_size() {
        let octets = super::large("gateway-000001").encoded_len();
        assert!((61_000..61_300).contains(&octets), "{octets}");
    }
}
