package hitratio

// Policy is a cache without values: it says of each access whether the key was there, and keeps or drops
// it afterwards. Owned by one goroutine.
type Policy interface {
	// Access looks key up, takes it in when it is absent, and reports whether it was present.
	Access(key uint64) (hit bool)
}

// Maker is a policy by name. Immutable.
type Maker struct {
	Name string // as columns and --policy have it
	What string // one line for --list

	// New returns an empty cache of capacity entries, at least 1. A Policy that has a method Close() may have
	// goroutines, which end with it.
	New func(capacity int) Policy
}

// mix spreads the bits of x: the finisher of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
