package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Limits of what a request may ask of the demo origin.
const (
	delayMax  = time.Minute
	bytesMax  = 1 << 30
	chunksMax = 10_000
	demoGrace = 5 * time.Second
)

const demoText = `edge serve-demo: an origin to try a proxy with
  /            this text
  /echo        the request, as it came in
  /addr        the address that the request came to: which of several backends this is
  /delay/MS    an answer after MS milliseconds (at most 60000)
  /status/N    status N
  /bytes/N     N bytes with Content-Length
  /chunked/N   N lines in chunks
  /stream      a line each second
`

func newDemo() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "serve-demo",
		Short: "Run a small origin to try a proxy with",
		Long:  "Run a small origin to try a proxy with.\n\n" + demoText,
		Args:  noArguments,
		RunE:  func(*cobra.Command, []string) error { return serveDemo(local4(listen)) },
	}
	cmd.Flags().StringVar(&listen, "listen", ":3000", "`address` to listen on")
	return cmd
}

func serveDemo(listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintf(stderr, "edge: demo origin on %s\n", localURL("http", l.Addr().(*net.TCPAddr).AddrPort()))
	s := &http.Server{Handler: demo(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), demoGrace)
	defer cancel()
	_ = s.Shutdown(grace) // Close cuts the requests that are left
	return s.Close()
}

func demo() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, demoText) })
	mux.HandleFunc("/echo", demoEcho)
	mux.HandleFunc("/addr", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Context().Value(http.LocalAddrContextKey))
	})
	mux.HandleFunc("/delay/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, ok := number(w, r, int(delayMax/time.Millisecond))
		if !ok {
			return
		}
		select {
		case <-time.After(time.Duration(n) * time.Millisecond):
			fmt.Fprintf(w, "after %d ms\n", n)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/status/{n}", func(w http.ResponseWriter, r *http.Request) {
		if n, ok := number(w, r, 599); ok && n >= 200 {
			w.WriteHeader(n)
		} else if ok {
			http.Error(w, "a status is between 200 and 599", http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/bytes/{n}", demoBytes)
	mux.HandleFunc("/chunked/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, ok := number(w, r, chunksMax)
		for i := 0; ok && i < n; i++ {
			fmt.Fprintf(w, "line %d of %d\n", i+1, n)
			_ = http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := 1; ; i++ {
			if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	return mux
}

// number returns the number in the path, or answers why there is none.
func number(w http.ResponseWriter, r *http.Request, limit int) (int, bool) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || n > limit {
		http.Error(w, fmt.Sprintf("a number from 0 to %d, please", limit), http.StatusBadRequest)
		return 0, false
	}
	return n, true
}

// demoEcho answers with the request: the head as text, then the body while it arrives.
func demoEcho(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = http.NewResponseController(w).EnableFullDuplex()
	fmt.Fprintf(w, "%s %s %s\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Proto, r.Host)
	_ = r.Header.Write(w)
	_, _ = io.WriteString(w, "\r\n")
	_, _ = io.Copy(w, r.Body)
}

func demoBytes(w http.ResponseWriter, r *http.Request) {
	n, ok := number(w, r, bytesMax)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	piece := bytes.Repeat([]byte("0123456789abcdef"), 2<<10)
	for n > 0 {
		m, err := w.Write(piece[:min(n, len(piece))])
		if n -= m; err != nil {
			return
		}
	}
}
