package testutil

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// What comes for a Firewall that drops is not acknowledged: a connect, and bytes on a connection that stands. They
// arrive when it drops no more.
func TestFirewall(t *testing.T) {
	f, err := NewFirewall("127.0.0.1:0")
	Must(t, err)
	defer f.Close()
	dial := func() (net.Conn, error) {
		return net.DialTimeout("tcp", f.Addr().String(), 50*time.Millisecond)
	}
	drop := func(on bool) {
		t.Helper()
		Must(t, f.Drop(on))
	}
	c, err := dial()
	Must(t, err)
	defer c.Close()
	s, err := f.Accept()
	Must(t, err)
	defer s.Close()
	drop(true)
	var timeout net.Error
	if late, err := dial(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("a connect ended with %v, %v", late, err)
	}
	if _, err := c.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	_ = s.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := s.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	drop(false)
	_ = s.SetReadDeadline(time.Now().Add(Patience))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "late" {
		t.Errorf("%q, %v", got, err)
	}
	again, err := dial()
	Must(t, err)
	again.Close()
}
