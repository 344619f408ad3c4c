package tlsrules

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
)

// asking is a handshake, or a request that is held against one, as conditions see it. Owned by the goroutine that took
// it from the pool.
type asking struct {
	x     lang.X
	hello variables.Hello
	name  [256]byte

	offered []string
	agreed  [1]string // the protocol of a connection of which no more is known
}

var pool = sync.Pool{New: func() any {
	a := &asking{}
	a.x.State = lang.NewState()
	a.x.Subject = &a.hello
	return a
}}

// ask begins to ask about a client of d that names a host and offers protocols. Facts of d that are not known are
// missing.
func ask[T string | []byte](d *tlsconn.Digest, host T, offered []string, listener string) *asking {
	a := pool.Get().(*asking)
	a.x.State.Now = time.Now().UnixNano()
	h := &a.hello
	h.Name, h.Offered, h.By = variables.AppendServerName(a.name[:0], host), offered, listener
	if d != nil {
		h.From, h.To = d.Peer.IP, d.Local.IP
	}
	return a
}

// askFirst begins to ask about a connection of which hello is known; nil: what its handshake with us has told, if any.
func askFirst(c *engine.Conn, hello *tlsconn.Hello, listener string) *asking {
	a := ask[string](nil, "", nil, listener)
	h := &a.hello
	h.From, h.Conn = c.Peer().IP, c
	if hello != nil {
		a.offered = hello.AppendProtocols(a.offered[:0])
		h.Name, h.Offered = variables.AppendServerName(a.name[:0], hello.ServerName), a.offered
	} else if d := tlsconn.DigestOf(c); d != nil {
		h.Name, h.Offered = variables.AppendServerName(a.name[:0], d.ServerName), d.Offered
	}
	return a
}

// AppendFor appends what a text on handshakes says of a client of d, and of the name that it asks for.
func AppendFor(dst []byte, t *lang.Template, d *tlsconn.Digest, listener string) []byte {
	a := ask(d, d.ServerName, d.Offered, listener)
	defer a.release()
	return t.Append(dst, &a.x)
}

// First returns the first of n conditions on handshakes that holds for a connection with a listener of that name, as
// when returns them, nil where there is none; below 0: none holds. cut: one had no room for what it computes, and was
// not asked whole. hello is what the client says; nil: what its handshake with us has told, if there was one. It runs
// on the reactor of c.
func First(
	n int, when func(i int) *lang.Condition, c *engine.Conn, hello *tlsconn.Hello, listener string,
) (first int, cut bool) {
	a := askFirst(c, hello, listener)
	defer a.release()
	before := a.x.State.Unasked()
	for i := range n {
		one := when(i)
		held := one == nil || one.Holds(&a.x)
		if cut = a.x.State.Unasked() != before; held || cut {
			return i, cut
		}
	}
	return -1, false
}

func (a *asking) release() {
	a.hello = variables.Hello{}
	clear(a.offered)
	pool.Put(a)
}

// Holds reports whether a condition on handshakes, lang.Handshake, holds for one with a listener of that name. Safe for
// any goroutine.
func Holds(c *lang.Condition, hello *tls.ClientHelloInfo, listener string) bool {
	return HoldsFor(c, tlsconn.HelloDigest(hello), hello.ServerName, hello.SupportedProtos, listener)
}

// HoldsFor is Holds for a client of d that asks for a name and offers protocols.
func HoldsFor(c *lang.Condition, d *tlsconn.Digest, name string, offered []string, listener string) bool {
	a := ask(d, name, offered, listener)
	defer a.release()
	return c.Holds(&a.x)
}
