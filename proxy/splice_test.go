package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/session"
)

const largeBody = 16 << 20

// noise is a body that nobody can mistake for another, and its digest.
func noise(seed byte) (body []byte, sum string) {
	body = make([]byte, largeBody)
	rand.NewChaCha8([32]byte{seed}).Read(body) //nolint:errcheck // never fails
	return body, digest(body)
}

func digest(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// digesting answers with a large body, and with the digest of the body it was sent.
func digesting(l net.Listener, answer []byte) string {
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:errcheck // ends with l
		sum := sha256.New()
		io.Copy(sum, r.Body) //nolint:errcheck // the digest tells
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		w.Header().Set("X-Sum", hex.EncodeToString(sum.Sum(nil)))
		w.Write(answer) //nolint:errcheck // as above
	}))
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

// exchangeNoise sends a large body, wants another one back, and returns how many bytes were spliced for that.
func exchangeNoise(t *testing.T, origin net.Listener, splice int64) uint64 {
	answer, want := noise(1)
	s := setTunnel(t, stageOptions{origin: digesting(origin, answer), engine: engine.Options{SpliceMin: splice}})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	const clients = 3
	var wg sync.WaitGroup
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			body, sum := noise(byte(2 + i))
			res, err := (&http.Client{Transport: transport}).Post(s.url, "", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close() //nolint:errcheck // it was read
			got, err := io.ReadAll(res.Body)
			if err != nil || digest(got) != want || res.Header.Get("X-Sum") != sum {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		}()
	}
	wg.Wait()
	for i := range clients {
		if r := s.log.want(t, 1+i, 200, ""); r.BytesIn != largeBody || r.BytesOut != largeBody {
			t.Errorf("logged %d and %d bytes", r.BytesIn, r.BytesOut)
		}
	}
	st := s.engine.Stats()
	if least := uint64(2 * clients * largeBody); st.BytesIn < least || st.BytesOut < least {
		t.Errorf("%d and %d bytes are counted", st.BytesIn, st.BytesOut)
	}
	return st.BytesSpliced
}

func TestSplice_bodiesOfBothDirections(t *testing.T) {
	for name, listen := range map[string]func(testing.TB) net.Listener{
		"tcp": testutil.Listen, "unix": testutil.ListenUnix,
	} {
		t.Run(name, func(t *testing.T) {
			if n := exchangeNoise(t, listen(t), 0); n < largeBody {
				t.Errorf("%d bytes were spliced", n)
			}
		})
	}
}

func TestSplice_off(t *testing.T) {
	testutil.OnlyPlain(t)
	if n := exchangeNoise(t, testutil.Listen(t), -1); n != 0 {
		t.Errorf("%d bytes were spliced", n)
	}
}

// pour writes to c until that fails or n bytes are through.
func pour(c net.Conn, n int) {
	p := make([]byte, 1<<20)
	for n > 0 {
		k, err := c.Write(p[:min(n, len(p))])
		if err != nil {
			return
		}
		n -= k
	}
}

const large = "Content-Length: 16777216\r\n\r\n"

// skip reads a head and n bytes after it, none of what follows.
func skip(t *testing.T, w *testutil.Wire, n int64) {
	t.Helper()
	head, p := "", make([]byte, 1)
	for !strings.HasSuffix(head, "\r\n\r\n") {
		if _, err := w.Conn().Read(p); err != nil {
			t.Fatalf("%q, then %v", head, err)
		}
		head += string(p)
	}
	if k, err := io.CopyN(io.Discard, w.Conn(), n); err != nil {
		t.Fatalf("%d bytes, then %v", k, err)
	}
}

// wantGone reads until w has ended in whatever way, and less than the whole body came.
func wantGone(t *testing.T, w *testutil.Wire) {
	t.Helper()
	w.Conn().SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // the read says so
	n, err := io.Copy(io.Discard, w.Conn())
	if timeout, ok := err.(net.Error); n >= largeBody/2 || ok && timeout.Timeout() {
		t.Fatalf("%d bytes, then %v", n, err)
	}
}

// download begins a large answer and returns when half of it is through.
func download(s *stage, behind func(up *testutil.Wire)) (down, up *testutil.Wire) {
	s.t.Helper()
	down = s.client()
	up = s.requestOn(down, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	up.Send("HTTP/1.1 200 OK\r\n" + large)
	through := make(chan struct{})
	go func() {
		pour(up.Conn(), largeBody/2)
		<-through // a reset throws away what has not left
		behind(up)
	}()
	skip(s.t, down, largeBody/4)
	close(through)
	return down, up
}

// upload begins a large request and returns when half of it is through.
func upload(s *stage, behind func(down *testutil.Wire)) (down, up *testutil.Wire) {
	s.t.Helper()
	down = s.client()
	down.Send("POST / HTTP/1.1\r\nHost: h\r\n" + large)
	through := make(chan struct{})
	go func() {
		pour(down.Conn(), largeBody/2)
		<-through // a reset throws away what the proxy has not read
		behind(down)
	}()
	up = s.accept()
	skip(s.t, up, largeBody/4)
	close(through)
	return down, up
}

func nothing(*testutil.Wire) {}

// When one side breaks off, the other one hears of it, and the log has what was passed.
func TestSplice_brokenOff(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	down, up := download(s, nothing)
	down.Reset()
	wantGone(t, up)
	if r := s.log.want(t, 1, 200, "client:gone"); r.BytesOut < largeBody/5 || r.BytesOut >= largeBody {
		t.Errorf("logged %d bytes", r.BytesOut)
	}
	down, _ = download(s, (*testutil.Wire).Reset)
	wantGone(t, down)
	s.log.want(t, 2, 200, "backend:lost")
	down, _ = download(s, (*testutil.Wire).Close)
	wantGone(t, down)
	s.log.want(t, 3, 200, "backend:truncated")
	_, up = upload(s, (*testutil.Wire).Reset)
	wantGone(t, up)
	if r := s.log.want(t, 4, 499, "client:gone"); r.BytesIn < largeBody/5 || r.BytesIn >= largeBody {
		t.Errorf("logged %d bytes", r.BytesIn)
	}
	down, up = upload(s, nothing)
	up.Reset()
	s.wantStatus(down, "POST", 502, "edge; error=connection_terminated")
	if n := s.engine.Stats().BytesSpliced; n < largeBody/2 {
		t.Errorf("%d bytes were spliced", n)
	}
}

// A side that reads nothing is timed, however much the buffers of the kernel hold. See also TestSim_deadlinesOfBodies.
func TestSplice_deadlines(t *testing.T) {
	const brief, endless, most = 100 * time.Millisecond, "Content-Length: 1099511627776\r\n\r\n", 1 << 40
	t.Run("the client", func(t *testing.T) {
		s := setTunnel(t, stageOptions{session: session.ServerOptions{SendTimeout: brief}})
		s.client().Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		up := s.accept()
		up.ReadHead()
		up.Send("HTTP/1.1 200 OK\r\n" + endless)
		pour(up.Conn(), most)
		s.log.want(t, 1, 200, "client:timeout")
		if s.engine.Stats().BytesSpliced == 0 {
			t.Error("nothing was spliced")
		}
	})
	t.Run("the origin", func(t *testing.T) {
		s := setTunnel(t, stageOptions{upstream: timed(0, brief)})
		down := s.client()
		down.Send("POST / HTTP/1.1\r\nHost: h\r\n" + endless)
		pour(down.Conn(), most)
		s.log.want(t, 1, 504, "backend:first_byte")
		if s.engine.Stats().BytesSpliced == 0 {
			t.Error("nothing was spliced")
		}
	})
}

// An answer that comes before the request has been sent whole is delivered whole.
func TestSplice_earlyAnswer(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	down, up := upload(s, func(down *testutil.Wire) { pour(down.Conn(), largeBody/2) })
	up.Send("HTTP/1.1 413 No\r\nContent-Length: 5\r\n\r\nlarge")
	s.wantStatus(down, "POST", 413, "")
	up.Close()
	s.log.want(t, 1, 413, "")
}

// Both directions of a tunnel at once, and the end of either after its last byte.
func TestSplice_tunnel(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeX})
	down, up := s.open()
	there, thereSum := noise(1)
	back, backSum := noise(2)
	sums := make(chan string, 2)
	for _, w := range []struct {
		from, to net.Conn
		body     []byte
	}{{down.Conn(), up.Conn(), there}, {up.Conn(), down.Conn(), back}} {
		go func() {
			w.from.Write(w.body)               //nolint:errcheck // the digest tells
			w.from.(*net.TCPConn).CloseWrite() //nolint:errcheck // as above
		}()
		go func() {
			got, err := io.ReadAll(w.to)
			if err != nil {
				t.Error(err)
			}
			sums <- digest(got)
		}()
	}
	got := []string{<-sums, <-sums}
	if strings.Join(got, " ") != thereSum+" "+backSum && strings.Join(got, " ") != backSum+" "+thereSum {
		t.Error("what came is not what was sent")
	}
	if r := s.log.want(t, 1, 101, ""); r.BytesIn != largeBody || r.BytesOut != largeBody {
		t.Errorf("logged %d and %d bytes", r.BytesIn, r.BytesOut)
	}
	if n := s.engine.Stats().BytesSpliced; n < largeBody {
		t.Errorf("%d bytes were spliced", n)
	}
}

// Within a frame of a WebSocket nobody looks; where it ends is known all the same: the close frame of a drain comes
// between two.
func TestSplice_webSocket(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	down, up := s.request("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	up.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	skip(t, down, 0)
	body, want := noise(3)
	const head, tail = "\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x00", "\x81\x02hi" // 16 MiB, and two bytes
	go func() {
		up.Conn().Write(append(append([]byte(head), body...), tail...)) //nolint:errcheck // the digest tells
	}()
	got := make([]byte, len(head)+len(body)+len(tail))
	if _, err := io.ReadFull(down.Conn(), got); err != nil {
		t.Fatal(err)
	}
	if digest(got[len(head):len(got)-len(tail)]) != want {
		t.Error("another frame came")
	}
	if n := s.engine.Stats().BytesSpliced; n < largeBody/2 {
		t.Errorf("%d bytes were spliced", n)
	}
	drained := make(chan bool, 1)
	go func() { drained <- s.engine.Drain(time.Second) }()
	down.Want("\x88\x02\x03\xe9")
	down.Close()
	up.Close()
	<-drained
}
