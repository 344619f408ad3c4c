package quic

import (
	"encoding/binary"
	"testing"
)

// A Handshake packet may carry more than the last bytes of TLS, with which its keys are dropped.
func TestPackets_framesAfterTheKeysWereDropped(t *testing.T) {
	for _, rest := range [][]byte{appendFrame(nil, frameAck, 0, 0, 0, 0), cryptoFrame(5, 9), ping, {0, 0}} {
		r := newRig(t, Server, Options{})
		r.agree()
		r.conn.SendCrypto(Handshake, pattern(0, 100))
		r.out()
		r.onEvent = func(ev *Event) {
			if ev.Kind == Crypto {
				r.conn.HandshakeDone()
			}
		}
		r.in(Handshake, cryptoFrame(0, 5), rest)
		r.wantOpen()
		if r.conn.flag&confirmed == 0 {
			t.Error("no handshake")
		}
	}
}

// RFC 9000 §17.2.2: a client's Initial has no token from the server; one that has is dropped.
func TestPackets_initialOfAServerWithAToken(t *testing.T) {
	r := newRig(t, Client, Options{})
	d := appendLong(nil, InitialPacket, &r.first, &r.ours, []byte("token"))
	number := len(d)
	d = appendNumber(d, 0, 4)
	body := len(d)
	d = append(append(d, cryptoFrame(0, 5)...), make([]byte, 20)...)
	setLength(d, number, len(d)-number+tagLen)
	r.datagram(r.write[Initial].seal(d, 0, number, body, 0))
	if len(r.events) != 0 && r.conn.state == open {
		t.Errorf("%q", r.events)
	}
}

// RFC 9000 §14.1: a server drops Initial packets in datagrams that are smaller than 1200 octets.
func TestPackets_initialInASmallDatagram(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.in(Initial, cryptoFrame(0, 5))
	r.events = nil
	d := r.sealed(Initial, cryptoFrame(5, 9), make([]byte, 1000))
	r.datagram(d)
	if len(r.events) != 0 {
		t.Errorf("%q", r.events)
	}
}

// RFC 9000 §7.2: once a packet of the server has named its id, packets that name another are dropped.
func TestPackets_anotherSourceIDInTheHandshake(t *testing.T) {
	for _, role := range []Role{Server, Client} {
		r := newRig(t, role, Options{})
		r.in(Initial, cryptoFrame(0, 5))
		r.ours, _ = MakeID([]byte("somebody"))
		r.in(Initial, cryptoFrame(5, 9))
		if len(r.events) != 1 {
			t.Errorf("role %d: %q", role, r.events)
		}
		if id := r.conn.theirs.current(); string(id.Bytes()) != "the-peer" {
			t.Errorf("role %d: the id is %q", role, id.Bytes())
		}
	}
}

// RFC 9000 §6.2: Version Negotiation ends a connection that has heard nothing else, when ours is not in it.
func TestVersions_endTheHandshake(t *testing.T) {
	answer := func(r *rig, versions ...uint32) []byte {
		d := appendIDs([]byte{0xc0, 0, 0, 0, 0}, r.first.Bytes(), r.original.Bytes())
		for _, v := range versions {
			d = binary.BigEndian.AppendUint32(d, v)
		}
		return d
	}
	r := newRig(t, Client, Options{})
	r.datagram(answer(r, 0x6b3343cf, Version1))
	r.wantOpen()
	forged := answer(r, 0x6b3343cf)
	copy(forged[15:], "not ours")
	r.datagram(forged) // RFC 9000 §17.2.1: the ids prove that the server has got our packet
	r.wantOpen()
	r.datagram(answer(r, 0x6b3343cf))
	if !r.conn.Over() || r.conn.Closed().Err != ErrVersion || len(r.out()) != 0 {
		t.Errorf("%+v", r.conn.Closed())
	}
	r = newRig(t, Client, Options{})
	r.in(Initial, ping)
	r.datagram(answer(r, 0x6b3343cf)) // §6.2: a client that has got any other packet ignores it
	r.wantOpen()
	r = newRig(t, Server, Options{})
	r.datagram(answer(r, 0x6b3343cf))
	r.wantOpen()
}

// All suites of TLS 1.3 that QUIC has; others end the connection.
func TestConn_suites(t *testing.T) {
	for _, suite := range []uint16{aes128GCM, aes256GCM, chaCha20} {
		for _, role := range []Role{Server, Client} {
			r := newRig(t, role, Options{})
			r.suite = suite
			r.establish()
			s := r.open(TwoWay)
			r.conn.Send(s, pattern(0, 5000), true)
			if n, f := count(r.out(), frameStream); n != 5 || !f.end {
				t.Errorf("suite %x: %d frames", suite, n)
			}
			r.in(OneRTT, streamFrame(s.ID, 0, 900, true))
			if len(r.got[s.ID]) != 900 {
				t.Errorf("suite %x: %d bytes", suite, len(r.got[s.ID]))
			}
		}
	}
	r := newRig(t, Server, Options{})
	r.in(Initial, ping)
	if err := r.conn.SetSecret(Handshake, true, 0x1304, make([]byte, 32)); err == nil {
		t.Error("a suite that QUIC does not have")
	}
	r.drive()
	r.wantFault(InternalError)
}
