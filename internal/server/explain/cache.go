package explain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/caching"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/proxy/cache"
)

// cacheOf returns what the cache of r does with a request that leaves edge; nil where r has none for it.
func cacheOf(cfg *config.Config, r *config.Route, run *server.DryResult) *Cache {
	of, at := caching.OfRoute(cfg, r), caching.PlaceOf(cfg, r)
	rule := chosen(caching.Choices(cfg, r), run.Rules)
	if rule != nil {
		of, at = rule.Route, rule.Pos
	}
	if of == nil && rule == nil || run.Sent == nil && run.Defined == nil {
		return nil
	}
	c := &Cache{At: at.FileLine(), Dropped: []string{}, Key: []Text{}, NotStored: []string{}}
	why := policy.ReasonOff // a rule leads the request elsewhere, or it is gRPC
	if run.Cache != nil {
		why = run.Cache.Passed
	}
	if why != policy.ReasonNone {
		c.Passed = why.String()
		if c.Why, _ = why.Explain(); of == nil {
			c.Why = strings.TrimSuffix("a rule says so, "+c.At, ", ")
		}
		return c
	}
	c.Authority, c.Target, c.Dropped = run.Cache.Authority, run.Cache.Target, append(c.Dropped, run.Cache.Dropped...)
	for i, t := range of.Key {
		c.Key = append(c.Key, Text{t.String(), run.Cache.Texts[i]})
	}
	c.Lifetime = lifetimeOf(of) + staleOf(of)
	c.NotStored = append(c.NotStored, "no-store", "private")
	if of.SetCookie == "skip" {
		c.NotStored = append(c.NotStored, "Set-Cookie")
	}
	if of.Cookies == "careful" {
		c.NotStored = append(c.NotStored, "a Cookie without a stated lifetime")
	}
	if of.Fill == "known" {
		c.NotStored = append(c.NotStored, "a request with fields that are not known")
	}
	if len(of.TTL) == 0 {
		c.NotStored = append(c.NotStored, "an answer without lifetime, ETag and Last-Modified: ttl gives one")
	}
	return c
}

// errNotCached is a request whose route has no cache for it.
var errNotCached = errors.New("no cache stands before where the request goes")

// Stored returns what a server of cfg does with a request at its cache, and what z, the store of that, has for it; and
// where the rule stands that turns the cache off, "" where none does. The error says what is wrong with what was asked.
func Stored(cfg *config.Config, ask *Ask, z *cache.Zone) (of *cache.Explained, off string, err error) {
	dry, err := arrive(cfg, ask)
	if err != nil {
		return nil, "", err
	}
	dry.Cache = z
	run, err := server.DryRun(cfg, dry)
	if err == nil && run.Cache == nil {
		err = errNotCached
	}
	if err != nil {
		return nil, "", err
	}
	if run.Route != nil {
		if rule := chosen(caching.Choices(cfg, run.Route), run.Rules); rule != nil && rule.Route == nil {
			off = rule.Rule.Pos.FileLine()
		}
	}
	return run.Cache, off, nil
}

// chosen returns the choice of the last rule that holds; nil: there is none.
func chosen(of []caching.Choice, seen []server.DryRule) (last *caching.Choice) {
	for _, d := range seen {
		if i := slices.IndexFunc(of, func(o caching.Choice) bool { return o.Rule == d.Rule }); d.Held && i >= 0 {
			last = &of[i]
		}
	}
	return last
}

// lifetimeOf says how long answers are fresh.
func lifetimeOf(of *caching.Route) string {
	const stated = "as the backend says"
	var own []string
	last := time.Duration(-1)
	for _, t := range of.TTL {
		status := fmt.Sprint(t.Status)
		if t.For != last {
			status = timeText(t.For) + " for " + status
		}
		own, last = append(own, status), t.For
	}
	times := strings.Join(own, ", ")
	switch {
	case len(own) > 0 && of.Obey == "ttl":
		return times + ", else " + stated
	case len(own) > 0:
		return stated + ", else " + times
	case of.HeuristicMax > 0:
		return stated + ", else by Last-Modified, " + timeText(of.HeuristicMax) + " at most"
	}
	return stated
}

// staleOf says for how long beyond their lifetime answers are sent.
func staleOf(of *caching.Route) (text string) {
	if of.StaleWhile > 0 {
		text = "; stale for " + timeText(of.StaleWhile) + " while they are fetched anew"
	}
	if of.StaleOnError > 0 {
		text += "; on errors stale for " + timeText(of.StaleOnError)
	}
	return text
}

// timeText returns a time as a file has it.
func timeText(d time.Duration) string {
	return strings.ReplaceAll(strings.ReplaceAll(d.String(), "m0s", "m"), "h0m", "h")
}
