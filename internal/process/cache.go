package process

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/server/explain"
	"github.com/edge-proxy/edge/proxy/cache"
)

// storedAnswers is the cache of the process, as operators see it: an admin.Cache.
// Immutable.
type storedAnswers struct {
	zone *cache.Zone
	cfg  *config.Config
}

func (a *administration) Cache() (admin.Cache, error) {
	p := a.parts.Load()
	zone := p.server.Cache()
	if zone == nil {
		return nil, admin.ErrNoCache
	}
	return &storedAnswers{zone, p.reloads.config()}, nil
}

func (a *storedAnswers) Stats() *admin.CacheStats {
	s := a.zone.Stats()
	n := &s.Purges
	stats := &admin.CacheStats{Objects: s.Objects, Bytes: s.Bytes, Evicted: s.Evicted, Fills: s.Fills,
		Bodies: s.Bodies, BodyBytes: s.BodyBytes, Followers: s.Followers, Stored: s.Stored, Refused: s.Refused,
		Purges: admin.CachePurges{URL: n[cache.PurgeURL], Prefix: n[cache.PurgePrefix], Host: n[cache.PurgeHost],
			Tag: n[cache.PurgeTag], All: n[cache.PurgeAll], Refused: s.PurgesRefused}}
	if d := &s.Disk; d.Size > 0 {
		stats.Disk = &admin.CacheDisk{Objects: d.Objects, Bytes: d.Bytes, Size: d.Size, Written: d.Written,
			Read: d.Read, Dropped: d.Dropped, Errors: d.Errors, Paused: d.Paused > 0}
	}
	return stats
}

func (a *storedAnswers) Purge(p *admin.CachePurge) (*admin.CachePurged, error) {
	purge, n := cache.Purge{Kind: cache.PurgeAll, Soft: p.Soft}, 0
	for k, name := range [...]string{p.URL, p.Prefix, p.Host, p.Tag} {
		if name != "" {
			purge.Kind, purge.Name = cache.PurgeKind(k), name
			n++
		}
	}
	if n > 1 || p.All == (n == 1) {
		return nil, fmt.Errorf(`%w: give one of url, prefix, host, tag, and "all": true`, admin.ErrInvalid)
	}
	seq, err := a.zone.Purge(&purge)
	if err != nil {
		why := admin.ErrInvalid
		if errors.Is(err, cache.ErrElsewhere) || errors.Is(err, cache.ErrDisk) {
			why = admin.ErrConflict
		}
		return nil, fmt.Errorf("%w: %s", why, strings.TrimPrefix(err.Error(), "cache: "))
	}
	slog.Info("purged from the cache", "kind", purge.Kind.String(), "name", purge.Name, "soft", p.Soft, "seq", seq)
	return &admin.CachePurged{Seq: seq}, nil
}

func (a *storedAnswers) Entry(url string, fields []string) (*admin.CacheEntry, error) {
	of, off, err := explain.Stored(a.cfg, &explain.Ask{URL: url, Fields: fields}, a.zone)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	hides, room := a.cfg.Log.Redaction(), []byte(nil)
	shown := func(text string) string { return string(hides.Text(&room, []byte(schema.WithoutCredentials(text)))) }
	e := &admin.CacheEntry{Authority: of.Authority, Target: shown(of.Target), State: "bypass"}
	why := of.Passed
	if s := of.Stored; s != nil {
		e.State, e.Vary, e.Status, e.Length = s.State, s.Vary, int(s.Status), s.Length
		for _, f := range s.Fields {
			e.Fields = append(e.Fields, shown(f))
		}
		e.Age, e.TTL = int(s.Age/time.Second), int(s.Left/time.Second)
		why = s.Reason
	}
	e.Reason = why.String()
	if e.Explained, e.Try = why.Explain(); why == policy.ReasonNone {
		e.Explained = map[string]string{
			cache.EntryNone:   "nothing is stored for this request, or it has given way to others",
			cache.EntryPurged: "an answer was stored, and was purged or ended by a request that changes something",
		}[e.State]
	} else if off != "" {
		e.Explained, e.Try = "a rule says cache = false: "+off, "a when of that rule that does not hold"
	}
	return e, nil
}
