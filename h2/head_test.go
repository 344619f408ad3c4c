package h2

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// A request in HTTP/2 and the one that is written for it in HTTP/1.
func TestConn_requestAsHTTP1(t *testing.T) {
	for name, c := range map[string]struct {
		fields []string
		end    bool
		want   string
	}{
		"plain": {[]string{":method", "GET", ":scheme", "https", ":path", "/a?b=c", ":authority", "example.org",
			"accept", "*/*", "user-agent", "x"}, true,
			"GET /a?b=c HTTP/1.1\r\nHost: example.org\r\naccept: */*\r\nuser-agent: x\r\n\r\n"},
		"host instead of authority": {[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a.b:81"},
			true, "GET / HTTP/1.1\r\nHost: a.b:81\r\n\r\n"},
		"host beside authority": {[]string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "A.b",
			"host", "a.B:443"}, true, "GET / HTTP/1.1\r\nHost: A.b\r\n\r\n"},
		"body of known length": {[]string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "h",
			"content-length", "3"}, false, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"},
		"body of unknown length": {[]string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "h"},
			false, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"},
		"no body": {[]string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "h",
			"content-length", "0"}, true, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"},
		"trailers": {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "te", "trailers"},
			true, "GET / HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: trailers\r\n\r\n"},
		"crumbs": {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "cookie", "a=1",
			"cookie", "b=2", "cookie", "c=3"}, true, "GET / HTTP/1.1\r\nHost: h\r\ncookie: a=1; b=2; c=3\r\n\r\n"},
		"empty crumbs": {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "cookie", "",
			"cookie", "b=2", "cookie", ""}, true, "GET / HTTP/1.1\r\nHost: h\r\ncookie: ; b=2\r\n\r\n"},
		"crumbs apart": {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h", "cookie",
			"a=1", "x", "y", "cookie", "b=2", "z", "", "cookie", "c=3"}, true,
			"GET / HTTP/1.1\r\nHost: h\r\nx: y\r\nz: \r\ncookie: a=1; b=2; c=3\r\n\r\n"},
		"options": {[]string{":method", "OPTIONS", ":scheme", "http", ":path", "*", ":authority", "h"}, true,
			"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"},
		"connect": {[]string{":method", "CONNECT", ":authority", "h:443"}, false,
			"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"},
		"websocket": {[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/ws",
			":authority", "h", "sec-websocket-version", "13"}, false, "GET /ws HTTP/1.1\r\nHost: h\r\n" +
			"sec-websocket-version: 13\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			s.headers(1, c.end, c.fields...)
			s.recv()
			if s.last.Kind != HeadDone || s.last.End != c.end {
				t.Fatalf("%v %v", s.events, s.last.Err)
			}
			var moved message.Head
			s.head.MoveTo(&moved)
			if got := string(appendHTTP1(nil, &moved)); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// RFC 9113 §8.2, §8.3 and what HTTP/1 could not be sent: a stream error, never a head.
func TestConn_malformedRequestsNeverArrive(t *testing.T) {
	ok := []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h"}
	with := func(more ...string) []string { return append(append([]string{}, ok...), more...) }
	less := func(name string) (f []string) {
		for i := 0; i < len(ok); i += 2 {
			if ok[i] != name {
				f = append(f, ok[i:i+2]...)
			}
		}
		return f
	}
	set := func(name, value string) []string { return append(append([]string{}, name, value), less(name)...) }
	for name, c := range map[string]struct {
		fields []string
		want   section.Fault
	}{
		"upper case":                  {with("X-Up", "a"), section.FaultUppercase},
		"upper case of a known name":  {with("Accept", "a"), section.FaultUppercase},
		"empty name":                  {with("", "a"), section.FaultFieldName},
		"colon in a name":             {with("a:b", "a"), section.FaultFieldName},
		"space in a name":             {with("a b", "a"), section.FaultFieldName},
		"CR in a name":                {with("a\rb", "a"), section.FaultFieldName},
		"NUL in a name":               {with("a\x00", "a"), section.FaultFieldName},
		"not ASCII in a name":         {with("\xe9", "a"), section.FaultFieldName},
		"CR in a value":               {with("a", "b\rc"), section.FaultFieldValue},
		"LF in a value":               {with("a", "b\nc"), section.FaultFieldValue},
		"CRLF and a field in a value": {with("a", "b\r\nx: y"), section.FaultFieldValue},
		"NUL in a value":              {with("a", "b\x00"), section.FaultFieldValue},
		"DEL in a value":              {with("a", "b\x7f"), section.FaultFieldValue},
		"space before a value":        {with("a", " b"), section.FaultFieldValue},
		"tab behind a value":          {with("a", "b\t"), section.FaultFieldValue},
		"LF in a cookie":              {with("cookie", "a", "cookie", "b\nc"), section.FaultFieldValue},
		"pseudo behind a field":       {append([]string{"a", "b"}, ok...), section.FaultPseudoOrder},
		"pseudo twice":                {with(":path", "/b"), section.FaultPseudoTwice},
		"unknown pseudo":              {append([]string{":foo", "x"}, ok...), section.FaultPseudoUnknown},
		"status in a request":         {append([]string{":status", "200"}, ok...), section.FaultPseudoUnknown},
		"no method":                   {less(":method"), section.FaultPseudoMissing},
		"no scheme":                   {less(":scheme"), section.FaultPseudoMissing},
		"no path":                     {less(":path"), section.FaultPseudoMissing},
		"no authority":                {less(":authority"), section.FaultNoAuthority},
		"connection":                  {with("connection", "close"), section.FaultConnectionField},
		"keep-alive":                  {with("keep-alive", "5"), section.FaultConnectionField},
		"proxy-connection":            {with("proxy-connection", "x"), section.FaultConnectionField},
		"transfer-encoding":           {with("transfer-encoding", "chunked"), section.FaultConnectionField},
		"upgrade":                     {with("upgrade", "h2c"), section.FaultConnectionField},
		"te":                          {with("te", "trailers, deflate"), section.FaultTE},
		"te gzip":                     {with("te", "gzip"), section.FaultTE},
		"method with a space":         {set(":method", "GET /x"), section.FaultMethod},
		"method with CRLF":            {set(":method", "GET\r\n"), section.FaultFieldValue},
		"empty method":                {set(":method", ""), section.FaultMethod},
		"empty scheme":                {set(":scheme", ""), section.FaultScheme},
		"strange scheme":              {set(":scheme", "ftp"), section.FaultScheme},
		"scheme with a target":        {set(":scheme", "http://x/?"), section.FaultScheme},
		"empty path":                  {set(":path", ""), section.FaultPath},
		"path without a slash":        {set(":path", "x"), section.FaultPath},
		"absolute path":               {set(":path", "http://x/"), section.FaultPath},
		"path with a space":           {set(":path", "/a HTTP/1.1"), section.FaultPath},
		"path with CRLF":              {set(":path", "/ HTTP/1.1\r\nx: y"), section.FaultFieldValue},
		"path with a fragment":        {set(":path", "/#a"), section.FaultPath},
		"path not ASCII":              {set(":path", "/\xc3\xa9"), section.FaultPath},
		"star without OPTIONS":        {set(":path", "*"), section.FaultPath},
		"user information":            {set(":authority", "a@h"), section.FaultAuthority},
		"authority with a path":       {set(":authority", "h/x"), section.FaultAuthority},
		"authority with a space":      {set(":authority", "h x"), section.FaultAuthority},
		"authority with a bad port":   {set(":authority", "h:99999"), section.FaultAuthority},
		"empty authority":             {set(":authority", ""), section.FaultAuthority},
		"two authorities in one":      {set(":authority", "a,b"), section.FaultAuthority},
		"encoded authority":           {set(":authority", "%61"), section.FaultAuthority},
		"empty label":                 {set(":authority", "h.."), section.FaultAuthority},
		"host with an empty label":    {append(less(":authority"), "host", ".h"), section.FaultAuthority},
		"host that differs":           {with("host", "other"), section.FaultHostMismatch},
		"host with another port":      {with("host", "h:81"), section.FaultHostMismatch},
		"malformed host":              {with("host", "h/x"), section.FaultAuthority},
		"two hosts":                   {with("host", "h", "host", "h"), section.FaultAuthority},
		"length that is no number":    {with("content-length", "1x"), section.FaultContentLength},
		"length with a sign":          {with("content-length", "+1"), section.FaultContentLength},
		"empty length":                {with("content-length", ""), section.FaultContentLength},
		"length as a list":            {with("content-length", "1, 1"), section.FaultContentLength},
		"two lengths":                 {with("content-length", "0", "content-length", "0"), section.FaultContentLength},
		"length without data":         {with("content-length", "1"), section.FaultLengthMismatch},
		"protocol without CONNECT":    {append([]string{":protocol", "websocket"}, ok...), section.FaultProtocol},
		"CONNECT with a path": {
			[]string{":method", "CONNECT", ":authority", "h:1", ":path", "/"}, section.FaultPseudoUnknown,
		},
		"CONNECT without a port":       {[]string{":method", "CONNECT", ":authority", "h"}, section.FaultAuthority},
		"CONNECT without an authority": {[]string{":method", "CONNECT"}, section.FaultPseudoMissing},
		"CONNECT with a length": {
			[]string{":method", "CONNECT", ":authority", "h:1", "content-length", "1"}, section.FaultConnectBody,
		},
		"CONNECT with another host": {
			[]string{":method", "CONNECT", ":authority", "h:1", "host", "x"}, section.FaultHostMismatch,
		},
		"extended CONNECT without a path": {
			[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "h"},
			section.FaultPseudoMissing,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			s.headers(1, true, c.fields...)
			s.get(3, true)
			s.recv()
			if c.want == section.NoFault {
				s.want("HeadDone 1 GET / end", "HeadDone 3 GET / end")
				return
			}
			s.want("Reset PROTOCOL_ERROR", "HeadDone 3 GET / end") // the connection goes on, the table is right
			s.wantWire("RST_STREAM 1 PROTOCOL_ERROR")
			s.get(5, true)
			if s.c.Stats().Malformed != 1 {
				t.Error("not counted")
			}
			s = scriptFor(t, Server, Options{})
			s.headers(1, true, c.fields...)
			s.recv()
			if s.last.Err != error(faults[c.want]) {
				t.Errorf("got %v, want %v", s.last.Err, c.want)
			}
		})
	}
}

func TestConn_dataThatDisagreesWithTheLength(t *testing.T) {
	for name, c := range map[string]struct {
		send func(s *script)
		want []string
	}{
		"more": {
			func(s *script) { s.framer.WriteData(1, false, []byte("abcd")) }, []string{"Reset 1 PROTOCOL_ERROR"},
		},
		"less": {func(s *script) { s.framer.WriteData(1, true, []byte("ab")) }, []string{"Reset 1 PROTOCOL_ERROR"}},
		"none": {func(s *script) { s.framer.WriteData(1, true, nil) }, []string{"Reset 1 PROTOCOL_ERROR"}},
		"padded": {
			func(s *script) { s.framer.WriteDataPadded(1, true, []byte("abc"), make([]byte, 9)) },
			[]string{`Data 1 "abc" end`},
		},
		"less, then trailers": {func(s *script) {
			s.framer.WriteData(1, false, []byte("ab"))
			s.headers(1, true, "a", "b")
		}, []string{`Data 1 "ab"`, "Reset 1 PROTOCOL_ERROR"}},
		"right, then trailers": {func(s *script) {
			s.framer.WriteData(1, false, []byte("abc"))
			s.headers(1, true, "a", "b")
		}, []string{`Data 1 "abc"`, "Trailers 1 end"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			s.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/", ":authority", "h",
				"content-length", "3")
			c.send(s)
			s.recv()
			s.want(append([]string{"HeadDone 1 POST /"}, c.want...)...)
		})
	}
}

func TestConn_trailers(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.get(1, false)
	s.headers(1, true, "grpc-status", "0", "content-length", "7", "cookie", "a", "te", "trailers", "x", "y")
	s.recv()
	s.want("HeadDone 1 GET /", "Trailers 1 end")
	if len(s.head.Fields) != 2 || s.head.Get("grpc-status") != "0" || s.head.Get("x") != "y" {
		t.Errorf("%d fields", len(s.head.Fields))
	}
	for name, fields := range map[string][]string{
		"pseudo":     {":path", "/"},
		"upper case": {"A", "b"},
		"connection": {"connection", "close"},
	} {
		s.get(s.c.lastPeer+2, false)
		s.headers(s.c.lastPeer+2, true, fields...)
		s.recv()
		if s.last.Kind != Reset || s.last.Code != ProtocolError {
			t.Errorf("%s: %v", name, s.events)
		}
	}
	s.events = nil
	s.get(101, false)
	s.headers(101, false, "a", "b")
	s.recv()
	s.want("HeadDone 101 GET /", "Reset 101 PROTOCOL_ERROR")
}

// Heads above the limits cost their stream, not the connection.
func TestConn_headTooLarge(t *testing.T) {
	for name, fields := range map[string][]string{
		"fields": func() (f []string) {
			for range 101 {
				f = append(f, "a", "b")
			}
			return f
		}(),
		"line": {"a", strings.Repeat("x", 17<<10)},
		"list": {
			"a", strings.Repeat("x", 12<<10), "b", strings.Repeat("y", 12<<10), "c", strings.Repeat("z", 12<<10),
		},
		"cookies": {"cookie", strings.Repeat("x", 9<<10), "cookie", strings.Repeat("y", 9<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			s.framer.SetMaxReadFrameSize(1 << 20)
			block := s.encode(append([]string{":method", "GET", ":scheme", "http", ":path", "/",
				":authority", "h"}, fields...)...)
			first := min(len(block), maxFrame)
			s.framer.WriteHeaders(http2HeadersParam(1, true, first == len(block), block[:first]))
			for rest := block[first:]; len(rest) > 0; {
				n := min(len(rest), maxFrame)
				s.framer.WriteContinuation(1, n == len(rest), rest[:n])
				rest = rest[n:]
			}
			s.get(3, true)
			s.recv()
			s.want("Reset NO_ERROR", "HeadDone 3 GET / end")
			s.wantWire("HEADERS 1 :status=431 end") // RFC 9113 §5.1: nothing is sent on a stream that is closed
			if s.c.Stats().HeadTooLarge != 1 {
				t.Error("not counted")
			}
		})
	}
}

// An expectation that nobody meets is answered, as HTTP/1 does, and the connection goes on.
func TestConn_expectation(t *testing.T) {
	for name, fields := range map[string][]string{
		"another":           {"expect", "200-ok"},
		"a further":         {"expect", "100-continue, x=y"},
		"in a second field": {"expect", "100-continue", "expect", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Server, Options{})
			s.headers(1, false, append([]string{":method", "POST", ":scheme", "http", ":path", "/",
				":authority", "h"}, fields...)...)
			s.get(3, true, "expect", ", 100-Continue ,")
			s.recv()
			s.want("Reset NO_ERROR", "HeadDone 3 GET / end")
			s.wantWire("HEADERS 1 :status=417 end")
			s.framer.WriteData(1, true, make([]byte, 1000)) // is thrown away: a reset would take the answer from some
			s.recv()
			s.want()
			if s.wantWire("PING"); s.c.Streams() != 1 {
				t.Errorf("%d streams", s.c.Streams())
			}
		})
	}
	s := scriptFor(t, Server, Options{})
	s.headers(1, true, ":method", "GET", ":scheme", "http", ":path", "/", "expect", "x")
	s.recv()
	s.want("Reset PROTOCOL_ERROR") // without a host it is malformed: that is not answered
}

func TestConn_answers(t *testing.T) {
	s := scriptFor(t, Client, Options{})
	s.request(makeRequest("GET", "/", "h"), true)
	s.request(makeRequest("HEAD", "/", "h"), true)
	s.request(makeRequest("POST", "/", "h"), true)
	s.wantWire("HEADERS 1 :method=GET :scheme=http :authority=h :path=/ end",
		"HEADERS 3 :method=HEAD :scheme=http :authority=h :path=/ end",
		"HEADERS 5 :method=POST :scheme=http :authority=h :path=/ content-length=0 end")
	s.headers(1, false, ":status", "103", "link", "x")
	s.headers(1, false, ":status", "200", "content-length", "2")
	s.framer.WriteData(1, false, []byte("hi"))
	s.framer.WriteData(1, true, nil)
	s.headers(3, true, ":status", "200", "content-length", "2")
	s.headers(5, false, ":status", "304", "content-length", "2")
	s.framer.WriteData(5, true, nil)
	s.recv()
	s.want("HeadDone 1 103", "HeadDone 1 200", `Data 1 "hi"`, `Data 1 "" end`, "HeadDone 3 200 end", "HeadDone 5 304",
		`Data 5 "" end`)
	if s.c.Streams() > 0 {
		t.Error("streams are left")
	}
}

func TestConn_malformedAnswersNeverArrive(t *testing.T) {
	for name, fields := range map[string][]string{
		"no status":           {"a", "b"},
		"status of two":       {":status", "20"},
		"status with a sign":  {":status", "+20"},
		"status out of range": {":status", "600"},
		"101":                 {":status", "101"},
		"path":                {":status", "200", ":path", "/"},
		"interim end":         {":status", "103"},
		"connection":          {":status", "200", "connection", "close"},
		"te":                  {":status", "200", "te", "trailers"},
		"length":              {":status", "200", "content-length", "x"},
		"length without data": {":status", "200", "content-length", "1"},
		"LF":                  {":status", "200", "a", "b\nc"},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptFor(t, Client, Options{})
			s.request(makeRequest("GET", "/", "h"), true)
			s.wire()
			s.headers(1, true, fields...)
			s.recv()
			s.want("Reset 1 PROTOCOL_ERROR")
			s.wantWire("RST_STREAM 1 PROTOCOL_ERROR")
		})
	}
}

// RFC 9113 §8.5: HEADERS on the stream of a tunnel are an error of that stream, on either side, and also when the
// answer that opens the tunnel is still to come.
func TestConn_headersInATunnel(t *testing.T) {
	for _, opened := range []bool{false, true} {
		s := scriptFor(t, Server, Options{})
		s.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/",
			":authority", "h")
		s.headers(3, false, ":method", "CONNECT", ":authority", "h:1")
		s.recv()
		s.want("HeadDone 1 GET /", "HeadDone 3 CONNECT h:1")
		if opened {
			s.respond(1, &message.Head{Status: 101, Tunnel: true, Upgrade: true, Length: -1}, false)
			s.respond(3, &message.Head{Status: 200, Tunnel: true, Length: -1}, false)
		}
		s.wire()
		s.headers(1, true, "x", "y")
		s.headers(3, true, "x", "y")
		s.recv()
		s.want("Reset 1 PROTOCOL_ERROR", "Reset 3 PROTOCOL_ERROR")
		s.wantWire("RST_STREAM 1 PROTOCOL_ERROR", "RST_STREAM 3 PROTOCOL_ERROR")
	}

	s := scriptFor(t, Client, Options{})
	s.request(makeRequest("CONNECT", "h:1", "h:1"), false)
	s.headers(1, false, ":status", "200")
	s.recv()
	s.want("HeadDone 1 200")
	s.wire()
	s.headers(1, true, "x", "y")
	s.recv()
	s.want("Reset 1 PROTOCOL_ERROR")
	s.wantWire("RST_STREAM 1 PROTOCOL_ERROR")
}

// The target is bounded as by HTTP/1, with the line that it would stand in there.
func TestConn_requestLine(t *testing.T) {
	s := scriptFor(t, Server, Options{RequestLine: 40})
	fits := "/" + strings.Repeat("a", 40-len("GET / HTTP/1.1\r\n"))
	s.headers(1, true, ":method", "GET", ":scheme", "http", ":path", fits, ":authority", "h")
	s.headers(3, true, ":method", "GET", ":scheme", "http", ":path", fits+"a", ":authority", "h")
	s.headers(5, true, ":method", "POST", ":scheme", "http", ":path", fits, ":authority", "h")
	s.headers(7, true, ":method", "CONNECT", ":authority", strings.Repeat("h", 40)+":1")
	s.recv()
	s.want("HeadDone 1 GET "+fits+" end", "Reset NO_ERROR", "Reset NO_ERROR", "Reset NO_ERROR")
	s.wantWire("HEADERS 3 :status=414 end", "HEADERS 5 :status=414 end", "HEADERS 7 :status=414 end")
	if s.c.Stats().HeadTooLarge != 3 || s.c.Stats().Malformed != 0 {
		t.Error(*s.c.Stats())
	}
}

// RFC 8441 and CONNECT, both sides.
func TestConn_tunnels(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	s.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/",
		":authority", "h")
	s.headers(3, false, ":method", "CONNECT", ":authority", "h:1")
	s.recv()
	s.want("HeadDone 1 GET /", "HeadDone 3 CONNECT h:1")
	if _, err := s.c.AppendHead(nil, s.stream[1], makeResponse(200), false); err != errNotSwitched {
		t.Error("200 without a tunnel to an extended CONNECT:", err)
	}
	s.respond(1, &message.Head{Status: 101, Tunnel: true, Upgrade: true, Length: -1}, false)
	s.respond(3, &message.Head{Status: 200, Tunnel: true, Length: -1}, false)
	s.wantWire("HEADERS 1 :status=200", "HEADERS 3 :status=200")
	s.framer.WriteData(1, false, []byte("up"))
	s.framer.WriteData(3, true, nil)
	s.recv()
	s.want(`Data 1 "up"`, `Data 3 "" end`)

	s = scriptFor(t, Client, Options{})
	ws := makeRequest("GET", "/", "h", "Sec-WebSocket-Key", "x", "Sec-WebSocket-Version", "13")
	ws.Upgrade, ws.Protocol = true, message.Span{At: uint32(len(ws.Base)), Len: uint32(len("websocket"))}
	ws.Base = append(ws.Base, "websocket"...)
	st, _ := s.c.Open(1)
	if _, err := s.c.AppendHead(nil, st, ws, false); err != ErrNoExtendedConnect {
		t.Fatal(err)
	}
	s.framer.WriteRawFrame(4, 0, 0, []byte{0, settingExtendedConnect, 0, 0, 0, 1})
	s.recv()
	s.wire()
	s.request(ws, false)
	s.wantWire("HEADERS 1 :method=CONNECT :scheme=http :authority=h :path=/ :protocol=websocket " +
		"sec-websocket-version=13")
	s.headers(1, false, ":status", "200")
	s.recv()
	s.want("Settings", "HeadDone 1 101")
	if !s.head.Tunnel || !s.head.Upgrade || string(s.head.Bytes(s.head.Protocol)) != "websocket" {
		t.Error("no tunnel")
	}
}
