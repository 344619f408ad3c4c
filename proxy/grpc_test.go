package proxy_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy"
)

// frame is a message of gRPC.
func frame(payload string) string {
	return "\x00\x00\x00\x00" + string(byte(len(payload))) + payload
}

func callOf(contentType, fields, body string) string {
	return fmt.Sprintf("POST /s/m HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		contentType, fields, len(body), body)
}

var routeRPC = proxy.Route{Name: "rpc", GRPC: proxy.On}

func wantCall(t *testing.T, resp *http.Response, status, text string) {
	t.Helper()
	h := resp.Header
	if resp.StatusCode != 200 || h.Get("Grpc-Status") != status || h.Get("Grpc-Message") != text {
		t.Fatalf("%s, %v; want %s, %q", resp.Status, h, status, text)
	}
}

// What the proxy has to say to a call, it says as gRPC does, in a head that is the whole answer.
func TestGRPC_failures(t *testing.T) {
	refuse := func(status int, text string) proxy.Route {
		return proxy.Route{GRPC: proxy.On, Filters: []*proxy.Filter{{
			Name: "f", Request: func(*proxy.Exchange) proxy.Verdict { return proxy.Respond(status, text) },
		}}}
	}
	for name, c := range map[string]struct {
		route        proxy.Route
		contentType  string
		status, text string
	}{
		"no backend":  {proxy.Route{GRPC: proxy.On}, "application/grpc", "14", "The backend closed the connection."},
		"any route":   {proxy.Route{}, "application/grpc+proto", "14", "The backend closed the connection."},
		"no route":    {proxy.Route{Path: "/other"}, "application/grpc", "12", "There is nothing at this address."},
		"a filter":    {refuse(401, "who är you?\n"), "application/grpc", "16", "who %C3%A4r you?"},
		"forbidden":   {refuse(403, "no"), "application/grpc", "7", "no"},
		"web":         {refuse(403, "no"), "application/grpc-web+proto", "7", "no"},
		"web as text": {refuse(403, "no"), "application/grpc-web-text", "7", "no"},
		"slow backend": {
			proxy.Route{GRPC: proxy.On, Timeout: 50 * time.Millisecond}, "application/grpc",
			"4", "The request took too long.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := setTunnel(t, stageOptions{route: c.route})
			w := s.client()
			w.Send(callOf(c.contentType, "", ""))
			if c.status == "14" {
				o := s.accept()
				o.ReadHead()
				o.Close()
			}
			resp, body := w.ReadResponse("POST")
			wantCall(t, resp, c.status, c.text)
			if ct := resp.Header.Get("Content-Type"); ct != c.contentType || len(body) > 0 {
				t.Fatalf("%q %q", ct, body)
			}
			if r := s.log.want(t, 1, 200, logReason(name)); !r.GRPC || fmt.Sprint(r.GRPCStatus) != c.status {
				t.Fatalf("logged %v %d", r.GRPC, r.GRPCStatus)
			}
		})
	}
}

// What a route makes of the type of its requests is nothing to the client: a failure is told in the form of the call.
func TestGRPC_failuresOfARouteThatSetsTheType(t *testing.T) {
	for _, set := range []string{"", "x", "application/json", "application/grpc-web-text+other"} {
		for _, contentType := range []string{
			"application/grpc", "Application/GRPC+proto", "application/grpc-web+proto", "application/grpc-web-text",
		} {
			s := setTunnel(t, stageOptions{route: proxy.Route{GRPC: proxy.On, Filters: []*proxy.Filter{
				setFields(map[string]string{"Content-Type": set}, nil),
			}}})
			w := s.client()
			w.Send(callOf(contentType, "", ""))
			o := s.accept()
			if head := o.ReadHead(); strings.Contains(head, "Content-Type: "+contentType+"\r\n") {
				t.Fatal(head)
			}
			o.Close()
			resp, _ := w.ReadResponse("POST")
			wantCall(t, resp, "14", "The backend closed the connection.")
			if ct := resp.Header.Get("Content-Type"); ct != contentType {
				t.Errorf("%q set, %q asked: %q", set, contentType, ct)
			}
		}
	}
}

func logReason(name string) string {
	switch name {
	case "no backend", "any route":
		return "backend:lost"
	case "no route":
		return "edge:route"
	case "slow backend":
		return "edge:total"
	}
	return ""
}

// What is no call is answered as ever.
func TestGRPC_otherTypes(t *testing.T) {
	s := setTunnel(t, stageOptions{route: proxy.Route{GRPC: proxy.On, Path: "/other"}})
	for _, contentType := range []string{
		"application/grpcx", "application/json", "application/grpc-websocket", "text/plain",
	} {
		w := s.client()
		w.Send(callOf(contentType, "", ""))
		if resp, _ := w.ReadResponse("POST"); resp.StatusCode != 404 || resp.Header.Get("Grpc-Status") != "" {
			t.Errorf("%s: %s", contentType, resp.Status)
		}
		w.Close()
	}
}

// grpc-timeout bounds the exchange, unless the route does so earlier.
func TestGRPC_deadline(t *testing.T) {
	for timeout, want := range map[string]string{
		"50m": "client:deadline", "50000u": "client:deadline", "0n": "client:deadline", "99999999H": "edge:total",
		"1S": "edge:total", "x": "edge:total", "1": "edge:total", "123456789m": "edge:total", "-1m": "edge:total",
	} {
		t.Run(timeout, func(t *testing.T) {
			route := routeRPC
			route.Timeout = 200 * time.Millisecond
			s := setTunnel(t, stageOptions{route: route})
			w := s.client()
			w.Send(callOf("application/grpc", "grpc-timeout: "+timeout+"\r\n", ""))
			resp, _ := w.ReadResponse("POST")
			if resp.Header.Get("Grpc-Status") != "4" {
				t.Fatal(resp.Header)
			}
			s.log.want(t, 1, 200, want)
		})
	}
}

// An answer that breaks off ends with a status where that can still be said.
func TestGRPC_breaksOff(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeRPC})
	w := s.client()
	w.Send(callOf("application/grpc", "", frame("ask")))
	o := s.accept()
	if head := o.ReadHead(); !strings.Contains(head, "\r\nTE: trailers\r\n") {
		t.Fatalf("%q", head)
	}
	o.Want(frame("ask"))
	o.Send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"8\r\n" + frame("one") + "\r\n")
	if head := w.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") {
		t.Fatalf("%q", head)
	}
	w.Want("8\r\n" + frame("one") + "\r\n")
	o.Close()
	w.Want("0\r\ngrpc-status: 14\r\ngrpc-message: The backend's answer is incomplete.\r\n\r\n")
	if r := s.log.want(t, 1, 200, "backend:truncated"); r.GRPCStatus != 14 {
		t.Fatal(r.GRPCStatus)
	}
}

// rpcOrigin answers calls: it says what it got, in two messages, and how that ended in trailers.
func rpcOrigin(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc+proto")
		if r.URL.Path == "/only" {
			w.Header().Set("Grpc-Status", "5")
			w.WriteHeader(200)
			return
		}
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		io.WriteString(w, frame(r.Header.Get("Content-Type")))
		w.(http.Flusher).Flush()
		w.Write(body)
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("Grpc-Message", "fine")
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

const webTrailers = "grpc-message: fine\r\ngrpc-status: 0\r\n"

func TestGRPCWeb(t *testing.T) { testWeb(t) }

// The frames of gRPC-Web are what an Encoder gets, the one of the trailers among them.
func TestGRPCWeb_encoded(t *testing.T) {
	l := &laggards{t: t, lag: func() int { return 7 }}
	testWeb(t, &proxy.Filter{Name: "lag", Encode: l.encode})
	if opened, closed := l.opened.Load(), l.closed.Load(); opened != 3 || closed != 3 {
		t.Errorf("%d Encoders, %d of them closed", opened, closed)
	}
}

func testWeb(t *testing.T, filters ...*proxy.Filter) {
	origin := rpcOrigin(t)
	route := routeRPC
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		route.To = to(e, origin)
		return []proxy.Route{route}
	}, filters...)
	want := frame("application/grpc+proto") + frame("hello") +
		"\x80\x00\x00\x00" + string(byte(len(webTrailers))) + webTrailers
	for _, c := range []struct{ contentType, body string }{
		{"application/grpc-web+proto", frame("hello")},
		{"application/grpc-web-text+proto", base64.StdEncoding.EncodeToString([]byte(frame("hello")))},
		{"application/grpc-web-text+proto", base64.StdEncoding.EncodeToString([]byte(frame("hello")[:4])) +
			base64.StdEncoding.EncodeToString([]byte(frame("hello")[4:]))},
	} {
		resp, body := r.postAs(t, "/s/m", c.contentType, c.body)
		if strings.Contains(c.contentType, "-text") {
			body = decodePieces(t, body)
		}
		if ct := resp.Header.Get("Content-Type"); ct != c.contentType || body != want || len(resp.Trailer) > 0 {
			t.Errorf("%s: got %s, trailers %v\n%q\n%q", c.contentType, ct, resp.Trailer, body, want)
		}
	}
}

// decodePieces decodes base64 whose groups may end with padding anywhere.
func decodePieces(t *testing.T, s string) (out string) {
	t.Helper()
	for ; s != ""; s = s[4:] {
		p, err := base64.StdEncoding.DecodeString(s[:4])
		if err != nil {
			t.Fatalf("%v in %q", err, s)
		}
		out += string(p)
	}
	return out
}

// An answer that is a head alone keeps its status there.
func TestGRPCWeb_trailersOnly(t *testing.T) {
	origin := rpcOrigin(t)
	route := routeRPC
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		route.To = to(e, origin)
		return []proxy.Route{route}
	})
	resp, body := r.postAs(t, "/only", "application/grpc-web-text", "")
	if resp.Header.Get("Grpc-Status") != "5" || resp.Header.Get("Content-Type") != "application/grpc-web-text+proto" ||
		len(body) > 0 {
		t.Fatal(resp.Header, body)
	}
}

func TestGRPCWeb_malformedText(t *testing.T) {
	for _, body := range []string{"AAAA%%%%", "AAA", "=AAA"} {
		s := setTunnel(t, stageOptions{route: routeRPC})
		w := s.client()
		w.Send(callOf("application/grpc-web-text", "", body))
		resp, _ := w.ReadResponse("POST")
		wantCall(t, resp, "13", "The body is not base64.")
		s.log.want(t, 1, 200, "client:base64")
	}
}

// Calls may go elsewhere than the other requests of a route.
func TestGRPC_destinationOfItsOwn(t *testing.T) {
	origin := rpcOrigin(t)
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{GRPC: proxy.On, GRPCTo: to(e, origin), To: proxy.Answer(200, "text/plain", "page")}}
	})
	for contentType, want := range map[string]string{
		"application/grpc": frame("application/grpc") + "x", "text/plain": "page",
	} {
		resp, body := r.postAs(t, "/s/m", contentType, "x")
		if body != want {
			t.Errorf("%s: %q", contentType, body)
		}
		if contentType != "text/plain" && resp.Trailer.Get("Grpc-Status") != "0" {
			t.Error(resp.Trailer)
		}
	}
}

// Where gRPC-Web breaks off, the status is the last frame.
func TestGRPCWeb_breaksOff(t *testing.T) {
	s := setTunnel(t, stageOptions{route: routeRPC})
	w, o := s.request(callOf("application/grpc-web", "", frame("ask")))
	o.Send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 100\r\n\r\n" + frame("one"))
	if head := w.ReadHead(); !strings.Contains(head, "\r\nContent-Type: application/grpc-web\r\n") {
		t.Fatalf("%q", head)
	}
	w.Want("8\r\n" + frame("one") + "\r\n")
	o.Close()
	const trailers = "grpc-status: 14\r\ngrpc-message: The backend's answer is incomplete.\r\n"
	w.Want(fmt.Sprintf("%x\r\n", 5+len(trailers)) + "\x80\x00\x00\x00" + string(rune(len(trailers))) + trailers +
		"\r\n0\r\n\r\n")
	s.log.want(t, 1, 200, "backend:truncated")
}
