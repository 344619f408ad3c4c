package admin

import (
	"fmt"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server/changes"
)

func (f *fake) Plan() (*Plan, error) {
	return &Plan{Applicable: true, Diff: changes.Diff{Changed: []string{"route a"}, Entries: []changes.Entry{
		{Action: changes.Changed, Kind: "route", Name: "a", Keys: []string{"dest"}}}},
		Findings: []config.Problem{}}, nil
}

func (f *fake) Versions() []Version { return []Version{{Version: 1, Cause: "start"}} }

func (f *fake) Rollback(version int) (*Reloaded, error) {
	if version != 0 {
		return nil, fmt.Errorf("%w: %d", ErrNoVersion, version)
	}
	return &Reloaded{Applied: true, Version: 2, Differs: true}, nil
}
