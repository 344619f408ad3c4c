package tlsconn

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
)

// Connections of several goroutines borrow from one pool, in all the ways that records may come. What one of them
// reads is what was sent to it. With -tags invariants a buffer that comes back is overwritten; -race looks at pointers.
func TestLent_byMany(t *testing.T) {
	const goroutines, ends, rounds = 4, 3, 60
	var wg sync.WaitGroup
	for g := range uint64(goroutines) {
		var all []*talk
		for i := range ends {
			e := connect(t, []uint16{tls.VersionTLS12, tls.VersionTLS13}[i%2])
			all = append(all, &talk{t: t, from: e.client, to: e.server})
			if i == 0 { // the other way as well: tickets come first
				all = append(all, &talk{t: t, from: e.server, to: e.client, wire: bytes.Clone(e.rest)})
			}
		}
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, g))
			for range rounds {
				all[rng.IntN(len(all))].step(rng)
			}
			for _, c := range all {
				c.drain()
			}
			for _, c := range all {
				c.spoil()
			}
		})
	}
	wg.Wait()
}

// talk is one direction of a connection.
type talk struct {
	t        *testing.T
	from, to *layer
	wire     []byte // sealed and not opened
	want     []byte // sent and not come
}

// step seals some records and opens a part of what there is.
func (c *talk) step(rng *rand.Rand) {
	for range rng.IntN(4) {
		p := make([]byte, []int{0, 1, 500, 16 << 10}[rng.IntN(4)])
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		b, err := c.from.Seal(nil, p)
		if err != nil {
			c.t.Error(err)
		}
		c.wire, c.want = append(c.wire, b...), append(c.want, p...)
	}
	c.open(rng.IntN(len(c.wire) + 1))
}

// open opens what is whole of the first k bytes.
func (c *talk) open(k int) {
	b := bytes.Clone(c.wire[:k])
	n, used, _, err := c.to.Open(b)
	if err != nil && err != io.EOF || !bytes.HasPrefix(c.want, b[:n]) {
		c.t.Errorf("%d bytes came, %v", n, err)
		return
	}
	c.wire, c.want = c.wire[used:], c.want[n:]
}

// drain opens the rest.
func (c *talk) drain() {
	c.open(len(c.wire))
	if len(c.wire) > 0 || len(c.want) > 0 {
		c.t.Errorf("%d bytes of records and %d of text are left", len(c.wire), len(c.want))
	}
}

// spoil ends it by a record that was changed. The connection, which may keep its buffer then, is asked again.
func (c *talk) spoil() {
	b, err := c.from.Seal(nil, []byte("changed"))
	if err != nil { // the other direction was spoilt
		return
	}
	b[len(b)-1] ^= 1
	for range 2 {
		if n, _, _, err := c.to.Open(bytes.Clone(b)); n > 0 || err == nil {
			c.t.Errorf("%d bytes came, %v", n, err)
		}
	}
}

// A field that another version of crypto/tls has not, or has as something else, is not touched.
func TestLent_unknownFields(t *testing.T) {
	for _, c := range []struct {
		name string
		ok   bool
	}{{"rawInput", true}, {"hand", true}, {"input", false}, {"vers", false}, {"nothing", false}} {
		at, ok := fieldAt[bytes.Buffer](c.name)
		if f, _ := reflect.TypeFor[tls.Conn]().FieldByName(c.name); ok != c.ok || ok && at != f.Offset {
			t.Errorf("%s: %v at %d", c.name, ok, at)
		}
	}
	e := connect(t, tls.VersionTLS13)
	e.server.loan = loan{}
	e.server.open(t, seal(t, e.client, "nothing is lent"), "nothing is lent", nil)
	other := struct{ secured }{e.server.conn} // no *tls.Conn
	e.server.loan.init(other)
	e.server.open(t, seal(t, e.client, "another provider"), "another provider", nil)
}
