package explain

import (
	"errors"

	"github.com/edge-proxy/edge/cache"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

// ErrNotCached says that the route of a request has no cache for it.
var ErrNotCached = errors.New("no cache stands before where the request goes")

// Stored returns what a server of cfg does with a request at its cache, and what z, the store of that, has for it. The
// error says what is wrong with what was asked.
func Stored(cfg *config.Config, ask *Ask, z *cache.Zone) (*cache.Explained, error) {
	q, err := parse(ask)
	if err != nil {
		return nil, err
	}
	in, _, _ := q.choose(cfg)
	if in.listener == nil {
		return nil, errNoListener
	}
	dry := q.arriveAt(cfg, &in)
	dry.Cache = z
	run, err := server.DryRun(cfg, dry)
	if err == nil && run.Cache == nil {
		err = ErrNotCached
	}
	if err != nil {
		return nil, err
	}
	return run.Cache, nil
}
