"""State of the world: what Envoy's description of the protocol asks of a server."""

from client import CDS, EDS, LDS, RDS, SOTW_VARIANTS, TYPES, require

VARIANTS = SOTW_VARIANTS


def first_request_is_answered_at_once(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a", "b")
        with node.client(variant, type_url) as client:
            client.subscribe("a", "b")
            client.expect(["a", "b"])
            client.quiet(0.2)


def wildcards_are_legacy_or_explicit(node, variant):
    node.set(CDS, "a", "b")
    node.set(LDS, "l", "m")
    for type_url, names in ((CDS, ["a", "b"]), (LDS, ["l", "m"])):
        for wish in ([], ["*"], ["*", names[0]]):
            with node.client(variant, type_url) as client:
                client.subscribe(*wish)
                client.expect(names)
                client.quiet(0.2)


def wildcard_covers_what_comes_and_goes(node, variant):
    node.set(CDS, "a", "b")
    with node.client(variant) as client:
        client.subscribe()
        first = client.expect(["a", "b"])
        node.set(CDS, "c")
        second = client.expect(["a", "b", "c"])
        require(first.version_info != second.version_info, "another state has another version")
        node.remove(CDS, "a")
        client.expect(["b", "c"])
        node.remove(CDS, "b", "c")
        client.expect([])
        node.set(CDS, "a", "b")
        again = client.expect(["a", "b"])
        require(again.version_info == first.version_info, "versions are hashes of content")
        nonces = {first.nonce, second.nonce, again.nonce}
        require(len(nonces) == 3, "nonces are never used twice")


def empty_wildcard_is_answered(node, variant):
    node.set(RDS, "r")
    for type_url in (CDS, LDS):
        with node.client(variant, type_url) as client:
            client.subscribe()
            client.expect([])
            node.set(type_url, "late")
            client.expect(["late"])


def empty_list_after_names_unsubscribes(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a", "b")
        with node.client(variant, type_url) as client:
            client.subscribe("a")
            client.expect(["a"])
            client.subscribe()
            client.quiet()
            node.set(type_url, "a", content="2")
            client.quiet()
            client.subscribe("a")
            client.expect(["a"])


def four_steps_of_the_documentation(node, variant):
    """Wildcard, a name beside it, the name alone, nothing: label xds_protocol_resource_hints."""
    node.set(CDS, "A", "B")
    with node.client(variant) as client:
        client.subscribe()
        client.expect(["A", "B"])
        client.subscribe("*", "A")
        response = client.next()
        require("A" in client.names_of(response), "a newly named resource is sent")
        client.subscribe("A")
        node.set(CDS, "B", content="2")
        client.quiet()
        node.set(CDS, "A", content="2")
        client.expect(["A"])
        client.subscribe()
        node.set(CDS, "A", content="3")
        client.quiet()
        client.subscribe("*")
        client.expect(["A", "B"])


def the_empty_name_names_nothing(node, variant):
    node.set(CDS, "a", "b")
    with node.client(variant) as client:
        client.subscribe("a", "b")
        client.expect(["a", "b"])
        client.subscribe("")
        node.set(CDS, "b", content="2")
        client.quiet()


def grown_lists_are_sent_what_is_new(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a", "b", "c")
        with node.client(variant, type_url) as client:
            client.subscribe("a")
            client.expect(["a"])
            client.subscribe("a", "b")
            response = client.next()
            require("b" in client.names_of(response), f"{type_url}: the new name is sent")
            require("c" not in client.names_of(response), "what is not subscribed to is not sent")
            client.quiet(0.2)
            client.subscribe("a")
            client.quiet(0.2)
            client.subscribe("b", "a")
            require("b" in client.names_of(client.next()), f"{type_url}: what is named again is sent again")


def absent_names_are_sent_once_they_exist(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a")
        with node.client(variant, type_url) as client:
            client.subscribe("a", "late")
            client.expect(["a"])
            node.set(type_url, "late")
            wanted = ["a", "late"] if type_url in (CDS, LDS) else ["late"]
            client.expect(wanted)


def only_absent_names(node, variant):
    """The whole state of Clusters and Listeners is known to be empty; of other types nothing can be said."""
    node.set(RDS, "other")
    for type_url in TYPES:
        with node.client(variant, type_url) as client:
            client.subscribe("late")
            if type_url in (CDS, LDS):
                client.expect([])
            else:
                client.quiet()
            node.set(type_url, "late")
            client.expect(["late"])


def what_is_not_subscribed_to_is_silent(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a", "b", label="1")
        with node.client(variant, type_url) as client:
            client.subscribe("a")
            client.expect(["a"])
            node.set(type_url, "b", content="2", label="2")
            client.quiet()
            node.set(type_url, "c", content="2", label="3")
            client.quiet()
            node.remove(type_url, "b")
            client.quiet()


def repeated_ack_is_not_answered(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe()
        response = client.expect(["a"])
        client.answer(response)
        client.answer(response)
        client.quiet()


def stale_and_unknown_nonces_are_ignored(node, variant):
    node.set(CDS, "a")
    with node.client(variant, ack=False) as client:
        client.subscribe()
        first = client.expect(["a"])
        client.answer(first)
        node.set(CDS, "a", content="2")
        second = client.expect(["a"])
        client.answer(first, "late refusal")
        client.send(response_nonce="no-such-nonce")
        client.send(response_nonce="no-such-nonce", version_info=first.version_info)
        client.quiet()
        client.answer(second)
        node.set(CDS, "a", content="3")
        client.answer(client.expect(["a"]))
        client.quiet()


def stale_nonce_keeps_the_subscription(node, variant):
    node.set(EDS, "a", "b")
    with node.client(variant, EDS, ack=False) as client:
        client.subscribe("a")
        first = client.expect(["a"])
        client.answer(first)
        node.set(EDS, "a", content="2")
        second = client.expect(["a"])
        # Written before the second response was read: its names count, its nonce does not.
        client.names[EDS] = ["a", "b"]
        client.send(resource_names=["a", "b"], version_info=first.version_info, response_nonce=first.nonce)
        client.answer(second)
        response = client.next()
        require("b" in client.names_of(response), "the newest list counts")


def new_requests_supersede_older_ones(node, variant):
    node.set(EDS, "a", "b", "c")
    with node.client(variant, EDS) as client:
        client.subscribe("a")
        client.expect(["a"])
        client.subscribe("b")
        client.expect(["b"])
        node.set(EDS, "a", content="2")
        client.quiet()


def refused_versions_are_not_sent_again(node, variant):
    for type_url in TYPES:
        node.set(type_url, "a")
        with node.client(variant, type_url, ack=False) as client:
            client.subscribe("a")
            good = client.expect(["a"])
            client.answer(good)
            node.set(type_url, "a", content="2")
            client.answer(client.expect(["a"]), "no")
            client.quiet()
            node.set(type_url, "a", content="3")
            client.answer(client.expect(["a"]))
            client.quiet(0.2)


def a_refused_first_response_is_not_sent_again(node, variant):
    node.set(CDS, "a")
    with node.client(variant, ack=False) as client:
        client.subscribe()
        client.answer(client.expect(["a"]), "no")
        client.quiet(1)
        node.set(CDS, "a", content="2")
        client.answer(client.expect(["a"]))
        client.quiet(0.2)


def refusing_the_version_that_was_sent_is_a_refusal(node, variant):
    """`error_detail` decides, not `version_info`: Envoy sends the version that it last took, which may be the same."""
    node.set(CDS, "a")
    with node.client(variant, ack=False) as client:
        client.subscribe()
        response = client.expect(["a"])
        error = {"error_detail": {"code": 13, "message": "no"}}
        client.send(response_nonce=response.nonce, version_info=response.version_info, **error)
        client.quiet()


def reconnecting_with_the_same_version(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe()
        version = client.expect(["a"]).version_info
    with node.client(variant) as client:
        client.send(version_info=version)
        client.quiet()
        node.set(CDS, "b")
        client.expect(["a", "b"])
    with node.client(variant) as client:
        client.send(version_info="another")
        client.expect(["a", "b"])
    # Names are a subscription that may be new: they are answered whatever the version is.
    with node.client(variant) as client:
        client.send(version_info=version, resource_names=["a"])
        client.expect(["a"])


def nonces_of_other_streams_do_not_count(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe()
        nonce = client.expect(["a"]).nonce
    with node.client(variant) as client:
        client.send(response_nonce=nonce)
        require(client.expect(["a"]).nonce != nonce, "a nonce belongs to its stream")


def forced_labels(node, variant):
    node.set(CDS, "a", "b", version="r1", label="1")
    node.set(EDS, "a", "b", version="r1", label="1")
    for type_url in (CDS, EDS):
        with node.client(variant, type_url) as client:
            client.subscribe("a", "b")
            require(client.expect(["a", "b"]).version_info == "1", "the label is the version")
            node.set(type_url, "a", content="2", version="r2", label="2")
            wanted = ["a", "b"] if type_url == CDS else ["a"]
            require(client.expect(wanted).version_info == "2", "the new label is the new version")
            client.quiet(0.2)


CHECKS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__]
