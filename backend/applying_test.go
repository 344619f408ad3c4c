package backend

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/internal/testutil"
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
