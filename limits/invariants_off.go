//go:build !invariants

package limits

// check does something with -tags invariants only.
func (l *Lease) check()                                {}
func (t *LocalGCRATable) check(b *[bucketCells]uint64) {}
func (t *SharedGCRATable) check(b *sharedBucket)       {}
func (t *LocalInFlight) check(b *[bucketCells]uint64)  {}
func (t *SharedInFlight) check(b *sharedBucket)        {}
func (c *Concurrency) check()                          {}
func (e *LocalEstimator) check()                       {}
func (s *SpaceSaving[K]) check()                       {}
