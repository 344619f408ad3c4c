package backend

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// While the members change and a method makes its table, others that mark members do not wait for it.
func TestSet_marksWhileTablesAreMade(t *testing.T) {
	making, done := make(chan struct{}), make(chan struct{})
	var slow atomic.Bool
	method := *balance.RoundRobin
	method.Prepare = func(*balance.View) {
		if slow.CompareAndSwap(true, false) {
			close(making)
			<-done
		}
	}
	s := Of("10.0.0.1:80", "10.0.0.2:80")
	s.View(1, &method)
	slow.Store(true)
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		var list []Spec
		for i := range 3 {
			list = append(list, Spec{Address: fmt.Sprintf("10.0.0.%d:80", i+1), Tier: i})
		}
		s.Update(list)
	}()
	<-making
	marked := make(chan struct{})
	members := s.Members()
	go func() {
		defer close(marked)
		members[0].Down(Health)
		members[1].Down(Ejected)
		members[1].Up(Ejected)
	}()
	testutil.Eventually(t, testutil.Patience, func() bool {
		select {
		case <-marked:
			return true
		default:
			return false
		}
	}, "the marks are made")
	close(done)
	<-applied
	now := s.now.Load()
	if now.tiers[0].view.Open(0) || !now.tiers[1].view.Open(1) || !now.tiers[2].view.Open(2) {
		t.Error("the tiers are not open as the marks say")
	}
}

// A member that moves to another tier while a method makes its table is closed in the tier that it is in still.
func TestSet_marksWhileAMemberMoves(t *testing.T) {
	for _, to := range []int{1, 2} { // a tier that there is already, and one that there is not yet
		var moving atomic.Pointer[Member]
		method := *balance.RoundRobin
		method.Prepare = func(*balance.View) {
			if m := moving.Swap(nil); m != nil {
				m.Down(Health) // nothing waits for the table
			}
		}
		s, r := NewSet(Spec{Address: "10.0.0.1:80"}, Spec{Address: "10.0.0.2:80"},
			Spec{Address: "10.0.0.3:80", Tier: 1}), reactor(t)
		v, m := s.View(1, &method), s.Members()[0]
		made := method.Prepare
		method.Prepare = func(view *balance.View) {
			down := moving.Load() != nil
			if made(view); !down {
				return
			}
			for range 4 {
				if v.Pick(r, nil) == m {
					t.Errorf("to tier %d: a member that is down is picked from the tier that it leaves", to)
				}
			}
		}
		moving.Store(m)
		s.Update([]Spec{{Address: "10.0.0.1:80", Tier: to}, {Address: "10.0.0.2:80"},
			{Address: "10.0.0.3:80", Tier: 1}})
		if now := s.now.Load(); moving.Load() != nil || now.tiers[to].view.Open(m.slot) {
			t.Errorf("to tier %d: it is open in its new tier", to)
		}
	}
}
