"""The 98 scenarios of the public suite ii/xds-test-harness, over the wire.

What that suite's adapter does to a server is done to the file: a change of one resource changes its content, its
version and the label of its type. As there, ACKs have no node, and delta ACKs no names.
"""

from client import CDS, EDS, LDS, RDS, VARIANTS, require

WHOLE, PARTS = (CDS, LDS), (RDS, EDS)


class Seen:
    """What a client was sent last, by name."""

    def __init__(self, node, variant, type_url):
        self.node, self.client = node, node.client(variant, type_url)
        self.by_name, self.removed = {}, set()

    def __enter__(self):
        self.client.__enter__()
        return self

    def __exit__(self, kind, *_):
        """The last step of each scenario: the server never responds more than necessary."""
        try:
            if kind is None:
                self.client.quiet(0.3)
                self.client.half_close()
                self.client.until_end()
                require(self.client.sent > self.client.received, "more responses than requests")
        finally:
            self.client.__exit__()

    def set(self, type_url, *names, version):
        self.node.set(type_url, *names, content=version, version=version, label=version)

    def until(self, names, version, type_url, together=False):
        """Reads until these are there at this version."""
        found = lambda name: self.by_name.get((type_url, name), (None, None))
        while not all(found(name)[0] == version for name in names):
            response = self.client.next()
            label = response.system_version_info if self.client.delta else response.version_info
            for name in self.client.names_of(response):
                self.by_name[response.type_url, name] = (label, response.nonce)
                self.removed.discard((response.type_url, name))
            self.removed.update((response.type_url, name) for name in self.client.removed_of(response))
        if together:
            require(len({found(name)[1] for name in names}) == 1, "came in several responses")

    def alone(self, name, type_url, version_too=True):
        """No other resource has the nonce (or version) of this one."""
        version, nonce = self.by_name[type_url, name]
        for (other_type, other), seen in self.by_name.items():
            if other_type == type_url and other != name:
                require(seen[1] != nonce, f"{other} came with {name}")
                require(not version_too or seen[0] != version, f"{other} has the version of {name}")


def scenario(variants, types):
    """A scenario for each of these types."""
    def decorate(body):
        def of(type_url):
            def check(node, variant):
                with Seen(node, variant, type_url) as seen:
                    body(seen, type_url)
            check.__name__ = f"{body.__name__}[{type_url.rsplit('.', 1)[1]}]"
            check.applies = variants
            return check
        CHECKS.extend(of(type_url) for type_url in types)
        return body
    return decorate


CHECKS = []
SOTW = lambda variant: not variant.delta
DELTA = lambda variant: variant.delta
EITHER = lambda variant: True


@scenario(SOTW, WHOLE)
def all_on_a_wildcard(seen, t):
    seen.set(t, *"ABC", version="1")
    seen.client.subscribe()
    seen.until("CAB", "1", t, together=True)


@scenario(SOTW, WHOLE)
def updates_of_a_wildcard(seen, t):
    all_on_a_wildcard(seen, t)
    seen.set(t, "A", version="2")
    seen.until("ABC", "2", t, together=True)


@scenario(SOTW, WHOLE)
def additions_to_a_wildcard(seen, t):
    all_on_a_wildcard(seen, t)
    seen.set(t, "D", version="2")
    seen.until("ABCD", "2", t, together=True)


@scenario(EITHER, (LDS, RDS))
def only_what_is_named(seen, t):
    seen.set(t, *"GBLD", version="1")
    seen.client.subscribe("L", "G")
    seen.until("LG", "1", t)
    require({name for _, name in seen.by_name} == {"L", "G"}, "others came")


@scenario(SOTW, WHOLE)
def changes_of_what_is_named_whole(seen, t):
    seen.set(t, *"ABCD", version="1")
    seen.client.subscribe("B", "D")
    seen.until("BD", "1", t)
    seen.set(t, "B", version="2")
    seen.until("BD", "2", t, together=True)


@scenario(SOTW, PARTS)
def changes_of_what_is_named_in_parts(seen, t):
    seen.set(t, *"ABCD", version="1")
    seen.client.subscribe("B", "D")
    seen.until("BD", "1", t)
    seen.set(t, "B", version="2")
    seen.until("B", "2", t)


@scenario(SOTW, WHOLE)
def created_later_whole(seen, t):
    seen.set(t, *"ABC", version="1")
    seen.client.subscribe("A", "Z")
    seen.until("A", "1", t)
    seen.set(t, "Z", version="2")
    seen.until("AZ", "2", t, together=True)


@scenario(SOTW, PARTS)
def created_later_in_parts(seen, t):
    seen.set(t, *"ABCD", version="1")
    seen.client.subscribe("A", "Z")
    seen.until("A", "1", t)
    seen.set(t, "Z", version="2")
    seen.until("Z", "2", t)


@scenario(lambda variant: not variant.delta and variant.ads, (CDS, RDS))
def two_types_on_one_stream(seen, t):
    other = {CDS: LDS, RDS: EDS}[t]
    seen.set(t, *"ABC", version="1")
    seen.set(other, *"ABC", version="1")
    seen.client.subscribe("B")
    seen.until("B", "1", t)
    seen.client.subscribe("B", type_url=other)
    seen.until("B", "1", other)
    seen.set(t, "B", version="2")
    seen.until("B", "2", t)


@scenario(SOTW, WHOLE + PARTS)
def narrowed_subscriptions(seen, t):
    seen.set(t, *"FABCD", version="1")
    seen.client.subscribe("C", "A", "B")
    seen.until("CAB", "1", t)
    seen.client.subscribe("A", version_info="1")
    seen.client.quiet(0.2)
    seen.by_name.clear()
    seen.set(t, "A", version="2")
    seen.until("A", "2", t)
    require({name for _, name in seen.by_name} == {"A"}, f"others came: {seen.by_name}")


@scenario(SOTW, WHOLE + PARTS)
def unsubscribed_from_all(seen, t):
    seen.set(t, *"ABCD", version="1")
    seen.client.subscribe("A", "B")
    seen.until("AB", "1", t)
    seen.client.subscribe("")
    seen.set(t, "B", version="2")
    seen.client.quiet(1)


@scenario(DELTA, WHOLE + PARTS)
def one_after_the_other(seen, t):
    seen.set(t, *"ABC", version="1")
    seen.client.subscribe("A")
    seen.until("A", "1", t)
    seen.client.subscribe("B")
    seen.until("B", "1", t)


@scenario(DELTA, WHOLE + PARTS)
def only_what_was_updated(seen, t):
    seen.set(t, *"ABC", version="1")
    seen.client.subscribe("A", "B", "C")
    seen.until("ABC", "1", t)
    seen.set(t, "A", version="2")
    seen.until("A", "2", t)
    seen.alone("A", t)


@scenario(DELTA, WHOLE + PARTS)
def told_that_it_does_not_exist(seen, t):
    seen.set(t, "A", version="1")
    seen.client.subscribe("A", "B")
    seen.until("A", "1", t)
    seen.alone("A", t)
    require((t, "B") in seen.removed, "the scenario's step that other servers fail")
    seen.set(t, "B", version="1")
    seen.until("B", "1", t)
    seen.alone("B", t, version_too=False)


@scenario(DELTA, WHOLE + PARTS)
def told_of_removal(seen, t):
    seen.set(t, *"AB", version="1")
    seen.client.subscribe("A", "B")
    seen.until("AB", "1", t)
    seen.node.remove(t, "B")
    seen.client.expect([], ["B"])
    seen.set(t, "B", version="2")
    seen.until("B", "2", t)
    seen.alone("B", t)


@scenario(DELTA, WHOLE + PARTS)
def unsubscribed_one_by_one(seen, t):
    seen.set(t, *"AB", version="1")
    seen.client.subscribe("A", "B")
    seen.until("AB", "1", t)
    for name in "BA":
        seen.client.unsubscribe(name)
        seen.client.quiet(0.2)
        seen.set(t, name, version="2")
        seen.client.quiet(1)


@scenario(lambda variant: variant.delta and variant.ads, WHOLE + PARTS)
def two_types_by_delta(seen, t):
    other = {CDS: LDS, LDS: CDS, RDS: EDS, EDS: RDS}[t]
    for type_url in (t, other):
        seen.set(type_url, *"ABC", version="1")
    for type_url in (t, other):
        seen.client.subscribe("B", type_url=type_url)
    for type_url in (t, other):
        seen.until("B", "1", type_url)
    for type_url in (t, other):
        seen.set(type_url, "B", version="2")
        seen.until("B", "2", type_url)
