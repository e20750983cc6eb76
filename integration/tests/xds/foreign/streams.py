"""What holds for every variant: identity, types, order, sizes, and the ends of streams."""

import time

import grpc

from client import CDS, EDS, LDS, RDS, SDS, TYPES, VARIANTS, Client, Variant, require
from folder import Node

UNKNOWN = "type.googleapis.com/example.Unknown"
OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
# Beyond every limit of gRPC's default for messages, and of one HTTP/2 frame.
MANY = 1000


def aggregated(check):
    """What only streams with several types can show."""
    check.applies = lambda variant: variant.ads
    return check


def per_type(check):
    """What only services of one type can show."""
    check.applies = lambda variant: not variant.ads
    return check


def the_node_is_in_the_first_request_only(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe("a")
        client.expect(["a"])
        node.set(CDS, "a", content="2")
        client.expect(["a"])
        client.quiet(0.2)


def a_client_without_a_node_is_served_the_default(node, variant):
    with Client(node.server.address, variant, None) as client:
        client.subscribe("of-default")
        client.expect(["of-default"])


def the_type_is_required_on_aggregated_streams(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.send("")
        if variant.ads:
            require(client.until_end() == INVALID, f"ended with {client.ended_with}")
        else:
            client.expect(["a"])


@per_type
def another_type_on_a_service_of_one_type(node, variant):
    with node.client(variant) as client:
        client.send(EDS)
        require(client.until_end() == INVALID, f"ended with {client.ended_with}")


@aggregated
def unknown_types_do_not_end_the_stream(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe("x", type_url=UNKNOWN)
        if variant.delta:
            client.expect([], ["x"], UNKNOWN)
        client.subscribe(type_url=SDS)
        if variant.delta:
            client.expect([], [], SDS)
        client.subscribe()
        client.expect(["a"])
        client.quiet(0.2)


@aggregated
def types_are_independent(node, variant):
    node.set(CDS, "a")
    node.set(EDS, "a")
    with node.client(variant, ack=False) as client:
        client.subscribe(type_url=CDS)
        clusters = client.expect(["a"], type_url=CDS)
        client.subscribe("a", type_url=EDS)
        endpoints = client.expect(["a"], type_url=EDS)
        require(clusters.nonce != endpoints.nonce, "nonces are unique on a stream")
        client.answer(endpoints, "no")
        client.answer(clusters)
        node.set(EDS, "a", content="2")
        client.answer(client.expect(["a"], type_url=EDS))
        node.set(CDS, "a", content="2")
        response = client.expect(["a"], type_url=CDS)
        # The nonce of another type says nothing about this one.
        fields = {} if variant.delta else {"resource_names": ["a"]}
        client.send(EDS, response_nonce=response.nonce, **fields)
        client.quiet(0.2)
        client.answer(response)
        client.quiet(0.2)


@aggregated
def make_before_break(node, variant):
    """A change of everything: what is referred to comes first, and goes last."""
    for type_url in TYPES:
        node.set(type_url, "old")
    with node.client(variant) as client:
        for type_url in TYPES:
            client.subscribe(*(["old", "new"] if type_url in (EDS, RDS) else []), type_url=type_url)
            while client.next().type_url != type_url:
                pass
        client.quiet(0.2)
        for type_url in TYPES:
            del node.items[type_url]["old"]
            node.items[type_url]["new"] = ("1", None)
        node.write()
        came, gone = [], []
        while len(came) < 4 or not ({CDS, LDS} <= set(gone)):
            response = client.next()
            names, removed = client.names_of(response), client.removed_of(response)
            if "new" in names and response.type_url not in came:
                came.append(response.type_url)
            if "old" in removed or (not variant.delta and response.type_url in (CDS, LDS) and "old" not in names):
                gone.append(response.type_url)
        require(came == TYPES, f"additions came in the order {came}")
        require(gone.index(LDS) < gone.index(CDS), f"removals came in the order {gone}")


@aggregated
def an_assignment_follows_its_changed_cluster(node, variant):

    def write(timeout, names=("c",)):
        items = [{"name": name, "resource": {
            "@type": CDS, "name": name, "type": "EDS", "connectTimeout": timeout,
            "edsClusterConfig": {"edsConfig": {"ads": {}}, "serviceName": "shared"}}} for name in names]
        endpoints = [{"name": "shared", "resource": {"@type": EDS, "clusterName": "shared"}}]
        node.write_json({"resources": {CDS: {"items": items}, EDS: {"items": endpoints}}})

    write("1s")
    with node.client(variant) as client:
        client.subscribe(type_url=CDS)
        client.expect(["c"], type_url=CDS)
        client.subscribe("shared", type_url=EDS)
        client.expect(["shared"], type_url=EDS)
        write("2s")
        client.expect(["c"], type_url=CDS)
        client.expect(["shared"], type_url=EDS)
        write("2s", ())
        client.expect([], ["c"] if variant.delta else [], type_url=CDS)
        client.quiet(0.2)
        write("2s")
        client.expect(["c"], type_url=CDS)
        client.expect(["shared"], type_url=EDS)
        write("2s", ("c", "d"))
        client.expect(["d"] if variant.delta else ["c", "d"], type_url=CDS)
        client.expect(["shared"], type_url=EDS)
        client.quiet(0.2)


def half_closed_streams_end_well(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe()
        client.half_close()
        client.expect(["a"])
        require(client.until_end() == OK, f"ended with {client.ended_with}")
    with node.client(variant) as client:
        client.half_close()
        require(client.until_end() == OK, f"ended with {client.ended_with}")


def a_client_that_goes_away_harms_nobody(node, variant):
    node.set(CDS, *(f"cluster-{index:04}" for index in range(MANY)))
    for _ in range(5):
        with node.client(variant, ack=False) as client:
            client.subscribe()
            client.expect(sorted(node.items[CDS])) if _ % 2 else time.sleep(0.005)
    with node.client(variant) as client:
        client.subscribe()
        client.expect(sorted(node.items[CDS]))


def many_names(node, variant):
    names = [f"assignment-{index:04}" for index in range(MANY)]
    node.set(EDS, *names)
    with node.client(variant, EDS) as client:
        client.subscribe(*names)
        client.expect(names)
        node.set(EDS, names[500], content="2")
        client.expect([names[500]])
        client.quiet(0.2)


def a_slow_client_is_sent_the_newest_state_once(node, variant):
    node.set(CDS, "a")
    with node.client(variant, ack=False) as client:
        client.subscribe()
        first = client.expect(["a"])
        for content in range(2, 7):
            node.set(CDS, "a", content=str(content))
            time.sleep(0.05)
        client.quiet(0.2)
        client.answer(first)
        client.answer(client.expect(["a"]))
        client.quiet(0.3)


def requests_that_are_none(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe("a" * 100_000)
        require(client.until_end() == INVALID, f"an endless name ended with {client.ended_with}")
    with node.client(variant) as client:
        client.call.cancel()
        require(client.until_end() == grpc.StatusCode.CANCELLED, "cancelled")
    with node.client(variant) as client:
        client.subscribe(*(f"{index:030}" for index in range(600_000)))
        require(client.until_end() in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.RESOURCE_EXHAUSTED, INVALID),
                f"an endless request ended with {client.ended_with}")
    # Nobody else notices.
    with node.client(variant) as client:
        client.subscribe()
        client.expect(["a"])


def odd_names_are_names(node, variant):
    names = ["a b", "ü/ö", "xdstp://authority/envoy.config.cluster.v3.Cluster/x?a=b", "**", "a*", "/", "\U0001f600"]
    node.set(CDS, *names)
    with node.client(variant) as client:
        client.subscribe(*names)
        client.expect(names)
        client.quiet(0.2)


def duplicate_names_in_a_request(node, variant):
    node.set(EDS, "a", "b")
    with node.client(variant, EDS) as client:
        client.subscribe("a", "a", "b", "a")
        client.expect(["a", "b"])
        client.quiet(0.2)


def two_streams_of_one_node(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as one, node.client(variant) as two:
        for client in (one, two):
            client.subscribe()
            client.expect(["a"])
        node.set(CDS, "a", content="2")
        nonces = {client.expect(["a"]).nonce for client in (one, two)}
        require(len(nonces) == 2, "nonces of two streams differ")


def a_held_client_is_answered_once_there_is_a_file(node, variant):
    """The file of a node may come after the node."""
    late = Node(node.server, f"{node.name}-late")
    late.write_text("not json")
    node.server.until_said(f"{late.name}.json")
    with late.client(variant) as client:
        client.subscribe()
        client.quiet(0.3)
        late.set(CDS, "a")
        client.expect(["a"])


CHECKS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__
          and name not in ("aggregated", "per_type")]
