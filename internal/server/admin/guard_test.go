package admin

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A reload with other authorities takes the rights of a connection that is open with a certificate of those before.
func TestSurface_clientCAOfTheConfigurationInForce(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	var operator tls.Certificate
	for _, name := range []string{"a", "b"} {
		authority := testutil.NewAuthority(t)
		authority.Write(t, in("ca-"+name+".pem"))
		authority.IssueTo(t, dir, name, nil, "127.0.0.1")
		if name == "a" {
			cert, key := authority.Issue(t, nil, "operator")
			operator = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
		}
	}
	text := func(ca string) string {
		return fmt.Sprintf("[admin]\nlisten = \"127.0.0.1:0\"\ncert = %q\nkey = %q\nclient_ca = %q\nwritable = true\n",
			in("a.pem"), in("a.key"), in("ca-"+ca+".pem"))
	}
	s := open(t, &fake{}, text("a"))
	transport := &http.Transport{MaxConnsPerHost: 1, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{operator},
	}}
	defer transport.CloseIdleConnections()
	c, base := &http.Client{Transport: transport, Timeout: testutil.Patience}, "https://"+s.Addresses()[0]
	level := one{"PUT", base + "/v1/log", asJSON, `{"level":"debug"}`, 200, ""}
	ask(t, c, &level)
	testutil.Must(t, apply(t, s, text("b")))
	level.status, level.code = 401, "unauthorized"
	ask(t, c, &level)
	ask(t, c, &one{"GET", base + "/v1/status", "", "", 401, "unauthorized"})
	if n := s.connections.Load(); n != 1 {
		t.Errorf("%d connections, want that of before the reload", n)
	}
}
