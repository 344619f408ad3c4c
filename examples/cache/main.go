// Command cache is a proxy that keeps answers, another one for phones than for others, and no drafts.
package main

import (
	"bytes"
	"flag"
	"log"
	"strconv"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse() // the other arguments are the backends
	zone, err := cache.New(cache.Options{Memory: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	cached := zone.Before(edge.Backends(flag.Args()...), cache.Route{Key: phone, Store: noDraft}, nil)
	if err := edge.Serve(*listen, proxy.Route{To: cached}); err != nil {
		log.Fatal(err)
	}
}

func phone(x *proxy.Exchange, dst []byte) []byte {
	return strconv.AppendBool(dst, bytes.Contains(x.Request.Peek(message.UserAgent), []byte("Mobile")))
}

func noDraft(_, answer *message.Head) cache.Reason {
	if answer.Get("X-Draft") != "" {
		return cache.ReasonProgram
	}
	return cache.ReasonNone
}
