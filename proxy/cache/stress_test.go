package cache_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy/cache"
)

// resource is what the origin of a stress test has at a path: the path decides all of it.
type resource struct {
	length  int
	stated  bool // its length
	storage string
	vary    string
	pieces  int
	status  int
	cutOff  bool
}

func resourceAt(path string) (r resource) {
	rnd := rand.New(rand.NewPCG(uint64(len(path)), uint64(path[len(path)-1])|uint64(path[len(path)-2])<<8))
	r.length = []int{0, 1, 100, 4000, 20_000, 64 << 10, 64<<10 + 1, 200_000}[rnd.IntN(8)]
	if strings.HasPrefix(path, "/large/") {
		r.length *= 20
	}
	r.stated, r.pieces = rnd.IntN(2) == 0, 1+rnd.IntN(5)
	r.storage = []string{"max-age=60", "max-age=60", "max-age=60", "no-store", "private", "max-age=1", ""}[rnd.IntN(7)]
	r.vary = []string{"", "", "X-Lang", "Accept-Encoding, X-Lang", "*"}[rnd.IntN(5)]
	r.status = []int{200, 200, 200, 404, 500, 301}[rnd.IntN(6)]
	r.cutOff = rnd.IntN(8) == 0
	return r
}

// bodyOf is the only right body for a path and a language.
func bodyOf(path, lang string, n int) string {
	one := fmt.Sprintf("%s %s ", path, lang)
	return strings.Repeat(one, n/len(one)+1)[:n]
}

func (r resource) serve(w http.ResponseWriter, q *http.Request) {
	lang := ""
	if strings.Contains(r.vary, "X-Lang") {
		lang = q.Header.Get("X-Lang")
	}
	body := bodyOf(q.URL.Path, lang, r.length)
	if r.storage != "" {
		w.Header().Set("Cache-Control", r.storage)
	}
	if r.vary != "" {
		w.Header().Set("Vary", r.vary)
	}
	w.Header().Set("X-Lang", lang)
	if r.stated {
		w.Header().Set("Content-Length", fmt.Sprint(r.length))
	}
	w.WriteHeader(r.status)
	for i := range r.pieces {
		from, to := i*r.length/r.pieces, (i+1)*r.length/r.pieces
		if _, err := io.WriteString(w, body[from:to]); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		if r.cutOff && i == r.pieces/2 {
			panic(http.ErrAbortHandler)
		}
	}
}

// Many clients of two versions of HTTP ask for few things at a time; some leave early, some read slowly. Nobody is
// given what is another's, a part for the whole, or what must not be stored.
func TestCache_stress(t *testing.T) { stress(t, &rig{}, "/") }

// The same while what is in memory is forgotten all the time: most answers are read from disk.
func TestCache_stressDisk(t *testing.T) { stressDisk(t, &rig{disk: true}, "/") }

// The same with bodies that are larger than memory takes, beside others.
func TestCache_stressLarge(t *testing.T) {
	stressDisk(t, &rig{disk: true, bodies: 12 << 20}, "/large/", "/")
}

func stressDisk(t *testing.T, g *rig, folders ...string) {
	over := make(chan struct{})
	defer close(over)
	forget := func() {
		for tick := time.Tick(3 * time.Millisecond); ; {
			select {
			case <-tick:
				cache.DropMemory(g.zone)
			case <-over:
				return
			}
		}
	}
	g.begun = func() { go forget() }
	stress(t, g, folders...)
	if s := g.zone.Stats().Disk; s.Read == 0 || s.Errors > 0 {
		t.Errorf("%+v", s)
	}
}

func stress(t *testing.T, g *rig, folders ...string) {
	const workers, paths = 24, 14
	each := 60
	if g.bodies > 0 {
		each = testutil.RaceRounds(each) // the race detector looks at each of their bytes
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g.serve(t, cache.Route{LockTimeout: 2 * time.Second, Rules: policy.Rules{}, Query: cache.Query{Sort: true}},
		func(w http.ResponseWriter, q *http.Request) { resourceAt(q.URL.Path).serve(w, q) })
	if g.begun != nil {
		g.begun()
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	clients := []*http.Client{
		{Transport: &http.Transport{DisableCompression: true}},
		{Transport: &http.Transport{DisableCompression: true, Protocols: &protocols}},
	}
	var wg sync.WaitGroup
	for i := range workers {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for range each {
				path := fmt.Sprintf("%s%02d", folders[rnd.IntN(len(folders))], rnd.IntN(paths))
				if err := ask(clients[rnd.IntN(2)], g.url, path, rnd); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, c := range clients {
		c.CloseIdleConnections()
	}
	s := g.zone.Stats()
	t.Logf("%d requests: %d fills, %d followers, %d stored", workers*each, s.Fills, s.Followers, s.Stored)
}

// ask asks for a path, and returns what is wrong with the answer.
func ask(c *http.Client, url, path string, rnd *rand.Rand) error {
	want, lang := resourceAt(path), []string{"", "de", "fr"}[rnd.IntN(3)]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url+path, nil)
	if err != nil {
		return err
	}
	if lang != "" {
		req.Header.Set("X-Lang", lang)
	}
	req.Header.Set("Accept-Encoding", []string{"gzip", "br, gzip", "identity"}[rnd.IntN(3)])
	resp, err := c.Do(req)
	if err != nil {
		if want.cutOff {
			return nil
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	defer resp.Body.Close()
	if rnd.IntN(6) == 0 {
		_, _ = io.ReadFull(resp.Body, make([]byte, rnd.IntN(want.length+1)))
		return nil // and leaves
	}
	body, err := io.ReadAll(resp.Body)
	if want.cutOff {
		if resp.StatusCode == 502 || err != nil {
			return nil
		}
		if want.pieces > 1 && len(body) < want.length {
			return fmt.Errorf("%s: %d bytes of a cut-off answer came as a whole: %v", path, len(body), resp.Header)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w after %d bytes, %v", path, err, len(body), resp.Header)
	}
	if !strings.Contains(want.vary, "X-Lang") {
		lang = ""
	}
	status := resp.Header.Get("Cache-Status")
	unstorable := want.storage == "no-store" || want.storage == "private" || want.vary == "*"
	switch {
	case resp.StatusCode != want.status, string(body) != bodyOf(path, lang, want.length):
		return fmt.Errorf("%s: %d, %d bytes (%.30q), %v; want %+v",
			path, resp.StatusCode, len(body), body, resp.Header, want)
	case !strings.HasPrefix(status, "edge; "):
		return fmt.Errorf("%s: Cache-Status %q", path, status)
	case unstorable && strings.Contains(status, "hit"):
		return fmt.Errorf("%s: %s of %+v", path, status, want)
	}
	return nil
}
