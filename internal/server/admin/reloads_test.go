package admin

import (
	"context"
	"fmt"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
)

func (f *fake) Plan() (*Plan, error) {
	return &Plan{Applicable: true, Diff: changes.Diff{Changed: []string{"route a"}, Entries: []changes.Entry{
		{Action: changes.Changed, Kind: "route", Name: "a", Keys: []string{"dest"}}}},
		Findings: []config.Problem{}}, nil
}

// Configure takes what begins with "right", while version 3 is in force.
func (f *fake) Configure(s *Submission) (*Reloaded, error) {
	if s.Match != nil && !s.Match("3") {
		return nil, fmt.Errorf("%w: version 3 is in force", ErrStale)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, *s)
	if !strings.HasPrefix(string(s.Text), "right") {
		return &Reloaded{Version: 3, Tag: "3", Findings: []config.Problem{{Message: "wrong"}}}, nil
	}
	if s.DryRun {
		return &Reloaded{Version: 3, Tag: "3", DryRun: true}, nil
	}
	return &Reloaded{Version: 4, Tag: "4", Applied: true}, nil
}

// Upgrade takes each program but "/wrong" and "/busy".
func (f *fake) Upgrade(_ context.Context, ask *Upgrade) (*Upgraded, error) {
	switch ask.Binary {
	case "/busy":
		return nil, fmt.Errorf("%w: an upgrade is under way", ErrConflict)
	case "/wrong":
		return &Upgraded{PID: 1, Reason: "wrong", Steps: []string{}}, nil
	}
	return &Upgraded{Upgraded: true, PID: 2, Steps: []string{"x"}}, nil
}

func (f *fake) Cache() (Cache, error) { return f, nil }

func (f *fake) Stats() *CacheStats { return &CacheStats{Objects: 7} }

func (f *fake) Purge(p *CachePurge) (*CachePurged, error) {
	if p.Tag == "" {
		return nil, ErrInvalid
	}
	return &CachePurged{Seq: 8}, nil
}

func (f *fake) Entry(url string, fields []string) (*CacheEntry, error) {
	return &CacheEntry{Target: url, Fields: fields, State: "none"}, nil
}

func (f *fake) Versions() []Version { return []Version{{Version: 1, Cause: "start"}} }

func (f *fake) Rollback(version int) (*Reloaded, error) {
	if version != 0 {
		return nil, fmt.Errorf("%w: %d", ErrNoVersion, version)
	}
	return &Reloaded{Applied: true, Version: 2, Differs: true}, nil
}
