package server

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/edge-proxy/edge/cache"
	"github.com/edge-proxy/edge/cache/policy"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/caching"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/server/metrics"
)

// caches is the cache of the process, which there is while a route has one. Configurations come and go before it: what
// is stored stays, and so does its memory, which is a key for a restart.
type caches struct {
	nothing
	*shared
	name  string // that the proxy has in Via
	limit int64  // bytes that the process may use
	now   atomic.Pointer[cached]
	next  *cached
}

// cached is what a configuration has of the cache.
// Immutable once it is in caches.now.
type cached struct {
	metrics.Cache
	memory int64 // bytes of the zone
}

const (
	cacheMemory    = 256 << 20 // unless a configuration says more or less
	cacheMemoryMin = 1 << 20
)

// cacheMemoryOf returns how many bytes the store of a cache has in a process that may use limit bytes. asked is the key
// memory of [cache], 0 where it says auto.
func cacheMemoryOf(asked, limit int64) int64 {
	if asked == 0 {
		return max(min(cacheMemory, limit/8), cacheMemoryMin)
	}
	return max(min(asked, limit/2), cacheMemoryMin)
}

// prepare makes the cache with the first configuration in which a route has one. The memory of a store is given back
// when nothing refers to it any more, so also when requests of an earlier configuration have ended.
func (p *caches) prepare() error {
	if !caching.Any(p.reload.config) {
		return nil
	}
	next := &cached{Cache: metrics.Cache{Routes: make(map[string]*cache.RouteCounts)}}
	if now := p.now.Load(); now != nil {
		next.Zone, next.memory = now.Zone, now.memory
	} else {
		asked := caching.Of(p.reload.config).Memory
		next.memory = cacheMemoryOf(asked, p.limit)
		if asked > next.memory {
			slog.Warn("memory of [cache] is more than half of what the process may use, and is less therefore",
				"memory", asked, "process", p.limit, "used", next.memory)
		}
		zone, err := cache.New(cache.Options{Reactors: p.Reactors(), Memory: next.memory, Name: p.name})
		if err != nil {
			return err
		}
		next.Zone = zone
		p.reload.onFailure(zone.Close)
	}
	p.next = next
	p.reload.onFailure(func() { p.next = nil })
	return nil
}

// retire ends the cache where no route has one any more, and tells the process how much memory it takes.
func (p *caches) retire() {
	before, memory := p.now.Swap(p.next), int64(0)
	if p.next != nil {
		memory = p.next.memory
	}
	if before != nil && p.next == nil {
		before.Zone.Close()
	}
	if (before == nil) != (p.next == nil) && p.opts.Reserve != nil {
		p.opts.Reserve(memory)
	}
	p.next = nil
}

func (p *caches) stop() error {
	if now := p.now.Load(); now != nil {
		now.Zone.Close()
	}
	return nil
}

// counted returns what is counted, nil where there is no cache. Safe for any goroutine.
func (p *caches) counted() *metrics.Cache {
	if now := p.now.Load(); now != nil {
		return &now.Cache
	}
	return nil
}

// before returns to, where the route c leads, with the cache before it if c has one. A route of the same name goes on
// with the counters.
func (p *caches) before(to proxy.Destination, c *config.Route) proxy.Destination {
	of := caching.OfRoute(p.reload.config, c)
	if of == nil || p.next == nil { // the cache could not be made: the reload fails
		return to
	}
	counts := p.next.Routes[c.Name]
	if counts == nil {
		if now := p.now.Load(); now != nil {
			counts = now.Routes[c.Name]
		}
		if counts == nil {
			counts = p.next.Zone.NewRouteCounts()
		}
		p.next.Routes[c.Name] = counts
	}
	return p.next.Zone.Before(to, cacheRoute(p.reload.config, c, of), counts)
}

// cacheRoute returns of, how the answers of c, a route of cfg, are cached, as package cache has it.
func cacheRoute(cfg *config.Config, c *config.Route, of *caching.Route) cache.Route {
	r := cache.Route{
		Rules: policy.Rules{
			ObeyTTL: of.Obey == "ttl", TTLMax: of.TTLMax,
			HeuristicMax: max(of.HeuristicMax, 1), // 0 is an hour there; an answer is older than 1 ns when it comes
			Cookies:      constant[policy.Cookies](of, &of.Cookies),
			SetCookie:    constant[policy.SetCookie](of, &of.SetCookie),
		},
		Identity: identityOf(cfg, c, of), Key: of.Key, Fields: caching.Fields(cfg, c),
		Query:       cache.Query{Drop: of.Drop, Keep: of.Keep, Sort: of.Sort},
		LockTimeout: of.LockTimeout, Abandon: !of.FinToCache, NoStatus: !caching.Of(cfg).Status,
	}
	for _, t := range of.TTL {
		r.Rules.TTL = append(r.Rules.TTL, policy.StatusTTL(t))
	}
	return r
}

// identityOf returns what says whose answers c, a route of cfg, has: where it leads, the paths in a Location, the
// answers that are stored, and what the values in the key are of. Routes of one identity share answers, so each text in
// it says where it ends.
func identityOf(cfg *config.Config, c *config.Route, of *caching.Route) string {
	where := fmt.Sprintf("destination %q", c.Dest.Name)
	if c.Dest.Kind == config.DestUpstream {
		u := &cfg.Upstreams[c.Dest.Upstream]
		where = fmt.Sprintf("upstream %q host %q", u.Name, u.Host)
	}
	if w := &c.Rewrite; c.RewriteLocation { // before the answer is stored
		where += fmt.Sprintf(" location %q %q %q", w.StripPrefix, w.AddPrefix, w.Path)
	}
	return where + fmt.Sprintf(" stores %q %q %q key %q fields %q", of.Obey, of.Cookies, of.SetCookie, of.Key,
		caching.Fields(cfg, c))
}
