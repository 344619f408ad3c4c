package server

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// statusOf asks s for a path and returns the status and the Proxy-Status of the answer.
func statusOf(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	resp, _ := testutil.Get(t, http.DefaultClient, "http://"+s.Addresses()[0].Addr.String()+path)
	return resp.StatusCode, resp.Header.Get("Proxy-Status")
}

// onlyRecord waits until an access log has a record, and decodes it into r. It is to be the only one.
func onlyRecord(t *testing.T, path string, r any) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		text, _ := os.ReadFile(path)
		return json.Unmarshal(text, r) == nil
	}, "a line of the access log")
}

// speaking returns the address of a backend that answers each connection with a text.
func speaking(t *testing.T, text string) string {
	t.Helper()
	return testutil.Serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, text)
		_ = c.Close()
	}).Addr().String()
}

// Each way in which a backend fails is told apart: for the client, in the access log, and in a line that says what to
// look at.
func TestTrouble_isNamed(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "dead.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	try(t, err)
	dead.SetUnlinkOnClose(false)
	dead.Close()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	plain := httptest.NewServer(ok)
	t.Cleanup(plain.Close)
	h2Only := httptest.NewUnstartedServer(ok)
	h2Only.Config.Protocols = new(http.Protocols)
	h2Only.Config.Protocols.SetUnencryptedHTTP2(true)
	h2Only.Start()
	t.Cleanup(h2Only.Close)
	secure := httptest.NewUnstartedServer(ok)
	secure.Config.ErrorLog = nil
	secure.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	settings := "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64" // what a gRPC server begins with
	window := "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\xff\xff\xff\xff"   // a window of more than 2^31-1
	for _, c := range []struct {
		name, dest, token, reason, what, try string
		status                               int
	}{
		{"refused", testutil.FreeAddr(t), "connection_refused", "backend:connect", "refused", "listen there", 502},
		{"no socket", "unix:" + filepath.Join(dir, "none.sock"), "destination_unavailable", "backend:no_socket",
			"does not exist", "the path", 502},
		{"dead socket", "unix:" + socket, "connection_refused", "backend:connect", "refused", "nobody listens", 502},
		{"gRPC", speaking(t, settings), "http_protocol_error", "backend:speaks_http2", "HTTP/2", "grpc = true", 502},
		{"not gRPC", "h2c://" + plain.Listener.Addr().String(), "http_protocol_error", "backend:speaks_http1", "HTTP/1",
			"no grpc", 502},
		{"TLS", speaking(t, "\x15\x03\x01\x00\x02\x02\x46"), "http_protocol_error", "backend:speaks_tls", "TLS",
			"https://", 502},
		{"malformed", speaking(t, "SSH-2.0-OpenSSH_9.2\r\n"), "http_protocol_error", "backend:malformed", "malformed",
			"does it speak HTTP", 502},
		{"malformed HTTP/1", speaking(t, "HTTP/1.1 2x0 OK\r\n\r\n"), "http_protocol_error", "backend:malformed",
			"malformed", "does it speak HTTP", 502},
		{"malformed HTTP/2", "h2c://" + speaking(t, window), "http_protocol_error", "backend:malformed",
			"malformed", "does it speak HTTP", 502},
		{"lost", speaking(t, ""), "connection_terminated", "backend:lost", "closed", "without an answer", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, access := logged(t, 100), filepath.Join(t.TempDir(), "access.log")
			s := start(t, Options{}, "log.output = %q\nhttp.listen = \"127.0.0.1:0\"\n"+
				"upstream_defaults.retry.attempts = 0\n[[routes]]\npattern = \"/*\"\ndest = %q\n", access, c.dest)
			status, proxyStatus := statusOf(t, s, "/")
			var record struct{ Reason string }
			onlyRecord(t, access, &record)
			if status != c.status || record.Reason != c.reason || !strings.Contains(proxyStatus, "error="+c.token) {
				t.Errorf("%d, %s, %s", status, proxyStatus, record.Reason)
			}
			lines := log.with("a backend fails")
			if len(lines) != 1 {
				t.Fatal(lines)
			}
			l := lines[0]
			if l["reason"] != c.reason || l["failures"] != 1.0 || l["since"] == nil || l["level"] != "WARN" ||
				!strings.Contains(fmt.Sprint(l["what"]), c.what) || !strings.Contains(fmt.Sprint(l["try"]), c.try) ||
				!strings.Contains(c.dest, fmt.Sprint(l["backend"])) || l["error"] == "" {
				t.Error(l)
			}
		})
	}
}

// A backend that fails is named though a retry hides it from the client, and so is its return.
func TestTrouble_isToldThoughARetryHidesIt(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	good := httptest.NewServer(ok)
	t.Cleanup(good.Close)
	address := testutil.FreeAddr(t)
	log := logged(t, 100)
	s := start(t, Options{}, "%shttp.listen = \"127.0.0.1:0\"\n[upstreams.api]\n"+
		"backends = [{ address = %q }, { address = %q }]\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n",
		quiet, address, good.Listener.Addr().String())
	ask := func() {
		t.Helper()
		if status, why := statusOf(t, s, "/"); status != 200 {
			t.Fatal(status, why)
		}
	}
	for range 8 {
		ask()
	}
	lines := log.with("a backend fails")
	if len(lines) != 1 || lines[0]["upstream"] != "api" || lines[0]["backend"] != address ||
		lines[0]["error"] != "connection refused" {
		t.Fatal(lines)
	}
	if failed := log.with("an attempt failed"); len(failed) != 1 || failed[0]["level"] != "DEBUG" {
		t.Error(failed)
	}
	l, err := net.Listen("tcp", address)
	try(t, err)
	back := &http.Server{Handler: ok}
	t.Cleanup(func() { back.Close() })
	go func() { _ = back.Serve(l) }()
	testutil.Eventually(t, testutil.Patience, func() bool {
		ask()
		return len(log.with("a backend serves again")) > 0
	}, "the return of the backend")
	if l := log.with("a backend serves again")[0]; l["backend"] != address || l["upstream"] != "api" ||
		l["level"] != "INFO" || l["failures"] != 1.0 {
		t.Error(l)
	}
}

// A backend that does not answer a connection costs the first client its time, and is passed over then.
func TestTrouble_isPassedOver(t *testing.T) {
	silent := testutil.Silent(t)
	good := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(good.Close)
	log := logged(t, 100)
	s := start(t, Options{}, "%shttp.listen = \"127.0.0.1:0\"\n[upstreams.api]\n"+
		"backends = [{ address = %q }, { address = %q }]\ntimeouts.connect = \"200ms\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \"api\"\n", quiet, silent, good.Listener.Addr().String())
	for range 12 {
		if status, why := statusOf(t, s, "/"); status != 200 {
			t.Fatal(status, why)
		}
	}
	over := log.with("is passed over")
	if len(over) != 1 || over[0]["backend"] != silent || over[0]["again_in"] != "10s" {
		t.Error(over)
	}
	if fails := log.with("a backend fails"); len(fails) != 1 || fails[0]["reason"] != "backend:connect" {
		t.Error(fails)
	}
	// Two event loops may have tried it at the same time, each once.
	if failed := log.with("an attempt failed"); len(failed) == 0 || len(failed) > 2 {
		t.Error(failed)
	}
}
