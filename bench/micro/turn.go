package micro

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/message"
)

const (
	turnBatch = 64 // requests in memory, one after the other, as a client sends them that does not wait for answers
	turnGroup = "requests from memory to answers in memory, without the kernel"
	turnWhat  = ", 64 of them in a row: its head is parsed strictly with its framing, a route is found, and 200 with " +
		"a body of 2 bytes is written into memory. It leaves out the kernel, the event loop, timers, sessions, " +
		"limits, the log and Date"
	turnSmall = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	turnBody  = "ok"
)

var turnEntries = []Entry{
	{"turn/minimal/edge", turnGroup, "one request of 27 bytes" + turnWhat + "; one route", turn(turnSmall, 0)},
	{"turn/minimal/fasthttp", turnGroup, "RequestHeader.Read through one bufio.Reader over all 64, a map of paths, " +
		"ResponseHeader.AppendBytes", turnFasthttp(turnSmall, 0)},
	{"turn/minimal/nethttp", turnGroup, "ReadRequest through one bufio.Reader over all 64, ServeMux.Handler, " +
		"Response.Write to a bufio.Writer that discards", turnNetHTTP(turnSmall, 0)},

	{"turn/browser/edge", turnGroup, "a browser's request of 636 bytes" + turnWhat + "; 50 routes",
		turn(string(browserHead), 50)},
	{"turn/browser/fasthttp", turnGroup, "as above", turnFasthttp(string(browserHead), 50)},
	{"turn/browser/nethttp", turnGroup, "as above", turnNetHTTP(string(browserHead), 50)},
}

// turnPaths are the paths of n routes beside the path of the root.
func turnPaths(n int) []string {
	paths := []string{"/"}
	for i := range n {
		paths = append(paths, fmt.Sprintf("/service%d/v1", i))
	}
	return paths
}

// unasked is an Arrival that no rule asks.
type unasked struct{ route.Arrival }

func turn(request string, routes int) func(b *testing.B) {
	return func(b *testing.B) {
		in := bytes.Repeat([]byte(request), turnBatch)
		var table route.Table[*message.Head]
		for _, path := range turnPaths(routes) {
			answer := &message.Head{Status: 200, Length: int64(len(turnBody))}
			if err := table.Add(route.Rule{Path: path}, answer); err != nil {
				b.Fatal(err)
			}
		}
		var d h1.Decoder
		var h message.Head
		var local route.Local
		d.InitRequests(nil)
		out := make([]byte, 0, 16<<10)
		b.SetBytes(int64(len(request)))
		for left := in; b.Loop(); {
			n, event, _, err := d.Next(left, &h)
			if err != nil || event != h1.HeadDone|h1.End {
				b.Fatal(event, err)
			}
			answer, err := table.Find(&h, unasked{}, route.Reading{}, &local)
			if err != nil || answer == nil {
				b.Fatal("no route", err)
			}
			out = append(h1.AppendResponse(out, answer, h1.ResponseOptions{}), turnBody...)
			if left = left[n:]; len(left) == 0 {
				left, out = in, out[:0]
			}
		}
	}
}

func turnFasthttp(request string, routes int) func(b *testing.B) {
	return func(b *testing.B) {
		src := bytes.NewReader(bytes.Repeat([]byte(request), turnBatch))
		r := bufio.NewReaderSize(src, int(src.Size()))
		table := make(map[string]int)
		for _, path := range turnPaths(routes) {
			table[path] = 200
		}
		var h fasthttp.RequestHeader
		var answer fasthttp.ResponseHeader
		answer.SetNoDefaultContentType(true)
		answer.SetContentLength(len(turnBody))
		out := make([]byte, 0, 16<<10)
		b.SetBytes(int64(len(request)))
		for left := turnBatch; b.Loop(); left-- {
			if left == 0 {
				_, _ = src.Seek(0, io.SeekStart)
				left, out = turnBatch, out[:0]
			}
			if err := h.Read(r); err != nil {
				b.Fatal(err)
			}
			path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
			status, ok := table[string(path)]
			if !ok {
				status = table["/"]
			}
			answer.SetStatusCode(status)
			out = append(answer.AppendBytes(out), turnBody...)
		}
	}
}

func turnNetHTTP(request string, routes int) func(b *testing.B) {
	return func(b *testing.B) {
		src := bytes.NewReader(bytes.Repeat([]byte(request), turnBatch))
		r := bufio.NewReaderSize(src, int(src.Size()))
		mux := http.NewServeMux()
		for _, path := range turnPaths(routes) {
			mux.Handle(path, http.NotFoundHandler())
		}
		w := bufio.NewWriter(io.Discard)
		body := strings.NewReader(turnBody)
		b.SetBytes(int64(len(request)))
		for left := turnBatch; b.Loop(); left-- {
			if left == 0 {
				_, _ = src.Seek(0, io.SeekStart)
				left = turnBatch
			}
			request, err := http.ReadRequest(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, pattern := mux.Handler(request); pattern == "" {
				b.Fatal("no route")
			}
			body.Reset(turnBody)
			answer := http.Response{
				StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Request: request, ContentLength: int64(len(turnBody)),
				Body: io.NopCloser(body),
			}
			if err := answer.Write(w); err != nil {
				b.Fatal(err)
			}
		}
	}
}
