//go:build apps

package apps

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// way leads to an application, by edge or directly. immutable after front.
type way struct {
	name   string
	slug   string // names what is the way's own in the application; all have one length
	url    string // without a slash at its end
	host   string // the host and port of url
	direct bool
	tls    bool
	h2     bool
	ca     string         // file with the authority of edge
	pool   *x509.CertPool // the same
	client *http.Client
}

// listeners take HTTP/1 and HTTP/2, without TLS and with it.
const listeners = `
[[listeners]]
name = "plain"
listen = "127.0.0.1:0"
protocols = ["h1", "h2"]

[[listeners]]
name = "secure"
listen = "127.0.0.1:0"
cert = "internal"
protocols = ["h1", "h2"]
tls = true

[log]
output = []
`

// frontAll is front with one route, which leads all requests to the application.
func (a *app) frontAll(address string) {
	a.Helper()
	a.front(address, "[[routes]]\npattern = \"/\"\ndest = %q\n", address)
}

// front starts edge, with the routes and upstreams of a configuration, in front of the application at address.
func (a *app) front(address, format string, args ...any) {
	a.Helper()
	dir := a.TempDir()
	file, state := filepath.Join(dir, "edge.toml"), filepath.Join(dir, "state")
	a.write(file, listeners+fmt.Sprintf(format, args...))
	p := testutil.Start(a, testutil.Command{
		Path: testutil.Binary(a, "./cmd/edge"), Args: []string{"run", "-c", file},
		Env: []string{"STATE_DIRECTORY=" + state},
	})
	plain := p.WaitLine(`"msg":"listening".*"listener":"plain".*"address":"([^"]+)"`)[1]
	secure := p.WaitLine(`"msg":"listening".*"listener":"secure".*"address":"([^"]+)"`)[1]
	ca := filepath.Join(state, "internal", "ca.pem")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.read(ca))
	a.ways = []*way{
		{name: "directly", host: address, direct: true},
		{name: "http/1", host: plain},
		{name: "h2c", host: plain, h2: true},
		{name: "https/1", host: secure, tls: true},
		{name: "https/2", host: secure, tls: true, h2: true},
	}
	for i, w := range a.ways {
		w.slug = fmt.Sprint("way-", i)
		w.ca, w.pool, w.url = ca, pool, "http://"+w.host
		if w.tls {
			w.url = "https://" + w.host
		}
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: new(http.Protocols), DisableCompression: true,
		}
		transport.Protocols.SetHTTP1(!w.h2)
		transport.Protocols.SetHTTP2(w.h2 && w.tls)
		transport.Protocols.SetUnencryptedHTTP2(w.h2 && !w.tls)
		a.Cleanup(transport.CloseIdleConnections)
		w.client = &http.Client{
			Transport: transport, Timeout: testutil.Minutes,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
}

// below adds a path to each way through edge, and one to the way without.
func (a *app) below(through, direct string) {
	for _, w := range a.ways {
		if w.direct {
			w.url += direct
		} else {
			w.url += through
		}
	}
}

// mask puts words in place of what differs by the way.
func (w *way) mask(text string) string {
	return strings.NewReplacer(w.url, "{url}", w.host, "{host}", w.slug, "{way}").Replace(text)
}
