// Command upgrade is a ServeMux whose handlers stream, and one of which takes over its connection. Its filter prints
// what came.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// ticks streams an event a second, for as long as the client stays.
func ticks(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		fmt.Fprintf(w, "data: %s\n\n", time.Now().Format(time.TimeOnly))
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// echo switches to a protocol of its own: what the client says comes back.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this needs HTTP/1 and Upgrade: echo", http.StatusUpgradeRequired)
		return
	}
	defer conn.Close()
	rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	rw.Flush()
	io.Copy(conn, rw)
}

func show(x *proxy.Exchange) proxy.Verdict {
	for name, value := range x.Request.All() { // borrowed: a copy outlives the function
		fmt.Printf("%s: %s\n", name, value)
	}
	return proxy.Next
}

func main() { // upgrade 127.0.0.1:8080
	chat := proxy.MustRoute("/echo", handler.FromHTTP(http.HandlerFunc(echo)))
	chat.Tunnels.Protocols = []string{"echo"} // WebSocket needs no entry
	events := proxy.MustRoute("/ticks/*", handler.FromHTTP(http.HandlerFunc(ticks)))
	events.Filters = []*proxy.Filter{{Name: "show", Request: show}}
	if err := edge.Serve(os.Args[1], chat, events); err != nil {
		log.Fatal(err)
	}
}
