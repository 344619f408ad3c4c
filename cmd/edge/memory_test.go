package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
	"github.com/edge-proxy/edge/quic"
)

// residentMost is what a process with a memory_limit of 64 MiB may have resident, in KiB, without the pages of its
// file: a tenth more, and 8 MiB.
const residentMost = (64*11/10 + 8) << 10

// TestRun_memoryOfPeers has clients and servers that do not read, or do not end what they began, hold as much as they
// can in one place after the other. The process stays near its limit, and serves others afterwards.
func TestRun_memoryOfPeers(t *testing.T) {
	testutil.OnlyPlain(t)
	if os.Getenv("EDGE_SOAK") == "" { // with full counts two have more files open than a process may
		t.Parallel()
	}
	for _, place := range []struct {
		name      string
		fill      func(s *scene)
		addresses int // of the name many.test; 0: 1
	}{
		{"heads of HTTP/1 in part", (*scene).headsOfH1, 0},
		{"heads of HTTP/2 in part", (*scene).headsOfH2, 0},
		{"heads of HTTP/3 in part", (*scene).headsOfH3, 0},
		{"streams of QUIC opened by number", (*scene).streamsByNumber, 0},
		{"packets of QUIC that wait for keys", (*scene).earlyPackets, 0},
		{"hellos of TLS in part", (*scene).hellos, 0},
		{"hellos that are peeked at", (*scene).peeked, 0},
		{"answers of HTTP/1 that nobody reads", (*scene).answersOfH1, 0},
		{"answers of HTTP/2 that nobody reads", (*scene).answersOfH2, 0},
		{"compressed answers that nobody reads", (*scene).compressed, 0},
		{"bodies that rules read", (*scene).readBodies, 0},
		{"bodies that are buffered", (*scene).bufferedBodies, 0},
		{"services that nobody reads", (*scene).services, 0},
		{"stored bodies that end while they are read", (*scene).endedBodies, 0},
		{"clients that wait for one answer", (*scene).followers, 0},
		{"tunnels that nobody reads", (*scene).tunnels, 0},
		{"keys of limits", (*scene).limitKeys, 0},
		{"answers of DNS", (*scene).answersOfDNS, 4000},
	} {
		t.Run(place.name, func(t *testing.T) {
			if os.Getenv("EDGE_SOAK") == "" {
				t.Parallel()
			}
			s := newScene(t, max(place.addresses, 1))
			place.fill(s)
			s.bad.Wait()
			s.settles()
			s.serves()
			file := memoryOf(t, s.PID(), "RssFile") // the kernel maps as much as it likes
			peak := memoryOf(t, s.PID(), "VmHWM") - file
			t.Logf("%.1f MiB at most, and %.1f of its file, %d connections", float64(peak)/1024, float64(file)/1024,
				s.reached.Load())
			if s.reached.Load() == 0 {
				t.Error("no client has reached it")
			}
			if peak > residentMost {
				t.Errorf("%d MiB resident, %d at most", peak>>10, residentMost>>10)
			}
		})
	}
}

// scene is an edge with little memory, an origin, and clients that are not good.
type scene struct {
	*testing.T
	*running
	pki                   *pki
	secure, peek, service string // addresses, beside addr
	bad                   sync.WaitGroup

	reached atomic.Int64 // how many connections edge has answered, or taken
	mu      sync.Mutex
	open    []net.Conn // guarded by mu
}

func newScene(t *testing.T, addresses int) *scene {
	s := &scene{T: t, pki: newPKI(t, "a")}
	noise := make([]byte, 256<<10)
	_, _ = rand.Read(noise)
	for i := range noise {
		noise[i] = 'a' + noise[i]%32 // it gets smaller, and is text
	}
	flood := func(w io.Writer, n int) {
		for range n {
			if _, err := w.Write(noise); err != nil {
				return
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		flood(w, 32)
	})
	mux.HandleFunc("/stored/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1000")
		flood(w, 8)
	})
	mux.HandleFunc("/stored/half", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1000")
		w.Header().Set("Content-Length", "2097152")
		flood(w, 1)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		flood(c, 64)
	})
	mux.HandleFunc("/read", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	origin := httptest.NewUnstartedServer(mux)
	origin.Listener.Close()
	origin.Listener = testutil.Listen(t)
	origin.Start()
	raw := testutil.Listen(t)
	go func() {
		for {
			c, err := raw.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); flood(c, 64) }()
		}
	}()
	s.running = start(t, sceneFile, s.pki.pair("a"), origin.Listener.Addr(), raw.Addr(), manyAddresses(t, addresses))
	s.secure = s.address("secure")
	s.service, s.peek = s.address("flood"), s.address("peek")
	t.Cleanup(func() {
		for _, c := range s.open {
			c.Close()
		}
		origin.CloseClientConnections()
		origin.Close()
	})
	return s
}

// manyAddresses starts a DNS server for a name with n addresses.
func manyAddresses(t *testing.T, n int) netip.AddrPort {
	dns := dnsserver.Start(t)
	records := make([]string, n)
	for n := range records {
		records[n] = fmt.Sprintf("A 60 127.1.%d.%d", n/250, 1+n%250)
	}
	dns.Answer("many.test.", records...)
	return dns.Addr
}

const sceneFile = `memory_limit = "64m"
threads = 2
log.output = []
[cache]
memory = "16m"
[[listeners]]
name = "plain"
listen = "127.0.0.1:0"
protocols = ["h1", "h2"]
[[listeners]]
name = "secure"
listen = "127.0.0.1:0"
tls = true
protocols = ["h1", "h2", "h3"]
%s
[[routes]]
pattern = "/good"
dest = "status:200"
[[routes]]
pattern = "/many"
dest = "many"
[[routes]]
pattern = "/limited"
dest = "status:200"
filters = ["each"]
[[routes]]
pattern = "/zipped"
dest = "origin"
rewrite.path = "/big"
filters = ["zip"]
[[routes]]
pattern = "/ruled"
dest = "origin"
rewrite.path = "/read"
read_body = "64k"
[[routes]]
pattern = "/buffered"
dest = "origin"
rewrite.path = "/read"
buffer_request = "1m"
[[routes]]
pattern = "/stored/*"
dest = "origin"
cache = true
[[routes]]
pattern = "/*"
dest = "origin"
[filters.each]
type = "rate_limit"
rate = "1/h"
key = "{query.k}"
[filters.zip]
type = "compress"
[upstreams.origin]
backends = [{ address = "%s" }]
[services.flood]
listen = "127.0.0.1:0"
dest = "%s"
[services.peek]
listen = "127.0.0.1:0"
peek = true
dest = "127.0.0.1:9"
[upstreams.many]
backends = [{ address = "many.test:9" }]
resolver = "%s"
`

// address is where a listener, or a service, listens.
func (s *scene) address(name string) string {
	return s.WaitLine(`"msg":"listening".*"(?:listener|service|name)":"` + name + `".*"address":"([^"]+)"`)[1]
}

// counted is a fifth of n in a short run.
func counted(n int) int {
	if os.Getenv("EDGE_SOAK") == "" {
		n /= 5
	}
	return n
}

// settles waits until the memory of the process grows no more.
func (s *scene) settles() {
	s.Helper()
	most, since := 0, time.Now()
	testutil.Eventually(s.T, testutil.Patience, func() bool {
		if now := memoryOf(s.T, s.PID(), "VmRSS"); now > most+most/50 {
			most, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	}, "the memory of the process grows on")
}

// serves has a good client be served.
func (s *scene) serves() {
	s.Helper()
	c := client(s.T)
	testutil.Eventually(s.T, testutil.Patience, func() bool { // connections may be refused while memory is short
		resp, err := c.Get("http://" + s.addr + "/good")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	}, "a good client is not served")
}

// dial makes connections to addr, whose kernel buffers are small, and has each send what it is made to.
func (s *scene) dial(n int, addr string, send func(i int, c net.Conn)) {
	s.Helper()
	small := net.Dialer{Timeout: 300 * time.Millisecond, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		})
	}}
	const workers = 32
	for w := range workers {
		s.bad.Go(func() {
			for i := w; i < n; i += workers {
				c, err := small.Dial("tcp", addr)
				if err != nil {
					continue // it may refuse
				}
				s.mu.Lock()
				s.open = append(s.open, c)
				s.mu.Unlock()
				s.reached.Add(1)
				_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
				send(i, c)
			}
		})
	}
}

// says has each of n connections send a text, and not read.
func (s *scene) says(n int, addr, text string) {
	s.dial(n, addr, func(_ int, c net.Conn) { _, _ = io.WriteString(c, text) })
}

func (s *scene) headsOfH1() {
	s.says(counted(15_000), s.addr, "GET / HTTP/1.1\r\nHost: a.test\r\nA: "+strings.Repeat("a", 15<<10)+"\r\nB: "+
		strings.Repeat("b", 15<<10))
}

// frameOfH2 is a frame of HTTP/2.
func frameOfH2(kind, flags byte, id uint32, payload string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	return string(binary.BigEndian.AppendUint32(append(b, flags), id)) + payload
}

const prefaceOfH2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func (s *scene) headsOfH2() {
	part := strings.Repeat("\x00\x01a\x7f\xf6\x01"+strings.Repeat("v", 373), 76) // fields of 373 bytes
	text := prefaceOfH2 + frameOfH2(4, 0, 0, "") + frameOfH2(1, 0, 1, part[:14<<10]) + frameOfH2(9, 0, 1, part[14<<10:])
	s.says(counted(15_000), s.addr, text)
}

func (s *scene) config() *tls.Config {
	return &tls.Config{RootCAs: s.pki.Pool, ServerName: "a.example.org", NextProtos: []string{"h3"},
		MinVersion: tls.VersionTLS13}
}

// quic makes n connections of QUIC and has each do something.
func (s *scene) quic(n int, act func(c *quicpeer.Socket)) {
	const workers = 16
	for w := range workers {
		s.bad.Go(func() {
			for i := w; i < n; i += workers {
				c := quicpeer.DialSocket(s.T, s.secure, s.config(), quic.Options{}, nil)
				if c.Until(300*time.Millisecond, func() bool { return c.Established }) {
					s.reached.Add(1)
					act(c)
				}
			}
		})
	}
}

func (s *scene) headsOfH3() {
	const heads, size = 16, 30 << 10
	part := append(quic.AppendInteger([]byte{1}, size), make([]byte, size-1)...)
	s.quic(counted(800), func(c *quicpeer.Socket) {
		type head struct {
			s    *quic.Stream
			rest []byte
		}
		all := make([]head, heads)
		for i := range all {
			qs, err := c.Conn.Open(quic.TwoWay)
			if err != nil {
				return
			}
			all[i] = head{qs, part}
		}
		c.Until(300*time.Millisecond, func() bool {
			left := 0
			for i := range all {
				h := &all[i]
				h.rest = h.rest[c.Conn.Send(h.s, h.rest, false):]
				left += len(h.rest)
			}
			return left == 0
		})
	})
}

func (s *scene) streamsByNumber() {
	s.quic(counted(3000), func(c *quicpeer.Socket) {
		var last *quic.Stream
		for range 128 {
			if qs, err := c.Conn.Open(quic.TwoWay); err == nil {
				last = qs
			}
		}
		c.Conn.Send(last, []byte{0}, false)
		c.Flush()
	})
}

func (s *scene) earlyPackets() {
	const workers = 4
	for range workers {
		s.bad.Go(func() {
			for range counted(5000) / workers {
				udp, err := net.Dial("udp", s.secure)
				if err != nil {
					return
				}
				s.mu.Lock()
				s.open = append(s.open, udp)
				s.mu.Unlock()
				half := quicpeer.End{}
				to := netip.MustParseAddrPort(s.secure)
				half.Begin(s.config(), quic.Path{Local: to.Addr(), Peer: to}, 1, func() uint64 {
					var b [8]byte
					_, _ = rand.Read(b[:])
					return binary.LittleEndian.Uint64(b[:])
				})
				for {
					d, _ := half.Conn.AppendDatagram(make([]byte, 0, quic.DatagramMax), 1)
					if len(d) == 0 {
						break
					}
					_, _ = udp.Write(d)
				}
				_ = udp.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				in := make([]byte, 2048)
				n, err := udp.Read(in)
				if err != nil {
					continue
				}
				s.reached.Add(1)
				h, _ := quic.Parse(in[:n])
				noise := append(append([]byte{0x40}, h.Source...), make([]byte, 1400)...)
				for range 10 {
					_, _ = udp.Write(noise)
				}
				half.Stop()
			}
		})
	}
}

func (s *scene) hellos() {
	s.says(counted(15_000), s.secure, "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"+strings.Repeat("h", 16<<10-8))
}

func (s *scene) peeked() {
	s.says(counted(15_000), s.peek, "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"+strings.Repeat("h", 16<<10-8))
}

func (s *scene) answersOfH1() {
	s.says(counted(4000), s.addr, strings.Repeat("GET /big HTTP/1.1\r\nHost: a.test\r\n\r\n", 4))
}

func (s *scene) answersOfH2() {
	text := prefaceOfH2 + frameOfH2(4, 0, 0, "\x00\x04\x7f\xff\xff\xff") + frameOfH2(8, 0, 0, "\x7f\xff\x00\x00")
	for id := range uint32(100) {
		text += frameOfH2(1, 5, 2*id+1, "\x82\x86\x04\x04/big\x01\x06a.test")
	}
	s.says(counted(400), s.addr, text)
}

func (s *scene) compressed() {
	s.says(counted(4000), s.addr, "GET /zipped HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n")
}

func (s *scene) readBodies() {
	s.says(counted(8000), s.addr, "POST /ruled HTTP/1.1\r\nHost: a.test\r\nContent-Length: 65536\r\n\r\n"+
		strings.Repeat("r", 63<<10))
}

func (s *scene) bufferedBodies() {
	s.says(counted(1000), s.addr, "POST /buffered HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1048576\r\n\r\n"+
		strings.Repeat("b", 1<<20-1))
}

func (s *scene) services() { s.says(counted(2500), s.service, "") }

func (s *scene) endedBodies() {
	s.dial(counted(1000), s.addr, func(i int, c net.Conn) {
		_, _ = fmt.Fprintf(c, "GET /stored/%d HTTP/1.1\r\nHost: a.test\r\n\r\n", i/4)
		_, _ = io.ReadFull(c, make([]byte, 64<<10))
		if i%4 == 3 {
			s.says(1, s.addr, fmt.Sprintf("POST /stored/%d HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", i/4))
		}
	})
}

func (s *scene) followers() {
	s.says(counted(10_000), s.addr, "GET /stored/half HTTP/1.1\r\nHost: a.test\r\nA: "+strings.Repeat("a", 8<<10)+
		"\r\n\r\n")
}

func (s *scene) tunnels() {
	s.says(counted(2500), s.addr, "GET /socket HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
}

func (s *scene) limitKeys() {
	var requests [32]bytes.Buffer
	for i := range requests {
		for n := range counted(50_000) {
			fmt.Fprintf(&requests[i], "GET /limited?k=%d-%d-%0100d HTTP/1.1\r\nHost: a.test\r\n\r\n", i, n, 0)
		}
	}
	s.dial(len(requests), s.addr, func(i int, c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_ = c.SetDeadline(time.Now().Add(testutil.Patience))
		_, _ = c.Write(requests[i].Bytes())
	})
}

func (s *scene) answersOfDNS() {
	s.says(counted(5000), s.addr, "GET /many HTTP/1.1\r\nHost: a.test\r\n\r\n")
}
