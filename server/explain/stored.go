package explain

import (
	"errors"

	"github.com/edge-proxy/edge/cache"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/caching"
	"github.com/edge-proxy/edge/server"
)

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
