//go:build race

package testutil

// RaceOn reports whether the race detector is on: it has memory of its own, and pools lose things on purpose.
const RaceOn = true
