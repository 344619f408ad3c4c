package battery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func originIdleCases(t *testing.T) {
	t.Parallel()
	l := newLane(t)
	const good = ok + "Content-Length: 4\r\n\r\ngood"
	for _, c := range []struct{ name, rfc, later string }{
		{"an answer", "9112 9.2", ok + "Content-Length: 4\r\n\r\nevil"},
		{"a byte", "9112 9.2", "x"},
		{"CRLF", "9112 9.2", "\r\n"},
		{"garbage", "9112 9.2", "\x00\xff\x00evil"},
		{"408", "9112 9.2", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nevil"},
		{"half an answer", "9112 9.2", ok + "X: evil"},
		{"100", "9112 9.2", "HTTP/1.1 100 Continue\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge(t, c.rfc, func() error { return l.idle(t, good, c.later) })
		})
	}
}

// ask sends the request of this name.
func (l *lane) ask(t *testing.T, id string) *heard {
	t.Helper()
	return l.talk(t, []string{strings.ReplaceAll(req(""), "{id}", id)}, "GET", 1, false)
}

// idle lets an origin speak on a connection that has answered its request.
func (l *lane) idle(t *testing.T, good, later string) error {
	id := l.next()
	p := &play{say: []string{good}, cue: make(chan bool), later: later, closed: make(chan bool, 1)}
	l.note(func() { l.plays["/"+id] = p })
	h := l.ask(t, id)
	close(p.cue)
	if len(h.answers) != 1 || h.answers[0].body != "good" {
		return fmt.Errorf("the client got %s", h)
	}
	if err := p.left(); err != nil {
		return err
	}
	return l.victim(id)
}

func originBeforeTheRequestCases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rfc, greet string
	}{
		{"garbage", "9112 9.2", "\x00\x01\x02\x03evil\r\n\r\n"},
		{"a banner", "9112 9.2", "220 evil ESMTP\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge(t, c.rfc, func() error {
				l := newLane(t)
				l.note(func() { l.greet = c.greet })
				h := l.ask(t, "first")
				l.note(func() { l.greet = "" })
				if len(h.answers) != 1 || h.answers[0].status() != 502 || strings.Contains(h.raw, "evil") {
					return fmt.Errorf("the client got %s", h)
				}
				return l.victim(l.next())
			})
		})
	}
}

// originNeverCases have short times in routes of their own: all that is to come in time has long ones.
func originNeverCases(t *testing.T) {
	t.Parallel()
	l := newTunedLane(t, "", `[[routes]]
pattern = "/never/"
dest = "default"
timeouts = { first_byte = "300ms" }
[[routes]]
pattern = "/half/"
dest = "default"
timeouts = { read = "300ms" }
`)
	for _, c := range []struct{ name, rfc, say string }{
		{"says nothing", "9110 15.6.5", ""},
		{"says half a head", "9110 15.6.5", ok + "X: "},
		{"says 100 and no more", "9110 15.6.5", "HTTP/1.1 100 Continue\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge(t, c.rfc, func() error {
				h, err := l.silence(t, "never/"+l.next(), c.say)
				if err == nil && (len(h.answers) != 1 || h.answers[0].status() != 504) {
					err = fmt.Errorf("the client got %s", h)
				}
				return err
			})
		})
	}
	for _, c := range []struct{ name, rfc, say string }{
		{"says half a body", "9112 8", ok + "Content-Length: 8\r\n\r\ngood"},
		{"says half a chunk", "9112 8", ok + "Transfer-Encoding: chunked\r\n\r\n8\r\ngood"},
		{"says half a trailer", "9112 8", ok + "Transfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\nX: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge(t, c.rfc, func() error {
				h, err := l.silence(t, "half/"+l.next(), c.say)
				if err == nil && (len(h.answers) != 1 || h.answers[0].status() != 200 || !h.cut) {
					err = fmt.Errorf("the client got %s", h)
				}
				return err
			})
		})
	}
}

// silence asks an origin that falls silent after its bytes.
func (l *lane) silence(t *testing.T, id, say string) (*heard, error) {
	t.Helper()
	p := &play{say: []string{say}, closed: make(chan bool, 1)}
	l.note(func() { l.plays["/"+id] = p })
	h := l.ask(t, id)
	if err := p.left(); err != nil {
		return h, fmt.Errorf("%w; the client got %s", err, h)
	}
	return h, l.victim(strings.ReplaceAll(id, "/", "-"))
}

// left waits until edge has closed the connection.
func (p *play) left() error {
	select {
	case <-p.closed:
		return nil
	case <-time.After(patience):
		return errors.New("the connection to the origin is not closed")
	}
}
