package server

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

// sharing answers proofs that other processes have in the Storage, for the present configuration. Guarded by
// shared.mu.
type sharing struct {
	now, next sharedWith
	running   map[string]context.CancelFunc // by the Key of an Issuer
	work      sync.WaitGroup
}

// sharedWith are Issuers whose proofs are shared by one Storage.
type sharedWith struct {
	storage issue.Storage
	issuers []*acme.Issuer
}

// follow goes over to next. Issuers whose proofs are shared already go on with the one before, which does the same.
func (s *sharing) follow(ctx context.Context) {
	running := make(map[string]context.CancelFunc)
	for _, i := range s.next.issuers {
		key := i.Key()
		switch {
		case running[key] != nil: // a staging authority may stand in the list, too
		case s.running[key] != nil && s.now.storage == s.next.storage:
			running[key] = s.running[key]
			delete(s.running, key)
		default:
			own, end := context.WithCancel(ctx)
			running[key] = end
			s.work.Go(func() { i.Share(own) })
		}
	}
	for _, end := range s.running {
		end()
	}
	s.now, s.running = s.next, running
}

// openStorage makes the storage of a module.
func openStorage(name string, p *definitions) (issue.Storage, error) {
	return lasting(p, plugin.Storages, name, func(made issue.Storage, h *keeper) (issue.Storage, error) {
		return &heldStorage{made, h}, nil
	})
}

// heldStorage is a storage of a module. A panic is an error, and that there is nothing is none where issue.Storage says
// so. What the module keeps is released when nothing has the storage any more.
type heldStorage struct {
	issue.Storage
	*keeper
}

func (s *heldStorage) Store(ctx context.Context, key string, value []byte) (err error) {
	defer catch(&err)
	return s.Storage.Store(ctx, key, value)
}

// Load implements issue.Storage. Callers have many keys: a module that does not look at ctx is asked no more after it.
func (s *heldStorage) Load(ctx context.Context, key string) (value []byte, err error) {
	defer catch(&err)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.Storage.Load(ctx, key)
}

func (s *heldStorage) Delete(ctx context.Context, key string) (err error) {
	defer catch(&err)
	return unlessMissing(s.Storage.Delete(ctx, key))
}

func (s *heldStorage) List(ctx context.Context, path string, recursive bool) (keys []string, err error) {
	defer catch(&err)
	keys, err = s.Storage.List(ctx, path, recursive)
	return keys, unlessMissing(err)
}

func (s *heldStorage) Lock(ctx context.Context, name string) (err error) {
	defer catch(&err)
	return s.Storage.Lock(ctx, name)
}

func (s *heldStorage) Unlock(ctx context.Context, name string) (err error) {
	defer catch(&err)
	return s.Storage.Unlock(ctx, name)
}

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
