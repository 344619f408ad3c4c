package battery

import (
	"fmt"
	"strings"

	"golang.org/x/net/http2"
)

// inner is what an attacker wants to be read as a request of its own.
const inner = "GET /smuggled HTTP/1.1\r\nHost: battery.test\r\n\r\n"

func h2nameCases() []h2case {
	cases := []h2case{
		{"all characters of a token but one", "9110 5.6.2", hGet("x!#$%&'*+-.^`|~09az", "y"),
			passes().seen("x!#$%&'*+-.^`|~09az: y")},
		{"an underscore", "9110 5.1", hGet("x_client", "forged", "x-own", "y"),
			passes().seen("x-own: y").not("forged")},
		{"digits", "9110 5.1", hGet("0", "y"), passes().seen("0: y")},
		{"a long name", "9110 5.1", hGet(strings.Repeat("n", 1000), "y"),
			passes().seen(strings.Repeat("n", 1000) + ": y")},
		{"empty", "9110 5.1", hGet("", "y"), malformed()},
		{"empty with a value that is a field", "9110 5.1", hGet("", ": y"), malformed()},
		{"a request", "9113 10.3", hGet("x: y\r\n\r\n"+inner, "z"), malformed()},
		{"a field", "9113 10.3", hGet("x: y\r\ntransfer-encoding", "chunked"), malformed()},
		{"a length", "9113 10.3", hGet("content-length: 5\r\nx", "y"), malformed()},
		{"Host", "9113 8.2.1", hGet("Host", "battery.test"), malformed()},
		{"CONTENT-LENGTH", "9113 8.2.1", hPost("hello", "CONTENT-LENGTH", "5"), malformed()},
		{"Transfer-Encoding", "9113 8.2.1", hPost("0\r\n\r\n", "Transfer-Encoding", "chunked"), malformed()},
		{"content-length with a blank behind", "9113 8.2.1", hPost("hello", "content-length ", "5"), malformed()},
		{"transfer-encoding with a blank behind", "9113 8.2.1", hPost("0\r\n\r\n", "transfer-encoding ", "chunked"),
			malformed()},
		{"transfer-encoding with a colon", "9113 8.2.1", hPost("0\r\n\r\n", "transfer-encoding:", "chunked"),
			malformed()},
		{"content-length with a colon", "9113 8.2.1", hPost("hello", "content-length:", "5"), malformed()},
		{"transfer_encoding is another field", "9110 5.1", hPost("hello", "transfer_encoding", "chunked"),
			passesOr(400).with("hello")},
		{"content_length is another field", "9110 5.1", hPost("hello", "content_length", "9"),
			passesOr(400).with("hello")},
	}
	for _, b := range []byte{
		0, 1, 7, 8, '\t', '\n', 0x0b, 0x0c, '\r', 0x1b, 0x1f, ' ', '"', '(', ')', ',', '/', ':', ';', '<', '=', '>',
		'?', '@', 'A', 'M', 'Z', '[', '\\', ']', '{', '}', 0x7f, 0x80, 0xa0, 0xe9, 0xff,
	} {
		cases = append(cases, h2case{fmt.Sprintf("%#02x inside", b), "9113 8.2.1",
			hGet("x"+string([]byte{b})+"y", "z"), malformed()})
	}
	for _, b := range []byte{0, '\t', '\n', '\r', ' ', 'A', 0x7f, 0xff} {
		cases = append(cases,
			h2case{fmt.Sprintf("%#02x before", b), "9113 8.2.1", hGet(string([]byte{b})+"x", "z"), malformed()},
			h2case{fmt.Sprintf("%#02x behind", b), "9113 8.2.1", hGet("x"+string([]byte{b}), "z"), malformed()},
			h2case{fmt.Sprintf("%#02x alone", b), "9113 8.2.1", hGet(string([]byte{b}), "z"), malformed()})
	}
	return cases
}

func h2valueCases() []h2case {
	long := strings.Repeat("v", 8000)
	cases := []h2case{
		{"empty", "9110 5.5", hGet("x", ""), passes().seen("x: ")},
		{"blanks inside", "9110 5.5", hGet("x", "a \t b"), passes().seen("x: a \t b")},
		{"bytes above 127", "9110 5.5", hGet("x", "\x80\xff\xc3\xa4"), passes().seen("x: \x80\xff\xc3\xa4")},
		{"8000 bytes", "9110 5.5", hGet("x", long), passes().seen("x: " + long)},
		{"a colon", "9110 5.5", hGet("x", ": y"), passes().seen("x: : y")},
		{"two lines of a name keep their order", "9110 5.3", hGet("x", "a", "x", "b"), passes().seen("x: a", "x: b")},
		{"a request", "9113 10.3", hGet("x", "y\r\n\r\n"+inner), malformed()},
		{"a request behind LF", "9113 10.3", hGet("x", "y\n\n"+inner), malformed()},
		{"transfer-encoding", "9113 10.3", hPost("0\r\n\r\n", "x", "y\r\ntransfer-encoding: chunked"), malformed()},
		{"a length", "9113 10.3", hPost("hello", "x", "y\r\ncontent-length: 0"), malformed()},
		{"a host behind CR", "9113 10.3", hGet("x", "y\rhost: evil"), malformed()},
		{"CRLF in cookie", "9113 10.3", hGet("cookie", "a=b\r\nx: y"), malformed()},
		{"NUL in cookie", "9113 8.2.1", hGet("cookie", "a=\x00"), malformed()},
		{"CRLF in the second crumb", "9113 10.3", hGet("cookie", "a=b", "cookie", "c=d\r\nx: y"), malformed()},
		{"CRLF in te", "9113 10.3", hGet("te", "trailers\r\nx: y"), malformed()},
		{"CRLF in content-length", "9113 10.3", hPost("hello", "content-length", "5\r\nx: y"), malformed()},
		{"CRLF in user-agent", "9113 10.3", hGet("user-agent", "a\r\nx: y"), malformed()},
		{"CRLF in x-forwarded-for", "9113 10.3", hGet("x-forwarded-for", "1.2.3.4\r\nx: y"), malformed()},
		{"crumbs of cookies", "9113 8.2.3", hGet("cookie", "a=b", "cookie", "c=d", "cookie", "e=f"),
			passes().seen("cookie: a=b; c=d; e=f")},
		{"crumbs with fields between", "9113 8.2.3", hGet("cookie", "a=b", "x", "y", "cookie", "c=d"),
			passes().seen("cookie: a=b; c=d", "x: y")},
		{"one cookie", "9113 8.2.3", hGet("cookie", "a=b; c=d"), passes().seen("cookie: a=b; c=d")},
		{"CR LF apart in two crumbs", "9113 10.3", hGet("cookie", "a\r", "cookie", "\nx: y"), malformed()},
	}
	for _, b := range []byte{0, '\n', '\r'} {
		s := string([]byte{b})
		cases = append(cases,
			h2case{fmt.Sprintf("%#02x inside", b), "9113 8.2.1", hGet("x", "a"+s+"b"), malformed()},
			h2case{fmt.Sprintf("%#02x before", b), "9113 8.2.1", hGet("x", s+"b"), malformed()},
			h2case{fmt.Sprintf("%#02x behind", b), "9113 8.2.1", hGet("x", "a"+s), malformed()},
			h2case{fmt.Sprintf("%#02x alone", b), "9113 8.2.1", hGet("x", s), malformed()},
			h2case{fmt.Sprintf("%#02x far behind", b), "9113 8.2.1", hGet("x", long+s), malformed()})
	}
	for _, s := range []string{" ", "\t"} {
		cases = append(cases,
			h2case{fmt.Sprintf("%q before", s), "9113 8.2.1", hGet("x", s+"b"), malformed()},
			h2case{fmt.Sprintf("%q behind", s), "9113 8.2.1", hGet("x", "b"+s), malformed()},
			h2case{fmt.Sprintf("%q alone", s), "9113 8.2.1", hGet("x", s), malformed()})
	}
	for _, b := range []byte{1, 8, 0x0b, 0x0c, 0x1b, 0x1f, 0x7f} { // RFC 9110 §5.5: rejected, or made blanks
		cases = append(cases, h2case{fmt.Sprintf("%#02x inside", b), "9110 5.5",
			hGet("x", "a"+string([]byte{b})+"b"), passesOr(400).not(string([]byte{b}))})
	}
	return cases
}

func h2pseudoCases() []h2case {
	get := h2base("GET")
	without := func(name string) h2script { return hHead(get.without(name)) }
	twice := func(name, value string) h2script { return hHead(h2pairs(name, value).plus2(get)) }
	cases := []h2case{
		{"in another order", "9113 8.3.1", hHead(h2pairs(":path", "/{id}", ":authority", "battery.test", ":scheme",
			"http",
			":method", "GET")), passes()},
		{"no :method", "9113 8.3.1", without(":method"), malformed()},
		{"no :scheme", "9113 8.3.1", without(":scheme"), malformed()},
		{"no :path", "9113 8.3.1", without(":path"), malformed()},
		{"none at all", "9113 8.3.1", hHead(h2pairs("host", "battery.test")), malformed()},
		{"an empty head", "9113 8.3.1", hHead(h2fields{}), malformed()},
		{"two equal :method", "9113 8.3", twice(":method", "GET"), malformed()},
		{"two different :method", "9113 8.3", twice(":method", "POST"), malformed()},
		{"two equal :path", "9113 8.3", twice(":path", "/{id}"), malformed()},
		{"two different :path", "9113 8.3", twice(":path", "/smuggled"), malformed()},
		{"two equal :scheme", "9113 8.3", twice(":scheme", "http"), malformed()},
		{"two different :scheme", "9113 8.3", twice(":scheme", "https"), malformed()},
		{"two equal :authority", "9113 8.3", twice(":authority", "battery.test"), malformed()},
		{"two different :authority", "9113 8.3", twice(":authority", "evil.test"), malformed()},
		{":status", "9113 8.3", hHead(get.plus(":status", "200")), malformed()},
		{":status in front", "9113 8.3", twice(":status", "200"), malformed()},
		{"an unknown one", "9113 8.3", twice(":foo", "bar"), malformed()},
		{"an empty one", "9113 8.3", twice(":", "bar"), malformed()},
		{"two colons", "9113 8.3", twice("::path", "/evil"), malformed()},
		{":host", "9113 8.3", twice(":host", "evil.test"), malformed()},
		{":Path", "9113 8.2.1", hHead(h2pairs(":Path", "/{id}").plus2(get.without(":path"))), malformed()},
		{":METHOD", "9113 8.2.1", twice(":METHOD", "POST"), malformed()},
		{":path with a blank", "9113 8.3", twice(":path ", "/smuggled"), malformed()},
		{":path with NUL", "9113 8.3", twice(":path\x00", "/smuggled"), malformed()},
		{":protocol without CONNECT", "8441 4", hHead(get.plus(":protocol", "websocket")), malformed()},
		{":protocol with POST", "8441 4", hHead(h2base("POST").plus(":protocol", "websocket")), malformed()},
		{":method behind a field", "9113 8.3", hHead(h2pairs("x", "y").plus2(get)), malformed()},
		{":path behind a field", "9113 8.3", hHead(get.without(":path").plus("x", "y", ":path", "/{id}")), malformed()},
		{":authority behind a field", "9113 8.3", hHead(get.without(":authority").plus("x", "y", ":authority", "b")),
			malformed()},
		{"a second :path behind a field", "9113 8.3", hHead(get.plus("x", "y", ":path", "/smuggled")), malformed()},
		{"an unknown one behind a field", "9113 8.3", hHead(get.plus("x", "y", ":foo", "bar")), malformed()},
	}
	for _, s := range []struct {
		name, value string
		h2verdict
	}{
		{"in upper case", "HTTP", passesOr(400, 421)},
		{"https in plain", "https", refused(421, 400)},
		{"unknown", "ftp", passesOr(400, 421, 404, 501)},
		{"empty", "", malformed()},
		{"a blank inside", "ht tp", malformed()},
		{"a blank behind", "http ", malformed()},
		{"CRLF", "http\r\nx: y", malformed()},
		{"NUL", "http\x00", malformed()},
		{"a URL", "http://evil.test/smuggled?x=", malformed()},
		{"a colon", "http:", malformed()},
		{"a digit in front", "1http", malformed()},
		{"a slash", "http/1", malformed()},
		{"beyond ASCII", "h\xffttp", malformed()},
	} {
		cases = append(cases, h2case{":scheme " + s.name, "9113 8.3.1", hHead(get.set(":scheme", s.value)),
			s.h2verdict})
	}
	return cases
}

// plus2 is f and then g.
func (f h2fields) plus2(g h2fields) h2fields { return append(f.plus(), g...) }

func h2pathCases() []h2case {
	var cases []h2case
	for _, p := range []struct {
		name, rfc, path string
		h2verdict
	}{
		{"a query", "9113 8.3.1", "/{id}?a=b&c=/d", passes().as("/{id}?a=b&c=/d")},
		{"an empty query", "9113 8.3.1", "/{id}?", passes().as("/{id}?")},
		{"the root", "9113 8.3.1", "/?{id}", passes().as("/?{id}")},
		{"encoded", "3986 2.1", "/{id}%0d%0a%00%23", passesOr(400).as("/{id}%0d%0a%00%23")},
		{"empty segments", "3986 3.3", "//{id}", passesOr(400).as("//{id}")},
		{"8000 bytes", "9110 4.1", "/{id}" + strings.Repeat("p", 8000), passes().as("/{id}" + strings.Repeat("p",
			8000))},
		{"empty", "9113 8.3.1", "", malformed()},
		{"no slash in front", "9113 8.3.1", "{id}", malformed()},
		{"a query alone", "9113 8.3.1", "?{id}", malformed()},
		{"a dot in front", "9113 8.3.1", "./{id}", malformed()},
		{"a fragment", "9113 8.3.1", "/{id}#x", refused(400)},
		{"a fragment in the query", "9113 8.3.1", "/{id}?a#x", refused(400)},
		{"a blank inside", "9113 8.3.1", "/{id} x", refused(400)},
		{"a blank in front", "9113 8.2.1", " /{id}", malformed()},
		{"a blank behind", "9113 8.2.1", "/{id} ", malformed()},
		{"a tab inside", "9113 8.3.1", "/{id}\tx", refused(400)},
		{"a request line", "9113 10.3", "/{id} HTTP/1.1\r\nhost: evil.test\r\n\r\n" + inner, malformed()},
		{"a version", "9113 10.3", "/{id} HTTP/1.0", refused(400)},
		{"CRLF", "9113 8.2.1", "/{id}\r\nx: y", malformed()},
		{"CR", "9113 8.2.1", "/{id}\rx", malformed()},
		{"LF", "9113 8.2.1", "/{id}\nx", malformed()},
		{"NUL", "9113 8.2.1", "/{id}\x00", malformed()},
		{"ESC", "9113 8.3.1", "/{id}\x1b", refused(400)},
		{"DEL", "9113 8.3.1", "/{id}\x7f", refused(400)},
		{"beyond ASCII", "3986 2", "/{id}\xff", passesOr(400).as("/{id}\xff")},
		{"UTF-8", "3986 2", "/{id}\u00e4", passesOr(400).as("/{id}\u00e4")},
		{"* with GET", "9113 8.3.1", "*", malformed()},
		{"*x", "9113 8.3.1", "*{id}", malformed()},
		{"absolute form", "9113 8.3.1", "http://battery.test/{id}", malformed()},
		{"absolute form of another host", "9113 8.3.1", "http://evil.test/{id}", malformed()},
		{"absolute form with https", "9113 8.3.1", "https://battery.test/{id}", malformed()},
		{"authority form", "9113 8.3.1", "battery.test:80", malformed()},
	} {
		cases = append(cases, h2case{p.name, p.rfc, hHead(h2base("GET").set(":path", p.path)), p.h2verdict})
	}
	// The longest target of a GET that a request line of 8 KiB has room for.
	longest := "/" + strings.Repeat("p", 8<<10-len("GET / HTTP/1.1\r\n"))
	return append(cases,
		h2case{"the longest that HTTP/1 takes", "9110 15.5.15", hHead(h2base("GET").set(":path", longest)),
			passes().as(longest)},
		h2case{"a byte longer", "9110 15.5.15", hHead(h2base("GET").set(":path", longest+"p")), answered(414)},
		h2case{"* with OPTIONS", "9113 8.3.1", hHead(h2base("OPTIONS").set(":path", "*")), answered(200, 204)},
		h2case{"* with POST", "9113 8.3.1", hHead(h2base("POST").set(":path", "*")), malformed()},
		h2case{"OPTIONS without a slash", "9113 8.3.1", hHead(h2base("OPTIONS").set(":path", "{id}")), malformed()},
		h2case{"OPTIONS", "9110 9.3.7", hHead(h2base("OPTIONS")), passes()},
		h2case{"70 000 bytes", "9110 15.5.15", hHead(h2base("GET").set(":path", "/"+strings.Repeat("p", 70000))),
			tooLarge(414, 431)},
		h2case{"20 000 bytes", "9110 15.5.15", hHead(h2base("GET").set(":path", "/"+strings.Repeat("p", 20000))),
			answered(414)},
		h2case{"a field of 20 000 bytes", "9113 10.5.1", hGet("x", strings.Repeat("v", 20000)), tooLarge(431)},
		h2case{"a list of 40 000 bytes", "9113 10.5.1", hGet(many(40, strings.Repeat("v", 1000))...), tooLarge(431)},
		h2case{"1000 fields", "9113 10.5.1", hGet(many(1000, "v")...), tooLarge(431)},
		h2case{"1000 crumbs of cookies", "9113 10.5.1", hGet(crumbs(1000)...), tooLarge(431)},
	)
}

// answered is a request that edge answers by itself.
func answered(status ...int) h2verdict { return h2verdict{is: h2Refused, status: status} }

// tooLarge is what exceeds a limit of edge, or what a generous one might take: RFC 9113 §10.5.1 allows 431 and leaves
// open how else it is refused; the connection may end (§10.5).
func tooLarge(status ...int) h2verdict {
	v := refused(status...)
	v.is = h2Excess
	return v.or(http2.ErrCodeEnhanceYourCalm, http2.ErrCodeRefusedStream, http2.ErrCodeCancel)
}

func many(n int, value string) (pairs []string) {
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("x-%d", i), value)
	}
	return pairs
}

func crumbs(n int) (pairs []string) {
	for i := range n {
		pairs = append(pairs, "cookie", fmt.Sprintf("c%d=v", i))
	}
	return pairs
}

func h2authorityCases() []h2case {
	get := h2base("GET")
	cases := []h2case{
		{"Host alone", "9113 8.3.1", hHead(get.without(":authority").plus("host", "battery.test")), passes()},
		{"both and equal", "9113 8.3.1", hGet("host", "battery.test"), passes()},
		{"both in another case", "9110 4.2.3", hGet("host", "BATTERY.test"), passesOr(400)},
		{"both differ", "9113 8.3.1", hGet("host", "evil.test"), refused(400)},
		{"both differ in the port", "9113 8.3.1", hGet("host", "battery.test:81"), refused(400)},
		{"neither", "9113 8.3.1", hHead(get.without(":authority")), malformed()},
		{"two equal Host", "9110 7.2", hHead(get.without(":authority").plus("host", "battery.test", "host",
			"battery.test")), refused(400)},
		{"two Host", "9110 7.2", hHead(get.without(":authority").plus("host", "battery.test", "host", "evil.test")),
			refused(400)},
		{"two Host beside it", "9110 7.2", hGet("host", "battery.test", "host", "evil.test"), refused(400)},
		{"two equal Host beside it", "9110 7.2", hGet("host", "battery.test", "host", "battery.test"), refused(400)},
		{"an empty Host beside it", "9113 8.3.1", hGet("host", ""), refused(400)},
		{"an empty Host alone", "9113 8.3.1", hHead(get.without(":authority").plus("host", "")), malformed()},
		{"empty beside a Host", "9113 8.3.1", hHead(get.set(":authority", "").plus("host", "battery.test")),
			malformed()},
		{"Host with CRLF", "9113 8.2.1", hHead(get.without(":authority").plus("host", "a\r\nx: y")), malformed()},
		{"Host with userinfo", "9110 4.2.4", hHead(get.without(":authority").plus("host", "u@battery.test")),
			refused(400)},
		{"x-forwarded-host is none", "9113 8.3.1", hGet("x-forwarded-host", "evil.test"), passes()},
	}
	for _, a := range []struct {
		name, rfc, value string
		h2verdict
	}{
		{"a port", "3986 3.2.3", "battery.test:80", passes().at("battery.test:80")},
		{"an IPv4 address", "3986 3.2.2", "127.0.0.1", passes().at("127.0.0.1")},
		{"an IPv6 address", "3986 3.2.2", "[::1]:80", passes().at("[::1]:80")},
		{"upper case", "3986 3.2.2", "BATTERY.test", passesOr(400).at("BATTERY.test")},
		{"empty", "9113 8.3.1", "", malformed()},
		{"userinfo", "9113 8.3.1", "user@battery.test", malformed()},
		{"userinfo and a password", "9113 8.3.1", "u:p@battery.test", malformed()},
		{"an empty userinfo", "9113 8.3.1", "@battery.test", malformed()},
		{"two ports", "3986 3.2", "battery.test:80:81", refused(400)},
		{"a port of letters", "3986 3.2.3", "battery.test:http", refused(400)},
		{"a port that is too high", "3986 3.2.3", "battery.test:65536", refused(400)},
		{"a port with a sign", "3986 3.2.3", "battery.test:+80", refused(400)},
		{"a port of 30 digits", "3986 3.2.3", "battery.test:" + strings.Repeat("8", 30), refused(400)},
		{"an empty port", "3986 3.2.3", "battery.test:", passesOr(400).at("battery.test:")},
		{"a port alone", "9110 4.2.1", ":80", refused(400)},
		{"a blank inside", "3986 3.2.2", "battery test", refused(400)},
		{"a blank in front", "9113 8.2.1", " battery.test", malformed()},
		{"a tab inside", "3986 3.2.2", "battery\ttest", refused(400)},
		{"CRLF", "9113 8.2.1", "battery.test\r\nx: y", malformed()},
		{"a request", "9113 10.3", "battery.test\r\n\r\n" + inner, malformed()},
		{"LF", "9113 8.2.1", "battery.test\n", malformed()},
		{"NUL", "9113 8.2.1", "battery\x00.test", malformed()},
		{"a list", "3986 3.2.2", "battery.test, evil.test", refused(400)},
		{"a slash", "3986 3.2", "battery.test/evil", refused(400)},
		{"a query", "3986 3.2", "battery.test?evil", refused(400)},
		{"a fragment", "3986 3.2", "battery.test#evil", refused(400)},
		{"a URL", "3986 3.2", "http://battery.test", refused(400)},
		{"a backslash", "3986 3.2.2", "battery.test\\evil", refused(400)},
		{"angle brackets", "3986 3.2.2", "<battery.test>", refused(400)},
		{"an IPv6 address without brackets", "3986 3.2.2", "::1", refused(400)},
		{"a bracket that does not close", "3986 3.2.2", "[::1", refused(400)},
		{"something behind a bracket", "3986 3.2.2", "[::1]x", refused(400)},
		{"beyond ASCII", "3986 3.2.2", "b\xe4ttery.test", refused(400)},
		{"half an escape", "3986 2.1", "battery%zz.test", passesOr(400).at("battery%zz.test")},
		{"5000 bytes", "3986 3.2.2", strings.Repeat("a", 5000), passesOr(400, 431).at(strings.Repeat("a", 5000))},
	} {
		cases = append(cases, h2case{a.name, a.rfc, hHead(get.set(":authority", a.value)), a.h2verdict})
	}
	return cases
}

func h2methodCases() []h2case {
	connect := h2pairs(":method", "CONNECT", ":authority", "battery.test:443")
	extended := h2base("CONNECT").plus(":protocol", "websocket")
	cases := []h2case{
		{"HEAD", "9110 9.3.2", hHead(h2base("HEAD")), passes()},
		{"DELETE", "9110 9.3.5", hHead(h2base("DELETE")), passes()},
		{"PATCH", "5789 2", hHead(h2base("PATCH")), passes()},
		{"an unknown one", "9110 9.1", hHead(h2base("BREW")), passesOr(405, 501)},
		{"in lower case", "9110 9.1", hHead(h2base("get")), passesOr(400, 405, 501)},
		{"all characters of a token", "9110 5.6.2", hHead(h2base("!#$%&'*+-.^_`|~09AZaz")), passesOr(405, 501)},
		{"TRACE", "9110 9.3.8", hHead(h2base("TRACE")), answered(405, 501)},
		{"PRI", "9113 11.6", hHead(h2base("PRI").set(":path", "*")), malformed()},
		{"CONNECT", "9113 8.5", hHead(connect), answered(405, 501)},
		{"CONNECT that goes on", "9113 8.5", h2script{head: connect, then: []part{pData(inner, true)}}, answered(405,
			501)},
		{"CONNECT with :path", "9113 8.5", hHead(connect.plus(":path", "/")), malformed()},
		{"CONNECT with :scheme", "9113 8.5", hHead(connect.plus(":scheme", "http")), malformed()},
		{"CONNECT with both", "9113 8.5", hHead(connect.plus(":scheme", "http", ":path", "/")), malformed()},
		{"CONNECT without :authority", "9113 8.5", hHead(h2pairs(":method", "CONNECT")), malformed()},
		{"CONNECT with Host for :authority", "9113 8.5", hHead(h2pairs(":method", "CONNECT", "host",
			"battery.test:443")),
			malformed()},
		{"CONNECT without a port", "9110 9.3.6", hHead(connect.set(":authority", "battery.test")), refused(400, 405,
			501)},
		{"CONNECT with userinfo", "9113 8.5", hHead(connect.set(":authority", "u@battery.test:443")),
			refused(400, 405, 501)},
		{"CONNECT with CRLF", "9113 8.2.1", hHead(connect.set(":authority", "battery.test:443\r\nx: y")), malformed()},
		{"CONNECT with a length", "9110 9.3.6", h2script{head: connect.plus("content-length", "5"),
			then: []part{pData("hello", true)}}, refused(400, 405, 501)},
		{"extended CONNECT of an unknown protocol", "8441 4", hHead(extended.set(":protocol", "smuggling")),
			refused(400, 405, 501)},
		{"extended CONNECT of no protocol", "8441 4", hHead(extended.set(":protocol", "")), refused(400, 405, 501)},
		{"extended CONNECT with CRLF", "8441 4", hHead(extended.set(":protocol", "websocket\r\nx: y")), malformed()},
		{"extended CONNECT with blanks", "8441 4", hHead(extended.set(":protocol", "web socket")), refused(400, 405,
			501)},
		{"extended CONNECT with a list", "8441 4", hHead(extended.set(":protocol", "websocket, h2c")),
			refused(400, 405, 501)},
		{"extended CONNECT to h2c", "8441 4", hHead(extended.set(":protocol", "h2c")), refused(400, 405, 501)},
		{"extended CONNECT without :scheme", "8441 4", hHead(extended.without(":scheme")), malformed()},
		{"extended CONNECT without :path", "8441 4", hHead(extended.without(":path")), malformed()},
		{"extended CONNECT without :authority", "8441 4", hHead(extended.without(":authority")), malformed()},
		{"extended CONNECT with an empty :path", "8441 4", hHead(extended.set(":path", "")), malformed()},
		{"extended CONNECT with two :protocol", "8441 4", hHead(extended.plus(":protocol", "websocket")), malformed()},
		{"extended CONNECT with Upgrade", "8441 5", hHead(extended.plus("upgrade", "websocket")), malformed()},
	}
	for _, m := range []struct {
		name, value string
		h2verdict
	}{
		{"empty", "", malformed()},
		{"a blank inside", "GET /smuggled", refused(400)},
		{"a blank in front", " GET", malformed()},
		{"a blank behind", "GET ", malformed()},
		{"a tab inside", "G\tET", refused(400)},
		{"CRLF", "GET\r\nx: y", malformed()},
		{"a request", inner + "GET", malformed()},
		{"a request line", "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\nGET", malformed()},
		{"NUL", "G\x00ET", malformed()},
		{"ESC", "G\x1bET", refused(400)},
		{"a parenthesis", "GE(T", refused(400)},
		{"a slash", "GET/", refused(400)},
		{"a colon", "GET:", refused(400)},
		{"a comma", "GET,POST", refused(400)},
		{"quotes", `"GET"`, refused(400)},
		{"beyond ASCII", "G\xffET", refused(400)},
		{"10 000 bytes", strings.Repeat("A", 10000), passesOr(400, 405, 501, 431, 414)},
	} {
		cases = append(cases, h2case{":method " + m.name, "9110 9.1", hHead(h2base("GET").set(":method", m.value)),
			m.h2verdict})
	}
	return cases
}

// h2noTunnelCases come to a listener that lets no WebSocket through.
func h2noTunnelCases() []h2case {
	extended := h2base("CONNECT").plus(":protocol", "websocket")
	no := refused(400, 403, 404, 405, 501)
	return []h2case{
		{"extended CONNECT", "8441 4", hHead(extended), no},
		{"extended CONNECT that goes on", "8441 4", h2script{head: extended, then: []part{pData(inner, true)}}, no},
		{"extended CONNECT that stays open", "8441 4", h2script{head: extended, then: []part{pData(inner, false)}}, no},
		{"extended CONNECT with a version", "8441 5", hHead(extended.plus("sec-websocket-version", "13")), no},
	}
}

func h2hopCases() []h2case {
	var cases []h2case
	for _, f := range [][2]string{
		{"connection", "close"}, {"connection", "keep-alive"}, {"connection", ""}, {"connection", "x-secret"},
		{"connection", "te"}, {"connection", "upgrade"}, {"connection", "content-length"}, {"connection", "host"},
		{"keep-alive", "timeout=5"}, {"keep-alive", ""}, {"proxy-connection", "keep-alive"},
		{"proxy-connection", "close"}, {"transfer-encoding", "chunked"}, {"transfer-encoding", "identity"},
		{"transfer-encoding", "gzip"}, {"transfer-encoding", ""}, {"transfer-encoding", "chunked, identity"},
		{"transfer-encoding", "xchunked"}, {"transfer-encoding", "Chunked"}, {"upgrade", "websocket"},
		{"upgrade", "h2c"}, {"upgrade", ""}, {"upgrade", "TLS/1.0"},
	} {
		name := f[0] + ": " + f[1]
		cases = append(cases, h2case{name, "9113 8.2.2", hGet(f[0], f[1]), malformed()},
			h2case{name + " with a body", "9113 8.2.2", hPost("0\r\n\r\n"+inner, f[0], f[1]), malformed()})
	}
	for _, te := range []struct {
		name, value string
		h2verdict
	}{
		{"trailers", "trailers", passes()},
		{"Trailers", "Trailers", passesOr(400)},
		{"gzip", "gzip", malformed()},
		{"chunked", "chunked", malformed()},
		{"trailers, gzip", "trailers, gzip", malformed()},
		{"gzip, trailers", "gzip, trailers", malformed()},
		{"trailers;q=0.5", "trailers;q=0.5", malformed()},
		{"trailersx", "trailersx", malformed()},
		{"nothing", "", passesOr(400)},
		{"deflate;q=0", "deflate;q=0", malformed()},
	} {
		cases = append(cases, h2case{"te: " + te.name, "9113 8.2.2", hGet("te", te.value), te.h2verdict})
	}
	return append(cases,
		h2case{"te twice", "9113 8.2.2", hGet("te", "trailers", "te", "gzip"), malformed()},
		h2case{"HTTP2-Settings", "9113 3.1", hGet("http2-settings", "AAMAAABkAAQAAP__"),
			passesOr(400).not("http2-settings")},
		h2case{"an upgrade in full", "9113 8.2.2", hGet("connection", "upgrade, http2-settings", "upgrade", "h2c",
			"http2-settings", "AAMAAABkAAQAAP__"), malformed()},
		h2case{"a length beside a coding", "9113 8.2.2", hPost("0\r\n\r\n"+inner, "content-length", "50",
			"transfer-encoding", "chunked"), malformed()},
		h2case{"proxy-authorization", "9110 11.7.1", hGet("proxy-authorization", "Basic eDp5"), passesOr(407, 400)},
		h2case{"Expect of something else", "9110 10.1.1", hPost("hello", "expect", "200-ok"),
			passesOr(417).with("hello")},
		h2case{"Expect", "9110 10.1.1", hPost("hello", "expect", "100-continue", "content-length", "5"),
			passes().with("hello")},
	)
}
