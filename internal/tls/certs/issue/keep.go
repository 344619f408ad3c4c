package issue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/tls/certs"
)

// Keep stores a pair in PEM that another program has got from an authority for names, as a Renewer finds it. names
// are a Subject, authority is the Key of the Issuer. A pair that is there stays, unless it is older. The error says why
// this is no pair for the names, or that the Storage fails.
func Keep(ctx context.Context, storage Storage, authority string, names []string, chain, key []byte) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	now, names := time.Now(), slices.Compact(slices.Sorted(slices.Values(names)))
	lean, c, err := certs.ParseLean(chain, key)
	if err == nil && (len(names) == 0 || names[0] == "") {
		err = errors.New("a name is missing")
	} else if err == nil {
		err = verify(c, names, now)
	}
	if err != nil {
		return err
	}
	e := &entry{names: names, folder: folderName(names)}
	e.unsaved = &texts{at: siteOf(authority, e.folder), chain: chain, key: key}
	if err := storage.Lock(ctx, lockName(e.folder)); err != nil {
		return err
	}
	s, f := &Set{plan: Plan{Storage: storage}, chains: new(sync.Map)}, found{}
	err = s.findAt(ctx, e, authority, now, &f)
	if err == nil && (f.held == nil || s.hold(authority, lean, c).newer(f.held, now)) {
		err = (&looking{set: s, entry: e}).save(ctx)
	}
	return errors.Join(err, storage.Unlock(ctx, lockName(e.folder)))
}
