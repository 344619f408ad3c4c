// Command hello is an HTTP server on package session alone: no proxy, no routes, one answer.
//
//	go run ./examples/hello -listen 127.0.0.1:8080
//
// One value answers all requests, since it keeps nothing of them.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// hello makes the receivers of requests, and is all of them.
type hello struct{}

func (hello) Accept(*engine.Reactor, session.Stream) session.Receiver { return hello{} }

func (hello) Refused(*engine.Reactor, poller.Addr, int, error) {}

func (hello) OnHead(s session.Stream, _ *message.Head, end bool) { answerAt(s, end) }

func (hello) OnData(s session.Stream, p []byte, end bool) {
	s.Release(len(p)) // the body is of no interest; unreleased it would stop coming
	answerAt(s, end)
}

func (hello) OnTrailers(s session.Stream, _ *message.Head) { answerAt(s, true) }

func (hello) OnSendable(session.Stream) {} // the answer fits into any queue

func (hello) OnReset(session.Stream, session.Code, error) {}

const text = "hello, world\n"

func answerAt(s session.Stream, end bool) {
	if !end {
		return
	}
	h := message.Head{Status: 200, Length: int64(len(text))}
	h.AddID(message.ContentType, "Content-Type", "text/plain; charset=utf-8")
	if err := s.SendHead(&h, false); err == nil {
		s.SendData([]byte(text), true) //nolint:errcheck // a client that has gone needs no answer
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse()
	if err := run(*listen); err != nil {
		log.Fatal(err)
	}
}

func run(listen string) error {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	e, err := engine.New(engine.Options{})
	if err != nil {
		return err
	}
	defer e.Stop()
	srv := session.NewServer(e, hello{}, session.ServerOptions{})
	l, err := e.Listen(engine.ListenOptions{Addr: poller.Addr{IP: addr}}, srv.Accept)
	if err != nil {
		return err
	}
	e.Start()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("listening on", l.Addr())
	<-stop
	e.Drain(5 * time.Second)
	return nil
}
