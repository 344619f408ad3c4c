package docs

import (
	"hash/crc32"
	"hash/maphash"
	"log"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/proxy"
)

func sharded() *edge.Server {
	s := &edge.Server{Addr: "127.0.0.1:8080"}
	var shards [2]proxy.Destination
	for i, address := range []string{"127.0.0.1:3000", "127.0.0.1:3001"} {
		shard, err := s.Bind(edge.Backends(address))
		if err != nil {
			log.Fatal(err)
		}
		shards[i] = shard
	}
	s.Routes = []proxy.Route{{To: proxy.DestinationFunc(func(x *proxy.Exchange) proxy.Destination {
		return shards[crc32.ChecksumIEEE(x.Path())%2]
	})}}
	return s
}

func hashed(seed maphash.Seed, addresses []string) proxy.Destination {
	to := edge.To(edge.UpstreamOptions{Backends: backend.Of(addresses...)}, &proxy.ToOptions{
		Method: &balance.Method{New: func(reactor, reactors int) balance.Picker { return byKey{} }},
		Key: func(x *proxy.Exchange) (key uint64, ok bool) { // a client stays with a backend while that serves
			return maphash.Comparable(seed, x.ClientIP()), true
		},
	})
	return to
}

// byKey goes from the backend that the key names to the next one that is open and was not tried.
type byKey struct{}

func (byKey) Pick(v *balance.View, l *balance.Local, q *balance.Request) int {
	n := v.Len()
	for i := range n {
		if at := (int(q.Key%uint64(n)) + i) % n; v.Open(at) && !q.Tried.Has(at) {
			return at
		}
	}
	return -1
}

var _ = []any{sharded, hashed}
