package tlsconn

import (
	"slices"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

func (t *turns) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ours) + len(t.clients)
}

// In the order of coming, ours first.
func TestTurns_order(t *testing.T) {
	q := &turns{free: 1}
	q.take(false)
	var order []string
	var over sync.WaitGroup
	for i, who := range []string{"client 1", "client 2", "ours 1", "client 3", "ours 2"} {
		over.Add(1)
		go func() {
			defer over.Done()
			q.take(who[0] == 'o')
			order = append(order, who) // one at a time: -race tells if not
			q.give()
		}()
		testutil.Eventually(t, testutil.Patience, func() bool { return q.waiting() == i+1 })
	}
	q.give()
	over.Wait()
	if want := []string{"ours 1", "ours 2", "client 1", "client 2", "client 3"}; !slices.Equal(order, want) {
		t.Fatalf("%q", order)
	}
	if q.free != 1 {
		t.Fatalf("%d free", q.free)
	}
}

// No more than there are, and none is lost.
func TestTurns_many(t *testing.T) {
	const free = 3
	q := &turns{free: free}
	var mu sync.Mutex
	busy, most := 0, 0
	var over sync.WaitGroup
	for i := range 200 {
		over.Add(1)
		go func() {
			defer over.Done()
			for range 50 {
				q.take(i%4 == 0)
				mu.Lock()
				busy++
				most = max(most, busy)
				mu.Unlock()
				mu.Lock()
				busy--
				mu.Unlock()
				q.give()
			}
		}()
	}
	over.Wait()
	if most > free || q.free != free || q.waiting() != 0 {
		t.Fatalf("%d at one time, %d free", most, q.free)
	}
}
