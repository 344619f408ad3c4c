package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// told is a server that keeps what Sentry would be sent.
func told(t *testing.T) (dsn string, all func() string) {
	t.Helper()
	var mu sync.Mutex
	var text strings.Builder
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		text.Write(body)
	}))
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "http://", "http://key@", 1) + "/1", func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

const sentryText = `
grace_period = "1s"
log.output = []
sentry = { dsn = "%[1]s", burst = { within = "10s" } }
[admin]
listen = "unix:%[2]s"
[http]
listen = "127.0.0.1:0"
[[routes]]
name = "dead"
pattern = "/*"
dest = "%[3]s"
`

// A burst of failed requests and a failed reload reach Sentry, with what edge why knows.
func TestRun_tellsSentry(t *testing.T) {
	t.Parallel()
	dsn, all := told(t)
	socket, dead := testutil.SocketPath(t), testutil.FreeAddr(t)
	e := start(t, sentryText, dsn, socket, dead)
	c := client(t)
	says := func(text string) func() bool { return func() bool { return strings.Contains(all(), text) } }
	for range 25 {
		if r, _ := testutil.Get(t, c, "http://"+e.addr+"/hidden?hidden"); r.StatusCode != 502 {
			t.Fatal(r.StatusCode)
		}
	}
	testutil.Eventually(t, testutil.Minutes, says(" requests of route dead failed within 10s"), "a burst comes")
	testutil.Eventually(t, testutil.Minutes, says("The backend refused the connection: "+dead), "with what is known")
	e.change(t, "http.listen = \"/hidden value\"")
	testutil.Eventually(t, testutil.Minutes, says(`"message":"reload failed, nothing has changed"`), "an error comes")
	stopsWell(t, e)
	if strings.Contains(all(), "/hidden") {
		t.Error(all())
	}
}
