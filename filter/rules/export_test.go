package rules

import (
	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/proxy"
)

// New makes a filter of rules: see newSet.
func New(rules []Rule, in proxy.Phase, b *filter.Build) (*proxy.Filter, error) {
	_, f, err := newSet(rules, in, b)
	return f, err
}

// Tarpitted returns how many requests wait in tarpits.
func Tarpitted() int { return int(tarpitted.Load()) }
