package quic

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// An idle connection of the proxy takes 8 KiB at most, with HTTP/3 and its keys: it holds a space and two control
// streams, and what they cost are their size classes.
func TestSpace_size(t *testing.T) {
	const class = 768 // the next one of Go's allocator is 896
	if n := unsafe.Sizeof(space{}); n > class {
		t.Fatalf("a space has %d bytes: above %d it costs 896", n, class)
	}
}

func TestStream_size(t *testing.T) {
	if n := unsafe.Sizeof(Stream{}); n > streamSize { // the next size class is 352
		t.Fatalf("a Stream has %d bytes: above %d it costs 352", n, streamSize)
	}
}

// An idle connection after its handshake and an exchange. TLS is not in it, nor what the Arena has in reserve.
func TestConn_idleMemory(t *testing.T) {
	testutil.OnlyPlain(t)
	const conns, bar = 1000, 5<<10 + 256
	for _, role := range []Role{Server, Client} {
		t.Run([]string{"server", "client"}[role], func(t *testing.T) {
			shared, arena := Options{}, Arena{}
			kept := make([]*Conn, conns)
			before := testutil.Heap()
			for i := range kept {
				r := established(t, role, Options{})
				id := r.theirs(TwoWay, 0)
				if role == Client {
					s := r.open(TwoWay)
					r.conn.Send(s, pattern(0, 100), true)
					id = s.ID
				}
				r.in(OneRTT, streamFrame(id, 0, 200, true))
				if role == Server {
					r.conn.Send(r.streams[id], pattern(0, 200), true)
					r.conn.Done(r.streams[id])
				} else {
					r.out()
					r.ack()
					r.conn.Done(r.conn.streams.get(id))
				}
				r.pass(1e9)
				r.ack()
				r.pass(1e9)
				if r.conn.streams.used != 0 || r.conn.spaces[OneRTT].flying != 0 || r.arena.Stats.Pages != 0 {
					t.Fatalf("it is not idle: %d streams, %d packets, %d pages", r.conn.streams.used,
						r.conn.spaces[OneRTT].flying, r.arena.Stats.Pages)
				}
				c := new(Conn)
				*c = r.conn
				c.o, c.arena, c.in = &shared, &arena, &arena.in
				kept[i] = c
			}
			each := int(testutil.Heap()-before) / conns
			t.Logf("%d bytes, of them Conn %d, space %d", each, unsafe.Sizeof(Conn{}), unsafe.Sizeof(space{}))
			if each > bar {
				t.Errorf("%d bytes for an idle connection, %d at most", each, bar)
			}
			runtime.KeepAlive(kept)
		})
	}
}
