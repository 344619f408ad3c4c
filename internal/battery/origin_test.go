package battery

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// origin records all it gets and answers each request with its target. A request whose target
// has a play is answered by that. guarded by mu.
type origin struct {
	addr string

	mu    sync.Mutex
	began int // requests whose head came
	ended int // of them: whole, or lost with their connection
	seen  []*message
	wrong []string
	raw   strings.Builder
	plays map[string]*play
	greet string // sent at once to whoever connects
}

// play is how an origin answers one request.
type play struct {
	early bool     // before the body is read
	say   []string // written one by one
	cue   chan bool
	later string // said when cue was closed
	// end is "" to wait for the end of the connection, "serve" to go on, "rest" to read the request's body and
	// go on, "close", "reset" or "half".
	end string

	closed chan bool // gets a value when edge has closed the connection
}

func newOrigin(t *testing.T) *origin {
	l := testutil.Listen(t)
	o := &origin{addr: l.Addr().String(), plays: map[string]*play{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go o.serve(c)
		}
	}()
	return o
}

// tap copies what is read into the record.
type tap struct {
	net.Conn
	o *origin
}

func (t tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.o.mu.Lock()
	t.o.raw.Write(p[:n])
	t.o.mu.Unlock()
	return n, err
}

func (o *origin) serve(c net.Conn) {
	defer c.Close()
	o.mu.Lock()
	greet := o.greet
	o.mu.Unlock()
	if greet != "" {
		io.WriteString(c, greet)
	}
	in := bufio.NewReader(tap{c, o})
	for {
		if _, err := in.Peek(1); err != nil {
			return
		}
		o.note(func() { o.began++ })
		m, p, err := o.read(in)
		if err == nil {
			o.note(func() { o.seen = append(o.seen, m) })
		} else if isViolation(err) {
			o.note(func() { o.wrong = append(o.wrong, err.Error()) })
		}
		if err == nil && p == nil {
			err = o.echo(c, m)
		}
		o.note(func() { o.ended++ })
		if err != nil {
			return
		}
		if p != nil && !p.perform(c, in, m) {
			return
		}
	}
}

// read reads a request, or its head alone when the answer comes early.
func (o *origin) read(in *bufio.Reader) (*message, *play, error) {
	peeked, _ := in.Peek(in.Buffered())
	words := strings.SplitN(string(peeked), " ", 3)
	var p *play
	if len(words) == 3 {
		o.mu.Lock()
		p = o.plays[words[1]]
		o.mu.Unlock()
	}
	if p != nil && p.early {
		m, err := readHead(in, requestLine)
		return m, p, err
	}
	m, err := readRequest(in)
	return m, p, err
}

func (o *origin) note(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *origin) echo(c net.Conn, m *message) error {
	body := m.word(1)
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	if m.word(0) == "HEAD" {
		body = ""
	}
	if m.word(0) == "CONNECT" {
		_, err := io.WriteString(c, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
		return err
	}
	_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s\r\n%s", length, body)
	return err
}

// perform plays p and reports whether the connection goes on.
func (p *play) perform(c net.Conn, in *bufio.Reader, m *message) bool {
	for _, s := range p.say {
		if _, err := io.WriteString(c, s); err != nil {
			break
		}
	}
	if p.cue != nil {
		<-p.cue
		io.WriteString(c, p.later)
	}
	switch p.end {
	case "serve":
		return true
	case "rest":
		n, err := framing(m)
		return err == nil && readBody(in, m, n) == nil
	case "reset":
		c.(*net.TCPConn).SetLinger(0)
		return false
	case "close":
		return false
	case "half":
		c.(*net.TCPConn).CloseWrite()
	}
	io.Copy(io.Discard, in)
	select {
	case p.closed <- true:
	default:
	}
	return false
}

// take waits until no request is in progress, and returns and forgets the record.
func (o *origin) take(t *testing.T) (seen []*message, wrong []string, raw string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.began == o.ended
	}, "a request is neither whole nor given up")
	o.mu.Lock()
	defer o.mu.Unlock()
	seen, wrong, raw = o.seen, o.wrong, o.raw.String()
	o.seen, o.wrong = nil, nil
	o.raw.Reset()
	return seen, wrong, raw
}
