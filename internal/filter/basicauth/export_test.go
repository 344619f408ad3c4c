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
	p, h := shared(), &slow{1, make(chan int64, 1000), make(chan struct{})}
	var left sync.WaitGroup
	p.mu.Lock()
	p.parties = nil // what tests before have left
	p.mu.Unlock()
	client := netip.MustParseAddr("10.0.0.0")
	add := func() bool {
		client = netip.AddrFrom4([4]byte{10, client.As4()[1] + 1, 0, 1}) // none has more than a client of the test
		left.Add(1)
		taken := p.add(&attempt{ctx: context.Background(), from: client, hash: h, done: func(bool) { left.Done() }})
		if !taken {
			left.Done()
		}
		return taken
	}
	for range p.workers { // which may be about to end the password of a request that was answered
		add()
	}
	for range p.workers {
		<-h.begun
	}
	for add() {
	}
	t.Cleanup(func() {
		close(h.end)
		left.Wait()
	})
}
