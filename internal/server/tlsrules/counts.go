package tlsrules

import (
	"sync"
	"sync/atomic"
)

// Count counts the handshakes that a rule has decided about. Safe for any goroutine.
type Count struct {
	Applied atomic.Uint64 // it decided something
	Denied  atomic.Uint64 // it denied them
}

// countsMax is how many rules have counters of their own in a process; more share one.
const countsMax = 4096

// Counts are the counters of rules, by listener and rule. They outlive the configurations that the rules are in, so
// none falls. The zero value is good; safe for any goroutine.
type Counts struct {
	mu   sync.Mutex
	kept map[ruleKey]*Count // guarded by mu
}

type ruleKey struct{ listener, rule string }

// Of returns the counter of a rule of that name.
func (c *Counts) Of(listener, rule string) *Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = make(map[ruleKey]*Count)
	}
	key := ruleKey{listener, rule}
	if c.kept[key] == nil && len(c.kept) >= countsMax {
		key = ruleKey{"other", "other"}
	}
	if c.kept[key] == nil {
		c.kept[key] = &Count{}
	}
	return c.kept[key]
}

// Each calls do for every counter.
func (c *Counts) Each(do func(listener, rule string, n *Count)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, n := range c.kept {
		do(key.listener, key.rule, n)
	}
}
