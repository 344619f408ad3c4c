package examples_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A handler's client goes through the upstream of the configuration: also after a reload has changed it.
func TestTransport(t *testing.T) {
	users := func(name string) string {
		o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/nobody" {
				w.WriteHeader(404)
				return
			}
			fmt.Fprint(w, name, r.URL.Path)
		}))
		t.Cleanup(o.Close)
		return o.Listener.Addr().String()
	}
	addr := testutil.FreeAddr(t)
	b := operated{dir: t.TempDir(), bin: testutil.Binary(t, "./examples/transport"), conf: "conf.toml", events: "log"}
	configure := func(backend string) {
		const text = "error_log = \"log\"\n[http]\nlisten = %q\n[upstreams.users]\nbackends = [{ address = %q }]\n"
		conf := fmt.Sprintf(text, addr, backend)
		if err := os.WriteFile(filepath.Join(b.dir, b.conf), []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	configure(users("one"))
	p := b.start(t)
	b.log(t, 1, `"msg":"listening"`)
	want := func(path string, status int, text string) {
		t.Helper()
		resp, body := ask(t, "GET", "http://"+addr+path, "")
		if resp.StatusCode != status || !strings.HasPrefix(body, text) {
			t.Errorf("%s: %s, %q", path, resp.Status, body)
		}
	}
	want("/me", 200, "hello one/me")
	want("/nobody", 404, "nobody by that name")
	for i, backend := range []string{users("two"), testutil.FreeAddr(t)} {
		configure(backend)
		p.Signal(syscall.SIGHUP)
		b.log(t, i+1, `"msg":"configuration reloaded"`)
		if i == 0 {
			want("/me", 200, "hello two/me")
		} else {
			want("/me", 502, "nobody knows")
		}
	}
	stop(t, p)
}
