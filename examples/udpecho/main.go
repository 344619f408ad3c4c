package main

import (
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

type echo struct{}

func (echo) OnDatagrams(p *engine.Port, b *poller.Batch) {
	for i := range b.Len() {
		m := b.At(i)
		for d := range m.Segments() {
			if out := p.Reserve(len(d)); out != nil {
				p.Commit(append(out, d...), m.Peer, m.Local)
			}
		}
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:7007", "the `address` to listen on")
	reactors := flag.Int("reactors", 0, "event loops; 0: one for each processor")
	flag.Parse()
	if err := run(*listen, *reactors); err != nil {
		log.Fatal(err)
	}
}

func run(listen string, reactors int) error {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	e, err := engine.New(engine.Options{Reactors: reactors})
	if err != nil {
		return err
	}
	defer e.Stop()
	l, err := e.ListenDatagrams(engine.ListenOptions{Addr: poller.Addr{IP: addr}},
		func(*engine.Port) engine.PortHandler { return echo{} })
	if err != nil {
		return err
	}
	e.Start()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("listening on", l.Addr())
	<-stop
	return nil
}
