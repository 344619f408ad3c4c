package basicauth

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// CheapHash returns a hash that takes next to no time.
func CheapHash(password string) string { return argonOf(password, 8) }

func argonOf(password string, kib uint32) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=1,p=1$%s$%s", kib, b64.EncodeToString([]byte("saltsalt")),
		b64.EncodeToString(argon2.IDKey([]byte(password), []byte("saltsalt"), 1, kib, 1, 32)))
}

// LookOften has files of users looked at more often for a test.
func LookOften(t *testing.T) {
	before := lookEvery
	lookEvery = int64(10 * time.Millisecond)
	t.Cleanup(func() { lookEvery = before })
}

// FillPool has the pool of the process verify and hold as many passwords as it may, until the test ends.
func FillPool(t *testing.T) {
	t.Helper()
	h := &slow{1, make(chan int64, 1000), make(chan struct{})}
	var left sync.WaitGroup
	shared().mu.Lock()
	shared().parties = nil // what tests before have left
	shared().mu.Unlock()
	for n, full := byte(0), false; !full; n++ {
		left.Add(1)
		ip := netip.AddrFrom4([4]byte{10, n, 0, 1}) // none has more than a client of the test
		a := &attempt{ctx: context.Background(), from: ip, hash: h, done: func(bool) { left.Done() }}
		if full = !shared().add(a); full {
			left.Done()
		}
	}
	t.Cleanup(func() {
		close(h.end)
		left.Wait()
	})
}
