// Command multi has several services in one process: an echo over TCP and TLS, one over HTTP and HTTPS, two proxies,
// metrics, and work in the background.
package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/program"
	"github.com/edge-proxy/edge/proxy/handler"
)

const config = `
admin = { listen = "127.0.0.1:6150" } # metrics

[[certificates]]
cert = "internal"

[[listeners]]
name = "http"
listen = ["127.0.0.1:6145", "unix:echo.sock"]

[[listeners]]
name = "https"
listen = "127.0.0.1:6148"
tls = true

[[listeners]]
name = "proxy"
listen = "127.0.0.1:6141"

[[listeners]]
name = "proxy-tls"
listen = "127.0.0.1:6144"
tls = true

[[routes]]
listener = ["http", "https"]
dest = "echo"

[[routes]]
listener = "proxy"
dest = "127.0.0.1:3000"

[[routes]]
listener = "proxy-tls"
dest = "https://127.0.0.1:3001"
`

func main() {
	s := program.New(program.Flags())
	s.Config(config)
	accept := func(*engine.Conn) engine.Handler { return echo{} }
	s.Add(program.Service{Name: "echo", Listen: []string{"127.0.0.1:6142"}, Accept: accept})
	s.Add(program.Service{Name: "echo-over-tls", Listen: []string{"127.0.0.1:6143"}, TLS: true, Accept: accept})
	s.Destination("echo", handler.FromHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body) //nolint:errcheck // the client has gone
	})))
	s.Background("example", func(ctx context.Context, ready func()) error {
		for ready(); ctx.Err() == nil; {
			slog.Info("hello from the background")
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
		}
		return nil
	})
	program.Exit(s.Run())
}

type echo struct{ engine.NopHandler }

func (echo) OnData(c *engine.Conn, in []byte) int {
	if c.Write(in) != nil {
		c.Close(engine.ErrQueueFull)
	}
	return len(in)
}
