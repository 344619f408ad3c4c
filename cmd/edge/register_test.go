package main

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// Two processes register themselves in a file, a third one finds them there. One is stopped, another one started, and
// no request fails.
func TestRun_registersItself(t *testing.T) {
	registry := "file://" + filepath.Join(t.TempDir(), "users")
	instance := func(name string) *running {
		t.Helper()
		return start(t, "[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"+
			"headers.response = { X-Name = \"%s\" }\n[register]\nto = \"%s\"\nlinger = \"300ms\"\n", name, registry)
	}
	a := instance("a")
	instance("b")
	front := start(t, "[http]\nlisten = \"127.0.0.1:0\"\n[upstreams.users]\ndiscover = \"%s\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \"users\"\n", registry)
	front.WaitLine(`discovery changed.*members.*2`)
	var asked, stop atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			c := client(t)
			defer c.CloseIdleConnections()
			for stop.Load() == 0 {
				resp, err := c.Get("http://" + front.addr + "/")
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				asked.Add(1)
				name := resp.Header.Get("X-Name")
				if resp.StatusCode != 200 || !slices.Contains([]string{"a", "b"}, name) {
					t.Errorf("%s by %q", resp.Status, name)
					return
				}
			}
		})
	}
	if code := a.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	out := a.Output()
	if gone, drained := strings.Index(out, `"withdrawn"`), strings.Index(out, `"drained"`); gone < 0 || drained < gone {
		t.Errorf("drained, and withdrawn afterwards or never:\n%s", out)
	}
	instance("a").WaitLine(`"registered"`)
	before := asked.Load()
	testutil.Eventually(t, testutil.Minutes, func() bool { return asked.Load() > before+100 })
	stop.Store(1)
	clients.Wait()
	t.Logf("%d requests", asked.Load())
}
