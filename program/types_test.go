package program

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// Types of edge serve routes in code, with the keys of their tables.
func TestNewFilter(t *testing.T) {
	dir := t.TempDir()
	testutil.Must(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("a file"), 0o600))
	files, err := NewDestination("static", `root = "`+dir+`"`)
	testutil.Must(t, err)
	limit, err := NewFilter("rate_limit", "rate = \"2/h\"\n")
	testutil.Must(t, err)
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: files, Filters: []*proxy.Filter{limit}}}}
	testutil.Must(t, s.Start())
	t.Cleanup(func() { testutil.Must(t, s.Shutdown(context.Background())) })
	for _, want := range []int{200, 200, 429} {
		resp, err := http.Get("http://" + s.ListenAddr() + "/a.txt")
		testutil.Must(t, err)
		if resp.Body.Close(); resp.StatusCode != want { //nolint:errcheck // of no use here
			t.Errorf("got %d, want %d", resp.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestNewFilter_mistakes(t *testing.T) {
	var wrong *ConfigError
	for _, c := range [][2]string{{"rate_limit", "rte = \"2/h\""}, {"rate_limt", ""}, {"rate_limit", "rate = \"?\""}} {
		if f, err := NewFilter(c[0], c[1]); !errors.As(err, &wrong) || f != nil {
			t.Errorf("%q: %v", c, err)
		}
	}
	if d, err := NewDestination("static", `root = "/nowhere/at/all"`); err == nil {
		t.Errorf("%v, though there is no such folder", d)
	}
}
