package explain

import (
	"errors"

	"github.com/edge-proxy/edge/cache"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

// errNotCached is a request whose route has no cache for it.
var errNotCached = errors.New("no cache stands before where the request goes")

// Stored returns what a server of cfg does with a request at its cache, and what z, the store of that, has for it. The
// error says what is wrong with what was asked.
func Stored(cfg *config.Config, ask *Ask, z *cache.Zone) (*cache.Explained, error) {
	dry, err := arrive(cfg, ask)
	if err != nil {
		return nil, err
	}
	dry.Cache = z
	run, err := server.DryRun(cfg, dry)
	if err == nil && run.Cache == nil {
		err = errNotCached
	}
	if err != nil {
		return nil, err
	}
	return run.Cache, nil
}
