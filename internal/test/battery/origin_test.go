package battery

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// origin records all it gets and answers each request with its target. A request whose target
// has a play is answered by that. guarded by mu.
type origin struct {
	addr string

	mu    sync.Mutex
	taps  map[*tap]bool // open
	began int           // requests whose head came
	ended int           // of them: whole, or lost with their connection
	seen  []*message
	wrong []string
	raw   strings.Builder
	plays map[string]*play
	greet string // sent at once on each connection
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
	o := &origin{addr: l.Addr().String(), plays: map[string]*play{}, taps: map[*tap]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if c.RemoteAddr().(*net.TCPAddr).IP.Equal(settler) {
				c.Close()
				continue
			}
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				panic(err)
			}
			t := &tap{Conn: c, raw: raw, o: o}
			o.note(func() { o.taps[t] = true })
			go o.serve(t)
		}
	}()
	return o
}

// tap is a connection that copies what is read into the record.
type tap struct {
	net.Conn
	raw   syscall.RawConn
	o     *origin
	waits bool // for the kernel: all that came was read and dealt with. guarded by o.mu
}

// Read reads. What it takes from the kernel is in the record before anybody else can look.
func (t *tap) Read(p []byte) (n int, err error) {
	waited := t.raw.Read(func(fd uintptr) bool {
		t.o.mu.Lock()
		defer t.o.mu.Unlock()
		for n, err = unix.Read(int(fd), p); err == unix.EINTR; {
			n, err = unix.Read(int(fd), p)
		}
		if t.waits = err == unix.EAGAIN; n > 0 {
			t.o.raw.Write(p[:n])
		}
		return !t.waits
	})
	switch {
	case waited != nil:
		return 0, waited
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// idle reports whether nothing waits to be read either. Runs with o.mu.
func (t *tap) idle() bool {
	queued := 0
	err := t.raw.Control(func(fd uintptr) { queued, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	return err != nil || t.waits && queued == 0
}

func (o *origin) serve(c *tap) {
	defer o.note(func() { delete(o.taps, c) })
	defer c.Close()
	o.mu.Lock()
	greet := o.greet
	o.mu.Unlock()
	if greet != "" {
		io.WriteString(c, greet)
	}
	in := bufio.NewReader(c)
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
func (p *play) perform(c *tap, in *bufio.Reader, m *message) bool {
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
		c.Conn.(*net.TCPConn).SetLinger(0)
		return false
	case "close":
		return false
	case "half":
		c.Conn.(*net.TCPConn).CloseWrite()
	}
	io.Copy(io.Discard, in)
	select {
	case p.closed <- true:
	default:
	}
	return false
}

// settler is from where an origin is told to accept all connections that came before.
var settler = net.IPv4(127, 77, 77, 77)

// settle waits until the record has all that edge has sent so far. What a case leaves behind at the origin, on a
// connection of its own, is else recorded whenever its goroutine runs, and taken for that of the next case.
func (o *origin) settle(t *testing.T) {
	t.Helper()
	d := net.Dialer{Timeout: testutil.Patience, LocalAddr: &net.TCPAddr{IP: settler}}
	c, err := d.Dial("tcp", o.addr)
	testutil.Must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(testutil.Patience))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal("the origin does not accept:", err)
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		for c := range o.taps {
			if !c.idle() {
				return false
			}
		}
		return o.began == o.ended
	}, "a request is neither whole nor given up")
}

// take settles the record, and returns and forgets it.
func (o *origin) take(t *testing.T) (seen []*message, wrong []string, raw string) {
	t.Helper()
	o.settle(t)
	o.mu.Lock()
	defer o.mu.Unlock()
	seen, wrong, raw = o.seen, o.wrong, o.raw.String()
	o.seen, o.wrong = nil, nil
	o.raw.Reset()
	return seen, wrong, raw
}
