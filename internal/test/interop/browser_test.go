package interop

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	gorilla "github.com/gorilla/websocket"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// browserPage is what a browser opens: it comes over HTTP/2, and its script waits for HTTP/3.
//
//go:embed testdata/browser.html
var browserPage []byte

// browserReport is what browserPage tells the origin at its end.
type browserReport struct {
	Error     string // empty: all went well, and the rest is set
	First     string // the protocol of the page itself, as the browser names it
	Down      browserBody
	Up        browserBody
	Both      browserBody
	WebSocket string // an echo of "hello"
}

// browserBody is a request with a large body and its way.
type browserBody struct {
	Protocol string // as the browser names it
	Via      string // what edge has told the origin
	Sum      string // SHA-256 of the body at its end
}

// TestHTTP3_chromium has Chromium open a page and change to HTTP/3 by Alt-Svc.
func TestHTTP3_chromium(t *testing.T) {
	browse(t, "chromium", func(t *testing.T, e *edge, profile string) []string {
		key := sha256.Sum256(e.certificate(t).RawSubjectPublicKeyInfo)
		return []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--user-data-dir=" + profile,
			"--disable-background-networking", "--disable-component-update",
			// Chromium tries QUIC at the first address of a name alone, which is ::1 for localhost.
			"--host-resolver-rules=MAP localhost 127.0.0.1, MAP * ~NOTFOUND",
			"--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(key[:]),
			// Chromium refuses private authorities over QUIC, but for the hosts that are named here.
			// With another port, Alt-Svc alone decides whether a request uses QUIC.
			"--origin-to-force-quic-on=localhost:1",
		}
	})
}

// TestHTTP3_firefox has Firefox open the page and change to HTTP/3 by Alt-Svc.
func TestHTTP3_firefox(t *testing.T) {
	browse(t, "firefox-esr", func(t *testing.T, e *edge, profile string) []string {
		sum := sha256.Sum256(e.certificate(t).Raw)
		override := fmt.Sprintf("localhost:%d:\tOID.2.16.840.1.101.3.4.2.1\t%s\t\n", port(t, e.secure),
			strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":"))
		settings := `
user_pref("network.http.http3.disable_when_third_party_roots_found", false);
user_pref("network.dns.disableIPv6", true);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
`
		for name, text := range map[string]string{"cert_override.txt": override, "user.js": settings} {
			testutil.Must(t, os.WriteFile(filepath.Join(profile, name), []byte(text), 0o600))
		}
		return []string{"--headless", "--no-remote", "--profile", profile}
	})
}

// browse has a browser open browserPage, and checks its report. prepare returns the arguments before the URL, by which
// the browser trusts the certificate of e. It may write to the folder of the profile.
func browse(t *testing.T, name string, prepare func(t *testing.T, e *edge, profile string) []string) {
	if !soak() {
		t.Skip("EDGE_SOAK=1 has browsers started")
	}
	program, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: Debian's package %s", name, name)
	}
	origin, reports := browserOrigin(t)
	e := startEdge(t, "[[routes]]\npattern = \"/\"\ndest = \"web\"\n[upstreams.web]\n"+
		"backends = [{ address = %q }]\n", origin)
	size := 5 << 20
	if soak() {
		size = 100 << 20
	}
	profile := t.TempDir()
	args := append(prepare(t, e, profile),
		fmt.Sprintf("https://localhost:%d/start?%d", port(t, e.secure), size))
	ended, output := startBrowser(t, profile, program, args)
	select {
	case r := <-reports:
		checkReport(t, r, size)
	case err := <-ended:
		t.Errorf("the browser ended without a report: %v", err)
	}
	if t.Failed() {
		t.Logf("%s printed:\n%s", name, output)
	}
}

func checkReport(t *testing.T, r browserReport, size int) {
	t.Helper()
	if r.Error != "" {
		t.Errorf("the page: %s", r.Error)
		return
	}
	if r.First != "h2" || r.WebSocket != "hello" {
		t.Errorf("the page by %s, not h2; the WebSocket: %q", r.First, r.WebSocket)
	}
	body := pattern(size)
	for _, c := range []struct {
		name string
		got  browserBody
		body []byte
	}{
		{"down", r.Down, body}, {"up", r.Up, body}, {"both ways", r.Both, body[:1<<20]},
	} {
		if want := (browserBody{"h3", "3.0 edge", fmt.Sprintf("%x", sha256.Sum256(c.body))}); c.got != want {
			t.Errorf("a body %s: %+v, want %+v", c.name, c.got, want)
		}
	}
}

// startBrowser starts a browser that the end of the test ends, with all processes of it. dir is its home.
func startBrowser(t *testing.T, dir, program string, args []string) (ended <-chan error, output *testutil.Output) {
	t.Helper()
	ctx, cancel := context.WithCancel(bound(t))
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it starts
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = testutil.Patience // for a process that has left the group
	output = new(testutil.Output)
	cmd.Stdout, cmd.Stderr = output, output
	testutil.Must(t, cmd.Start())
	end, gone := make(chan error, 1), make(chan struct{})
	go func() {
		end <- cmd.Wait() // for the last process that holds the output
		close(gone)
	}()
	t.Cleanup(func() { cancel(); <-gone })
	return end, output
}

// browserOrigin is originH3 with browserPage, a WebSocket, and the Via of requests in answers.
func browserOrigin(t *testing.T) (addr string, reports <-chan browserReport) {
	t.Helper()
	mux, done := muxH3(), make(chan browserReport, 1)
	mux.HandleFunc("GET /start", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(browserPage) })
	// /echo without trailers: with them, Chromium 156 takes an answer over HTTP/3 for cut now and then, though all of
	// it has come.
	mux.HandleFunc("POST /whole", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("POST /done", func(_ http.ResponseWriter, r *http.Request) {
		var report browserReport
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			report.Error = err.Error()
		}
		done <- report
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := (&gorilla.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close() //nolint:errcheck // the browser has closed it
		kind, message, err := c.ReadMessage()
		for ; err == nil; kind, message, err = c.ReadMessage() {
			_ = c.WriteMessage(kind, message)
		}
	})
	return serveOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Came-Via", r.Header.Get("Via"))
		mux.ServeHTTP(w, r)
	})), done
}

// certificate is the certificate that e presents.
func (e *edge) certificate(t *testing.T) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", e.secure, e.client("h2"))
	testutil.Must(t, err)
	defer c.Close() //nolint:errcheck // nothing was sent
	return c.ConnectionState().PeerCertificates[0]
}
