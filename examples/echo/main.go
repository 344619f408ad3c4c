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
	"github.com/edge-proxy/edge/poller"
)

type echo struct{ engine.NopHandler }

func (echo) OnOpen(c *engine.Conn) { c.SetTimeout(time.Minute) }

func (echo) OnData(c *engine.Conn, in []byte) int {
	c.SetTimeout(time.Minute)
	if err := c.Write(in); err != nil {
		c.Close(err)
	}
	if c.Congested() {
		c.PauseRead()
	}
	return len(in)
}

func (echo) OnSendable(c *engine.Conn) { c.ResumeRead() }

func main() {
	listen := flag.String("listen", "127.0.0.1:7007", "the `address` to listen on")
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
	l, err := e.Listen(engine.ListenOptions{Addr: poller.Addr{IP: addr}},
		func(*engine.Conn) engine.Handler { return echo{} })
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
