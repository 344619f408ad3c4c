package h2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// echoLoop is one end of a connection over a socket: a server that echoes bodies, or a client whose requests are made
// by submit.
type echoLoop struct {
	nc     net.Conn
	c      Conn
	head   message.Head
	out    []byte
	start  time.Time
	bodies map[*Stream]*echoBody
}

type echoBody struct {
	send []byte
	end  bool
	got  bytes.Buffer
	done func(status int, body []byte, trailer string)
	code int
	sum  string
}

func newEchoLoop(nc net.Conn, role Role) *echoLoop {
	l := &echoLoop{nc: nc, start: time.Now(), bodies: map[*Stream]*echoBody{}}
	l.c.Init(role, nil, l.now())
	return l
}

func (l *echoLoop) now() int64 { return int64(time.Since(l.start)) + 1 }

// run reads and writes until the connection ends. more is called between.
func (l *echoLoop) run(more func() (again bool)) error {
	var in []byte
	b := make([]byte, 64<<10)
	// Written by another goroutine: where the buffers of the kernel are small both ends would wait for each other.
	writes := make(chan []byte, 1<<16)
	defer close(writes)
	go func() {
		for b := range writes {
			l.nc.Write(b) // the next Read tells of an error
		}
	}()
	for {
		again := more()
		if l.out = l.c.AppendControl(l.out); len(l.out) > 0 {
			writes <- bytes.Clone(l.out)
		}
		if l.out = l.out[:0]; !again {
			return nil
		}
		n, err := l.nc.Read(b)
		if err != nil {
			return err
		}
		in = append(in, b[:n]...)
		for {
			n, ev := l.c.Next(in, &l.head, l.now())
			in = in[n:]
			if ev.Kind == NeedMore {
				break
			}
			if ev.Kind == Fault {
				return ev.Err
			}
			l.take(ev)
		}
	}
}

func (l *echoLoop) take(ev Event) {
	s := ev.Stream
	switch ev.Kind {
	case HeadDone:
		if l.c.role == Server {
			l.bodies[s] = &echoBody{}
			res := makeResponse(200, "X-Path", string(l.head.Bytes(l.head.Target)), "Trailer", "X-Sum")
			l.out, _ = l.c.AppendHead(l.out, s, res, false)
		} else {
			l.bodies[s].code = int(l.head.Status)
		}
	case Data:
		if l.c.role == Server {
			l.bodies[s].send = append(l.bodies[s].send, ev.Body...)
		} else {
			l.bodies[s].got.Write(ev.Body)
		}
		if !s.Dead() {
			l.c.Release(s, len(ev.Body))
		}
	case Trailers:
		l.bodies[s].sum = l.head.Get("x-sum")
	case Reset:
		delete(l.bodies, s)
		return
	case Sendable:
		for s := l.c.NextSendable(); s != nil; s = l.c.NextSendable() {
			l.push(s)
		}
		return
	default:
		return
	}
	b := l.bodies[s]
	if l.c.role == Server {
		b.end = b.end || ev.End
		l.push(s)
	} else if ev.End {
		delete(l.bodies, s)
		b.done(b.code, b.got.Bytes(), b.sum)
	}
}

func (l *echoLoop) push(s *Stream) {
	b := l.bodies[s]
	if b == nil || s.Ended() {
		return
	}
	out, n, _ := l.c.AppendData(l.out, s, b.send, b.end && l.c.role == Client)
	l.out, b.send = out, b.send[n:]
	if len(b.send) == 0 && b.end && l.c.role == Server {
		tr := new(message.Head)
		tr.Add("X-Sum", "done")
		l.out, _ = l.c.AppendTrailers(l.out, s, tr)
		delete(l.bodies, s)
	}
}

// The client of net/http against us: bodies of all sizes, both ways at once, many streams.
func TestConn_serverForNet(t *testing.T) {
	l := testutil.Serve(t, func(c net.Conn) { newEchoLoop(c, Server).run(func() bool { return true }) })
	dial := func(_ context.Context, network, _ string) (net.Conn, error) {
		return net.Dial(network, l.Addr().String())
	}
	tr := &http.Transport{Protocols: clearH2(), DialContext: dial}
	t.Cleanup(tr.CloseIdleConnections)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			size := []int{0, 1, 1000, 70000, 500000}[i%5]
			want := bytes.Repeat([]byte{byte(i)}, size)
			req, _ := http.NewRequest("POST", fmt.Sprintf("http://h/%d?q", i), io.NopCloser(bytes.NewReader(want)))
			req.Header.Set("Cookie", "a=1; b=2")
			res, err := tr.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			got, err := io.ReadAll(res.Body)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d: %v, %d of %d bytes", i, err, len(got), size)
			}
			if p := res.Header.Get("X-Path"); p != fmt.Sprintf("/%d?q", i) || res.Trailer.Get("X-Sum") != "done" {
				t.Errorf("%d: %q, %v", i, p, res.Trailer)
			}
		}()
	}
	wg.Wait()
}

// The server of net/http against us.
func TestConn_clientForNet(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(echoHandler))
	s.Config.Protocols = clearH2()
	s.Start()
	t.Cleanup(s.Close)
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	testutil.Must(t, err)
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(testutil.Patience))
	loop, left, opened := newEchoLoop(nc, Client), 60, 0
	err = loop.run(func() bool {
		for ; opened < 60 && loop.c.Room() > 0; opened++ {
			i := opened
			want := bytes.Repeat([]byte{byte(i)}, []int{0, 1, 1000, 70000, 300000}[i%5])
			s, err := loop.c.Open(loop.now())
			testutil.Must(t, err)
			loop.bodies[s] = &echoBody{send: want, end: true, done: func(status int, body []byte, sum string) {
				left--
				if status != 200 || !bytes.Equal(body, want) || sum != "done" {
					t.Errorf("%d: %d, %d of %d bytes, %q", i, status, len(body), len(want), sum)
				}
			}}
			req := makeRequest("POST", fmt.Sprint("/", i), "h", "Accept", "*/*")
			req.Length = int64(len(want))
			loop.out, _ = loop.c.AppendHead(loop.out, s, req, len(want) == 0)
			if len(want) > 0 {
				loop.push(s)
			}
		}
		return left > 0
	})
	if err != nil {
		t.Error(err)
	}
}

// clearH2 is HTTP/2 without TLS, by prior knowledge.
func clearH2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func echoHandler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "X-Sum")
	if r.ProtoMajor != 2 || !strings.HasPrefix(r.RequestURI, "/") {
		http.Error(w, "what", 400)
		return
	}
	w.WriteHeader(200)
	io.Copy(w, r.Body)
	w.Header().Set("X-Sum", "done")
}
