package session

import (
	"bytes"
	"time"

	"github.com/edge-proxy/edge/engine"
)

// Moved is an idle connection to an origin on its way from one reactor to another.
// Owned by its holder, which passes it to Adopt or to Discard, once.
type Moved struct {
	conn engine.Moved
	uses uint32
}

// Leave takes an idle connection away from c, so that a Client of another reactor may adopt it. It reports false, and
// leaves c as it is, when c is not usable. Afterwards c is over; its owner's OnGone does not come.
func (c *Client) Leave() (m Moved, ok bool) {
	if c.receiver != nil || !c.connected {
		return m, false
	}
	m.uses = c.uses
	m.conn, ok = c.conn.Leave()
	return m, ok
}

// Adopt makes m the connection of c, which was not dialled. On an error, see engine.Reactor.Adopt, m is closed and
// OnGone does not come.
func (c *Client) Adopt(r *engine.Reactor, m Moved) error {
	conn, err := r.Adopt(m.conn, c)
	if err != nil {
		return err
	}
	c.conn, c.uses, c.connected = conn, m.uses, true
	return nil
}

// Discard closes m.
func Discard(r *engine.Reactor, m Moved) { r.Discard(m.conn) }

// KeepAlive returns for how long the origin promised, with its last answer, to keep an idle connection; 0 when it
// promised nothing.
func (c *Client) KeepAlive() time.Duration { return c.keepAlive }

// keepAliveLongest bounds the seconds that are believed; nothing stays idle so long.
const keepAliveLongest = 24 * 60 * 60

// keepAlive reads timeout=N out of a Keep-Alive field; 0 when there is none. No RFC defines it: RFC 2068 §19.7.1.1 was
// the last that tried.
func keepAlive(value []byte) time.Duration {
	for len(value) > 0 {
		var item []byte
		item, value, _ = bytes.Cut(value, []byte(","))
		name, number, found := bytes.Cut(bytes.TrimSpace(item), []byte("="))
		if !found || !bytes.EqualFold(bytes.TrimSpace(name), []byte("timeout")) {
			continue
		}
		n := 0
		for _, digit := range bytes.Trim(bytes.TrimSpace(number), `"`) {
			if digit < '0' || digit > '9' {
				return 0
			}
			n = min(10*n+int(digit-'0'), keepAliveLongest)
		}
		return max(time.Duration(n)*time.Second, 1) // timeout=0 is a promise of nothing
	}
	return 0
}
