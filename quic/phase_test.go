package quic

import "testing"

// update has the test begin a new phase of its keys, and expect that of conn.
func (r *rig) update() (old keys) {
	old = r.write[OneRTT]
	r.write[OneRTT], r.read[OneRTT] = r.write[OneRTT].updated(), r.read[OneRTT].updated()
	r.phase ^= phaseBit
	return old
}

// RFC 9001 §6.1, §6.2, §6.5: the keys of both directions follow; packets of the old phase are taken for three PTO.
func TestKeyUpdate_byThePeer(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		late := [2][]byte{}
		for i := range late {
			late[i] = r.sealed(OneRTT, streamFrame(r.theirs(TwoWay, uint64(i)), 0, 9, true))
		}
		r.update()
		r.in(OneRTT, ping)
		r.in(OneRTT, ping)
		if n, _ := count(r.out(), frameAck); n != 1 { // sealed with the new keys, or out would fail
			t.Fatalf("%d acknowledgements", n)
		}
		r.datagram(late[0])
		if !r.ended[r.theirs(TwoWay, 0)] {
			t.Error("a packet of the old phase is dropped")
		}
		r.out()
		r.pass(5e9)
		r.datagram(late[1])
		if r.ended[r.theirs(TwoWay, 1)] {
			t.Error("the old keys are used")
		}
		r.wantOpen()
	})
}

// A forged packet of the next phase has no effect.
func TestKeyUpdate_forged(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		for range 100 {
			d := r.sealed(OneRTT, ping, make([]byte, 30))
			d[0] ^= phaseBit
			r.datagram(d)
		}
		r.in(OneRTT, streamFrame(r.theirs(TwoWay, 0), 0, 9, true))
		if !r.ended[r.theirs(TwoWay, 0)] {
			t.Error("the keys are others")
		}
		r.wantOpen()
	})
}

// Ten updates at once, and one a second.
func TestBudget_keyUpdates(t *testing.T) {
	r := established(t, Server, Options{})
	for n := range 100 {
		r.update()
		r.in(OneRTT, ping)
		if r.conn.state != open {
			if n != 10 || r.arena.Stats.KeyUpdates != 1 {
				t.Errorf("ended by update %d", n+1)
			}
			r.wantFault(KeyUpdateError)
			break
		}
		r.in(OneRTT, r.ackFrame(OneRTT))
		r.out()
	}
	r = established(t, Server, Options{})
	for range 60 {
		r.update()
		r.in(OneRTT, ping)
		r.pass(1e9)
		r.ack()
	}
	r.wantOpen()
}
