"""The files: what they may hold, when they count, and what becomes of broken ones."""

import os
import time

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401 - a type inside of Any
from google.protobuf import json_format

from client import CDS, DELTA_VARIANTS, EDS, LDS, PREFIX, SDS, SOTW_VARIANTS, Client, require
from folder import Node, resource

VARIANTS = [SOTW_VARIANTS[0], DELTA_VARIANTS[0]]
HCM = PREFIX + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def message(client, response, kind):
    resource = response.resources[0]
    return kind.FromString(resource.resource.value if client.delta else resource.value)


def one(type_url, value, **item):
    return {"resources": {type_url: {"items": [{"name": value.get("name", "x"), "resource": value, **item}]}}}


def changes_come_in_time(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe()
        client.expect(["a"])
        slowest = 0
        for content in range(2, 7):
            node.set(CDS, "a", content=str(content))
            written = time.monotonic()
            client.expect(["a"])
            slowest = max(slowest, time.monotonic() - written)
        # 200 ms are promised; the machine may be busy with other tests.
        require(slowest < 2, f"a change took {slowest:.3f} s")


def quick_renames_end_in_the_last_state(node, variant):
    node.set(CDS, "a")
    with node.client(variant) as client:
        client.subscribe()
        client.expect(["a"])
        for content in range(2, 60):
            node.set(CDS, "a", content=str(content))
        while message(client, client.expect(["a"]), cluster_pb2.Cluster).alt_stat_name != "59":
            pass
        client.quiet()


def broken_files_leave_everything_as_it_was(node, variant):
    node.set(CDS, "a")
    broken = [
        ("", "does not parse"),
        ('{"resources": {', "does not parse"),
        ("[]", "does not parse"),
        ('{"resources": {"%s": {"items": [{"name": "a", "resource": {"no_such_field": 1}}]}}}' % CDS, "no_such_field"),
        ('{"resources": {"%s": {"items": [{"name": "a", "resource": {"connectTimeout": "soon"}}]}}}' % CDS, "a"),
        ('{"resources": {"%s": {"items": [{"name": "a", "resource": {"@type": "%s"}}]}}}' % (CDS, EDS), "@type"),
        ('{"resources": {"%s": {"items": [{"name": "a", "resource": {"name": "b"}}]}}}' % CDS, "called"),
        ('{"resources": {"%s": {"items": [{"name": "a", "resource": {}}, {"name": "a", "resource": {}}]}}}' % CDS,
         "twice"),
        ('{"resources": {"%s": {"items": [{"name": "a", "resource": {"transportSocket": {"name": "x", '
         '"typedConfig": {"@type": "type.googleapis.com/no.Such"}}}}]}}}' % CDS, "no.Such"),
    ]
    with node.client(variant) as client:
        client.subscribe()
        client.expect(["a"])
        for text, reason in broken:
            seen = len(node.server.log)
            node.write_text(text)
            node.server.until_said(f"{node.name}.json", reason, since=seen)
        client.quiet(0.2)
        # New clients are served the last good state, too.
        with node.client(variant) as other:
            other.subscribe()
            other.expect(["a"])
        node.set(CDS, "a", content="2")
        client.expect(["a"])


def own_file_or_default(node, variant):
    late = Node(node.server, f"{node.name}-own")
    with late.client(variant) as client:
        client.subscribe()
        client.expect(["of-default"])
        late.set(CDS, "own")
        client.expect(["own"], ["of-default"] if variant.delta else [])
        os.remove(late.path)
        client.expect(["of-default"], ["own"] if variant.delta else [])
    for name in ("../" + node.name, "/etc/passwd", "", "a" * 10_000, "nul\0"):
        with Client(node.server.address, variant, name) as client:
            client.subscribe()
            client.expect(["of-default"])


def a_type_that_is_gone_from_the_file(node, variant):
    node.set(CDS, "a")
    node.set(LDS, "l")
    with node.client(variant) as client:
        client.subscribe()
        client.expect(["a"])
        del node.items[CDS]
        node.write()
        client.expect([], ["a"] if variant.delta else [])
        node.write_json({})
        client.quiet(0.2)
        node.set(CDS, "a")
        client.expect(["a"])


def proto3_json_in_all_its_forms(node, variant):
    with_every_form = {
        "@type": CDS, "name": "x", "connect_timeout": "0.250s", "perConnectionBufferLimitBytes": 32768,
        "type": 3, "lb_policy": "RING_HASH", "eds_cluster_config": {"eds_config": {"ads": {}, "initialFetchTimeout": "5s"}},
        "ring_hash_lb_config": {"minimum_ring_size": "1024"}, "metadata": {"filterMetadata": {"f": {"a": [1, "b", None]}}},
        "commonLbConfig": {"healthyPanicThreshold": {"value": 12.5}}, "respectDnsTtl": True,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": PREFIX + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 100}}}},
    }
    node.write_json(one(CDS, with_every_form))
    with node.client(variant) as client:
        client.subscribe("x")
        cluster = message(client, client.expect(["x"]), cluster_pb2.Cluster)
        # Protobuf's own reader of JSON is the judge.
        wanted = json_format.ParseDict({k: v for k, v in with_every_form.items() if k != "@type"}, cluster_pb2.Cluster())
        require(cluster == wanted, f"{cluster} is not {wanted}")


def bytes_are_base64(node, variant):
    value = {"@type": SDS, "name": "x", "tls_certificate": {
        "certificate_chain": {"inline_bytes": "/+8="}, "private_key": {"inlineBytes": "-_8"}}}
    node.write_json(one(SDS, value))
    with node.client(variant, SDS) as client:
        client.subscribe("x")
        secret = message(client, client.expect(["x"]), secret_pb2.Secret)
        require(secret.tls_certificate.certificate_chain.inline_bytes == b"\xff\xef", "standard alphabet")
        require(secret.tls_certificate.private_key.inline_bytes == b"\xfb\xff", "that of URLs, without padding")


def any_inside_of_any(node, variant):
    listener = {
        "@type": LDS, "name": "x", "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 10000}},
        "filterChains": [{"filters": [{"name": "hcm", "typedConfig": {
            "@type": HCM, "statPrefix": "s", "streamIdleTimeout": "300s", "codecType": "HTTP2",
            "rds": {"routeConfigName": "r", "configSource": {"ads": {}, "resourceApiVersion": "V3"}},
            "httpFilters": [{"name": "router", "typedConfig": {
                "@type": PREFIX + "envoy.extensions.filters.http.router.v3.Router", "suppressEnvoyHeaders": True}}],
        }}]}]}
    node.write_json(one(LDS, listener))
    with node.client(variant, LDS) as client:
        client.subscribe()
        got = message(client, client.expect(["x"]), listener_pb2.Listener)
        manager, router = hcm_pb2.HttpConnectionManager(), router_pb2.Router()
        require(got.filter_chains[0].filters[0].typed_config.Unpack(manager), "the manager's type")
        require(manager.stream_idle_timeout.seconds == 300 and manager.codec_type == manager.HTTP2, "its fields")
        require(manager.http_filters[0].typed_config.Unpack(router), "the router's type")
        require(router.suppress_envoy_headers, "its field")


def items_in_another_order_are_no_change(node, variant):
    node.set(CDS, "a", "b")
    with node.client(variant) as client:
        client.subscribe()
        client.expect(["a", "b"])
        node.items[CDS] = dict(reversed(node.items[CDS].items()))
        node.write()
        client.quiet()
        # Neither are keys in another order, or spaces.
        items = [{"resource": dict(reversed(resource(CDS, name).items())), "name": name} for name in "ab"]
        node.write_text('{  "resources" : {"%s": {"items": %s}}}\n\n' % (CDS, str(items).replace("'", '"')))
        client.quiet()


def versions_of_content_survive_other_processes(node, variant):
    """Two nodes with the same content have the same versions: nothing of the process is in them."""
    node.set(CDS, "a", "b")
    twin = Node(node.server, f"{node.name}-twin", {CDS: ["a", "b"]})
    versions = []
    for each in (node, twin):
        with each.client(variant) as client:
            client.subscribe()
            response = client.expect(["a", "b"])
            versions.append(response.system_version_info if variant.delta else response.version_info)
    require(versions[0] == versions[1], f"{versions} are not the same")


def listed_types_without_items(node, variant):
    node.write_json({"resources": {CDS: {}, LDS: {"items": []}, EDS: {"version": "7", "items": []}}})
    with node.client(variant) as client:
        client.subscribe()
        client.expect([])
        node.set(CDS, "a")
        client.expect(["a"])


CHECKS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__
          and name not in ("message", "one")]
