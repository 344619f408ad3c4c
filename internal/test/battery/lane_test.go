package battery

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// lane is one edge process with one event loop between clients and one origin. Its cases run one
// after the other, so that what the origin recorded belongs to one of them.
type lane struct {
	*testutil.Process
	*origin
	edge string
	n    int
}

// unhurried are keys of a listener: no time of it ends before patience does, so that nothing is closed but for a fault.
const unhurried = `limits.header_timeout = "5m"
limits.idle_timeout = "5m"
limits.min_rate = "0"
limits.half_close_wait = "5m"
`

// unhurriedUpstream are those of an upstream.
const unhurriedUpstream = `timeouts = { connect = "2m", first_byte = "5m", read = "5m" }
`

func newLane(t *testing.T) *lane { return newTunedLane(t, "", "") }

func backendAt(addr string) string { return fmt.Sprintf("backends = [{ address = %q }]\n", addr) }

// writeConfig writes the configuration of an edge with one event loop, with these keys of its upstream and listener.
func writeConfig(t *testing.T, upstream, listener, tables string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "edge.toml")
	text := "worker_threads = 1\n[log]\noutput = []\n[[listeners]]\nlisten = \"127.0.0.1:0\"\n" + unhurried +
		listener + "\n[upstreams.default]\n" + upstream + unhurriedUpstream + tables
	testutil.Must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// startEdge starts an edge with this configuration, and returns its address.
func startEdge(t *testing.T, upstream, listener, tables string) (*testutil.Process, string) {
	t.Helper()
	p := testutil.StartEdge(t, writeConfig(t, upstream, listener, tables))
	return p, p.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]
}

// newTunedLane is newLane with further keys of the listener, and further tables.
func newTunedLane(t *testing.T, listener, tables string) *lane {
	t.Helper()
	l := &lane{origin: newOrigin(t)}
	l.Process, l.edge = startEdge(t, backendAt(l.addr), "protocols = [\"h1\"]\n"+listener, tables)
	return l
}

// next names the next case.
func (l *lane) next() string {
	l.n++
	return fmt.Sprintf("c%d", l.n)
}

// heard is what a client got.
type heard struct {
	answers  []*message // final ones
	interims []*message
	end      error // what ended the reading: io.EOF, or why an answer was not whole, or nil
	cut      bool  // it was an error inside of an answer
	raw      string
}

func (h *heard) String() string { return fmt.Sprintf("%q, then %v", h.raw, h.end) }

// closed reports whether the connection ended between answers, in whatever way.
func (h *heard) closed() bool {
	return h.end == io.EOF || errors.Is(h.end, syscall.ECONNRESET)
}

// patience bounds what a case waits for an answer or the end of a connection. It is below all
// timeouts of edge, so that a close by timeout is not taken for a close by a fault.
const patience = testutil.Patience

// copied is a Reader that keeps what was read.
type copied struct {
	io.Reader
	to *strings.Builder
}

func (c copied) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.to.Len() < 1<<16 {
		c.to.Write(p[:n])
	}
	return n, err
}

// pieces cuts s into bytes, or not at all.
func pieces(s string, bytewise bool) []string {
	if !bytewise {
		return []string{s}
	}
	all := make([]string, len(s))
	for i := range len(s) {
		all[i] = s[i : i+1]
	}
	return all
}

// talk sends pieces on a new connection and reads until enough final answers came or it ends.
// fin ends the sending side after them.
func (l *lane) talk(t *testing.T, send []string, method string, enough int, fin bool) *heard {
	t.Helper()
	c, err := net.Dial("tcp", l.edge)
	testutil.Must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := make(chan bool)
	go func() {
		defer close(sent)
		drip(c, send, 0)
		if fin {
			c.(*net.TCPConn).CloseWrite()
		}
	}()
	h := listen(c, method, enough)
	c.Close()
	<-sent
	return h
}

func methodOf(send string) string {
	method, _, _ := strings.Cut(strings.TrimLeft(send, "\r\n"), " ")
	return method
}

// listen reads answers; the first is to a request of the given method, the others to GET.
func listen(c net.Conn, method string, enough int) *heard {
	h := &heard{}
	var raw strings.Builder
	defer func() { h.raw = raw.String() }()
	in := bufio.NewReader(copied{c, &raw})
	for len(h.answers) < enough {
		if len(h.answers) > 0 {
			method = "GET"
		}
		m, err := readAnswer(in, method)
		if err != nil {
			if m != nil && err != io.EOF {
				h.answers = append(h.answers, m)
				h.cut, err = true, fmt.Errorf("inside of an answer: %w", err)
			}
			h.end = err
			return h
		}
		if m.status()/100 == 1 && m.status() != 101 {
			h.interims = append(h.interims, m)
			continue
		}
		h.answers = append(h.answers, m)
	}
	return h
}

// victim proves that a client on a new connection gets its own answer.
func (l *lane) victim(id string) error {
	c, err := net.Dial("tcp", l.edge)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET /victim-%s HTTP/1.1\r\nHost: battery.test\r\n\r\n", id)
	h := listen(c, "GET", 1)
	if len(h.answers) != 1 || h.answers[0].status() != 200 || h.answers[0].body != "/victim-"+id {
		return fmt.Errorf("the victim got %s", h)
	}
	return nil
}
