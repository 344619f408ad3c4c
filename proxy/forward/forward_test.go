package forward

import (
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// deadStream takes a body of three bytes, and then it is over.
type deadStream struct {
	session.NopStream
	left int
}

// SendData takes what is left.
func (s *deadStream) SendData(p []byte, _ bool) (int, error) {
	if len(p) > s.left {
		return 0, session.ErrDead
	}
	s.left -= len(p)
	return len(p), nil
}

// A piece of a body that meets a stream which has ended, and has not said so yet, is sent again with those before.
func TestBody_keepsWhatADeadStreamIsSent(t *testing.T) {
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var b Body
	b.Init(e.Reactors()[0])
	b.KeepUpTo(100, message.LengthUnknown)
	to := &deadStream{left: 3}
	if err := b.Push(session.NopStream{}, to, []byte("one"), 3, false); err != nil {
		t.Fatal(err)
	}
	if err := b.Push(session.NopStream{}, to, []byte("two"), 3, true); err != session.ErrDead {
		t.Fatal(err)
	}
	b.Check()
	b.rewind()
	if string(b.Held) != "onetwo" || !b.Ended || b.EndSent {
		t.Fatalf("%q is sent again, ended: %v", b.Held, b.Ended)
	}
}

func TestHostOfAddress(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:8080": "10.0.0.1:8080", "a.example:80": "a.example", "[::1]:80": "[::1]",
		"unix:/run/a.sock": "localhost", "[fe80::1%eth0]:81": "[fe80::1]:81",
	} {
		if got := HostOfAddress(address, false); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
	for address, want := range map[string]string{"a.example:443": "a.example", "a.example:80": "a.example:80"} {
		if got := HostOfAddress(address, true); got != want {
			t.Errorf("%q by TLS: %q, want %q", address, got, want)
		}
	}
}
