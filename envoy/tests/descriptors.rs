//! The checked-in descriptor set is what the proto files of the current envoy-types give.

#[path = "../descriptors/generate.rs"]
mod descriptor_set;

#[test]
fn the_checked_in_descriptor_set_is_fresh() {
    descriptor_set::check().unwrap();
}
