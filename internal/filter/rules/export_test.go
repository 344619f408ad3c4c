package rules

import (
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/proxy"
)

// New makes a filter of rules: see newSet.
func New(rules []Rule, in proxy.Phase, b *plugin.Build) (*proxy.Filter, error) {
	_, f, err := newSet(rules, in, b)
	return f, err
}

// Tarpitted returns how many requests wait in tarpits.
func Tarpitted() int { return int(tarpitted.Load()) }
