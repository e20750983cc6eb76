"""An xDS client made of gRPC's and Envoy's own Python packages: none of xcc's code takes part.

A `Client` is one stream of one of the four variants. It ACKs what it is sent unless told otherwise, and keeps every
response in the order of arrival.
"""

import queue
import threading
import time

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2 as discovery
from google.rpc import status_pb2

PREFIX = "type.googleapis.com/"
CDS = PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = PREFIX + "envoy.config.listener.v3.Listener"
RDS = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SDS = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
TYPES = [CDS, EDS, LDS, RDS]
SERVICES = {
    CDS: ("cluster.v3.ClusterDiscoveryService", "Clusters"),
    EDS: ("endpoint.v3.EndpointDiscoveryService", "Endpoints"),
    LDS: ("listener.v3.ListenerDiscoveryService", "Listeners"),
    RDS: ("route.v3.RouteDiscoveryService", "Routes"),
    SDS: ("secret.v3.SecretDiscoveryService", "Secrets"),
    "ADS": ("discovery.v3.AggregatedDiscoveryService", "AggregatedResources"),
}

# How long a response may take on a busy machine, and how long silence has to last to count as silence.
PATIENCE_S = 15
QUIET_S = 0.4
# How long a request that was handed to gRPC may take to the server on a busy machine.
ARRIVAL_S = 0.5


class Failed(AssertionError):
    """A rule that does not hold."""


class Variant:
    """SotW or delta, aggregated or one service for each type."""

    def __init__(self, delta, ads):
        self.delta, self.ads = delta, ads

    def __repr__(self):
        return f"{'delta' if self.delta else 'sotw'} {'ads' if self.ads else 'per type'}"


DELTA_VARIANTS = [Variant(True, True), Variant(True, False)]
SOTW_VARIANTS = [Variant(False, True), Variant(False, False)]
VARIANTS = SOTW_VARIANTS + DELTA_VARIANTS


class Client:
    """One stream."""

    def __init__(self, address, variant, node, service=CDS, ack=True):
        self.delta, self.ack, self.node, self.default_type = variant.delta, ack, node, service
        self.responses, self.names, self.nonces = queue.Queue(), {}, {}
        self.ended = self.ended_with = None
        self.sent = self.received = 0
        # A request was sent that is no answer, and no response has come since.
        self.unanswered = False
        self._requests = queue.Queue()
        self.channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1),
                                                       ("grpc.max_receive_message_length", -1)])
        name, noun = SERVICES["ADS" if variant.ads else service]
        method = f"/envoy.service.{name}/{'Delta' if self.delta else 'Stream'}{noun}"
        kinds = ((discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse) if self.delta else
                 (discovery.DiscoveryRequest, discovery.DiscoveryResponse))
        self.request_type = kinds[0]
        call = self.channel.stream_stream(method, kinds[0].SerializeToString, kinds[1].FromString)
        self.call = call(iter(self._requests.get, None))
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.unanswered = False
        self.call.cancel()
        self._requests.put(None)
        self.channel.close()

    def _read(self):
        try:
            for response in self.call:
                self.received += 1
                self.unanswered = False
                self.nonces[response.type_url] = response.nonce
                if self.ack:
                    self.answer(response)
                self.responses.put(response)
            self.ended_with = grpc.StatusCode.OK
        except grpc.RpcError as error:
            self.ended_with = error.code()
        self.responses.put(None)

    def send(self, type_url=None, answer=False, **fields):
        """Sends a request; the node goes with the first one only."""
        if self.sent == 0 and self.node is not None:
            fields.setdefault("node", base_pb2.Node(id=self.node))
        fields.setdefault("type_url", self.default_type if type_url is None else type_url)
        self.sent += 1
        self.unanswered |= not answer
        self._requests.put(self.request_type(**fields))

    def settle(self):
        """Waits until the server has what was sent: nothing tells that it took names back."""
        if self.unanswered:
            self.unanswered = False
            wait(lambda: self._requests.empty() or self.ended_with is not None, "gRPC takes no request")
            time.sleep(ARRIVAL_S)

    def half_close(self):
        self._requests.put(None)

    def subscribe(self, *names, type_url=None, **fields):
        """Names what is wanted: in SotW the whole list, in delta what is added. Without names: all of the type."""
        type_url = type_url or self.default_type
        if self.delta:
            return self.send(type_url, resource_names_subscribe=names, **fields)
        self.names[type_url] = list(names)
        fields.setdefault("response_nonce", self.nonces.get(type_url, ""))
        return self.send(type_url, resource_names=names, **fields)

    def unsubscribe(self, *names, type_url=None, **fields):
        """Takes names back."""
        type_url = type_url or self.default_type
        if self.delta:
            return self.send(type_url, resource_names_unsubscribe=names, **fields)
        left = [name for name in self.names[type_url] if name not in names]
        return self.subscribe(*left, type_url=type_url, **fields)

    def answer(self, response, error=None):
        """ACKs, or NACKs with this text."""
        fields = {"response_nonce": response.nonce}
        if error is not None:
            fields["error_detail"] = status_pb2.Status(code=13, message=error)
        if not self.delta:
            fields["resource_names"] = self.names.get(response.type_url, [])
            fields["version_info"] = response.version_info if error is None else ""
        self.send(response.type_url, answer=True, **fields)

    def next(self, patience=PATIENCE_S):
        """The next response; None if the stream ended."""
        try:
            response = self.responses.get(timeout=patience)
        except queue.Empty:
            raise Failed("the server says nothing") from None
        if response is not None:
            self._check(response)
        return response

    def _check(self, response):
        require(response.nonce, "every response has a nonce")
        version = response.system_version_info if self.delta else response.version_info
        require(version, "every response has a version")
        for resource in response.resources:
            any_type = resource.resource.type_url if self.delta else resource.type_url
            require(any_type == response.type_url, f"{any_type} in a response of {response.type_url}")
        names = self.names_of(response) + self.removed_of(response)
        require(len(names) == len(set(names)), f"a name twice in one response: {names}")

    def expect(self, names=(), removed=(), type_url=None):
        """The next response has exactly these names and removals."""
        response = self.next()
        require(response is not None, f"the stream ended with {self.ended_with}")
        wanted = type_url or self.default_type
        require(response.type_url == wanted, f"{response.type_url} came, not {wanted}")
        got = (sorted(self.names_of(response)), sorted(self.removed_of(response)))
        require(got == (sorted(names), sorted(removed)), f"got {got}, not {sorted(names), sorted(removed)}")
        return response

    def quiet(self, seconds=QUIET_S):
        """Nothing comes."""
        try:
            response = self.responses.get(timeout=seconds)
        except queue.Empty:
            return
        raise Failed(f"nothing should come, but did: {response if response is not None else self.ended_with}")

    def until_end(self):
        """The status with which the stream ends."""
        while self.next() is not None:
            pass
        return self.ended_with

    def names_of(self, response):
        if self.delta:
            return [resource.name for resource in response.resources]
        return [name_inside(any) for any in response.resources]

    def removed_of(self, response):
        return list(response.removed_resources) if self.delta else []

    def versions_of(self, response):
        return {resource.name: resource.version for resource in response.resources}


def name_inside(any):
    """Field 1 of every resource is its name."""
    assert any.value[0] == 0x0A
    length, at, shift = 0, 1, 0
    while True:
        byte = any.value[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return any.value[at:at + length].decode()


def require(held, what):
    if not held:
        raise Failed(what)


def wait(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        require(time.monotonic() < deadline, what)
        time.sleep(0.01)
