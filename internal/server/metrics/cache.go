package metrics

import (
	"maps"
	"reflect"
	"slices"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
)

// Cache is the cache of a server, and what it counts of routes by their names.
// Immutable once it is given to others.
type Cache struct {
	Zone   *cache.Zone
	Routes map[string]*cache.RouteCounts
}

// cachedRoutesMax bounds the cached routes that have series of their own.
const cachedRoutesMax = 1000

// cacheStatuses are what a cache does with requests.
var cacheStatuses = []proxy.CacheStatus{
	proxy.CacheHit, proxy.CacheStale, proxy.CacheRevalidated, proxy.CacheMiss, proxy.CacheBypass,
}

// cacheRows are read from a cache.Stats.
var cacheRows = families{
	{"edge_cache_fills_total",
		"result: stored=Stored refused=Refused purged=Purged passed=Passed cut=Cut failed=Failed",
		"Requests to backends for answers to store, by what became of the answer."},
	{"edge_cache_followers_total", "Followers", "Requests that waited for the answer to another one."},
	{"edge_cache_objects", "tier: memory=Objects bodies=Bodies disk=Disk.Objects",
		"Records in the store: answers, and what is known of answers that are not stored; bodies: bodies in files."},
	{"edge_cache_bytes", "tier: memory=Bytes bodies=BodyBytes disk=Disk.Bytes",
		"Memory of the records, and of answers on their way to the store; bodies: of bodies in files."},
	{"edge_cache_disk_written_total", "Disk.Written", "Bytes written to the disk of the cache."},
	{"edge_cache_disk_read_total", "Disk.Read", "Records read from the disk of the cache."},
	{"edge_cache_disk_dropped_total", "Disk.Dropped",
		"Records that are not on the disk of the cache: too many waited, or it had failed."},
	{"edge_cache_disk_errors_total", "Disk.Errors", "Failures of the disk of the cache, and damaged records there."},
	{"edge_cache_disk_paused", "Disk.Paused",
		"1 while nothing is written to the disk of the cache, since it has failed, is slow or full."},
	{"edge_cache_handed_over_total", "result: stored=Taken dropped=Dropped",
		"Records that came from the process before, at an upgrade; dropped: damaged, old, or without room."},
	{"edge_cache_purges_total",
		"kind: url=Purges.0 prefix=Purges.1 host=Purges.2 tag=Purges.3 all=Purges.4 refused=PurgesRefused",
		"Purges that were asked for; refused: requests with the method PURGE that may not."},
	{"edge_cache_evictions_total", "tier: memory=Evicted bodies=BodiesEvicted",
		"Records, and bodies in files, that gave way to others."},
}.rows()

// RegisterCache lists what is known of the cache: nothing while there is none. read returns it, on any goroutine; nil:
// there is none.
func (c *Counters) RegisterCache(read func() *Cache) {
	each := func(show func(of *Cache, yield yield)) func(yield yield) {
		return func(yield yield) {
			if of := read(); of != nil {
				show(of, yield)
			}
		}
	}
	c.Registry.Counters("edge_cache_requests_total", "Requests of routes with a cache, by what it did with them.",
		each(eachCachedRoute))
	c.Registry.Counters("edge_cache_reasons_total",
		"Requests that are passed on or answered by a stale answer, and answers that are not stored, by the reason.",
		each(func(of *Cache, yield yield) {
			s := of.Zone.Stats()
			for r := policy.ReasonNone + 1; r < policy.ReasonCount; r++ {
				if r != policy.ReasonFresh && r != policy.ReasonExpired { // the usual
					yield(float64(s.Reasons[r]), observe.Label{Name: "reason", Value: r.String()})
				}
			}
		}))
	for _, r := range cacheRows {
		list, value := c.Registry.Gauges, c.reader(&r, reflect.TypeFor[cache.Stats]())
		if r.counts() {
			list = c.Registry.Counters
		}
		list(r.name, r.help, each(func(of *Cache, yield yield) {
			s := of.Zone.Stats()
			yield(value(reflect.ValueOf(&s).Elem()), r.labels()...)
		}))
	}
}

type yield = func(value float64, labels ...observe.Label)

// eachCachedRoute yields what became of the requests of each route.
func eachCachedRoute(of *Cache, yield yield) {
	names := slices.Sorted(maps.Keys(of.Routes))
	own := names[:min(len(names), cachedRoutesMax)]
	for _, s := range cacheStatuses {
		status := observe.Label{Name: "status", Value: s.String()}
		for _, name := range own {
			yield(float64(of.Routes[name].Of(s)), observe.Label{Name: "route", Value: name}, status)
		}
		rest := uint64(0)
		for _, name := range names[len(own):] {
			rest += of.Routes[name].Of(s)
		}
		if len(own) < len(names) {
			yield(float64(rest), observe.Label{Name: "route", Value: others}, status)
		}
	}
}
