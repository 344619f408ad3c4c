//go:build !race

package testutil

// RaceOn reports whether the race detector is on: it allocates, and it makes pools drop objects on purpose.
const RaceOn = false
