package discovery

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/backend"
)

// Source finds the backends of a service.
type Source interface {
	// Run calls publish with all backends whenever they may have changed, and with an error whenever it cannot find
	// them out; the list must not change afterwards. publish is safe for any goroutine until Run returns, and returns
	// at once. Run returns when ctx ends, or with the error that stops it: then it is called again, later each time.
	//
	// An error keeps the members of before. An empty list removes them when it is not taken back for a while; with the
	// error None it removes them at once.
	Run(ctx context.Context, publish func(list []backend.Spec, err error)) error
}

// None is published with an empty list by a source that knows for certain that the service has no backend.
var None = errors.New("the service has no backend")

// noneBecause is published along with a list and says why that is empty, if it is.
type noneBecause string

func (why noneBecause) Error() string { return string(why) }

// backoff is how long to wait after failures in a row: RFC 9520 §3.2 asks resolvers for exponential ones.
// Owned by the goroutine of its source.
type backoff struct{ last time.Duration }

// The least and the most time between tries.
const (
	backoffMin = time.Second
	backoffMax = 30 * time.Second
)

// next returns the time to wait after another failure: 1, 2, 4 … 30 s, each up to a fifth more or less, so that many
// processes do not come at one time.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, backoffMin), backoffMax)
	return time.Duration(float64(b.last) * (0.8 + 0.4*rand.Float64()))
}

func (b *backoff) reset() { b.last = 0 }

// sleep waits for d and reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
