package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What edge import makes of a Caddyfile serves the certificates in the folder of the Caddy, without an order.
func TestServe_importOfCaddy(t *testing.T) {
	t.Parallel()
	const name = "caddy.shop.test" // certmagic has one proof of a name in a process, and other tests have names too
	s := newServed(t, pebbleOptions{})
	theirs := s.byCertmagic(name)
	file := filepath.Join(filepath.Dir(s.file), "Caddyfile")
	text := fmt.Sprintf(`{
	email admin@example.org
	acme_ca "%s/dir?%p"
	acme_ca_root %s
	http_port %d
	https_port %d
	default_bind %s
}
%s {
	reverse_proxy 127.0.0.1:1
}
`, s.URL, s.pebble, filepath.Join(filepath.Dir(s.file), "root.pem"), portOf(t, s.plain), portOf(t, s.secure),
		strings.Split(s.plain, ":")[0], name)
	testutil.Must(t, os.WriteFile(file, []byte(text), 0o600))
	out, err := exec.Command(testutil.Binary(t, "./cmd/edge-import"), "caddy", file, "--state", s.state,
		"-o", s.file).CombinedOutput()
	result, wrong := os.ReadFile(s.file)
	if wrong != nil {
		t.Fatalf("%v\n%s", wrong, out)
	}
	if err != nil {
		t.Errorf("%v\n%s%s", err, out, result)
	}
	s.start()
	s.WaitPort(s.secure)
	if got := s.presented(name); got == nil || !got.Equal(theirs) || s.ordersMade() != 1 {
		t.Errorf("not the certificate of Caddy, or after %d orders\n%s", s.ordersMade(), result)
	}
}
