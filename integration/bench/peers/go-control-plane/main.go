// Command go-control-plane serves the benchmark's resources with the caches of go-control-plane, and changes them as
// lines on standard input say. Its counterpart is the benchmark's xds-server: same resources, same lines.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	networkinputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	remotes        = 10
	nodesPerRemote = 5
	// All clients are served one snapshot: what the library offers at its cheapest.
	everyone = "everyone"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func pack(message proto.Message) *anypb.Any {
	return must(anypb.New(message))
}

// world is what the resources are made from.
type world struct {
	services  int
	remotes   int
	domains   [][]string
	addresses [][nodesPerRemote]string
	changes   int
}

func newWorld(services, remotes int) *world {
	w := &world{remotes: remotes, domains: make([][]string, remotes), addresses: make([][nodesPerRemote]string, remotes)}
	for range services {
		w.add()
	}
	for remote := range remotes {
		for node := range nodesPerRemote {
			w.addresses[remote][node] = fmt.Sprintf("10.%d.%d.%d", remote%100, remote/100, node+1)
		}
	}
	return w
}

func (w *world) add() {
	remote := w.services % w.remotes
	w.domains[remote] = append(w.domains[remote], fmt.Sprintf("service-%06d.r%d.xcc.test", w.services, remote))
	w.services++
}

func (w *world) remove() {
	w.services--
	remote := w.services % w.remotes
	w.domains[remote] = w.domains[remote][: len(w.domains[remote])-1 : len(w.domains[remote])-1]
}

// changeNode gives a node of a remote an address that it has not had.
func (w *world) changeNode(remote int) {
	w.changes++
	w.addresses[remote][0] = fmt.Sprintf("10.%d.%d.%d", 100+remote%100, w.changes/250%250, w.changes%250+1)
}

func clusterName(remote int) string {
	return fmt.Sprintf("r%d/443", remote)
}

func (w *world) cluster(remote int) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                          clusterName(remote),
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		ConnectTimeout:                durationpb.New(2 * time.Second),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(32768),
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
			ResourceApiVersion:    corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		}},
	}
}

func (w *world) endpoint(remote int) *endpointv3.ClusterLoadAssignment {
	var endpoints []*endpointv3.LbEndpoint
	for _, address := range w.addresses[remote] {
		endpoints = append(endpoints, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socketAddress(address, 443)}},
		})
	}
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: clusterName(remote),
		Endpoints:   []*endpointv3.LocalityLbEndpoints{{LbEndpoints: endpoints}},
	}
}

func socketAddress(address string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       address,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// listener has all names in one matcher, and one chain for each remote.
func (w *world) listener() *listenerv3.Listener {
	names := &matcherv3.ServerNameMatcher{}
	var chains []*listenerv3.FilterChain
	for remote := range w.remotes {
		if len(w.domains[remote]) > 0 {
			names.DomainMatchers = append(names.DomainMatchers, &matcherv3.ServerNameMatcher_DomainMatcher{
				// A copy: what was published is read by others.
				Domains: append([]string{}, w.domains[remote]...),
				OnMatch: &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Action{
					Action: &v3.TypedExtensionConfig{Name: "chain", TypedConfig: pack(wrapperspb.String(clusterName(remote)))},
				}},
			})
		}
		proxy := &tcpproxyv3.TcpProxy{
			StatPrefix:       clusterName(remote),
			ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: clusterName(remote)},
			IdleTimeout:      durationpb.New(time.Hour),
		}
		chains = append(chains, &listenerv3.FilterChain{Name: clusterName(remote), Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.tcp_proxy",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(proxy)},
		}}})
	}
	return &listenerv3.Listener{
		Name:                          "443",
		Address:                       socketAddress("0.0.0.0", 443),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(32768),
		FilterChains:                  chains,
		ListenerFilters: []*listenerv3.ListenerFilter{{
			Name:       "envoy.filters.listener.tls_inspector",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: pack(&tlsinspectorv3.TlsInspector{})},
		}},
		FilterChainMatcher: &matcherv3.Matcher{MatcherType: &matcherv3.Matcher_MatcherTree_{MatcherTree: &matcherv3.Matcher_MatcherTree{
			Input: &v3.TypedExtensionConfig{Name: "sni", TypedConfig: pack(&networkinputsv3.ServerNameInput{})},
			TreeType: &matcherv3.Matcher_MatcherTree_CustomMatch{
				CustomMatch: &v3.TypedExtensionConfig{Name: "names", TypedConfig: pack(names)},
			},
		}}},
	}
}

// publisher is one way to serve the world.
type publisher interface {
	cache() cache.Cache
	load(*world)
	node(*world, int)
	listener(*world)
}

// snapshots is SnapshotCache: a change is a new snapshot with the resources that did not change in it.
type snapshots struct {
	inner   cache.SnapshotCache
	version int
	parts   map[resource.Type][]types.Resource
}

type constantHash struct{}

func (constantHash) ID(*corev3.Node) string { return everyone }

func newSnapshots() *snapshots {
	return &snapshots{inner: cache.NewSnapshotCache(true, constantHash{}, nil), parts: map[resource.Type][]types.Resource{}}
}

func (s *snapshots) cache() cache.Cache { return s.inner }

func (s *snapshots) publish() {
	s.version++
	snapshot := must(cache.NewSnapshot(strconv.Itoa(s.version), s.parts))
	if err := s.inner.SetSnapshot(context.Background(), everyone, snapshot); err != nil {
		log.Fatal(err)
	}
}

func (s *snapshots) load(w *world) {
	s.parts = map[resource.Type][]types.Resource{}
	for remote := range w.remotes {
		s.parts[resource.ClusterType] = append(s.parts[resource.ClusterType], w.cluster(remote))
		s.parts[resource.EndpointType] = append(s.parts[resource.EndpointType], w.endpoint(remote))
	}
	s.parts[resource.ListenerType] = []types.Resource{w.listener()}
	s.publish()
}

func (s *snapshots) node(w *world, remote int) {
	endpoints := append([]types.Resource{}, s.parts[resource.EndpointType]...)
	endpoints[remote] = w.endpoint(remote)
	s.parts[resource.EndpointType] = endpoints
	s.publish()
}

func (s *snapshots) listener(w *world) {
	s.parts[resource.ListenerType] = []types.Resource{w.listener()}
	s.publish()
}

// linears is a MuxCache of a LinearCache for each type: a change names the resource.
type linears struct {
	types map[string]*cache.LinearCache
	mux   *cache.MuxCache
}

func newLinears() *linears {
	l := &linears{types: map[string]*cache.LinearCache{}}
	l.mux = &cache.MuxCache{
		Classify:      func(request *cache.Request) string { return request.GetTypeUrl() },
		ClassifyDelta: func(request *cache.DeltaRequest) string { return request.GetTypeUrl() },
		Caches:        map[string]cache.Cache{},
	}
	for _, typeURL := range []string{resource.ClusterType, resource.EndpointType, resource.ListenerType} {
		l.types[typeURL] = cache.NewLinearCache(typeURL)
		l.mux.Caches[typeURL] = l.types[typeURL]
	}
	return l
}

func (l *linears) cache() cache.Cache { return l.mux }

func (l *linears) set(typeURL, name string, value types.Resource) {
	if err := l.types[typeURL].UpdateResource(name, value); err != nil {
		log.Fatal(err)
	}
}

func (l *linears) load(w *world) {
	for remote := range w.remotes {
		l.set(resource.EndpointType, clusterName(remote), w.endpoint(remote))
		l.set(resource.ClusterType, clusterName(remote), w.cluster(remote))
	}
	l.listener(w)
}

func (l *linears) node(w *world, remote int) {
	l.set(resource.EndpointType, clusterName(remote), w.endpoint(remote))
}

func (l *linears) listener(w *world) {
	l.set(resource.ListenerType, "443", w.listener())
}

// obey does what a line says.
func obey(line string, p publisher, w **world) error {
	command, argument, _ := strings.Cut(line, " ")
	number := 0
	if argument != "" {
		number = must(strconv.Atoi(argument))
	}
	switch command {
	case "load":
		*w = newWorld(number, remotes)
		p.load(*w)
	case "each":
		*w = newWorld(number, number)
		p.load(*w)
	case "node":
		remote := number % (*w).remotes
		(*w).changeNode(remote)
		p.node(*w, remote)
	case "add":
		(*w).add()
		p.listener(*w)
	case "remove":
		(*w).remove()
		p.listener(*w)
	case "same":
		p.load(*w)
	default:
		return fmt.Errorf("no command %q", command)
	}
	return nil
}

func main() {
	kind := flag.String("cache", "snapshot", "snapshot or linear")
	flag.Parse()
	var p publisher = newSnapshots()
	if *kind == "linear" {
		p = newLinears()
	}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	grpcServer := grpc.NewServer(grpc.MaxConcurrentStreams(1<<20), grpc.MaxRecvMsgSize(64<<20))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(grpcServer, server.NewServer(context.Background(), p.cache(), nil))
	go func() {
		log.Fatal(grpcServer.Serve(listener))
	}()
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	var w *world
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := obey(lines.Text(), p, &w); err != nil {
			fmt.Println("error", err)
			continue
		}
		fmt.Println("ok")
	}
}
