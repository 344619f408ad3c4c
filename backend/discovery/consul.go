package discovery

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/registry"
)

// Bounds of Consul's blocking queries.
const (
	consulWait  = 5 * time.Minute        // one query blocks so long, and up to a sixteenth longer, as Consul does it
	consulPause = 100 * time.Millisecond // between two queries: an index may change all the time
)

// consulSource finds the instances of a service of Consul that pass their checks.
// Owned by the goroutine of its Runner.
type consulSource struct {
	base, service string
	params        url.Values // tag, dc, near
	tokenFile, ca string
}

type consulEntry struct {
	Node struct {
		Address string
	}
	Service struct {
		Address string
		Port    int
		Weights struct{ Passing int }
		Meta    map[string]string
	}
}

// Run asks with the index of the answer before, which Consul holds until something has changed.
func (s *consulSource) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	r, err := registry.NewClient([]string{s.base}, registry.ClientOptions{
		Agent: agent, CA: s.ca, Wait: consulWait + consulWait/8,
	})
	if err != nil {
		return err
	}
	defer r.Close()
	r.Token = func() (string, string, error) {
		token, err := registry.Secret(s.tokenFile, "CONSUL_HTTP_TOKEN")
		return "X-Consul-Token", token, err
	}
	index := uint64(0)
	for {
		q := url.Values{"passing": {"1"}}
		maps.Copy(q, s.params)
		if index > 0 {
			q.Set("index", strconv.FormatUint(index, 10))
			q.Set("wait", (consulWait - time.Duration(rand.Int64N(int64(consulWait/16)))).Round(time.Second).String())
		}
		var entries []consulEntry
		field, err := r.Call(ctx, "GET", "/v1/health/service/"+url.PathEscape(s.service)+"?"+q.Encode(), nil, &entries)
		if err != nil {
			return err
		}
		next, err := strconv.ParseUint(field("X-Consul-Index"), 10, 64)
		pause := consulPause
		if err != nil || next < index {
			next = 0 // "reset the index to zero when it goes backwards": a restored snapshot, another leader
		}
		if index = next; index == 0 {
			pause = time.Second // the next query does not block
		}
		publish(consulSpecs(entries), nil)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// consulSpecs are the backends of entries. The address of the service goes before the address of its node.
func consulSpecs(entries []consulEntry) []backend.Spec {
	list := make([]backend.Spec, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		host := cmp.Or(e.Service.Address, e.Node.Address)
		list = append(list, backend.Spec{
			Address: net.JoinHostPort(host, strconv.Itoa(e.Service.Port)),
			Weight:  max(0, e.Service.Weights.Passing), Zone: e.Service.Meta["zone"],
		})
	}
	return list
}
