"""Delta: what Envoy's description of the protocol asks of a server."""

from client import CDS, DELTA_VARIANTS, EDS, RDS, TYPES, require

VARIANTS = DELTA_VARIANTS


def wildcards_are_legacy_or_explicit(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a", "b")
        for wish in ([], ["*"], ["*", "a"]):
            with node.client(variant, type_url) as client:
                client.subscribe(*wish)
                client.expect(["a", "b"])
                client.quiet(0.2)


def only_what_changed_is_sent(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a", "b", "c")
        with node.client(variant, type_url) as client:
            client.subscribe()
            first = client.expect(["a", "b", "c"])
            node.set(type_url, "b", content="2")
            second = client.expect(["b"])
            require(client.versions_of(first)["b"] != client.versions_of(second)["b"], "its version is another")
            require(first.nonce != second.nonce and second.system_version_info != first.system_version_info,
                    "each response has its nonce, each state its version")
            node.write()
            client.quiet(0.2)
            node.remove(type_url, "c")
            client.expect([], ["c"])
            node.set(type_url, "b")
            third = client.expect(["b"])
            require(client.versions_of(first)["b"] == client.versions_of(third)["b"], "versions are of content")


def empty_wildcard_is_answered(node, variant):
    node.set(SOME_TYPE, "r")
    for type_url in TYPES:
        node.items.pop(type_url, None)
        node.write()
        with node.client(variant, type_url) as client:
            client.subscribe()
            client.expect()
            node.set(type_url, "late")
            client.expect(["late"])


def every_subscribed_name_is_answered(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a")
        with node.client(variant, type_url) as client:
            client.subscribe("a", "none")
            client.expect(["a"], ["none"])
            client.subscribe("a")
            client.expect(["a"])
            client.subscribe("none")
            client.expect([], ["none"])
            node.set(type_url, "none")
            client.expect(["none"])
            node.remove(type_url, "none")
            client.expect([], ["none"])
            node.set(type_url, "none")
            client.expect(["none"])
            client.quiet(0.2)


def names_are_added_and_taken_back(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a", "b", "c")
        with node.client(variant, type_url) as client:
            client.subscribe("a")
            client.expect(["a"])
            client.subscribe("b")
            client.expect(["b"])
            client.unsubscribe("a")
            client.quiet(0.2)
            node.set(type_url, "a", "c", content="2")
            client.quiet()
            client.unsubscribe("unknown", "c")
            client.quiet(0.2)
            client.subscribe("a")
            client.expect(["a"])
            client.unsubscribe("a", "b")
            node.set(type_url, "a", "b", content="3")
            client.quiet()


def removed_unsubscribed_names_are_silent(node, variant):
    node.set(EDS, "a", "b")
    with node.client(variant, EDS) as client:
        client.subscribe("a", "b")
        client.expect(["a", "b"])
        client.unsubscribe("a")
        node.remove(EDS, "a")
        client.quiet()


def the_last_name_taken_back_is_no_wildcard(node, variant):
    node.set(CDS, "a", "b")
    with node.client(variant) as client:
        client.subscribe("a")
        client.expect(["a"])
        client.unsubscribe("a")
        client.quiet(0.2)
        client.send()
        node.set(CDS, "a", "b", content="2")
        client.quiet()
        client.subscribe("*")
        client.expect(["a", "b"])


def a_first_request_that_only_takes_back_is_no_wildcard(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.unsubscribe("x")
        client.quiet()


def a_name_beside_the_wildcard(node, variant):
    node.set(CDS, "a", "b")
    with node.client(variant) as client:
        client.subscribe()
        client.expect(["a", "b"])
        client.subscribe("a", "none")
        client.expect(["a"], ["none"])
        # "must be told": the client cannot know whether the wildcard covers what it took back.
        client.unsubscribe("a")
        client.expect(["a"])
        client.unsubscribe("none")
        client.expect([], ["none"])
        node.set(CDS, "a", content="2")
        client.expect(["a"])
        client.subscribe("b")
        client.expect(["b"])
        client.unsubscribe("*")
        client.quiet(0.2)
        node.set(CDS, "a", content="3")
        client.quiet()
        node.set(CDS, "b", content="3")
        client.expect(["b"])


def unsubscribed_wildcard_is_over(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe("*")
        client.expect(["a"])
        client.unsubscribe("*")
        node.set(CDS, "a", "b", content="2")
        client.quiet()
        client.subscribe("*")
        client.expect(["a", "b"])


def subscribed_and_taken_back_in_one_request(node, variant):
    node.set(CDS, "a", "b")
    with node.client(variant) as client:
        client.send(resource_names_subscribe=["a"], resource_names_unsubscribe=["b"])
        client.expect(["a"])
        client.send(resource_names_subscribe=["b"], resource_names_unsubscribe=["a"])
        client.expect(["b"])
        node.set(CDS, "a", content="2")
        client.quiet()


def stale_nonces_do_not_stop_subscriptions(node, variant):
    node.set(EDS, "a", "b", "c")
    with node.client(variant, EDS, ack=False) as client:
        client.subscribe("a")
        first = client.expect(["a"])
        client.answer(first)
        node.set(EDS, "a", content="2")
        second = client.expect(["a"])
        client.send(response_nonce=first.nonce, resource_names_subscribe=["b"])
        client.answer(second)
        client.answer(client.expect(["b"]))
        client.send(response_nonce="no-such-nonce", resource_names_subscribe=["c"], resource_names_unsubscribe=["a"])
        client.answer(client.expect(["c"]))
        node.set(EDS, "a", content="3")
        client.quiet()


def an_ack_may_carry_names(node, variant):
    node.set(EDS, "a", "b")
    with node.client(variant, EDS, ack=False) as client:
        client.subscribe("a")
        response = client.expect(["a"])
        client.send(response_nonce=response.nonce, resource_names_subscribe=["b"])
        client.answer(client.expect(["b"]))
        client.quiet(0.2)


def a_repeated_ack_is_not_answered(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe()
        response = client.expect(["a"])
        client.answer(response)
        client.answer(response)
        client.send()
        client.quiet()


def refused_versions_are_not_sent_again(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a")
        with node.client(variant, type_url, ack=False) as client:
            client.subscribe("a")
            client.answer(client.expect(["a"]))
            node.set(type_url, "a", content="2")
            client.answer(client.expect(["a"]), "no")
            client.quiet()
            node.set(type_url, "b")
            client.quiet(0.2)
            node.set(type_url, "a", content="3")
            client.answer(client.expect(["a"]))
            client.quiet(0.2)


def one_bad_resource_does_not_hold_up_others(node, variant):
    node.set(CDS, *"abcdefgh")
    with node.client(variant, ack=False) as client:
        client.subscribe()
        client.answer(client.expect("abcdefgh"))
        node.set(CDS, *"abcdefgh", content="2")
        held, refusals = set(), 0
        while held != set("abcdefg"):
            response = client.next()
            names = client.names_of(response)
            if "h" in names:
                refusals += 1
                require(refusals < 10, "a refused resource is sent again and again")
                client.answer(response, "one of them is bad")
            else:
                held.update(names)
                client.answer(response)
        # The bad one may be tried alone once; after that it rests.
        while True:
            try:
                client.quiet(0.5)
                break
            except AssertionError:
                refusals += 1
                require(refusals < 10, "a refused resource is sent again and again")
        node.set(CDS, "h", content="3")


def a_client_that_brings_versions(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a", "b", "c")
        with node.client(variant, type_url) as client:
            client.subscribe()
            versions = client.versions_of(client.expect(["a", "b", "c"]))
        # Equal ones are not sent; an answer, even if empty, ends the client's wait.
        with node.client(variant, type_url) as client:
            client.send(initial_resource_versions=versions)
            client.expect()
            client.quiet(0.2)
        node.set(type_url, "b", content="2")
        node.remove(type_url, "c")
        with node.client(variant, type_url) as client:
            client.send(initial_resource_versions={**versions, "never": "1"})
            changed, removed = set(), set()
            while (changed, removed) != ({"b"}, {"c", "never"}):
                response = client.next()
                changed.update(client.names_of(response))
                removed.update(client.removed_of(response))
            client.quiet(0.2)
        node.set(type_url, "b")


def versions_are_no_subscriptions(node, variant):
    node.set(EDS, "a", "b")
    with node.client(variant, EDS) as client:
        client.subscribe("a", "b")
        versions = client.versions_of(client.expect(["a", "b"]))
    node.set(EDS, "b", content="2")
    with node.client(variant, EDS) as client:
        client.send(initial_resource_versions=versions, resource_names_subscribe=["a"])
        client.quiet(0.3)
        node.set(EDS, "b", content="3")
        client.quiet(0.3)
        node.set(EDS, "a", content="3")
        client.expect(["a"])


def brought_versions_of_named_resources(node, variant):
    node.set(EDS, "a", "b")
    with node.client(variant, EDS) as client:
        client.subscribe("a", "b", "c")
        versions = client.versions_of(client.expect(["a", "b"], ["c"]))
    node.set(EDS, "b", content="2")
    with node.client(variant, EDS) as client:
        client.send(initial_resource_versions={**versions, "gone": "7"},
                    resource_names_subscribe=["a", "b", "c", "gone"])
        changed, removed = set(), set()
        while (changed, removed) != ({"b"}, {"c", "gone"}):
            response = client.next()
            changed.update(client.names_of(response))
            removed.update(client.removed_of(response))
        client.quiet(0.2)


def brought_versions_count_in_the_first_request_only(node, variant):
    node.set(EDS, "a", "b")
    with node.client(variant, EDS) as client:
        client.subscribe("a")
        versions = client.versions_of(client.expect(["a"]))
        client.send(initial_resource_versions={"b": "x", **versions}, resource_names_subscribe=["a", "b"])
        client.expect(["a", "b"])


def forced_labels(node, variant):
    node.set(CDS, "a", "b", version="r1", label="1")
    with node.client(variant) as client:
        client.subscribe("a", "b")
        first = client.expect(["a", "b"])
        require(first.system_version_info == "1", "the label is the version of the type")
        require(client.versions_of(first) == {"a": "r1", "b": "r1"}, "the label is the version of the resource")
        node.set(CDS, "a", content="2", version="r2", label="2")
        second = client.expect(["a"])
        require(second.system_version_info == "2", "the new label is the new version")
        require(client.versions_of(second) == {"a": "r2"}, "the new label is the new version")
        node.labels[CDS] = "3"
        node.write()
        client.quiet()


SOME_TYPE = "type.googleapis.com/example.Unknown"
CHECKS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__]
