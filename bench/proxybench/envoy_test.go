package proxybench

import (
	"encoding/json"
	"maps"
	"os"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/gzip/compressor/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	manager "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/quic/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Few machines have an Envoy: its configurations are held against Envoy's own description of them, by which it reads
// its file.
func TestEnvoy_configurationsAreWhatEnvoyReads(t *testing.T) {
	seen := 0
	for _, p := range Peers {
		if p.binary != envoyName {
			continue
		}
		seen++
		at := newPlace([]string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, "127.0.0.1:4", t.TempDir(), keyPair{
			cert: "cert.pem", key: "key.pem"})
		_, err := p.command(maps.Clone(at), "envoy")
		testutil.Must(t, err)
		at["file"] = at["dir"] + "/" + p.config
		text, err := os.ReadFile(at["file"])
		testutil.Must(t, err)
		var file any
		testutil.Must(t, yaml.Unmarshal(text, &file))
		asJSON, err := json.Marshal(file)
		testutil.Must(t, err)
		var read bootstrap.Bootstrap
		if err := protojson.Unmarshal(asJSON, &read); err != nil {
			t.Fatalf("%s: %v\n%.3000s", p.Name, err, text)
		}
		testutil.Must(t, read.ValidateAll())
		for _, l := range read.StaticResources.Listeners {
			var m manager.HttpConnectionManager
			testutil.Must(t, l.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(&m))
			testutil.Must(t, m.ValidateAll())
			hosts := 1
			if p.hosts != "" {
				hosts += hostCount
			}
			if n := len(m.GetRouteConfig().VirtualHosts); n != hosts {
				t.Errorf("%s, %s: %d virtual hosts, want %d", p.Name, l.Name, n, hosts)
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d configurations, want 4", seen)
	}
}
