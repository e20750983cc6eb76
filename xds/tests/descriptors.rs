//! The checked-in descriptor set is what the proto files of the current envoy-types give.

#[path = "../descriptors/generate.rs"]
mod descriptor_set;

#[test]
fn the_checked_in_descriptor_set_is_fresh() {
    let checked_in = std::fs::read(descriptor_set::checked_in()).unwrap();
    let fresh = descriptor_set::generate().unwrap();
    assert!(checked_in == fresh, "it is stale: run `cargo run -p xcc-xds --example xds-descriptors`");
}
