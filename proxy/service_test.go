package proxy

import "testing"

// A Service that follows another one has the Listener of that one, also later, until it is given one of its own.
func TestService_follow(t *testing.T) {
	var p Proxy
	one, two, three := &Listener{Name: "1"}, &Listener{Name: "2"}, &Listener{Name: "3"}
	a, b, c := p.Service(one), p.Service(two), p.Service(three)
	want := func(l *Listener) {
		t.Helper()
		if got := a.present(); got.Name != l.Name {
			t.Errorf("listener %s, want %s", got.Name, l.Name)
		}
	}
	want(one)
	a.Follow(b)
	want(two)
	b.Follow(c)
	want(three)
	c.Use(one)
	want(one)
	b.Use(two)
	want(two)
	a.Use(three)
	want(three)
}
