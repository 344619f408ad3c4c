package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/edge-proxy/edge/cache/policy"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/caching"
	"github.com/edge-proxy/edge/server"
)

// cacheOf returns what the cache of r does with a request that leaves edge; nil where r has none.
func cacheOf(cfg *config.Config, r *config.Route, run *server.DryResult) *Cache {
	of := caching.OfRoute(cfg, r)
	if of == nil || run.Sent == nil && run.Defined == nil {
		return nil
	}
	c := &Cache{At: caching.PlaceOf(cfg, r).FileLine(), Dropped: []string{}, Key: []Text{}, NotStored: []string{}}
	why := policy.ReasonOff // a rule leads the request elsewhere, or it is gRPC
	if run.Cache != nil {
		why = run.Cache.Passed
	}
	if why != policy.ReasonNone {
		c.Passed = why.String()
		c.Why, _ = why.Explain()
		return c
	}
	c.Authority, c.Target, c.Dropped = run.Cache.Authority, run.Cache.Target, append(c.Dropped, run.Cache.Dropped...)
	for i, t := range of.Key {
		c.Key = append(c.Key, Text{t.String(), run.Cache.Texts[i]})
	}
	c.Lifetime = lifetimeOf(of)
	c.NotStored = append(c.NotStored, "no-store", "private")
	if of.SetCookie == "skip" {
		c.NotStored = append(c.NotStored, "Set-Cookie")
	}
	if of.Cookies == "careful" {
		c.NotStored = append(c.NotStored, "a Cookie without a stated lifetime")
	}
	return c
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

// timeText returns a time as a file has it.
func timeText(d time.Duration) string {
	return strings.ReplaceAll(strings.ReplaceAll(d.String(), "m0s", "m"), "h0m", "h")
}
