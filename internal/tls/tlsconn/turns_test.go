package tlsconn

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// wish is a handshake that wants a turn.
func wish(ours bool) *seat {
	h := &seat{}
	if !ours {
		h.server = &ServerOptions{}
	}
	return h
}

// named are handshakes that have asked for a turn, one after the other and a second apart.
type named struct {
	q     *turns
	now   int64
	names map[*seat]string
}

func (n *named) ask(names ...string) {
	for _, name := range names {
		h := wish(name[0] == 'o')
		n.names[h] = name
		n.now += 1e9
		n.q.ask(h, name[1] == 'b', n.now)
	}
}

// give gives turns until nobody wants one.
func (n *named) give() (order []string) {
	for {
		h := n.q.give()
		if h == nil {
			return order
		}
		order = append(order, n.names[h])
	}
}

// Ours before those of clients, what was begun before what is new.
func TestTurns_order(t *testing.T) {
	n := &named{&turns{}, 0, map[*seat]string{}}
	n.ask("cn 1", "cb 1", "on 1", "cn 2", "ob 1", "cb 2", "on 2", "ob 2")
	want := []string{"ob 1", "ob 2", "on 1", "on 2", "cb 1", "cb 2", "cn 1", "cn 2"}
	if order := n.give(); !slices.Equal(order, want) {
		t.Errorf("%q", order)
	}
	if n.q.free != 1 {
		t.Errorf("%d free", n.q.free)
	}
}

// The lines are long when clients leave and a newcomer from a network that does not wait yet would wait for more than
// lineMax, as far as turns of late tell.
// The backlog has what is computed in its time then.
func TestTurns_long(t *testing.T) {
	const each = int64(5e6)
	q, now := &turns{}, int64(0)
	askFrom := func(networks, n int) (last *seat) {
		for i := range n {
			last = wish(false)
			of := netip.AddrFrom4([4]byte{10, byte(i % networks >> 8), byte(i % networks)})
			last.network = netip.PrefixFrom(of, 24)
			q.ask(last, false, now)
		}
		return last
	}
	ask := func(n int) *seat { return askFrom(1000, n) }
	give := func(n int) {
		for range n {
			now += each
			q.give()
		}
	}
	last := ask(1000)
	if long, backlog := q.long(now); long || backlog != 0 {
		t.Error("long, though it is not known how long a turn takes")
	}
	give(10)
	if long, backlog := q.long(now); long || q.each != each || backlog != 0 {
		t.Errorf("long, though nobody has left: %d wait for %d ns each", q.new, q.each)
	}
	waited := q.cancel(last)
	if long, backlog := q.long(now); !waited || !long || backlog != int(backlogTime/each)+1 {
		t.Errorf("%t, a backlog of %d, though one has left", long, backlog)
	}
	for long := true; long; long, _ = q.long(now) {
		give(1)
	}
	if want := int(lineMax / each); q.new != want {
		t.Errorf("%d wait when the lines are not long any more, and %d would be right", q.new, want)
	}
	give(q.new)
	now += hurriedFor
	if long, _ := q.long(now); long || q.each != each {
		t.Error("the time in which nobody waited counts")
	}
	ask(1000)
	if long, backlog := q.long(now); long || backlog != 0 {
		t.Error("that one has left is not forgotten")
	}
	give(q.new)
	q.cancel(askFrom(1, 1000))
	if long, _ := q.long(now); long {
		t.Error("long, though a newcomer from another network is next")
	}
}

// Networks take turns, however many of each ask; one of which nobody asks any more is forgotten.
func TestTurns_networks(t *testing.T) {
	q := &turns{}
	var order []string
	for i, peer := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.1.1", "2001:db8:0:1::1",
		"2001:db8:0:2::1", "::ffff:10.0.1.9", "10.0.0.5"} {
		h := wish(false)
		h.network = networkOf(netip.MustParseAddr(peer))
		if q.ask(h, false, int64(i)); i == 3 && !q.cancel(h) {
			t.Fatal("it does not wait")
		}
	}
	for h := q.give(); h != nil; h = q.give() {
		order = append(order, h.network.String())
	}
	four, other, six := "10.0.0.0/24", "10.0.1.0/24", "2001:db8::/48"
	if want := []string{four, other, six, four, other, six, four, four}; !slices.Equal(order, want) {
		t.Errorf("%q", order)
	}
	if len(q.crowds) != 0 || q.ring.Len() != 0 || q.waiting() != 0 || q.free != 1 {
		t.Errorf("%d networks, %d wait, %d are free", len(q.crowds), q.waiting(), q.free)
	}
}

func TestTurns_cancel(t *testing.T) {
	q := &turns{free: 1}
	a, b, c := wish(false), wish(false), wish(false)
	if !q.ask(a, false, 1) || q.cancel(a) {
		t.Fatal("the first has to wait")
	}
	if q.ask(b, false, 2) || q.ask(c, false, 3) || q.waiting() != 2 {
		t.Fatal("another has a turn")
	}
	if !q.cancel(b) || q.cancel(b) || q.waiting() != 1 {
		t.Fatal("waits on")
	}
	if h := q.give(); h != c || q.cancel(c) {
		t.Fatal("not the one that waits")
	}
	if h := q.give(); h != nil || q.free != 1 {
		t.Fatal("a turn is lost")
	}
}

// A turn that comes to a handshake that has failed meanwhile goes on to the next.
func TestTurns_comesTooLate(t *testing.T) {
	h := &handshake{}
	h.owner = &Handshaker{}
	h.granted, h.failure = true, ErrLeft
	h.run(nil)
	if n := h.owner.turns.free; n != 1 || h.phase >= begun {
		t.Fatalf("%d turns, phase %d", n, h.phase)
	}
}

// No more than there are, and none is lost, though some give up meanwhile.
func TestTurns_many(t *testing.T) {
	const free = 3
	q := &turns{free: free}
	var mu sync.Mutex
	busy, most := 0, 0
	come := map[*seat]chan bool{} // guarded by mu
	give := func() {
		if h := q.give(); h != nil {
			mu.Lock()
			defer mu.Unlock()
			come[h] <- true
		}
	}
	var over sync.WaitGroup
	for i := range 200 {
		over.Add(1)
		go func() {
			defer over.Done()
			for k := range 50 {
				h, turn := wish(i%4 == 0), make(chan bool, 1)
				mu.Lock()
				come[h] = turn
				mu.Unlock()
				switch {
				case q.ask(h, i%3 == 0, int64(k)):
				case k%5 == 0 && q.cancel(h):
					continue
				default:
					<-turn
				}
				mu.Lock()
				busy++
				most = max(most, busy)
				mu.Unlock()
				mu.Lock()
				busy--
				mu.Unlock()
				give()
			}
		}()
	}
	over.Wait()
	if most > free || q.free != free || q.waiting() != 0 {
		t.Fatalf("%d at one time, %d free", most, q.free)
	}
}
