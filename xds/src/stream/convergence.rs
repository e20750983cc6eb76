//! Whatever the order of publications, subscriptions, ACKs, NACKs, late requests and reconnects, the client ends up with
//! what it wants of the newest snapshot, and is sent nothing without a cause.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    fixtures::{resource, snapshot},
    model::Model,
    *,
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const TYPES: [TypeUrl; 4] =
    [TypeUrl::Cluster, TypeUrl::Endpoint, TypeUrl::Listener, TypeUrl::RouteConfiguration];

#[derive(Clone, Debug)]
enum Op {
    /// Sets resources to a content, or removes them (0).
    Publish(Vec<(TypeUrl, &'static str, u8)>),
    Subscribe {
        type_url: TypeUrl,
        add: Vec<&'static str>,
        remove: Vec<&'static str>,
    },
    ServerReads,
    ServerSends,
    Ack,
    Nack,
    /// The caller's clock runs out while something is kept back.
    Release,
    /// It runs out while an answer to this type is waited for.
    Overtake(TypeUrl),
    Reconnect,
}

fn a_type() -> impl Strategy<Value = TypeUrl> {
    select(&TYPES[..])
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(&["*", "a", "b", "c", "d"][..]), 0..3).prop_map(|mut names| {
        names.sort_unstable();
        names.dedup();
        names
    })
}

fn op(nacks: bool) -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => vec((a_type(), select(&NAMES[..]), 0u8..4), 1..5).prop_map(Op::Publish),
        3 => (a_type(), names(), names()).prop_map(|(type_url, add, remove)| Op::Subscribe { type_url, add, remove }),
        6 => Just(Op::ServerReads),
        6 => Just(Op::ServerSends),
        5 => Just(Op::Ack),
        if nacks { 2 } else { 0 } => Just(Op::Nack),
        1 => Just(Op::Release),
        2 => a_type().prop_map(Op::Overtake),
        1 => Just(Op::Reconnect),
    ]
}

fn run(variant: Variant, ops: &[Op]) {
    run_with(Model::new(variant), ops);
}

/// A client that refuses whatever has this content, and with it all that is in the same response.
const BAD: u8 = 3;

fn run_firewall(variant: Variant, names_the_bad: bool, ops: &[Op]) {
    let mut model = Model::new(variant);
    let all = TYPES.iter().flat_map(|type_url| NAMES.map(|name| (type_url, name)));
    model.bad = all.map(|(type_url, name)| resource(type_url, name, BAD).version().clone()).collect();
    model.names_the_bad = names_the_bad;
    // What a SotW client holds from an earlier stream is unknown: there only another version helps.
    let resumes = |op: &Op| variant == Variant::Sotw && matches!(op, Op::Reconnect);
    let ops: Vec<Op> = ops.iter().filter(|op| !resumes(op)).cloned().collect();
    run_with(model, &ops).check_only_the_bad_are_missing();
}

fn run_with(mut model: Model, ops: &[Op]) -> Model {
    let arcs = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
    for op in ops {
        match op {
            Op::Publish(edits) => {
                let current = model.store.load().unwrap_or_default();
                let mut builder = current.to_builder();
                for (type_url, name, content) in edits {
                    builder.remove(type_url, name);
                    if *content > 0 {
                        builder.insert(resource(type_url, name, *content));
                    }
                }
                model.publish(builder.build().unwrap());
            }
            Op::Subscribe { type_url, add, remove } => model.subscribe(type_url, &arcs(add), &arcs(remove)),
            Op::ServerReads => model.server_reads(),
            Op::ServerSends => drop(model.server_sends()),
            Op::Ack => drop(model.client_reads(false)),
            Op::Nack => drop(model.client_reads(true)),
            Op::Release => model.stream.release(),
            Op::Overtake(type_url) => model.overtake(type_url),
            Op::Reconnect => model.reconnect(),
        }
        model.check_acked_is_true();
    }
    model.drain();
    model.check_converged();
    model
}

/// Snapshots in which every reference is kept: the content of the listener says which clusters (bits) it refers to.
fn consistent() -> impl Strategy<Value = Vec<(u8, u8)>> {
    vec((1u8..16, 0u8..3), 1..12)
}

fn with_references(listener: u8, content: u8) -> Snapshot {
    let mut resources = vec![(TypeUrl::Listener, "l", listener)];
    for (bit, name) in NAMES.into_iter().enumerate().filter(|(bit, _)| listener & 1 << bit != 0) {
        resources.push((TypeUrl::Cluster, name, content + u8::try_from(bit).unwrap()));
        resources.push((TypeUrl::Endpoint, name, content));
    }
    snapshot(&resources)
}

/// No listener ever refers to a cluster that the client does not have.
fn check_references(model: &Model, listeners: &BTreeMap<crate::version::ResourceVersion, u8>) {
    let Some(listener) = model.types[&TypeUrl::Listener].view.get("l") else {
        return;
    };
    let clusters = &model.types[&TypeUrl::Cluster].view;
    let bits = listeners[listener];
    for (_, name) in NAMES.into_iter().enumerate().filter(|(bit, _)| bits & 1 << bit != 0) {
        assert!(clusters.contains_key(name), "the listener refers to {name}, the client has {clusters:?}");
    }
}

fn run_references(variant: Variant, snapshots: &[(u8, u8)], steps: &[u8]) {
    let versions =
        (0..16).map(|bits| (resource(&TypeUrl::Listener, "l", bits).version().clone(), bits)).collect();
    let mut model = Model::new(variant);
    for type_url in [TypeUrl::Cluster, TypeUrl::Endpoint, TypeUrl::Listener] {
        model.subscribe(&type_url, &[Arc::from("*")], &[]);
    }
    let mut snapshots = snapshots.iter();
    for step in steps {
        match step {
            0 => {
                if let Some((listener, content)) = snapshots.next() {
                    model.publish(with_references(*listener, *content));
                }
            }
            1..=3 => model.server_reads(),
            4..=6 => drop(model.server_sends()),
            // A SotW client does not say what it had, so there nothing can be kept for it.
            7 if variant == Variant::Delta && steps.len().is_multiple_of(7) => model.reconnect(),
            7 if steps.len().is_multiple_of(2) => model.overtake(&TypeUrl::Cluster),
            8 if steps.len().is_multiple_of(3) => model.overtake(&TypeUrl::Listener),
            _ => drop(model.client_reads(false)),
        }
        check_references(&model, &versions);
    }
    model.drain();
    model.check_converged();
    check_references(&model, &versions);
}

proptest! {
    #[test]
    fn delta_converges(ops in vec(op(true), 1..80)) {
        run(Variant::Delta, &ops);
    }

    #[test]
    fn delta_converges_without_nacks(ops in vec(op(false), 1..80)) {
        run(Variant::Delta, &ops);
    }

    #[test]
    fn sotw_converges(ops in vec(op(true), 1..80)) {
        run(Variant::Sotw, &ops);
    }

    #[test]
    fn sotw_converges_without_nacks(ops in vec(op(false), 1..80)) {
        run(Variant::Sotw, &ops);
    }

    #[test]
    fn rule_35_delta_a_bad_resource_holds_up_no_other(ops in vec(op(false), 1..80), named: bool) {
        run_firewall(Variant::Delta, named, &ops);
    }

    #[test]
    fn rule_35_sotw_a_bad_resource_holds_up_no_other(ops in vec(op(false), 1..80), named: bool) {
        run_firewall(Variant::Sotw, named, &ops);
    }

    #[test]
    fn delta_makes_before_it_breaks(snapshots in consistent(), steps in vec(0u8..10, 1..120)) {
        run_references(Variant::Delta, &snapshots, &steps);
    }

    #[test]
    fn sotw_makes_before_it_breaks(snapshots in consistent(), steps in vec(0u8..10, 1..120)) {
        run_references(Variant::Sotw, &snapshots, &steps);
    }
}
