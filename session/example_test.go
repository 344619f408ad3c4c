package session_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// greeter answers every request when it has come to its end. One value serves all: it keeps nothing of them.
type greeter struct{}

func (greeter) Accept(*engine.Reactor, session.Stream) session.Receiver { return greeter{} }

func (greeter) Refused(*engine.Reactor, poller.Addr, int, error) {}

func (greeter) OnHead(s session.Stream, _ *message.Head, end bool) { greet(s, end) }

func (greeter) OnData(s session.Stream, p []byte, end bool) {
	s.Release(len(p)) // else no more of the body comes
	greet(s, end)
}

func (greeter) OnTrailers(s session.Stream, _ *message.Head) { greet(s, true) }

func (greeter) OnSendable(session.Stream) {}

func (greeter) OnReset(session.Stream, session.Code, error) {}

func greet(s session.Stream, end bool) {
	if !end {
		return
	}
	h := message.Head{Status: 200, Length: 6}
	h.Add("Content-Type", "text/plain")
	if s.SendHead(&h, false) == nil {
		s.SendData([]byte("hello\n"), true) //nolint:errcheck // a client that has gone needs no answer
	}
}

// An HTTP server without a proxy.
func Example() {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		log.Fatal(err)
	}
	srv := session.NewServer(e, greeter{}, session.ServerOptions{})
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	l, err := e.Listen(engine.ListenOptions{Addr: addr}, srv.Accept)
	if err != nil {
		log.Fatal(err)
	}
	e.Start()
	defer e.Stop()

	resp, err := http.Get("http://" + l.Addr().String() + "/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, resp.Header.Get("Content-Type"), err)
	fmt.Print(string(body))
	// Output:
	// 200 OK text/plain <nil>
	// hello
}
