package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// stuck is a Storage that does not answer, until the end of each context.
type stuck struct{ issue.Storage }

func (stuck) wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (s stuck) Load(ctx context.Context, _ string) ([]byte, error)  { return nil, s.wait(ctx) }
func (s stuck) Store(ctx context.Context, _ string, _ []byte) error { return s.wait(ctx) }
func (s stuck) Delete(ctx context.Context, _ string) error          { return s.wait(ctx) }
func (s stuck) Lock(ctx context.Context, _ string) error            { return s.wait(ctx) }
func (s stuck) Unlock(ctx context.Context, _ string) error          { return s.wait(ctx) }
func (s stuck) List(ctx context.Context, _ string, _ bool) (_ []string, err error) {
	return nil, s.wait(ctx)
}

// lockable is a Storage that hangs from its first lock on.
type lockable struct{ stuck }

func (lockable) Load(context.Context, string) ([]byte, error) { return nil, fs.ErrNotExist }

func (lockable) Lock(context.Context, string) error { return nil }

// With a Storage that hangs, an order has the account of the last one, or asks the authority for one, in time.
func TestAccount_hangingStorage(t *testing.T) {
	for _, s := range []issue.Storage{stuck{}, lockable{}} {
		testutil.Bubble(t, func(t *testing.T) { testHangingStorage(t, s) })
	}
}

func testHangingStorage(t *testing.T, s issue.Storage) {
	i, down := sharer(t, s, &issue.Challenges{}), errors.New("down")
	i.at.web.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, down }
	i.at.seen.Store(&directory{at: time.Now(), Directory: acmez.Directory{
		NewNonce: "https://ca.test/nonce", NewAccount: "https://ca.test/account", NewOrder: "https://ca.test/order"}})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // an order has 10
	defer cancel()
	c := i.at.begin(dialing)
	_, err := c.directory(ctx)
	testutil.Must(t, err)
	if _, err := c.account(ctx, ""); !errors.Is(err, down) {
		t.Errorf("the first: %v", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testutil.Must(t, err)
	before := acmez.Account{PrivateKey: key, Status: acmez.StatusValid, Location: "https://ca.test/account/1"}
	i.at.used.Store(&before)
	if _, empty := s.(lockable); empty { // the account of before is known to be gone
		return
	}
	if got, err := c.account(ctx, ""); err != nil || got.Location != before.Location {
		t.Errorf("a later one: %q, %v", got.Location, err)
	}
}
