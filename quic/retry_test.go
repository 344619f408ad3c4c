package quic

import (
	"bytes"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// retrying has the server of p answer the first Initials by Retry, as a door without state does, until the client comes
// with the token. answer changes each Retry; nil is lost.
func (p *pair) retrying(token []byte, answer func(n int, retry []byte) [][]byte) {
	n := 0
	p.unbegun = func(h *Header) bool {
		if first, _ := MakeID(h.Dest); len(h.Token) == 0 {
			id, _ := p.server.opts.NewID()
			p.chosen = append(p.chosen, id)
			p.server.opts.Retried = first
			for _, d := range answer(n, AppendRetry(nil, h, &id, token)) {
				p.wire = append(p.wire, flight{p.client, d, p.now + p.latency})
			}
			n++
			return false
		}
		if !bytes.Equal(h.Token, token) {
			p.t.Fatalf("the token is %q", h.Token)
		}
		return true
	}
}

func once(_ int, d []byte) [][]byte { return [][]byte{d} }

// A handshake goes on after a Retry, also a lost or doubled one: with the token, the numbers and the CRYPTO of before.
func TestRetry_inTheMiddle(t *testing.T) {
	token := bytes.Repeat([]byte("token"), 20)
	for name, answer := range map[string]func(n int, d []byte) [][]byte{
		"once": once,
		"lost": func(n int, d []byte) [][]byte {
			if n == 0 {
				return nil
			}
			return [][]byte{d}
		},
		"doubled": func(_ int, d []byte) [][]byte { return [][]byte{d, slices.Clone(d)} },
		"after forged ones": func(_ int, d []byte) [][]byte {
			tag, body := slices.Clone(d), slices.Clone(d)
			tag[len(tag)-1] ^= 1
			body[len(body)-20] ^= 1
			return [][]byte{tag, body, d}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, Options{}, Options{})
			p.retrying(token, answer)
			var first []byte
			p.pass = func(from *end, n int, d []byte) (int, int64) {
				h, _ := Parse(d)
				if from == p.client && h.Kind == InitialPacket {
					if n == 0 {
						first = slices.Clone(h.Dest)
					}
					if taken := p.client.conn.retry != nil; taken != bytes.Equal(h.Token, token) ||
						taken == bytes.Equal(h.Dest, first) {
						t.Errorf("datagram %d: token %q", n, h.Token)
					}
				}
				return 1, 0
			}
			p.run("the token comes", func() bool { return p.server.begun })
			if n := p.client.conn.spaces[Initial].next; n < 2 {
				t.Errorf("the next number is %d", n)
			}
			if p.server.conn.flag&validated == 0 {
				t.Error("the address is not validated")
			}
			p.establish()
			c := &p.client.conn
			if !slices.Contains(p.chosen, c.retry.source) {
				t.Errorf("%+v", c.retry)
			}
			if want := []string{"Established"}; !slices.Equal(p.client.events, want) {
				t.Errorf("%q", p.client.events)
			}
			p.client.sends()
			s, err := p.client.conn.Open(OneWay)
			testutil.Must(t, err)
			p.client.sendOn(s, body(1, 5000))
			p.run("the body", func() bool { return p.server.ended[s.ID] })
			p.settle()
		})
	}
}

// RFC 9000 §7.3: the transport parameters of a server name the ids of the Retry that its client has taken.
func TestRetry_parameters(t *testing.T) {
	other, _ := MakeID([]byte("somebody"))
	for name, c := range map[string]struct {
		retry  bool
		change func(p *parameters)
		ok     bool
	}{
		"right":            {true, func(*parameters) {}, true},
		"missing":          {true, without(paramRetrySource), false},
		"another id":       {true, func(p *parameters) { p.retrySource = other }, false},
		"another original": {true, func(p *parameters) { p.original = p.retrySource }, false},
		"without a Retry":  {false, with(paramRetrySource), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, Options{}, Options{})
			if c.retry {
				p.retrying([]byte("token"), once)
			}
			p.run("the first part of a ClientHello", func() bool { return p.server.begun })
			c.change(p.server.conn.local)
			p.server.tls.SetTransportParameters(p.server.conn.AppendParameters(nil))
			if c.ok {
				p.establish()
				return
			}
			p.run("the end", func() bool { return p.client.conn.state == closing })
			if k := p.client.conn.Closed(); k.Code != uint64(TransportParameterError) || k.ByPeer {
				t.Errorf("%+v", k)
			}
		})
	}
}

// RFC 9000 §17.2.5: a Retry that a client must not take changes nothing.
func TestRetry_dropped(t *testing.T) {
	source, _ := MakeID([]byte("retried!"))
	retryFor := func(r *rig, original, dest, source ID, token []byte) []byte {
		return AppendRetry(nil, &Header{Dest: original.Bytes(), Source: dest.Bytes()}, &source, token)
	}
	token := []byte("token")
	for name, make := range map[string]func(r *rig) []byte{
		"of another original": func(r *rig) []byte { return retryFor(r, source, r.first, source, token) },
		"to another id":       func(r *rig) []byte { return retryFor(r, r.original, source, source, token) },
		"with the same id": func(r *rig) []byte {
			return retryFor(r, r.original, r.first, r.original, token)
		},
		"without a token": func(r *rig) []byte { return retryFor(r, r.original, r.first, source, nil) },
		"with a long token": func(r *rig) []byte {
			return retryFor(r, r.original, r.first, source, bytes.Repeat(token, tokenMax))
		},
		"after a packet": func(r *rig) []byte {
			r.in(Initial, ping)
			return retryFor(r, r.original, r.first, source, token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Client, Options{})
			r.conn.SendCrypto(Initial, pattern(0, 100))
			r.out()
			r.datagram(make(r))
			if r.conn.retry != nil || string(r.conn.theirs.current().Bytes()) == "retried!" {
				t.Error("it is taken")
			}
			r.wantOpen()
		})
	}
	r := newRig(t, Client, Options{})
	r.conn.SendCrypto(Initial, pattern(0, 100))
	r.out()
	original := r.original
	r.datagram(retryFor(r, original, r.first, source, bytes.Repeat(token, tokenMax/len(token))))
	if r.conn.retry == nil || r.conn.retry.source != source || !r.conn.Pending() || r.conn.sent.window.flight != 0 {
		t.Fatalf("%+v", r.conn.retry)
	}
	second, _ := MakeID([]byte("the next"))
	r.datagram(retryFor(r, original, r.first, second, token), retryFor(r, source, r.first, second, token))
	d := append(appendIDs([]byte{0xc0, 0, 0, 0, 0}, r.first.Bytes(), original.Bytes()), 0x6b, 0x33, 0x43, 0xcf)
	r.datagram(d) // RFC 9000 §6.2: Version Negotiation comes too late
	r.wantOpen()
	if *r.conn.theirs.current() != source {
		t.Error("a second Retry is taken")
	}
	r = newRig(t, Server, Options{})
	r.datagram(retryFor(r, r.original, r.first, source, token))
	r.wantOpen()
	if r.conn.retry != nil {
		t.Error("a server takes a Retry")
	}
}
