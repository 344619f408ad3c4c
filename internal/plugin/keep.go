package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// Store holds what is kept over reloads: each thing as long as it has a holder. It belongs to a server. The zero
// value is ready. Safe for any goroutine.
type Store struct {
	mu      sync.Mutex
	kept    map[keptKey]*kept // guarded by mu
	present *Claims           // guarded by mu; nil: no generation has taken effect
}

// keptKey says whose a thing is.
type keptKey struct {
	kind                *Kind
	name, typ, identity string
	of                  reflect.Type
}

type kept struct {
	value   any
	holders int // Claims; guarded by Store.mu
	lasting int // the ones among them that last; guarded by Store.mu
}

// Close closes what is kept: nothing that was made runs any more.
func (s *Store) Close() (errs []error) {
	s.mu.Lock()
	all := s.kept
	s.kept = nil
	s.mu.Unlock()
	for key, k := range all {
		errs = appendClosed(errs, key, k.value)
	}
	return errs
}

// TakeEffect says that c is the generation in force: List lists its counters, and no longer those that the filters of
// an earlier one still count for the requests they have.
func (c *Claims) TakeEffect() {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.store.present = c
}

// Claims is what one generation of a configuration keeps, or something that goes on over several of them.
// Owned by the goroutine that makes the generation, until Release.
type Claims struct {
	store *Store
	keys  map[keptKey]bool
	lasts bool // they are of no generation
}

// Claim begins a generation.
func (s *Store) Claim() *Claims { return &Claims{store: s, keys: make(map[keptKey]bool)} }

// ClaimLasting begins Claims of something that goes on over generations: List lists their counters until they are
// released.
func (s *Store) ClaimLasting() *Claims {
	c := s.Claim()
	c.lasts = true
	return c
}

// Release ends the generation: what no other one keeps is closed. A second call does nothing. It returns what Close
// said.
func (c *Claims) Release() (errs []error) {
	for key, v := range c.store.release(c) {
		errs = appendClosed(errs, key, v)
	}
	return errs
}

// appendClosed closes v and appends what that said.
func appendClosed(errs []error, key keptKey, v any) []error {
	if err := Close(v); err != nil {
		errs = append(errs, fmt.Errorf("%s %s: %w", key.kind.Name, key.name, err))
	}
	return errs
}

// closeWait is how long a Close of a module may take: a reload and the end of a process wait for it.
const closeWait = 5 * time.Second

var errCloseWait = errors.New("its Close did not return in time")

// Close closes what a module has made, where that has Close, with an error or without. A panic is an error, and so is a
// Close that takes longer than 5 s.
func Close(v any) error {
	var closing func() error
	switch closer := v.(type) {
	case interface{ Close() error }:
		closing = closer.Close
	case interface{ Close() }:
		closing = func() error { closer.Close(); return nil }
	default:
		return nil
	}
	said := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				said <- fmt.Errorf("panic: %v", p)
			}
		}()
		said <- closing()
	}()
	select {
	case err := <-said:
		return err
	case <-time.After(closeWait):
		return errCloseWait
	}
}

// Keep returns what create made for a table of this kind, name and type with this identity: the same over reloads as
// long as none of the four changes, so that a reload does not forget what was counted. A T that has Close, with an
// error or without, is closed when no configuration in force keeps it any more, after the last request that it may
// serve.
func Keep[T any](b *Build, identity string, create func() (T, error)) (T, error) {
	if b == nil || b.Kept == nil {
		return create()
	}
	key := keptKey{cmp.Or(b.Kind, Filters), b.Name, b.Type, identity, reflect.TypeFor[T]()}
	if v, found := b.Kept.hold(key); found {
		return v.(T), nil
	}
	v, err := create()
	if err != nil {
		return v, err
	}
	b.Kept.add(key, v)
	return v, nil
}

// hold returns what is kept for key, for this generation too.
func (c *Claims) hold(key keptKey) (any, bool) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	k := c.store.kept[key]
	if k == nil {
		return nil, false
	}
	if !c.keys[key] {
		c.keys[key] = true
		k.hold(c)
	}
	return k.value, true
}

// add keeps v for key, which nothing is kept for: one goroutine makes generations.
func (c *Claims) add(key keptKey, v any) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.store.kept == nil {
		c.store.kept = make(map[keptKey]*kept)
	}
	k := &kept{value: v}
	k.hold(c)
	c.store.kept[key] = k
	c.keys[key] = true
}

// hold adds a holder. Store.mu is held.
func (k *kept) hold(c *Claims) {
	k.holders++
	if c.lasts {
		k.lasting++
	}
}

// release gives up what c holds, and returns what nothing holds any more.
func (s *Store) release(c *Claims) (last map[keptKey]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last = make(map[keptKey]any)
	for key := range c.keys {
		if k := s.kept[key]; k != nil {
			if c.lasts {
				k.lasting--
			}
			if k.holders--; k.holders == 0 {
				delete(s.kept, key)
				last[key] = k.value
			}
		}
	}
	c.keys = nil
	return last
}
