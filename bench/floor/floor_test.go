package floor

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/bench/origin"
	"github.com/edge-proxy/edge/bench/rawio"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const patience = testutil.Patience

// startRelay runs a relay to originAddr until the test ends. stop ends it early.
func startRelay(t testing.TB, originAddr string, park rawio.Park) (r *Relay, stop func()) {
	t.Helper()
	r, err := New(Options{Listen: "127.0.0.1:0", Origin: originAddr, Park: park})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(t, r) }()
	stop = sync.OnceFunc(func() {
		r.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		r.Close()
	})
	t.Cleanup(stop)
	return r, stop
}

// serve is Serve, or the same with a walk after each wait.
func serve(t testing.TB, r *Relay) error {
	if r.Park == rawio.ParkThread {
		return r.Serve()
	}
	for {
		more, err := r.ServeEvents()
		if r.checkEnds(t); !more {
			return err
		}
	}
}

// checkEnds fails t when the invariants of an end do not hold.
func (r *Relay) checkEnds(t testing.TB) {
	for slot, e := range r.ends {
		if e == nil {
			continue
		}
		free := slices.Contains(r.free, min(e.slot, e.peer.slot))
		if e.peer.peer != e || e.slot != uint32(slot) || e.fd < 0 != free || e.fd < 0 != (e.peer.fd < 0) {
			t.Errorf("slot %d: descriptors %d and %d, free %v", slot, e.fd, e.peer.fd, free)
		}
		if len(e.owed) > 0 && (e.canWrite || e.peer.ended) {
			t.Errorf("slot %d: %d bytes are owed, writable %v, the peer has ended %v", slot, len(e.owed), e.canWrite,
				e.peer.ended)
		}
	}
}

func startOrigin(t testing.TB) string {
	t.Helper()
	s, err := origin.New("127.0.0.1:0", origin.NewCounter())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("origin: %v", err)
		}
		s.Close()
	})
	return s.Addr()
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

func bothParks(t *testing.T, f func(t *testing.T, park rawio.Park)) {
	for _, park := range []rawio.Park{rawio.ParkRuntime, rawio.ParkThread} {
		t.Run(string(park), func(t *testing.T) { f(t, park) })
	}
}

func TestRelay_fourCallsAWarmRequest(t *testing.T) {
	bothParks(t, func(t *testing.T, park rawio.Park) {
		const requests = 200
		r, stop := startRelay(t, startOrigin(t), park)
		c := dial(t, r.Addr())
		in := bufio.NewReader(c)
		for range requests {
			if _, err := io.WriteString(c, "GET /small HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		calls := r.Calls()
		// The first request may try to write before the origin is connected.
		if calls.Reads != 2*requests || calls.Writes > 2*requests+1 || calls.Again > 1 {
			t.Errorf("%d requests took %+v, want 2 reads and 2 writes each", requests, calls)
		}
	})
}

func TestRelay_carriesLargeBodiesBothWays(t *testing.T) {
	bothParks(t, func(t *testing.T, park rawio.Park) {
		echo := startEcho(t)
		r, _ := startRelay(t, echo, park)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 256<<10) // 4 MiB: far above any socket buffer
		c := dial(t, r.Addr())
		go func() {
			_, _ = c.Write(sent)
			_ = c.CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Errorf("got %d bytes back that differ from the %d sent", len(got), len(sent))
		}
	})
}

// startEcho sends everything back, but only once it has read its fill: so both directions stall.
func startEcho(t *testing.T) string {
	t.Helper()
	return testutil.Serve(t, func(c net.Conn) {
		all, _ := io.ReadAll(c)
		_, _ = c.Write(all)
		_ = c.Close()
	}).Addr().String()
}

func TestRelay_passesAHalfCloseBehindTheBytes(t *testing.T) {
	r, _ := startRelay(t, startEcho(t), "")
	c := dial(t, r.Addr())
	_, _ = io.WriteString(c, "last words")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "last words" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRelay_holdsBackASenderWhoseReaderIsSlow(t *testing.T) {
	l := testutil.Listen(t)
	r, _ := startRelay(t, l.Addr().String(), "")
	c := dial(t, r.Addr())
	_, _ = c.Write([]byte("x"))
	up, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = up.Close() }()
	written := 1
	chunk := make([]byte, 256<<10)
	for {
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Write(chunk)
		written += n
		if err != nil {
			break // nobody reads: the sender stalls
		}
		if written > 256<<20 {
			t.Fatal("the relay swallowed 256 MiB that nobody read")
		}
	}
	_ = c.CloseWrite()
	_ = up.SetDeadline(time.Now().Add(patience))
	n, err := io.Copy(io.Discard, up)
	if err != nil || n != int64(written) {
		t.Errorf("origin read %d bytes, %v; the client had sent %d", n, err, written)
	}
}

func TestRelay_closesTheClientWhenTheOriginRefuses(t *testing.T) {
	r, _ := startRelay(t, testutil.FreeAddr(t), "")
	c := dial(t, r.Addr())
	_, _ = io.WriteString(c, "hello")
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v, want the end", n, err)
	}
}

func TestRelay_reusesSlotsOfClosedConnections(t *testing.T) {
	r, stop := startRelay(t, startOrigin(t), "")
	for range 50 {
		c := dial(t, r.Addr())
		_, _ = io.WriteString(c, "GET /small HTTP/1.1\r\nConnection: close\r\n\r\n")
		all, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 200 OK\r\n") {
			t.Fatalf("got %.40q, %v", all, err)
		}
		_ = c.Close()
	}
	stop()
	// A pair is given back when the client's FIN arrives, which may be after the next accept.
	if len(r.ends) > 1+2*10 {
		t.Errorf("50 connections one after the other took %d slots", len(r.ends))
	}
}

func TestNew_refusesWhatItCannotDo(t *testing.T) {
	for name, o := range map[string]Options{
		"no origin":    {Listen: "127.0.0.1:0"},
		"IPv6 origin":  {Listen: "127.0.0.1:0", Origin: "[::1]:80"},
		"IPv6 listen":  {Listen: "[::1]:0", Origin: "127.0.0.1:80"},
		"unknown park": {Listen: "127.0.0.1:0", Origin: "127.0.0.1:80", Park: "bench"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
