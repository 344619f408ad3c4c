// Command https is a proxy that speaks HTTPS and HTTP/2 with its clients, made of a certificate and a backend.
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
	listen := flag.String("listen", "127.0.0.1:8443", "the `address` to listen on")
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
		Routes: []proxy.Route{{To: edge.Backends(flag.Args()...), Filters: []*proxy.Filter{{Response: told}}}},
	}
	if err := s.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// told says how the client's connection is secured.
func told(x *proxy.Exchange) proxy.Verdict {
	if d := x.TLS(); d != nil {
		x.Response.Set("X-Secured-By", d.VersionName()+" "+d.GroupName()+" "+d.ALPN)
	}
	return proxy.Next
}
