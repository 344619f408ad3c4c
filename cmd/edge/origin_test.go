package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// originEnv makes the binary of the tests an origin at the address that it has: see TestMain.
const originEnv = "EDGE_TEST_ORIGIN"

// testOrigin is a backend in a process of its own, over HTTP/1 and HTTP/2 without TLS. It answers after as many
// milliseconds as the query says, and counts what is under way.
type testOrigin struct {
	*testutil.Process
	t       *testing.T
	at      string
	control string // URL of what the test asks
}

// startOrigin starts an origin. address may be "127.0.0.1:0".
func startOrigin(t *testing.T, address string) *testOrigin {
	t.Helper()
	path, err := os.Executable()
	testutil.Must(t, err)
	o := &testOrigin{t: t}
	o.Process = testutil.Start(t, testutil.Command{Path: path, Env: []string{originEnv + "=" + address}})
	said := o.WaitLine(`origin at (\S+), control at (\S+)`)
	o.at, o.control = said[1], "http://"+said[2]
	return o
}

// counts is what an origin has counted since it was asked last.
type counts struct {
	Served int // requests that came
	Peak   int // most of them under way at a time
}

// counts asks for them.
func (o *testOrigin) counts() (c counts) {
	o.t.Helper()
	_, text := testutil.Get(o.t, client(o.t), o.control+"/counts")
	testutil.Must(o.t, json.Unmarshal([]byte(text), &c))
	return c
}

// drop has the kernel drop what comes for the origin, as a firewall does, or ends that.
func (o *testOrigin) drop(on bool) {
	o.t.Helper()
	if resp, text := testutil.Get(o.t, client(o.t), fmt.Sprint(o.control, "/drop?on=", on)); resp.StatusCode != 200 {
		o.t.Fatal(text)
	}
}

// serveOrigin is the process.
func serveOrigin(address string) error {
	wall, err := testutil.NewFirewall(address)
	if err != nil {
		return err
	}
	talk, err := testutil.NewFirewall("127.0.0.1:0")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var now, peak, served int
	s := &http.Server{Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now, served = now+1, served+1
		peak = max(peak, now)
		mu.Unlock()
		defer func() {
			mu.Lock()
			now--
			mu.Unlock()
		}()
		ms, _ := strconv.Atoi(r.URL.RawQuery)
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-r.Context().Done():
		}
		fmt.Fprintln(w, "well")
	})
	control := http.NewServeMux()
	control.HandleFunc("/counts", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(w).Encode(counts{served, peak})
		served, peak = 0, now
	})
	control.HandleFunc("/drop", func(w http.ResponseWriter, r *http.Request) {
		if err := wall.Drop(r.FormValue("on") == "true"); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	fmt.Printf("origin at %s, control at %s\n", wall.Addr(), talk.Addr())
	ended := make(chan error, 2)
	go func() { ended <- s.Serve(wall) }()
	go func() { ended <- http.Serve(talk, control) }()
	return cmp.Or(<-ended, http.ErrServerClosed)
}
