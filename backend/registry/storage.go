package registry

import (
	"cmp"
	"context"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/discovery/locator"
)

const (
	lockSeconds = 15 // that a lock outlives a process which does not renew it
	lockRenewed = 5 * time.Second
	lockAgain   = time.Second // between two tries to take the lock of another process
)

// Storage keeps values and locks in etcd, by its JSON gateway (3.4 on), as certmagic's storages do. A lock is a key
// with a lease: it is free 15 s after its process has ended. Safe for any goroutine.
type Storage struct {
	client *Client
	prefix string

	mu    sync.Mutex
	locks map[string]*storageLock // the locks of this process; guarded by mu
}

// storageLock is renewed until stop ends.
type storageLock struct {
	lease int64
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// OpenStorage returns the Storage below the prefix of l, a Locator of etcd. Nothing is asked before the first call.
func OpenStorage(l *locator.Locator) (*Storage, error) {
	c, err := NewClient(Bases(l), ClientOptions{Agent: agent, CA: l.Params.Get("ca")})
	return &Storage{client: c, prefix: strings.Trim(l.Name, "/") + "/", locks: make(map[string]*storageLock)}, err
}

// etcdKeys is a key, or all from it to End.
type etcdKeys struct {
	Key  []byte `json:"key"`
	End  []byte `json:"range_end,omitempty"`
	Bare bool   `json:"keys_only,omitempty"`
}

// etcdPairs are the values of keys.
type etcdPairs struct {
	Pairs []struct{ Key, Value []byte } `json:"kvs"`
}

func (s *Storage) at(key string) []byte { return []byte(s.prefix + strings.Trim(key, "/")) }

// below returns the keys below one; "": all.
func (s *Storage) below(key string) etcdKeys {
	from := strings.TrimSuffix(string(s.at(key)), "/")
	return etcdKeys{Key: []byte(from + "/"), End: []byte(from + "0")} // "0" follows "/"
}

// Store keeps a value.
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	_, err := s.client.Call(ctx, "POST", "/v3/kv/put", etcdPut{Key: s.at(key), Value: value}, nil)
	return err
}

// Load returns a value; the error is fs.ErrNotExist where there is none.
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	var found etcdPairs
	_, err := s.client.Call(ctx, "POST", "/v3/kv/range", etcdKeys{Key: s.at(key)}, &found)
	if err == nil && len(found.Pairs) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return found.Pairs[0].Value, nil
}

// Delete removes a value, and all values below it.
func (s *Storage) Delete(ctx context.Context, key string) error {
	for _, keys := range []etcdKeys{{Key: s.at(key)}, s.below(key)} {
		if _, err := s.client.Call(ctx, "POST", "/v3/kv/deleterange", keys, nil); err != nil {
			return err
		}
	}
	return nil
}

// List returns the keys below one, sorted; without recursive their next parts alone.
func (s *Storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	of := s.below(path)
	of.Bare = true
	var found etcdPairs
	if _, err := s.client.Call(ctx, "POST", "/v3/kv/range", of, &found); err != nil {
		return nil, err
	}
	keys := make([]string, len(found.Pairs))
	for i, p := range found.Pairs {
		next := string(p.Key[min(len(of.Key), len(p.Key)):])
		if !recursive {
			next, _, _ = strings.Cut(next, "/")
		}
		keys[i] = strings.TrimPrefix(string(of.Key)+next, s.prefix)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// Lock waits until no other process has the lock of that name, and takes it.
func (s *Storage) Lock(ctx context.Context, name string) error {
	key := s.at("locks/" + name)
	for {
		lease, err := s.take(ctx, key)
		if err != nil {
			return err
		}
		if lease != 0 {
			renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
			l := &storageLock{lease: lease, stop: stop}
			l.done.Go(func() { s.hold(renewing, lease) })
			s.mu.Lock()
			defer s.mu.Unlock()
			s.locks[name] = l
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockAgain):
		}
	}
}

// take binds a key to a lease if it is not there; 0: it is.
func (s *Storage) take(ctx context.Context, key []byte) (lease int64, err error) {
	var found etcdPairs
	if _, err = s.client.Call(ctx, "POST", "/v3/kv/range", etcdKeys{Key: key}, &found); err != nil ||
		len(found.Pairs) > 0 {
		return 0, err
	}
	if lease, err = grant(ctx, s.client, lockSeconds); err != nil {
		return 0, err
	}
	if done, err := putAbsent(ctx, s.client, etcdPut{Key: key, Lease: lease}); err != nil || !done {
		return 0, cmp.Or(err, revoke(ctx, s.client, lease))
	}
	return lease, nil
}

// hold renews a lease until ctx ends. If etcd drops it meanwhile, another process may take the lock: then a certificate
// may be ordered twice.
func (s *Storage) hold(ctx context.Context, lease int64) {
	again := time.NewTicker(lockRenewed)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			_, _ = renew(ctx, s.client, lease) // after a failure the next try is in 5 s
		case <-ctx.Done():
			return
		}
	}
}

// Unlock gives a lock back.
func (s *Storage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	l := s.locks[name]
	delete(s.locks, name)
	s.mu.Unlock()
	if l == nil {
		return fs.ErrNotExist
	}
	l.stop()
	l.done.Wait()
	return revoke(ctx, s.client, l.lease)
}
