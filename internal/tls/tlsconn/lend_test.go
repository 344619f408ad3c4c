package tlsconn

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Connections of several goroutines borrow from one pool, in all the ways that records may come. Each reads
// the bytes that were sent to it. With -tags invariants a buffer that comes back is overwritten; -race looks at
// pointers.
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

// This fails with a Go that is not among those that buffers are lent to. Before it is added, the tests of this package
// and of session have to pass with it, also with -race and with -tags invariants, and what changed in crypto/tls.Conn
// has to be read: what keeps a piece of rawInput after Read is seen by no look at its fields.
func TestLent_goIsAmongThoseThatPassed(t *testing.T) {
	if !testedWith(runtime.Version()) || !LendsBuffers() {
		t.Errorf("%s is not among %q of lend.go, or its crypto/tls has other fields: no buffer is lent",
			runtime.Version(), tested)
	}
}

func TestLent_versionsOfGo(t *testing.T) {
	base := tested[0]
	for _, tail := range []string{
		"", ".0", ".8", ".17", " X:boringcrypto", ".8 X:boringcrypto,nodwarf5", ".8-X:boringcrypto",
		".12 (Red Hat 12.el9)",
	} {
		if !testedWith(base + tail) {
			t.Errorf("%q is not among %q", base+tail, tested)
		}
	}
	for _, version := range []string{
		base + "0", base + "0.1", base + ".", base + ".8.1", base + ".x", base + "rc1", base + "beta2",
		base + ".8-fork", base + ".+8", base + "-devel_4b6e8b4", "devel " + base + "-4b6e8b4 Mon Nov 2 2026",
		strings.TrimPrefix(base, "go"), "x" + base, "go1", "", "unknown",
	} {
		if testedWith(version) {
			t.Errorf("%q is among %q", version, tested)
		}
	}
}

// With a Go that nobody has tested connections keep their buffers, and work.
func TestLent_notByAnUnknownGo(t *testing.T) {
	defer func(was bool) { lends = was }(lends)
	lends = false
	if LendsBuffers() {
		t.Error("it says that it lends")
	}
	versions(t, func(t *testing.T, e *ends) {
		for range 3 {
			e.server.open(t, seal(t, e.client, "kept"), "kept", nil)
		}
		if l := &e.server.loan; l.raw != nil || l.input != nil || l.take() != nil {
			t.Error("something is lent")
		}
	})
}
