package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/crypto/hkdf"
	"google.golang.org/protobuf/proto"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// newHTTP3 makes a client of HTTP/3 by quic-go.
func newHTTP3(t *testing.T, config *tls.Config) *http3.Transport {
	t.Helper()
	x := &http3.Transport{TLSClientConfig: config}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// connectH3 has quic-go send an extended CONNECT as it wants it: with the protocol in Proto.
type connectH3 struct{ *http3.Transport }

func (x connectH3) RoundTrip(r *http.Request) (*http.Response, error) {
	if p := r.Header[":protocol"]; len(p) == 1 {
		r = r.Clone(r.Context())
		delete(r.Header, ":protocol")
		r.Proto = p[0]
	}
	return x.Transport.RoundTrip(r)
}

// pattern is a body of n bytes that no other offset of it repeats soon.
func pattern(n int) []byte {
	b := make([]byte, n)
	_, _ = io.ReadFull(hkdf.New(sha256.New, []byte{byte(n)}, nil, nil), b[:min(n, 8000)])
	for k := 8000; k < n; k *= 2 {
		copy(b[k:], b[:k])
	}
	for i := 0; i+8 <= n; i += 4096 {
		binary.BigEndian.PutUint64(b[i:], uint64(i))
	}
	return b
}

// originH3 answers requests of the tests.
func originH3(t *testing.T) string {
	t.Helper()
	return serveOrigin(t, muxH3())
}

// muxH3 has the paths of originH3.
func muxH3() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Proto, r.Header.Get("X-Forwarded-Proto"), r.Host)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "X-Sum")
		sum := sha256.New()
		_, _ = io.Copy(io.MultiWriter(w, sum), r.Body)
		w.Header().Set("X-Sum", fmt.Sprintf("%x", sum.Sum(nil)))
	})
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		_, _ = io.Copy(sum, r.Body)
		_, _ = fmt.Fprintf(w, "%x", sum.Sum(nil))
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n := 0
		_, _ = fmt.Sscan(r.URL.RawQuery, &n)
		_, _ = w.Write(pattern(n))
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "late")
	})
	return mux
}

// serveOrigin serves h over HTTP/1 and HTTP/2 without TLS, until the test ends.
func serveOrigin(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	testutil.Must(t, err)
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l) //nolint:errcheck // until it is closed
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// TestHTTP3_quicGo asks over HTTP/3 with quic-go, before origins of HTTP/1 and HTTP/2.
func TestHTTP3_quicGo(t *testing.T) {
	origin := originH3(t)
	for _, protocol := range []string{"h1", "h2"} {
		t.Run("origin "+protocol, func(t *testing.T) {
			e := startEdge(t, "[[routes]]\npattern = \"/\"\ndest = \"web\"\n[upstreams.web]\n"+
				"backends = [{ address = %q }]\nprotocol = %q\n", origin, protocol)
			c := &http.Client{Transport: newHTTP3(t, e.client("h3"))}
			url := "https://" + e.secure
			t.Run("page", func(t *testing.T) { pageH3(t, c, url, protocol) })
			t.Run("bodies", func(t *testing.T) { bodiesH3(t, c, url) })
			t.Run("many", func(t *testing.T) { manyH3(t, c, url) })
			t.Run("cancelled", func(t *testing.T) { cancelledH3(t, c, url) })
		})
	}
}

// fetch returns the status, the head and the body of an answer.
func fetch(t *testing.T, c *http.Client, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(bound(t), method, url, body)
	testutil.Must(t, err)
	return testutil.Do(t, c, r)
}

func pageH3(t *testing.T, c *http.Client, url, protocol string) {
	want := map[string]string{"h1": "HTTP/1.1 https ", "h2": "HTTP/2.0 https "}[protocol]
	resp, body := fetch(t, c, "GET", url+"/page", nil)
	if resp.Proto != "HTTP/3.0" || resp.StatusCode != 200 || !strings.HasPrefix(body, want) {
		t.Errorf("%s %s: %q, not %q", resp.Proto, resp.Status, body, want)
	}
	if a := resp.Header.Get("Alt-Svc"); a != "" {
		t.Errorf("Alt-Svc over HTTP/3: %q", a)
	}
	if resp, body = fetch(t, c, "HEAD", url+"/page", nil); resp.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: %s %q", resp.Status, body)
	}
	if resp, body = fetch(t, c, "GET", url+"/early", nil); resp.StatusCode != 200 || body != "late" {
		t.Errorf("103: %s %q", resp.Status, body)
	}
	if resp, _ = fetch(t, c, "GET", url+"/"+strings.Repeat("x", 10_000), nil); resp.StatusCode != 414 {
		t.Errorf("a long target: %s", resp.Status)
	}
}

func bodiesH3(t *testing.T, c *http.Client, url string) {
	size := 3 << 20
	if soak() {
		size = 100 << 20
	}
	b := pattern(size)
	sum := fmt.Sprintf("%x", sha256.Sum256(b))
	if _, got := fetch(t, c, "POST", url+"/sum", bytes.NewReader(b)); got != sum {
		t.Errorf("other bytes came to the origin: %s", got)
	}
	if _, got := fetch(t, c, "GET", fmt.Sprintf("%s/bytes?%d", url, size), nil); got != string(b) {
		t.Errorf("other bytes came back: %d", len(got))
	}
	resp, got := fetch(t, c, "POST", url+"/echo", io.MultiReader(bytes.NewReader(b))) // of no known length
	if got != string(b) || resp.Trailer.Get("X-Sum") != sum {
		t.Errorf("an echo of %d bytes, trailers %v", len(got), resp.Trailer)
	}
}

func manyH3(t *testing.T, c *http.Client, url string) {
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			want := strings.Repeat(fmt.Sprint(i), 1+i*10)
			r, _ := http.NewRequestWithContext(t.Context(), "POST", url+"/echo", strings.NewReader(want))
			resp, err := c.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close() //nolint:errcheck // it was read
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != want {
				t.Errorf("request %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
}

// cancelledH3 leaves a body in its middle, which costs no other request.
func cancelledH3(t *testing.T, c *http.Client, url string) {
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/bytes?%d", url, 50<<20), nil)
	resp, err := c.Do(r)
	testutil.Must(t, err)
	if _, err := io.ReadFull(resp.Body, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = resp.Body.Close()
	if resp, _ := fetch(t, c, "GET", url+"/page", nil); resp.StatusCode != 200 {
		t.Errorf("afterwards: %s", resp.Status)
	}
}

// A call of gRPC through HTTP/3: its frames and its trailers arrive.
func TestHTTP3_gRPC(t *testing.T) {
	origin := serveGRPC(t)
	e := startEdge(t, "[[routes]]\npattern = \"/\"\ndest = \"api\"\ngrpc = true\n[upstreams.api]\n"+
		"backends = [{ address = %q }]\nprotocol = \"h2\"\n", origin)
	c := &http.Client{Transport: newHTTP3(t, e.client("h3"))}
	message, err := proto.Marshal(&testgrpc.SimpleRequest{ResponseSize: 300_000,
		Payload: &testgrpc.Payload{Body: make([]byte, 200_000)}})
	testutil.Must(t, err)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	r, _ := http.NewRequestWithContext(bound(t), "POST",
		"https://"+e.secure+"/grpc.testing.TestService/UnaryCall", bytes.NewReader(append(frame, message...)))
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	resp, err := c.Do(r)
	testutil.Must(t, err)
	b, err := io.ReadAll(resp.Body)
	if err != nil || len(b) < 5 {
		t.Fatal(len(b), err)
	}
	var answer testgrpc.SimpleResponse
	if err := proto.Unmarshal(b[5:], &answer); err != nil || len(answer.GetPayload().GetBody()) != 300_000 {
		t.Fatal(err, len(answer.GetPayload().GetBody()))
	}
	if resp.Trailer.Get("Grpc-Status") != "0" {
		t.Fatalf("trailers %v", resp.Trailer)
	}
}

// A client without a good handshake, or that breaks the rules, is told so in the words of TLS and HTTP/3.
func TestHTTP3_refused(t *testing.T) {
	e := startEdge(t, "[[routes]]\npattern = \"/\"\ndest = \"status:204\"\n")
	dial := func(config *tls.Config) (*quicgo.Conn, error) {
		c, err := quicgo.DialAddr(bound(t), e.secure, config, nil)
		if err == nil {
			t.Cleanup(func() { _ = c.CloseWithError(0x100, "") })
		}
		return c, err
	}
	var alert *quicgo.TransportError
	if _, err := dial(e.client("h2")); !errors.As(err, &alert) || alert.ErrorCode != 0x178 { // no_application_protocol
		t.Errorf("h2 over QUIC: %v", err)
	}
	c, err := dial(e.client("h3"))
	testutil.Must(t, err)
	for range 2 { // the second one is one too many
		s, err := c.OpenUniStream()
		testutil.Must(t, err)
		if _, err := s.Write([]byte{0, 4, 0}); err != nil { // SETTINGS
			t.Fatal(err)
		}
	}
	<-c.Context().Done()
	var fault *quicgo.ApplicationError
	if err := context.Cause(c.Context()); !errors.As(err, &fault) || fault.ErrorCode != 0x103 {
		t.Errorf("two control streams: %v", err)
	}
}

// ngtcp2 of Debian, a client that is not written in Go, gets pages, with and without loss. Where its address changes
// without its doing it uploads: no server can find a client that sends nothing.
func TestHTTP3_ngtcp2(t *testing.T) {
	program := ngtcp2(t, "gtlsclient")
	origin := originH3(t)
	e := startEdge(t, "[[routes]]\npattern = \"/\"\ndest = \"web\"\n[upstreams.web]\n"+
		"backends = [{ address = %q }]\n", origin)
	host, port, err := net.SplitHostPort(e.secure)
	testutil.Must(t, err)
	body := filepath.Join(t.TempDir(), "body")
	testutil.Must(t, os.WriteFile(body, pattern(2<<20), 0o600))
	for name, args := range map[string][]string{
		"plain": nil, "lossy": {"--tx-loss=0.05", "--rx-loss=0.05"}, "update": {"--key-update=20ms"},
		"moves":   {"--change-local-addr=2ms"},
		"rebinds": {"--change-local-addr=2ms", "--nat-rebinding", "-m", "POST", "-d", body},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			args := append(args, "--exit-on-all-streams-close", "--no-quic-dump", "--no-http-dump", "--download="+dir,
				host, port)
			for i := range 5 {
				path := fmt.Sprintf("bytes?%d", 100_000+i)
				if name == "rebinds" {
					path = fmt.Sprintf("echo?%d", i)
				}
				args = append(args, fmt.Sprintf("https://localhost:%s/%s", port, path))
			}
			out, err := exec.CommandContext(bound(t), program, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			files, _ := filepath.Glob(filepath.Join(dir, "*"))
			if len(files) == 0 {
				t.Fatalf("no file came\n%s", out)
			}
			moves := strings.Contains(string(out), "Changing local address")
			if moves != strings.Contains(args[0], "addr") {
				t.Errorf("it moves: %v\n%.3000s", moves, out)
			}
		})
	}
}
