package origin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const patience = testutil.Patience

func start(t *testing.T) (*Server, *Counter) {
	t.Helper()
	counter := NewCounter()
	s, err := New("127.0.0.1:0", counter)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for {
			more, err := s.ServeEvents()
			if s.checkConns(t); !more {
				done <- err
				return
			}
		}
	}()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		s.Close()
	})
	return s, counter
}

// checkConns fails t when the invariants of a conn do not hold.
func (s *Server) checkConns(t *testing.T) {
	for slot, c := range s.conns {
		if c == nil {
			continue
		}
		waits := len(c.kept) > 0 && (c.skip > 0 || s.answers.readRequest(c.kept).headLen > 0)
		if waits && len(c.owed) == 0 {
			t.Errorf("slot %d: %d bytes are kept that can be answered", slot, len(c.kept))
		}
		if c.skip < 0 || c.skip > 0 && len(c.after) == 0 {
			t.Errorf("slot %d: nothing follows the %d bytes of a body", slot, c.skip)
		}
	}
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func wantAnswer(t *testing.T, in *bufio.Reader, status, bodyLen int) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != status || n != int64(bodyLen) {
		t.Fatalf("got %d with %d bytes, %v; want %d with %d", resp.StatusCode, n, err, status, bodyLen)
	}
	return resp
}

func TestServer_answersByPath(t *testing.T) {
	s, counter := start(t)
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		path    string
		status  int
		bodyLen int64
		chunked bool
	}{
		{"/small", 200, 128, false}, {"/16k", 200, 16 << 10, false}, {"/1m", 200, 1 << 20, false},
		{"/chunked", 200, 16 << 10, true}, {"/else", 404, 0, false},
		{"/cached/1k", 200, 1 << 10, false}, {"/cached/16k?n=1", 200, 16 << 10, false},
		{"/cached/64k", 200, 64 << 10, false}, {"/cached/256k", 200, 256 << 10, false},
	} {
		resp, err := client.Get("http://" + s.Addr() + c.path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || n != c.bodyLen {
			t.Errorf("%s: %d, %d bytes, %v", c.path, resp.StatusCode, n, err)
		}
		if got := len(resp.TransferEncoding) == 1; got != c.chunked {
			t.Errorf("%s: chunked is %v", c.path, got)
		}
		cacheable := resp.Header.Get("Cache-Control") == "max-age=86400"
		if want := strings.HasPrefix(c.path, "/cached/"); cacheable != want {
			t.Errorf("%s: %v", c.path, resp.Header)
		}
	}
	if counter.Load() != 9 {
		t.Errorf("counted %d requests, want 9", counter.Load())
	}
}

func TestServer_readsAnUploadedBody(t *testing.T) {
	s, _ := start(t)
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	for _, method := range []string{"POST", "PUT"} {
		req, _ := http.NewRequest(method, "http://"+s.Addr()+"/upload", bytes.NewReader(make([]byte, 1<<20)))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || len(body) != 128 {
			t.Errorf("%s: %d with %d bytes", method, resp.StatusCode, len(body))
		}
	}
}

func TestServer_answersPipelinedRequestsInOrder(t *testing.T) {
	s, counter := start(t)
	c := dial(t, s)
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	post := "POST /upload HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello"
	_, _ = io.WriteString(c, get("/small")+get("/1m")+post+get("/else")+get("/1m")+get("/16k"))
	in := bufio.NewReader(c)
	for _, want := range []struct{ status, bodyLen int }{
		{200, 128}, {200, 1 << 20}, {200, 128}, {404, 0}, {200, 1 << 20}, {200, 16 << 10},
	} {
		wantAnswer(t, in, want.status, want.bodyLen)
	}
	if counter.Load() != 6 {
		t.Errorf("counted %d requests, want 6", counter.Load())
	}
}

func TestServer_findsRequestEndsInAnyCut(t *testing.T) {
	s, _ := start(t)
	c := dial(t, s)
	in := bufio.NewReader(c)
	wire := "POST /upload HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /small HTTP/1.1\r\n\r\n"
	for i := range len(wire) {
		if _, err := io.WriteString(c, wire[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	wantAnswer(t, in, 200, 128)
	wantAnswer(t, in, 200, 128)
}

func TestServer_closesWhenAsked(t *testing.T) {
	for name, wire := range map[string]string{
		"close":             "GET /small HTTP/1.1\r\nConnection: close\r\n\r\n",
		"close, lower case": "GET /small HTTP/1.1\r\nconnection: close\r\n\r\n",
		"HTTP/1.0":          "GET /small HTTP/1.0\r\n\r\n",
		"behind a body":     "POST /upload HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
	} {
		s, _ := start(t)
		c := dial(t, s)
		_, _ = io.WriteString(c, wire)
		in := bufio.NewReader(c)
		if resp := wantAnswer(t, in, 200, 128); !resp.Close {
			t.Errorf("%s: the answer does not say so", name)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("%s: %v after the answer, want the end", name, err)
		}
	}
}

func TestServer_refusesABodyOfUnknownLength(t *testing.T) {
	for _, field := range []string{"Transfer-Encoding: chunked", "Content-Length: x", "Content-Length: -1"} {
		s, _ := start(t)
		c := dial(t, s)
		_, _ = fmt.Fprintf(c, "POST /upload HTTP/1.1\r\n%s\r\n\r\n", field)
		wantAnswer(t, bufio.NewReader(c), 501, 0)
	}
}

func TestServer_dropsAHeadWithoutEnd(t *testing.T) {
	s, _ := start(t)
	c := dial(t, s)
	go func() { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nX: "+strings.Repeat("x", 1<<20)) }()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v, want the end", n, err)
	}
}

func TestCounter_isSharedThroughItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests")
	a, err := OpenCounter(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenCounter(path)
	if err != nil {
		t.Fatal(err)
	}
	a.Add(3)
	if b.Load() != 3 {
		t.Errorf("the other mapping reads %d, want 3", b.Load())
	}
	if a.Close() != nil || b.Close() != nil {
		t.Error("close failed")
	}
}

// A client of others finds a WebSocket that echoes.
func TestOrigin_echoesMessages(t *testing.T) {
	s, counter := start(t)
	c, _, err := websocket.Dial(t.Context(), "ws://"+s.Addr()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(messageMax)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, n := range []int{0, 1, 125, 126, 1000, 65535, 65536} {
		message := bytes.Repeat([]byte{byte(n), 'x', 'y'}, n/3+1)[:n]
		if err := c.Write(ctx, websocket.MessageBinary, message); err != nil {
			t.Fatal(err)
		}
		kind, back, err := c.Read(ctx)
		if err != nil || kind != websocket.MessageBinary || !bytes.Equal(back, message) {
			t.Fatalf("%d bytes came back of %d, %v", len(back), n, err)
		}
		if got := counter.Load(); got != uint64(i+1) {
			t.Errorf("%d messages are counted of %d", got, i+1)
		}
	}
	read := c.CloseRead(ctx)
	if err := c.Ping(ctx); err != nil {
		t.Error("PING:", err)
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	<-read.Done()
}

// What is no frame of a client ends the connection.
func TestOrigin_refusesFrames(t *testing.T) {
	const hello = "GET /ws HTTP/1.1\r\nHost: a\r\nsec-websocket-key: a\r\n\r\n"
	for _, frame := range []string{"\x82\x01a", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff1234"} {
		s, counter := start(t)
		c := dial(t, s)
		for _, b := range []byte(hello + frame) { // in as many pieces as can be
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) || counter.Load() != 0 {
			t.Errorf("%q: %v, %d are counted", frame, err, counter.Load())
		}
	}
}
