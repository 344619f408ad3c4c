package admin

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// large is a process whose metrics are more than buffers of the kernel take.
type large struct{ fake }

func (l *large) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("edge_up 1\n", 1<<20))
	})
}

// Clients that do not read, and such that say nothing, keep nobody out.
func TestSurface_fullOfIdleClients(t *testing.T) {
	s := open(t, &large{}, "[admin]\nlisten = false\n[metrics]\nlisten = \"127.0.0.1:0\"")
	address := s.Listening()[0][1]
	var idle []net.Conn
	for i := range connsMost {
		c, err := net.Dial("tcp", address)
		testutil.Must(t, err)
		defer c.Close()
		idle = append(idle, c)
		if i >= connsMost-heavyMost {
			fmt.Fprint(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
			continue
		}
		fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") // idle connections last longer than new ones
		if _, err := c.Read(make([]byte, 1<<10)); err != nil {
			t.Fatal(err)
		}
	}
	f := s.open[0].bound
	stuck := func() (n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for c := range f.held {
			n += c.writing
		}
		return n
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		return s.connections.Load() == connsMost && stuck() == heavyMost
	}, "all are held")
	ask(t, over(t, "tcp", address), &one{"GET", "http://localhost/livez", "", "", 200, ""})
	if !closed(idle[0]) || closed(idle[1]) {
		t.Error("not the oldest one alone has given way")
	}
	for range connsMost {
		ask(t, over(t, "tcp", address), &one{"GET", "http://localhost/livez", "", "", 200, ""})
	}
	if n := s.connections.Load(); n > connsMost {
		t.Errorf("%d connections", n)
	}
}

// closed reports whether the surface has closed c, which has read its answers.
func closed(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// What gives way to a new connection is of the party that has the most, idle, old, and of no owner.
func TestBounded_least(t *testing.T) {
	begun := time.Now()
	for _, test := range []struct {
		held string // a letter for a party each, in order of age; "*" after it: it serves, "w": it waits for its client
		new  string
		want int // its index; -1: none
	}{
		{"a b c", "d", 0},
		{"a b b", "d", 1},
		{"a b c", "c", 2},
		{"a* b c", "d", 1},
		{"aw b c", "d", 1},
		{"aw bw c*", "d", 0},
		{"b* b* a", "d", 2},
		{"a* b* c*", "d", -1},
		{"R R a", "d", 2},
		{"R R R", "d", -1},
		{"R R R", "R", 0},
		{"R a a", "R", 0},
		{"R a a a", "R", 1},
	} {
		b := newBounded(nil, new(atomic.Int64))
		var all []*heldConn
		for i, text := range strings.Fields(test.held) {
			c := &heldConn{from: b, party: text[:1], owner: text[0] == 'R', since: begun.Add(time.Duration(i))}
			c.serving = len(text) > 1
			if strings.HasSuffix(text, "w") {
				c.writing = 1
			}
			all = append(all, c)
			b.held[c] = struct{}{}
		}
		got := b.least(&heldConn{party: test.new, owner: test.new == "R"})
		if test.want < 0 && got != nil || test.want >= 0 && got != all[test.want] {
			t.Errorf("%s, then %s: %+v, want %d", test.held, test.new, got, test.want)
		}
	}
}

// Where all connections serve requests, the owner waits for a place, and others are refused.
func TestBounded_fullOfWork(t *testing.T) {
	b := newBounded(nil, new(atomic.Int64))
	made := func(owner bool) *heldConn {
		mine, theirs := net.Pipe()
		t.Cleanup(func() { _, _ = mine.Close(), theirs.Close() })
		return &heldConn{Conn: mine, from: b, peer: &peer{}, owner: owner}
	}
	var all []*heldConn
	for range connsMost {
		c := made(true)
		if !b.place(c) {
			t.Fatal("there is no place")
		}
		c.serve(true)
		all = append(all, c)
	}
	if b.place(made(false)) {
		t.Error("another user has a place")
	}
	placed := make(chan bool)
	next := made(true)
	go func() { placed <- b.place(next) }()
	all[7].serve(false)
	if !<-placed || len(b.held) != connsMost {
		t.Errorf("the owner has no place: %d have", len(b.held))
	}
	if _, found := b.held[all[7]]; found {
		t.Error("an idle connection stays")
	}
	next.serve(true)
	go func() { placed <- b.place(made(true)) }()
	close(b.closed)
	if <-placed {
		t.Error("a place of a surface that has ended")
	}
}

// One machine is one party, however many addresses of IPv6 it has.
func TestHeldConn_identify(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:7": "10.0.0.1/32", "[::ffff:10.0.0.1]:7": "10.0.0.1/32", "[2001:db8::1:2]:7": "2001:db8::/64",
		"[fe80::1%lo]:7": "fe80::/64",
	} {
		at, err := net.ResolveTCPAddr("tcp", remote)
		testutil.Must(t, err)
		c := &heldConn{Conn: addressed{at: at}}
		if c.identify(); c.party != want || c.peer != nil || c.owner {
			t.Errorf("%s: %+v, want %s", remote, c, want)
		}
	}
}

// addressed is a connection that has a remote address alone.
type addressed struct {
	net.Conn
	at net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.at }
