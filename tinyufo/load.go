package tinyufo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// ErrNotFound is what a loader returns when there is no value for a key, and what Load then returns. With
// Options.Negative it is remembered.
var ErrNotFound = errors.New("tinyufo: not found")

// PanicError is what Load returns when its loader has panicked.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // of its goroutine
}

// Error is the value in words, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("tinyufo: the loader panicked: %v", e.Value) }

// loads are the loads under way, in stripes. At most one for each key may be cached.
type loads[K comparable, V any] struct {
	underWay     sharedCount // 0: forget has nothing to look for
	done, failed atomic.Uint64
	stripes      [16]struct {
		mu    mutex
		calls map[K]*call[V]
	}
}

// call is a load under way. value and err are written before done is closed.
type call[V any] struct {
	done    chan struct{}
	value   V
	err     error
	waiting int                // callers that wait; guarded by the stripe's mu, as is the next
	cancel  context.CancelFunc // stops the loader, when no caller waits any more
}

func (l *loads[K, V]) stripe(hash uint64) (*mutex, *map[K]*call[V]) {
	s := &l.stripes[hash>>44%uint64(len(l.stripes))]
	return &s.mu, &s.calls
}

// forget keeps the result of a load under way for key out of the cache, since another caller changes key. It is called
// before the change, for a load that ends until then must not be what stays, and after a new value was set, for a load
// that has begun since the first call. A load that begins later finds the value.
func (l *loads[K, V]) forget(hash uint64, key K) {
	if l.underWay.Load() == 0 {
		return
	}
	mu, calls := l.stripe(hash)
	mu.Lock()
	delete(*calls, key)
	mu.Unlock()
}

func (l *loads[K, V]) forgetAll() {
	for i := range l.stripes {
		s := &l.stripes[i]
		s.mu.Lock()
		clear(s.calls)
		s.mu.Unlock()
	}
}

// join returns the load under way for key, or a new load that the caller has to begin.
func (l *loads[K, V]) join(hash uint64, key K) (c *call[V], isNew bool) {
	mu, calls := l.stripe(hash)
	mu.Lock()
	defer mu.Unlock()
	c = (*calls)[key]
	if c == nil {
		if *calls == nil {
			*calls = make(map[K]*call[V])
		}
		c, isNew = &call[V]{done: make(chan struct{}), cancel: func() {}}, true
		if key == key { // a map never gives back what it has for a NaN
			(*calls)[key] = c
		}
		l.underWay.Add(1)
	}
	c.waiting++
	return c, isNew
}

// leave ends the wait of one caller. The last one stops the loader, and another caller begins anew.
func (l *loads[K, V]) leave(hash uint64, key K, c *call[V]) {
	mu, calls := l.stripe(hash)
	mu.Lock()
	defer mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		c.cancel()
		if (*calls)[key] == c {
			delete(*calls, key)
		}
	}
}

// finish caches the result of a load unless it was forgotten, and gives it to all who wait.
func (c *Cache[K, V]) finish(hash uint64, key K, l *call[V], value V, err error) {
	l.value, l.err = value, err
	absent := errors.Is(err, ErrNotFound)
	var e *entry[K, V]
	switch { // before the lock, for Weigher and TTLFunc may use the cache
	case err == nil:
		e = c.makeEntry(key, value, 0)
	case absent && c.negativeTTL > 0:
		e = c.makeNegative(c.weighed, key)
	}
	mu, calls := c.loads.stripe(hash)
	var out departures[K, V]
	mu.Lock()
	if (*calls)[key] == l {
		delete(*calls, key)
		switch {
		case e != nil:
			c.put(hash, e, &out)
		case absent:
			c.remove(hash, key, &out) // what was stale is wrong
		}
	}
	mu.Unlock()
	c.tell(out, nil)
	c.loads.underWay.Add(-1)
	c.loads.done.Add(1)
	if err != nil && !absent {
		c.loads.failed.Add(1)
	}
	l.cancel()
	close(l.done)
}

// cached is what Load finds without loading.
func (c *Cache[K, V]) cached(hash uint64, key K) (value V, err error, ok, stale bool) {
	b, lane, e := c.table.Load().lookup(uint32(hash), key)
	if b == nil {
		return value, nil, false, false
	}
	if c.timed {
		x, now := timedOf(e), c.now()
		expiry := x.expiry.Load()
		switch {
		case expiry < 0 && -expiry > now:
			return value, ErrNotFound, true, false
		case expiry < 0 || expiry <= now && later(expiry, c.stale) <= now:
			return value, nil, false, false
		case expiry <= now:
			stale = true
		case c.tti > 0:
			c.fresh(e)
		}
	}
	b.use(b.word.Load(), lane)
	return e.value, nil, true, stale
}

// Load returns the value of key. When it has none, loader is called for it in a goroutine of its own, once for
// all who wait for key, and its value is set. A caller waits until ctx is done at most, and the loader's
// context, which has the values of the ctx of the caller that began it, is done when no caller waits any more.
//
// An error of the loader is returned to all who wait and not cached, but for ErrNotFound as Options.Negative
// says. A value whose key was set or deleted while it was loaded is returned and not cached. With Options.Stale
// an entry that has expired is returned at once while one goroutine loads it anew.
func (c *Cache[K, V]) Load(ctx context.Context, key K, loader func(context.Context, K) (V, error)) (V, error) {
	hash := c.hasher.of(key)
	value, err, ok, stale := c.cached(hash, key)
	if ok {
		c.stats.hit()
		if stale {
			if l, isNew := c.join(hash, key); isNew {
				go c.run(context.WithoutCancel(ctx), hash, key, l, loader) // no caller leaves it, so it ends by itself
			}
		}
		return value, err
	}
	c.stats.miss()
	l, isNew := c.join(hash, key)
	if isNew {
		run, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c.loads.setCancel(hash, l, cancel)
		go c.run(run, hash, key, l, loader)
	}
	return c.await(ctx, hash, key, l)
}

// join returns the load for key, which is under way or has ended just now, or a new load that the caller has to begin.
func (c *Cache[K, V]) join(hash uint64, key K) (l *call[V], isNew bool) {
	if l, isNew = c.loads.join(hash, key); !isNew {
		return l, false
	}
	// Another load may have ended since the caller looked.
	if value, err, ok, stale := c.cached(hash, key); ok && !stale {
		c.loads.end(hash, key, l, value, err)
		return l, false
	}
	return l, true
}

// setCancel says how the loader is stopped.
func (l *loads[K, V]) setCancel(hash uint64, c *call[V], cancel context.CancelFunc) {
	mu, _ := l.stripe(hash)
	mu.Lock()
	c.cancel = cancel
	mu.Unlock()
}

// end ends a call that needed no loader.
func (l *loads[K, V]) end(hash uint64, key K, c *call[V], value V, err error) {
	c.value, c.err = value, err
	mu, calls := l.stripe(hash)
	mu.Lock()
	if (*calls)[key] == c {
		delete(*calls, key)
	}
	mu.Unlock()
	l.underWay.Add(-1)
	close(c.done)
}

// await waits for a load, until ctx is done at most.
func (c *Cache[K, V]) await(ctx context.Context, hash uint64, key K, l *call[V]) (value V, err error) {
	select {
	case <-l.done:
		return l.value, l.err
	default:
	}
	select {
	case <-l.done:
		return l.value, l.err
	case <-ctx.Done():
		c.loads.leave(hash, key, l)
		return value, ctx.Err()
	}
}

func (c *Cache[K, V]) run(ctx context.Context, hash uint64, key K, l *call[V],
	loader func(context.Context, K) (V, error)) {
	var value V
	err := errors.New("tinyufo: the loader has ended its goroutine")
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{p, debug.Stack()}
		}
		c.finish(hash, key, l, value, err)
	}()
	value, err = loader(ctx, key)
}

// LoadMany returns the values of the keys that have one. Loader is called once for all keys that are neither cached nor
// being loaded by another caller already, and returns the values of those that it has found; the others count as
// ErrNotFound. An error is the loader's, or another load's that was waited for; the values that could be had are
// returned with it. A key that is not equal to itself, a NaN, is passed over. For ctx and all else see Load.
func (c *Cache[K, V]) LoadMany(ctx context.Context, keys []K,
	loader func(ctx context.Context, missing []K) (map[K]V, error)) (map[K]V, error) {
	found := make(map[K]V, len(keys))
	calls := make(map[K]*call[V])
	var missing, refresh []K
	for _, key := range keys {
		if _, seen := calls[key]; seen || key != key {
			continue
		}
		hash := c.hasher.of(key)
		value, err, ok, stale := c.cached(hash, key)
		if ok && err == nil {
			found[key] = value
		}
		if ok && !stale {
			c.stats.hit()
			continue
		}
		c.stats.miss()
		l, isNew := c.join(hash, key)
		switch {
		case stale && isNew:
			refresh = append(refresh, key)
			calls[key] = l
		case stale: // under way already
		case isNew:
			missing = append(missing, key)
			fallthrough
		default:
			calls[key] = l
		}
	}
	c.begin(ctx, append(missing, refresh...), calls, loader)
	for _, key := range refresh {
		delete(calls, key)
	}
	return found, c.collect(ctx, calls, found)
}

// begin starts one loader for new calls. It is stopped when no caller waits for any of them any more.
func (c *Cache[K, V]) begin(ctx context.Context, keys []K, calls map[K]*call[V],
	loader func(context.Context, []K) (map[K]V, error)) {
	if len(keys) == 0 {
		return
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	left := new(atomic.Int64)
	left.Store(int64(len(keys)))
	mine := make(map[K]*call[V], len(keys))
	for _, key := range keys {
		mine[key] = calls[key]
		c.loads.setCancel(c.hasher.of(key), calls[key], sync.OnceFunc(func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	go func() {
		defer cancel()
		c.runMany(run, slices.Clone(keys), mine, loader)
	}()
}

func (c *Cache[K, V]) runMany(ctx context.Context, keys []K, calls map[K]*call[V],
	loader func(context.Context, []K) (map[K]V, error)) {
	var values map[K]V
	err := errors.New("tinyufo: the loader has ended its goroutine")
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{p, debug.Stack()}
		}
		for key, l := range calls {
			value, ok := values[key]
			each := err
			if ok {
				each = nil
			} else if err == nil {
				each = ErrNotFound
			}
			c.finish(c.hasher.of(key), key, l, value, each)
		}
	}()
	values, err = loader(ctx, keys)
	values = maps.Clone(values) // the loader may go on with its own
}

// collect waits for calls, and adds their values to found.
func (c *Cache[K, V]) collect(ctx context.Context, calls map[K]*call[V], found map[K]V) (err error) {
	for key, l := range calls {
		value, loadErr := c.await(ctx, c.hasher.of(key), key, l)
		switch {
		case loadErr == nil:
			found[key] = value
		case !errors.Is(loadErr, ErrNotFound) && err == nil:
			err = loadErr
		}
	}
	return err
}
