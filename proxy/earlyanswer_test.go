package proxy_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

// filtered sets a stage whose requests pass f.
func filtered(t *testing.T, f *proxy.Filter) *stage {
	t.Helper()
	return setStage(t, stageOptions{upstream: upstream.Options{Retries: 1}, filters: []*proxy.Filter{f}})
}

// arrived waits until all that was written to c is where its peer will read it.
func arrived(c net.Conn) error {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for left := 1; left > 0 && err == nil; <-look.C {
		if e := raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); e != nil {
			return e
		}
	}
	return err
}

// An origin that answers each connection at once has not seen the request (RFC 9112 §9.2): its answer is 502, and the
// real one does not go to the next client. The event loop waits where it has dialled, so that the answer is there
// first.
func TestWire_answerBeforeTheRequest(t *testing.T) {
	origin := make(chan net.Listener, 1)
	greeted := make(chan net.Conn, 1)
	greet := func(*engine.Reactor) {
		l := <-origin
		origin <- l
		c, err := l.Accept()
		if err == nil {
			_, err = c.Write([]byte(poison))
		}
		if err == nil {
			err = arrived(c)
		}
		if err != nil {
			t.Error(err)
		}
		greeted <- c
	}
	s := filtered(t, &proxy.Filter{Name: "late", UpstreamRequest: func(x *proxy.Exchange) {
		x.Reactor().Defer(&engine.Task{Run: greet}) // after the dial
	}})
	origin <- s.listener
	w := s.client()
	w.Send(getA)
	s.wantStatus(w, "GET", 502, "edge; error=http_protocol_error")
	c := <-greeted
	defer c.Close()
	w.Send(getA) // on a connection of its own
	s.wantStatus(w, "GET", 502, "edge; error=http_protocol_error")
	(<-greeted).Close()
}

// Bytes that come while a connection is idle are no answer to the next request, even if the event loop hears of both at
// once.
func TestWire_answerMeetsTheNextRequest(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			parked := make(chan proxy.Ref, 1)
			s := filtered(t, &proxy.Filter{Name: "parking", Request: func(x *proxy.Exchange) proxy.Verdict {
				if x.Request.Get("Park") == "" {
					return proxy.Next
				}
				parked <- x.Ref()
				return proxy.Park
			}})
			w := s.client()
			o := s.warmUp(w)
			w.Send(method + " / HTTP/1.1\r\nHost: a\r\nPark: 1\r\nContent-Length: 0\r\n\r\n")
			ref := <-parked
			stopped, goOn := make(chan bool), make(chan bool)
			s.engine.Reactors()[0].Post(&engine.Task{Run: func(*engine.Reactor) { stopped <- true; <-goOn }})
			<-stopped
			o.Send(poison)
			if err := arrived(o.Conn()); err != nil {
				t.Fatal(err)
			}
			ref.Resume(proxy.Next)
			close(goOn)
			o = s.accept()
			o.ReadHead()
			o.Send(okay)
			if _, body := w.ReadResponse(method); body != "ok" {
				t.Fatalf("the client got %q", body)
			}
		})
	}
}
