package tlsconn_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// awaiting is a server of one turn whose handshakes for slow.test wait until released.
type awaiting struct {
	*house
	release chan error
	waiting atomic.Int32
	ended   atomic.Int32
}

func newAwaiting(t *testing.T, timeout time.Duration, panics bool) *awaiting {
	o := tlsconn.HandshakerOptions{Computing: 1, Timeout: timeout}
	a := &awaiting{house: newHouse(t, o), release: make(chan error)}
	config := serverConfig()
	own := config.Certificates[0]
	config.Certificates = nil
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName != "slow.test" {
			return &own, nil
		}
		err := tlsconn.Await(hello, func(ctx context.Context) error {
			a.waiting.Add(1)
			defer a.ended.Add(1)
			select {
			case err := <-a.release:
				if panics {
					panic("it must not")
				}
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		return &own, err
	}
	a.serve(tlsconn.ServerOptions{Config: config}, func(*engine.Conn) engine.Handler { return echo{} })
	return a
}

// begin begins handshakes for slow.test, and waits until they wait.
func (a *awaiting) begin(n int) (ended chan error, conns []net.Conn) {
	a.t.Helper()
	config := clientConfig()
	config.ServerName, config.InsecureSkipVerify = "slow.test", true
	ended = make(chan error, n)
	for range n {
		conn, err := net.Dial("tcp", a.addr)
		testutil.Must(a.t, err)
		a.t.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
		go func() { ended <- tls.Client(conn, config).Handshake() }()
	}
	testutil.Eventually(a.t, patience, func() bool { return int(a.waiting.Load()) == n })
	return ended, conns
}

// Handshakes that wait for something else leave their turn to others, and go on when they have it.
func TestAwait(t *testing.T) {
	a := newAwaiting(t, 0, false)
	ended, _ := a.begin(20)
	if s := a.hs.Stats(); s.Current != 20 || s.Computing != 0 {
		t.Errorf("%+v", s)
	}
	exchange(t, a.dial(clientConfig()), []byte("others have the turn"))
	for range 19 {
		a.release <- nil
	}
	a.release <- errors.New("no such name")
	failed := 0
	for range 20 {
		if err := <-ended; err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d failed", failed)
	}
	testutil.Eventually(t, patience, func() bool { s := a.hs.Stats(); return s.Current == 0 && s.Computing == 0 })
}

// A client that leaves ends the waiting, and a panic costs its connection alone.
func TestAwait_ends(t *testing.T) {
	logger := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // panics are told with their stacks
	defer slog.SetDefault(logger)
	for _, panics := range []bool{false, true} {
		a := newAwaiting(t, 0, panics)
		ended, conns := a.begin(10)
		for _, c := range conns[:9] {
			if !panics {
				c.Close()
				continue
			}
			a.release <- nil
		}
		testutil.Eventually(t, patience, func() bool { return a.ended.Load() == 9 })
		exchange(t, a.dial(clientConfig()), []byte("there is a turn"))
		a.release <- nil
		for range 10 {
			<-ended
		}
		testutil.Eventually(t, patience, func() bool { s := a.hs.Stats(); return s.Current == 0 && s.Computing == 0 })
	}
}

// A client that has sent its FIN before is not waited for.
func TestAwait_afterFIN(t *testing.T) {
	h := newHouse(t, tlsconn.HandshakerOptions{})
	config, asked, ended := serverConfig(), make(chan struct{}), make(chan error, 1)
	config.Certificates = nil
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		close(asked)
		<-time.After(200 * time.Millisecond) // the reactor sees the FIN
		err := tlsconn.Await(hello, func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("it has waited")
		})
		ended <- err
		return nil, err
	}
	h.serve(tlsconn.ServerOptions{Config: config}, func(*engine.Conn) engine.Handler { return echo{} })
	conn, err := net.Dial("tcp", h.addr)
	testutil.Must(t, err)
	defer conn.Close()
	go tls.Client(conn, clientConfig()).Handshake() //nolint:errcheck // it fails
	<-asked
	testutil.Must(t, conn.(*net.TCPConn).CloseWrite())
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// The deadline of a handshake goes on.
func TestAwait_timeout(t *testing.T) {
	a := newAwaiting(t, 100*time.Millisecond, false)
	ended, _ := a.begin(3)
	for range 3 {
		if err := <-ended; err == nil {
			t.Error("a handshake has not ended in time")
		}
	}
	testutil.Eventually(t, patience, func() bool { return a.ended.Load() == 3 })
	if s := a.hs.Stats(); s.Timeouts != 3 || s.Current != 0 {
		t.Errorf("%+v", s)
	}
}
