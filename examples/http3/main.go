// Command http3 is a proxy that speaks HTTP/3 with its clients, and HTTP/2 and HTTP/1 over TLS with those that do not
// know it yet.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"os/signal"
	"syscall"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8443", "the `address` to listen on, by TCP and by UDP")
	cert := flag.String("cert", "cert.pem", "the `file` of the certificate")
	key := flag.String("key", "key.pem", "the `file` of its key")
	flag.Parse() // the other arguments are the backends

	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s := &edge.Server{
		Addr:   *listen,
		TLS:    &tls.Config{Certificates: []tls.Certificate{pair}},
		HTTP3:  true,
		Routes: []proxy.Route{{To: edge.Backends(flag.Args()...)}},
	}
	if err := s.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
