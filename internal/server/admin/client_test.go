package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A token does not leave the machine in clear.
func TestNewClient_scheme(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:9":      "http://127.0.0.1:9",
		"[::1]:9":          "http://[::1]:9",
		"localhost:9":      "http://localhost:9",
		":9":               "http://localhost:9",
		"0.0.0.0:9":        "http://localhost:9",
		"10.0.0.1:9":       "https://10.0.0.1:9",
		"edge.test:9":      "https://edge.test:9",
		"http://10.0.0.1":  "http://10.0.0.1", // the user says so
		"unix:/run/a.sock": "http://edge",
	} {
		c, err := NewClient(Target{Address: address, Token: strings.Repeat("t", 32)})
		if err != nil || c.base != want {
			t.Errorf("%s: %v, want %s: %+v", address, err, want, c)
		}
	}
}

// A Client waits for room in the queue of a socket that other users fill.
func TestClient_fullQueue(t *testing.T) {
	path := testutil.SocketPath(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	testutil.Must(t, err)
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	testutil.Must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0))
	for full := false; !full; {
		other, err := net.Dial("unix", path)
		if full = errors.Is(err, unix.EAGAIN); err != nil && !full {
			t.Fatal(err)
		}
		if err == nil {
			defer other.Close()
		}
	}
	serve := sync.OnceFunc(func() { // once the queue has had no room
		l, err := net.FileListener(file)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, _ error) { serve() },
	})
	c, err := NewClient(Target{Address: "unix:" + path})
	testutil.Must(t, err)
	if err := c.Do(ctx, http.MethodGet, "/v1/status", nil, &Status{}); err != nil {
		t.Error(err)
	}
}
