package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/bench/load"
	"github.com/edge-proxy/edge/bench/loadreport"
	"github.com/edge-proxy/edge/bench/machine"
	"github.com/edge-proxy/edge/bench/origin"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// messageBytes is the message of a WebSocket that is told no other.
const messageBytes = 128

type urlFlags struct {
	o                 load.Options
	fields            []string
	body, rate, group string
	counter           string
	bodySize          int
	streams, pipeline int
	h2, h3            bool
	show              showFlags
}

// addURL makes c, the root, load the URL that it is given.
func addURL(c *cobra.Command) {
	var given urlFlags
	c.Use = "edge-bench URL"
	c.Long = `Measure what a proxied request costs, or load a URL.

With an http, https, ws or wss URL it asks for that, over HTTP/1.1, HTTP/2 (--h2), HTTP/3 (--h3) or WebSocket (the
server echoes each message). It is a closed loop: each connection asks again when it has its answer. With --rate it is
an open loop: requests have their time, and latency counts from then, which is how long users wait. Certificates are
not verified.`
	c.Example = `  edge-bench http://127.0.0.1:8080/ -c 64 -d 10s
  edge-bench https://127.0.0.1:8443/ --h2 -c 16 -m 16
  edge-bench https://127.0.0.1:8443/ --h3 -c 64
  edge-bench http://127.0.0.1:8080/ --rate 20k --report out.html
  edge-bench ws://127.0.0.1:8080/echo --body hello`
	c.Args = cobra.MaximumNArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		if !strings.Contains(args[0], "://") {
			return fmt.Errorf("%q is neither a command nor a URL: see edge-bench --help", args[0])
		}
		return loadURL(c, args[0], &given)
	}
	f := c.Flags()
	f.IntVarP(&given.o.Connections, "connections", "c", 100, "connections")
	f.DurationVarP(&given.o.Duration, "duration", "d", 10*time.Second, "how long")
	f.IntVarP(&given.o.Threads, "threads", "t", 0, "threads (default: half of the CPUs; the server may be here too)")
	f.StringVar(&given.rate, "rate", "", "requests a second, like 50k: an open loop (default: a closed loop)")
	f.BoolVar(&given.h2, "h2", false, "HTTP/2; by prior knowledge without TLS")
	f.BoolVar(&given.h3, "h3", false, "HTTP/3")
	f.IntVarP(&given.streams, "streams", "m", 1, "requests in progress on each connection of HTTP/2 or HTTP/3")
	f.IntVarP(&given.pipeline, "pipeline", "p", 1, "requests in progress on each connection of HTTP/1.1")
	f.StringVarP(&given.o.Method, "method", "X", "", "method (default GET, or POST with a body)")
	f.StringArrayVarP(&given.fields, "header", "H", nil, "header field, like 'Accept: text/html'")
	f.StringVar(&given.body, "body", "", "body of a request, or message of a WebSocket")
	f.IntVar(&given.bodySize, "body-size", 0, "body of so many bytes; messages have 128 when nothing is said")
	f.BoolVar(&given.o.Numbered, "numbered", false,
		"another number in the query of each request, so that no cache has the answer; HTTP/1.1 only")
	f.IntVar(&given.o.Hosts, "hosts", 0,
		"each request for the next of so many hosts, h000000.example.org and on; HTTP/1.1 only")
	f.StringVar(&given.counter, "counter", "", "file whose first 8 bytes count the answers")
	_ = f.MarkHidden("counter") // for edge-bench proxy
	f.BoolVar(&given.o.Reconnect, "reconnect", false, "a connection for each request; not with HTTP/2")
	f.DurationVar(&given.o.Timeout, "timeout", 5*time.Second, "for a connection, and for an answer")
	f.StringVar(&given.group, "group", "", "key exchange of TLS 1.3: X25519 or X25519MLKEM768 (default: as Go likes)")
	given.show.addLoad(c)
}

func (s *showFlags) addLoad(c *cobra.Command) {
	s.format = "text"
	c.Flags().BoolVar(&s.asJSON, "json", false, "print JSON, with the whole distribution and the facts of the machine")
	s.add(c)
}

func loadURL(c *cobra.Command, u string, given *urlFlags) error {
	o, err := given.options(u)
	if err != nil {
		return err
	}
	out, err := open(&given.show, loadreport.Read, nil)
	if err != nil {
		return err
	}
	if given.counter != "" {
		counter, err := origin.OpenCounter(given.counter)
		if err != nil {
			return err
		}
		defer func() { _ = counter.Close() }()
		o.Answered = func() { counter.Add(1) }
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the engine warns of threads that had to wait for a CPU
	r := &loadreport.Report{
		Time: time.Now(), Machine: machine.Read(version), Command: commandLine(c, u), What: what(u, &o),
	}
	result, err := load.Run(c.Context(), o)
	if err != nil {
		return err
	}
	r.Rows = []loadreport.Row{{Target: u, Result: result}}
	if err := out.show(c.OutOrStdout(), r); err != nil {
		return err
	}
	if failed := result.Failed(); failed > 0 && failed >= result.Requests {
		return errors.New("no request brought an answer with a status of 2xx or 3xx")
	}
	return nil
}

func (given *urlFlags) options(u string) (load.Options, error) {
	o := given.o
	to, err := load.FromURL(u)
	if err != nil {
		return o, err
	}
	o.Addr, o.Authority, o.Path, o.Protocol, o.TLS = to.Addr, to.Authority, to.Path, to.Protocol, to.TLS
	if o.Threads <= 0 {
		o.Threads = max(runtime.GOMAXPROCS(0)/2, 1)
	}
	o.Depth = given.pipeline
	streams := given.h2 || given.h3
	switch {
	case streams && o.Protocol != load.HTTP1:
		return o, errors.New("--h2, --h3: WebSockets are over HTTP/1.1 here")
	case given.h2 && given.h3:
		return o, errors.New("--h2 and --h3 say two versions")
	case streams && given.pipeline > 1 || !streams && given.streams > 1:
		return o, errors.New("--streams is for HTTP/2 and HTTP/3, --pipeline for HTTP/1.1")
	case given.h2:
		o.Protocol, o.Depth = load.HTTP2, given.streams
	case given.h3:
		o.Protocol, o.Depth = load.HTTP3, given.streams
	}
	for _, f := range given.fields {
		name, value, ok := strings.Cut(f, ":")
		if !ok {
			return o, fmt.Errorf("--header %q: want name: value", f)
		}
		o.Fields = append(o.Fields, load.Field{Name: name, Value: strings.TrimSpace(value)})
	}
	if o.Rate, err = parseRate(given.rate); err != nil {
		return o, err
	}
	if o.Body = []byte(given.body); given.body != "" && given.bodySize > 0 {
		return o, errors.New("--body and --body-size say two bodies")
	}
	if n := given.bodySize; n > 0 {
		o.Body = bytes.Repeat([]byte("x"), n)
	} else if o.Protocol == load.WebSocket && given.body == "" {
		o.Body = bytes.Repeat([]byte("x"), messageBytes)
	}
	switch group, known := groups[given.group]; {
	case given.group == "":
	case o.TLS == nil || !known:
		return o, fmt.Errorf("--group %q: want X25519 or X25519MLKEM768, and TLS", given.group)
	default:
		o.TLS.CurvePreferences, o.TLS.MinVersion = []tls.CurveID{group}, tls.VersionTLS13
	}
	return o, nil
}

var groups = map[string]tls.CurveID{"X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768}

// parseRate reads requests a second: 500, 50k, 1.5M.
func parseRate(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	unit := 1.0
	number := text
	switch text[len(text)-1] {
	case 'k', 'K':
		unit, number = 1e3, text[:len(text)-1]
	case 'm', 'M':
		unit, number = 1e6, text[:len(text)-1]
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v > 0) || v*unit > 1e9 {
		return 0, fmt.Errorf("--rate %q: want requests a second, like 500 or 50k", text)
	}
	return v * unit, nil
}

func what(u string, o *load.Options) string {
	text := fmt.Sprintf("%s · %s", u, o.Protocol)
	if o.TLS != nil && o.Protocol != load.HTTP3 {
		text += " over TLS"
	}
	text += " · " + syntax.Plural(o.Connections, "connection")
	switch {
	case o.Depth > 1 && (o.Protocol == load.HTTP2 || o.Protocol == load.HTTP3):
		text += fmt.Sprintf(" with %d streams each", o.Depth)
	case o.Depth > 1:
		text += fmt.Sprintf(" with %d requests pipelined", o.Depth)
	case o.Reconnect:
		text += ", each for one request"
	}
	return text + " · " + syntax.Plural(min(o.Threads, o.Connections), "thread") + " · " + o.Duration.String()
}

// commandLine is how c was called, as a shell reads it.
func commandLine(c *cobra.Command, args ...string) string {
	words := append([]string{c.CommandPath()}, args...)
	c.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			values = many.GetSlice()
		}
		for _, v := range values {
			if f.Value.Type() == "bool" {
				words = append(words, "--"+f.Name)
			} else {
				words = append(words, "--"+f.Name, quote(v))
			}
		}
	})
	return strings.Join(words, " ")
}

func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " '\"$\\&|;<>()*?#~`\t\n") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
