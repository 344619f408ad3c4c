package quic

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// used returns the id of the peer that a packet of conn carries now.
func (r *rig) used() string {
	r.t.Helper()
	r.in(OneRTT, ping)
	r.in(OneRTT, ping)
	all := r.out()
	if len(all) == 0 {
		r.t.Fatal("no acknowledgement")
	}
	return all[len(all)-1].dest
}

func idOf(sequence uint64) string {
	var f frame
	f.parse(newIDFrame(sequence, 0)) //nolint:errcheck // it is ours
	return string(f.body)
}

// RFC 9000 §5.1.1, §5.1.2, §19.15.
func TestIDs_ofThePeer(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.in(OneRTT, newIDFrame(1, 0), newIDFrame(2, 0), newIDFrame(3, 0))
		if id := r.used(); id != "the-peer" {
			t.Fatalf("%x is used", id)
		}
		r.in(OneRTT, newIDFrame(1, 0)) // again
		r.in(OneRTT, newIDFrame(4, 2)) // 0 and 1 are to be retired
		all := r.out()
		var retired []uint64
		for _, f := range all {
			if f.kind == frameRetireID {
				retired = append(retired, f.value)
			}
		}
		if slices.Sort(retired); !slices.Equal(retired, []uint64{0, 1}) {
			t.Fatalf("%d are retired", retired)
		}
		if id := r.used(); id != idOf(2) {
			t.Fatalf("%x is used, want %x", id, idOf(2))
		}
		r.in(OneRTT, newIDFrame(1, 0)) // below what was to be retired: at once
		if n, f := count(r.out(), frameRetireID); n != 1 || f.value != 1 {
			t.Errorf("%d frames, %d", n, f.value)
		}
		r.in(OneRTT, newIDFrame(5, 0)) // the fourth one: 2, 3, 4, 5
		r.wantOpen()
		r.in(OneRTT, newIDFrame(6, 0))
		r.wantFault(ConnectionIDLimitError)
	})
}

func TestFault_ofIDs(t *testing.T) {
	same := func(sequence uint64) func(*rig) []byte {
		return func(*rig) []byte { // id 1 under another number
			id, _ := MakeID([]byte(idOf(1)))
			return appendNewID(nil, sequence, 0, &id, tokenOf(1))
		}
	}
	peers := func(r *rig) []byte { return appendNewID(nil, 1, 0, &r.ours, tokenOf(1)) }
	newID := func(sequence, before uint64) func(*rig) []byte {
		return func(*rig) []byte { return newIDFrame(sequence, before) }
	}
	checkFaults(t, []faultCase{
		{"four ids", NoError, joined(newID(1, 0), newID(2, 0), newID(3, 0))},
		{"five ids", ConnectionIDLimitError, joined(newID(1, 0), newID(2, 0), newID(3, 0), newID(4, 0))},
		{"a fifth one that retires one", NoError, joined(newID(1, 0), newID(2, 0), newID(3, 0), newID(4, 1))},
		{"an id under two numbers", ProtocolViolation, joined(newID(1, 0), same(2))},
		{"the id of the handshake under another number", ProtocolViolation, peers},
		{"another id under the same number", ProtocolViolation, func(r *rig) []byte {
			return append(newIDFrame(1, 0), appendNewID(nil, 1, 0, &r.original, tokenOf(1))...)
		}},
		{"retirement of what was never sent", ProtocolViolation, integers(frameRetireID, 4)},
		{"retirement of a number far away", ProtocolViolation, integers(frameRetireID, integerMax)},
		{"retirement of the id in use", ProtocolViolation, integers(frameRetireID, 0)},
		{"retirement", NoError, integers(frameRetireID, 1)},
		{"retirement twice", NoError, joined(integers(frameRetireID, 1), integers(frameRetireID, 1))},
		{"retirement of one that is made for it", ProtocolViolation,
			joined(integers(frameRetireID, 1), integers(frameRetireID, 2), integers(frameRetireID, 3),
				integers(frameRetireID, 4))},
	}, Server, Client)
}

// RFC 9000 §19.15: a peer whose id has no octets cannot have others.
func TestFault_ofIDsBesideAnEmptyOne(t *testing.T) {
	for _, role := range []Role{Server, Client} {
		r := newRig(t, role, Options{})
		r.ours = ID{}
		if role == Server {
			r.conn.theirs.take(nil)
		}
		r.agree()
		r.conn.HandshakeDone()
		r.in(OneRTT, newIDFrame(1, 0))
		if r.conn.state != closing || r.conn.Closed().Code != uint64(ProtocolViolation) {
			t.Errorf("role %d: %+v", role, r.conn.Closed())
		}
	}
}

// Ours: as many as the peer keeps, four at most; another one for each that is retired, with the event.
func TestIDs_ofOurs(t *testing.T) {
	for limit, want := range map[uint64]int{2: 1, 3: 2, 4: 3, 100: 3} {
		r := newRig(t, Server, Options{})
		r.peer.ids = limit
		r.agree()
		r.conn.HandshakeDone()
		if n, _ := count(r.out(), frameNewID); n != want {
			t.Errorf("limit %d: %d ids, want %d", limit, n, want)
		}
	}
	both(t, func(t *testing.T, r *rig) {
		id := r.conn.own.ids[1]
		r.in(OneRTT, appendFrame(nil, frameRetireID, id.sequence))
		if want := fmt.Sprintf("IDRetired %x", id.id.Bytes()); !slices.Equal(r.events, []string{want}) {
			t.Errorf("%q, want %q", r.events, want)
		}
		n, f := count(r.out(), frameNewID)
		if n != 1 || f.value != 4 || f.before != 0 {
			t.Errorf("%d new ids, %d", n, f.value)
		}
		// A packet to any of ours is one of the connection.
		to, _ := MakeID(f.body)
		r.datagram(r.sealedAs(OneRTT, 0, r.next[OneRTT], &to, appendFrame(nil, frameRetireID, 0)))
		r.wantOpen()
		r.datagram(r.sealedAs(OneRTT, 0, r.next[OneRTT], &to, appendFrame(nil, frameRetireID, 4)))
		r.wantFault(ProtocolViolation) // §19.16: the id of its own packet
	})
}

// CVE-2024-22189: retirements that are not acknowledged are bounded.
func TestBudget_retirements(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		for n := uint64(1); n < 1000; n++ {
			if r.in(OneRTT, newIDFrame(n, n)); r.conn.state != open {
				if n != retiredMax+1 {
					t.Errorf("ended at %d", n)
				}
				r.wantFault(ProtocolViolation)
				return
			}
			r.out()
		}
		t.Error("without end")
	})
	both(t, func(t *testing.T, r *rig) { // a peer that acknowledges may go on
		for n := uint64(1); n < 1000; n++ {
			r.in(OneRTT, newIDFrame(n, n))
			r.out()
			r.ack()
		}
		r.wantOpen()
		if c := &r.conn.theirs; c.flying != 0 || c.count != 1 || len(c.retired) != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// A lost NEW_CONNECTION_ID and a lost RETIRE_CONNECTION_ID are sent again.
func TestIDs_areSentAgain(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.in(OneRTT, newIDFrame(1, 1), appendFrame(nil, frameRetireID, 1))
		first := r.out()
		again := r.pass(400e6)
		for _, k := range []frameKind{frameNewID, frameRetireID} {
			n, f := count(first, k)
			if n != 1 {
				t.Fatalf("%x: %d frames", k, n)
			}
			for range 4 { // probes tell of later packets, so that the first ones count as lost
				r.in(OneRTT, appendFrame(nil, frameAck, uint64(r.seen[OneRTT]), 0, 0, 0))
				r.conn.Send(r.open(TwoWay), []byte("x"), false)
				again = append(again, r.out()...)
			}
			if n, g := count(again, k); n == 0 || !bytes.Equal(f.raw, g.raw) {
				t.Errorf("%x: %d frames", k, n)
			}
		}
	})
}
