package server

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/caching"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
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

	choices choices // of the configuration that is loaded
}

// cached is what a configuration has of the cache.
// Immutable once it is in caches.now.
type cached struct {
	metrics.Cache
	memory int64      // bytes of the zone
	diskAt config.Pos // where the file names its disk
}

func tellDisk(err error) { slog.Error("the disk of the cache has failed", "error", err) }

// openDisk opens the disk of the cache, if it has one. The error has its place.
func (c *cached) openDisk() error {
	return atDisk(c.diskAt, withSize(c.Zone.OpenDisk()))
}

// atDisk returns err with the place of the disk in the file, if it has one.
func atDisk(at config.Pos, err error) error {
	if err != nil && at.Line > 0 {
		err = fmt.Errorf("%s: error: %w", at, err)
	}
	return err
}

// withSize returns err with the size that there is room for, where err is that there is too little.
func withSize(err error) error {
	var space *disk.SpaceError
	if errors.As(err, &space) {
		err = fmt.Errorf(`%w: write a size of [cache] of %d MiB at most`, err, space.Room>>20)
	}
	return err
}

// checkDisk reports a disk of the cache that a start of c would not open for want of room.
func checkDisk(c *config.Config) error {
	of := caching.Of(c)
	if of.DiskPath == "" || !caching.Any(c) {
		return nil
	}
	return withSize(disk.CheckSpace(c.Global.FromWorkingDirectory(of.DiskPath), of.DiskSize))
}

// takeDisk is openDisk for a process that takes over from another one, or back from it: that gives the disk up about
// now. It returns when the disk is open, or cannot be opened, or another process takes over.
func (p *caches) takeDisk() {
	for deadline := time.Now().Add(diskWait); ; time.Sleep(diskStep) {
		now := p.now.Load()
		if now == nil || p.isSuspended() {
			return
		}
		err := now.openDisk()
		if err == nil {
			return
		}
		var locked *disk.LockedError
		if !errors.As(err, &locked) || time.Now().After(deadline) {
			tellDisk(err)
			return
		}
	}
}

const (
	diskWait = 30 * time.Second
	diskStep = 20 * time.Millisecond
)

// yieldDisk gives the disk up to a process that takes over. It returns when that may have it.
func (p *caches) yieldDisk() {
	if now := p.now.Load(); now != nil {
		now.Zone.YieldDisk()
	}
}

// takeOver makes the cache take over what the process before gives it, and returns when that is all.
func (p *caches) takeOver() {
	now, begun := p.now.Load(), time.Now()
	if now == nil {
		return
	}
	if taken, dropped := now.Zone.Take(); taken+dropped > 0 {
		slog.Info("the cache of the process before was taken over", "records", taken, "dropped", dropped,
			"took", time.Since(begun).Round(time.Millisecond).String())
	}
}

// start opens the disk of the cache.
func (p *caches) start() error {
	if now := p.now.Load(); now != nil && !p.suspended {
		return now.openDisk()
	}
	return nil
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
	p.choices = choicesOf(p.reload.config)
	from := p.opts.CacheFrom
	p.opts.CacheFrom = nil
	if !caching.Any(p.reload.config) {
		if from != nil {
			_ = from.Close()
		}
		return nil
	}
	next := &cached{Cache: metrics.Cache{Routes: make(map[string]*cache.RouteCounts)}}
	if now := p.now.Load(); now != nil {
		next.Zone, next.memory, next.diskAt = now.Zone, now.memory, now.diskAt
	} else {
		of := caching.Of(p.reload.config)
		next.memory = cacheMemoryOf(of.Memory, p.limit)
		if of.Memory > next.memory {
			slog.Warn("memory of [cache] is more than half of what the process may use, and is less therefore",
				"memory", of.Memory, "process", p.limit, "used", next.memory)
		}
		bodies := min(next.memory*int64(of.Bodies)/100, next.memory-cacheMemoryMin)
		zone, err := cache.New(cache.Options{Reactors: p.Reactors(), Memory: next.memory, Bodies: bodies, Name: p.name,
			Disk: disk.Options{Path: of.DiskPath, Size: of.DiskSize, Tell: tellDisk},
			From: from, Elsewhere: p.isSuspended})
		if err != nil {
			return err
		}
		next.Zone, next.diskAt = zone, of.DiskPos()
		p.reload.onFailure(zone.Close)
		if p.state == serving && !p.suspended {
			if err := next.openDisk(); err != nil {
				return err
			}
		}
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

// Cache returns the cache; nil: no route has one. Safe for any goroutine.
func (s *Server) Cache() *cache.Zone {
	if of := s.caches.counted(); of != nil {
		return of.Zone
	}
	return nil
}

// before returns to, where the route c leads, with the cache before it if c has one. A route of the same name goes on
// with the counters.
func (p *caches) before(to proxy.Destination, c *config.Route) proxy.Destination {
	route, on := p.choices.routeOf(p.reload.config, c)
	if !on || p.next == nil { // the cache could not be made: the reload fails
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
	return p.next.Zone.Before(to, route, counts)
}

// choices are what rules of a configuration say of the cache.
// Immutable.
type choices map[*config.Rule]*cache.Choice

func choicesOf(cfg *config.Config) choices {
	all := make(choices)
	cfg.EachRule(func(r *config.Rule) {
		if caching.Chooses(r) && all[r] == nil { // several hosts of a route have one list
			all[r] = new(cache.Choice)
		}
	})
	return all
}

// of returns the choice of r; nil: it has none.
func (l choices) of(r *config.Rule) *cache.Choice { return l[r] }

// routeOf returns how answers of c, a route of cfg, are cached. It reports false where they are not, whatever rules
// say.
func (l choices) routeOf(cfg *config.Config, c *config.Route) (r cache.Route, on bool) {
	r.Off = true
	if of := caching.OfRoute(cfg, c); of != nil {
		r, on = cacheRoute(cfg, c, of), true
	}
	r.Choices = make(map[*cache.Choice]*cache.Route)
	for _, o := range caching.Choices(cfg, c) {
		if o.Route != nil {
			chosen := cacheRoute(cfg, c, o.Route)
			r.Choices[l[o.Rule]], on = &chosen, true
		}
	}
	r.PurgeFrom = caching.Of(cfg).PurgeFrom
	return r, on
}

// cacheRoute returns of, how answers of c, a route of cfg, are cached, as package cache has it.
func cacheRoute(cfg *config.Config, c *config.Route, of *caching.Route) cache.Route {
	section, fields := caching.Of(cfg), caching.Fields(cfg, c)
	r := cache.Route{
		Rules: policy.Rules{
			ObeyTTL: of.Obey == "ttl", TTLMax: of.TTLMax,
			HeuristicMax: max(of.HeuristicMax, 1), // 0 is an hour there; an answer is older than 1 ns when it comes
			Cookies:      constant[policy.Cookies](of, &of.Cookies),
			SetCookie:    constant[policy.SetCookie](of, &of.SetCookie),
			Targeted:     section.Targeted, StaleWhile: of.StaleWhile, StaleOnError: of.StaleOnError,
			Honour: of.RequestDirectives == "honour", KnownOnly: of.Fill == "known",
		},
		Identity: identityOf(cfg, c, of, fields), Texts: of.Key, Fields: fields,
		Query: cache.Query{Drop: of.Drop, Keep: of.Keep, Sort: of.Sort}, Tags: section.Tags,
		LockTimeout: of.LockTimeout, RangeFill: of.RangeFill, ObjectMax: of.ObjectMax,
		Abandon: !of.FinToCache, NoStatus: !section.Status,
	}
	if of.RangeFill == 0 { // 1 MiB there; no range begins before byte 0
		r.RangeFill = -1
	}
	if r.Rules.KnownOnly {
		r.Rules.Known = caching.Known(cfg, c, of)
	}
	for _, t := range of.TTL {
		r.Rules.TTL = append(r.Rules.TTL, policy.StatusTTL(t))
	}
	return r
}

// identityOf returns what says whose answers c, a route of cfg, has: where it leads, the paths in a Location, the
// answers that are stored, and the sources of the values in the key, such as fields. Routes of one identity share
// answers, so each text in it says where it ends.
func identityOf(cfg *config.Config, c *config.Route, of *caching.Route, fields []string) string {
	where := fmt.Sprintf("destination %q", c.Dest.Name)
	if c.Dest.Kind == config.DestUpstream {
		u := &cfg.Upstreams[c.Dest.Upstream]
		where = fmt.Sprintf("upstream %q host %q", u.Name, u.Host)
	}
	if w := &c.Rewrite; c.RewriteLocation { // before the answer is stored
		where += fmt.Sprintf(" location %q %q %q", w.StripPrefix, w.AddPrefix, w.Path)
	}
	return where + fmt.Sprintf(" stores %q %q %q %q %q %q key %q fields %q", of.Obey, of.Cookies, of.SetCookie,
		of.RequestDirectives, of.Fill, caching.Of(cfg).Targeted, of.Key, fields)
}
