package battery

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Sizes of the bombs: small ones in every run; with EDGE_SOAK=1 those for a machine with the limit below.
const (
	bombLimitShort, bombLimit = 64 << 20, 256 << 20
	// bombSlack is the memory of a process that memory_limit does not count: code, stacks, the runtime.
	bombSlack = 64 << 20
)

// bomb is a load that takes much memory for few bytes: made by so many connections that stay for as long as they can.
type bomb struct {
	name string
	tls  bool
	// conns is how many connections come for each MiB of the limit.
	conns float64
	// send is sent on each connection at once, and more every half a second after that; "": nothing.
	send, more string
}

// hpackBomb asks n times for heads of 32 KiB, 21 bytes each, and lets no byte of the answers come.
func hpackBomb(n int) string {
	var s strings.Builder
	s.WriteString(http2.ClientPreface)
	s.WriteString(h2frame(http2.FrameSettings, 0, 0, "\x00\x04"+be32(0)))
	get := "\x82\x86\x84\x01\x01h"
	// A literal with incremental indexing whose value has 3990 bytes: entry 62 of the table.
	literal := "\x40\x01x\x7f\x97\x1e" + strings.Repeat("v", 3990)
	for i := range n {
		block := get + strings.Repeat("\xbe", 8)
		if i == 0 {
			block = get + literal
		}
		s.WriteString(h2frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream,
			uint32(2*i+1), block))
	}
	return s.String()
}

// tinyWindows opens the window of each of n streams by a byte.
func tinyWindows(n int) string {
	var s strings.Builder
	for i := range n {
		s.WriteString(h2frame(http2.FrameWindowUpdate, 0, uint32(2*i+1), be32(1)))
	}
	return s.String()
}

func bombs() []bomb {
	head := "Host: h\r\n" + strings.Repeat("X: "+strings.Repeat("v", 990)+"\r\n", 30)
	return []bomb{
		{"HTTP/2, answers that are not taken", false, 0.6, hpackBomb(128), ""},
		{"HTTP/2, answers that are taken byte by byte", false, 0.6, hpackBomb(128), tinyWindows(8)},
		{"HTTP/2 over TLS", true, 0.6, hpackBomb(128), tinyWindows(8)},
		{"HTTP/1, heads that do not end", false, 20, "GET / HTTP/1.1\r\n" + head, "X: v\r\n"},
		{"HTTP/1, bodies that do not come", false, 20,
			"POST /origin/silent HTTP/1.1\r\nContent-Length: 100000\r\n" + head + "\r\n", ""},
		{"HTTP/1, answers that are not taken", false, 10, "GET /origin/large HTTP/1.1\r\nHost: h\r\n\r\n", ""},
	}
}

// Whatever clients make edge hold, it stays within memory_limit, and clients that ask for little are answered
// throughout.
func TestBombs(t *testing.T) {
	limit := bombLimitShort
	if os.Getenv("EDGE_SOAK") != "" {
		limit = bombLimit
	}
	for _, b := range bombs() {
		t.Run(b.name, func(t *testing.T) { b.explode(t, limit) })
	}
}

// bombTarget starts edge with the memory limit, before an origin with much to say and one that says nothing.
func bombTarget(t *testing.T, limit int) (p *testutil.Process, plain, secured string) {
	t.Helper()
	large := make([]byte, 1<<20)
	origin := testutil.ServeHTTP(t, testutil.Listen(t), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/origin/silent" {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		w.Write(large)
	})
	dir := t.TempDir()
	testutil.NewAuthority(t).IssueTo(t, dir, "cert", nil, "h")
	text := fmt.Sprintf(`memory_limit = "%dm"
[log]
output = []
[http]
name = "plain"
listen = "127.0.0.1:0"
[https]
name = "secured"
listen = "127.0.0.1:0"
cert = "cert.pem"
key = "cert.key"
[[routes]]
pattern = "/*"
dest = "status:404"
[[routes]]
pattern = "/origin/*"
dest = %q
`, limit>>20, "http://"+origin)
	testutil.Must(t, os.WriteFile(filepath.Join(dir, "edge.toml"), []byte(text), 0o600))
	p = testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run", "-c", "edge.toml"}, Dir: dir,
	})
	plain = p.WaitLine(`"msg":"listening".*"listener":"plain".*"address":"([^"]+)"`)[1]
	secured = p.WaitLine(`"msg":"listening".*"listener":"secured".*"address":"([^"]+)"`)[1]
	return p, plain, secured
}

func (b *bomb) explode(t *testing.T, limit int) {
	p, plain, secured := bombTarget(t, limit)
	addr := plain
	if b.tls {
		addr = secured
	}
	ctx, cancel := context.WithCancel(t.Context())
	var attackers sync.WaitGroup
	defer attackers.Wait()
	defer cancel()
	var sent atomic.Int64
	for range int(b.conns * float64(limit>>20)) {
		attackers.Go(func() {
			for ctx.Err() == nil {
				b.attack(ctx, addr, &sent)
			}
		})
	}
	peak, served := 0, 0
	begun := time.Now()
	for time.Since(begun) < 1500*time.Millisecond {
		if err := ask(plain); err != nil {
			t.Errorf("a bystander after %v, with %d MiB resident: %v", time.Since(begun), peak>>20, err)
			break
		}
		served++
		peak = max(peak, residentBytes(t, p.PID()))
	}
	t.Logf("%d MiB resident at most, %d KiB sent, %d bystanders served", peak>>20, sent.Load()>>10, served)
	if peak > limit+bombSlack {
		t.Errorf("%d MiB resident, the limit is %d", peak>>20, limit>>20)
	}
}

// attack is one connection of the bomb, from its beginning to its end.
func (b *bomb) attack(ctx context.Context, addr string, sent *atomic.Int64) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if b.tls {
		s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if s.HandshakeContext(ctx) != nil {
			return
		}
		c = s
	}
	n, err := io.WriteString(c, b.send)
	sent.Add(int64(n))
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		more := b.more
		if more == "" {
			more = "\x00" // what a peer that has closed answers by a reset
			if strings.HasPrefix(b.send, "PRI") {
				more = h2frame(http2.FramePing, 0, 0, "12345678")
			}
		}
		n, err = io.WriteString(c, more)
		sent.Add(int64(n))
	}
}

// ask makes one small request on a connection of its own.
func ask(addr string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := client.Get("http://" + addr + "/")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err = io.Copy(io.Discard, r.Body); err == nil && r.StatusCode != 404 {
		err = fmt.Errorf("status %s", r.Status)
	}
	return err
}

// A client that pipelines without end and reads what comes is answered to the last request, however far its requests
// are ahead of the answers.
func TestPipeline_allIsAnswered(t *testing.T) {
	const batch = 1000
	requests := 50 * batch
	if os.Getenv("EDGE_SOAK") != "" {
		requests *= 4
	}
	_, addr, _ := bombTarget(t, bombLimit)
	c, err := net.Dial("tcp", addr)
	testutil.Must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(4 * patience))
	wrote := make(chan error, 1)
	go func() {
		text := strings.Repeat("GET / HTTP/1.1\r\nHost: h\r\n\r\n", batch)
		for range requests / batch {
			if _, err := io.WriteString(c, text); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	r := bufio.NewReader(c)
	for i := range requests {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 404 {
			t.Fatalf("answer %d: %s, %v", i, resp.Status, err)
		}
	}
	testutil.Must(t, <-wrote)
}
