package h1

import (
	"errors"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

const (
	hostLine  = "Host: a\r\n"
	plainHead = " v11 length=0 chunked=false close=false upgrade=false continue=false hops=false\n"
)

func post(fields string) string { return "POST / HTTP/1.1\r\n" + hostLine + fields + "\r\n" }

func TestDecoder_acceptsRequests(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"origin form, values trimmed, an empty one",
			"GET /a?b HTTP/1.1\r\nHost: a:80\r\nAccept:  x \t\r\nX-A:\r\n\r\n",
			"GET /a?b ://a:80 0 " + plainHead + "  Host: a:80 (1)\n  Accept: x (14)\n  X-A:  (0)\nend\n"},
		{"§2.2 one empty line before it", "\r\nGET / HTTP/1.1\r\n" + hostLine + "\r\n",
			"GET / ://a 0 " + plainHead + "  Host: a (1)\nend\n"},
		{"two in a row", "GET /1 HTTP/1.1\r\n" + hostLine + "\r\nGET /2 HTTP/1.1\r\n" + hostLine + "\r\n",
			"GET /1 ://a 0 " + plainHead + "  Host: a (1)\nend\nGET /2 ://a 0 " + plainHead + "  Host: a (1)\nend\n"},
		{"§3.2.2 absolute form without path", "GET http://A.example HTTP/1.1\r\nHost: a.Example:80\r\n\r\n",
			"GET / ://A.example 0 " + plainHead + "  Host: a.Example:80 (1)\nend\n"},
		{"§3.2.2 absolute form with a query alone", "GET HTTPS://a?q HTTP/1.1\r\nHost: a:443\r\n\r\n",
			"GET /?q https://a 0 " + plainHead + "  Host: a:443 (1)\nend\n"},
		{"§3.2.4 OPTIONS without path", "OPTIONS http://a HTTP/1.1\r\n" + hostLine + "\r\n",
			"OPTIONS * ://a 0 " + plainHead + "  Host: a (1)\nend\n"},
		{"§3.2.4 asterisk form", "OPTIONS * HTTP/1.1\r\n" + hostLine + "\r\n",
			"OPTIONS * ://a 0 " + plainHead + "  Host: a (1)\nend\n"},
		{"§3.2.3 authority form", "CONNECT a:443 HTTP/1.1\r\n" + hostLine + "\r\n",
			"CONNECT a:443 ://a:443 0 " + plainHead + "  Host: a (1)\nend\n"},
		{"any token is a method", "M-SEARCH / HTTP/1.1\r\n" + hostLine + "\r\n",
			"M-SEARCH / ://a 0 " + plainHead + "  Host: a (1)\nend\n"},
		{"§9.3 HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n",
			"GET / :// 0  v10 length=0 chunked=false close=true upgrade=false continue=false hops=false\nend\n"},
		{"§9.3 HTTP/1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
			"GET / :// 0  v10 length=0 chunked=false close=false upgrade=false continue=false hops=false\n" +
				"  Connection: Keep-Alive (2)\nend\n"},
		{"§9.6 close wins", post("Connection: keep-alive, Close\r\n"),
			"POST / ://a 0  v11 length=0 chunked=false close=true upgrade=false continue=false hops=false\n" +
				"  Host: a (1)\n  Connection: keep-alive, Close (2)\nend\n"},
		{"RFC 9110 §7.6.1 named fields are dropped",
			post("X-a: 1\r\nx-A: 2\r\nAge: 1\r\nConnection: ,x-a, AGE,host\r\n"),
			"POST / ://a 0  v11 length=0 chunked=false close=false upgrade=false continue=false hops=true\n" +
				"  Host: a (1)\n  Connection: ,x-a, AGE,host (2)\nend\n"},
		{"RFC 9110 §7.8 Upgrade", post("Upgrade: websocket\r\nConnection: Upgrade\r\n"),
			"POST / ://a 0  v11 length=0 chunked=false close=false upgrade=true continue=false hops=true\n" +
				"  Host: a (1)\n  Upgrade: websocket (8)\n  Connection: Upgrade (2)\nend\n"},
		{"RFC 9110 §10.1.1 Expect", post("Expect: 100-Continue\r\nContent-Length: 2\r\n") + "hi",
			"POST / ://a 0  v11 length=2 chunked=false close=false upgrade=false continue=true hops=false\n" +
				"  Host: a (1)\n  Expect: 100-Continue (10)\n  Content-Length: 2 (7)\ndata \"hi\"\nend\n"},
		{"§7.1 chunked with extensions and trailers", post("Transfer-Encoding: Chunked\r\n") +
			"3;a=b;c=\"d\"\r\nabc\r\n0A ; x\r\n0123456789\r\n000\r\nX-T: 1\r\nHost: b\r\nContent-Length: 3\r\n\r\n",
			"POST / ://a 0  v11 length=-1 chunked=true close=false upgrade=false continue=false hops=true\n" +
				"  Host: a (1)\n  Transfer-Encoding: Chunked (6)\ndata \"abc0123456789\"\n" +
				"trailers   :// 0  v11 length=0 chunked=false close=false upgrade=false continue=false hops=false\n" +
				"  X-T: 1 (0)\nend\n"},
		{"§6.5.1 trailers that are not allowed", post("Transfer-Encoding: chunked\r\n") + "0\r\nCookie: a\r\n\r\n",
			"POST / ://a 0  v11 length=-1 chunked=true close=false upgrade=false continue=false hops=true\n" +
				"  Host: a (1)\n  Transfer-Encoding: chunked (6)\nend\n"},
		{"obs-text and tabs in values", post("X-A: caf\xe9\tb\xff~\r\n"),
			"POST / ://a 0 " + plainHead + "  Host: a (1)\n  X-A: caf\xe9\tb\xff~ (0)\nend\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := run(t, c.in, requests)
			if err != nil || got != c.want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
}

func TestDecoder_rejectsRequests(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	line := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + hostLine + "\r\n" }
	host := func(h string) string { return "GET / HTTP/1.1\r\nHost: " + h + "\r\n\r\n" }
	for _, c := range []struct {
		name, in string
		want     *Error
	}{
		{"§2.2 bare LF", "GET / HTTP/1.1\nHost: a\n\n", errBareLF},
		{"§2.2 bare LF in a field", post("A: b\nC: d\r\n"), errBareLF},
		{"§2.2 bare LF as the end", "GET / HTTP/1.1\r\n" + hostLine + "\n", errBareLF},
		{"§2.2 bare CR in a value", post("A: b\rc\r\n"), errBareCR},
		{"§2.2 bare CR as a line", post("\rA: b\r\n"), errBareCR},
		{"§2.2 bare CR in the request line", "GET / HTTP/1.1\rA\r\n" + hostLine + "\r\n", errBareCR},
		{"§2.2 two empty lines before it", "\r\n\r\nGET / HTTP/1.1\r\n" + hostLine + "\r\n", errRequestLine},
		{"§2.2 bare LF before it", "\nGET / HTTP/1.1\r\n" + hostLine + "\r\n", errMethod},
		{"§2.2 white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", errFold},
		{"§3 two spaces", "GET  / HTTP/1.1\r\n" + hostLine + "\r\n", errRequestLine},
		{"§3 tab for space", "GET\t/ HTTP/1.1\r\n" + hostLine + "\r\n", errMethod},
		{"§3 space before the line end", "GET / HTTP/1.1 \r\n" + hostLine + "\r\n", errRequestLine},
		{"§3 space in the target", line("/a b"), errRequestLine},
		{"§3 no method", " / HTTP/1.1\r\n" + hostLine + "\r\n", errMethod},
		{"RFC 8446 §5.1 a ClientHello", "\x16\x03\x01\x02\x00\x01 \x00", ErrTLS},
		{"RFC 9110 §9.1 method is a token", "G(T / HTTP/1.1\r\n" + hostLine + "\r\n", errMethod},
		{"RFC 3986 control in the target", line("/a\x01"), errTarget},
		{"RFC 3986 DEL in the target", line("/a\x7f"), errTarget},
		{"RFC 3986 not ASCII in the target", line("/\xc3\xa9"), errTarget},
		{"§3.2 fragment", line("/a#b"), errTarget},
		{"§3.2 neither form", line("a"), errTarget},
		{"§3.2 other scheme", line("ftp://a/"), errTarget},
		{"§3.2.2 user information", line("http://u@a/"), errTarget},
		{"§3.2.2 no host", line("http:///a"), errTarget},
		{"§3.2.2 differs from Host", line("http://b/"), errHostMismatch},
		{"§3.2.2 port differs from Host", line("http://a:81/"), errHostMismatch},
		{"§3.2.3 authority form for GET", line("a:80"), errTarget},
		{"§3.2.3 CONNECT without port", "CONNECT a HTTP/1.1\r\n" + hostLine + "\r\n", errTarget},
		{"§3.2.3 CONNECT with a path", "CONNECT /a HTTP/1.1\r\n" + hostLine + "\r\n", errTarget},
		{"RFC 9110 §10.1.1 another expectation", post("Expect: 200-ok\r\n"), errExpectation},
		{"RFC 9110 §10.1.1 a further expectation", post("Expect: 100-continue, x=y\r\n"), errExpectation},
		{"RFC 9110 §10.1.1 in a second field", post("Expect: 100-continue\r\nExpect: x\r\n"), errExpectation},
		{"RFC 9110 §9.3.6 CONNECT with a length", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\n\r\nhello",
			errConnectBody},
		{"RFC 9110 §9.3.6 CONNECT in chunks", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n",
			errConnectBody},
		{"§3.2.3 CONNECT differs from Host", "CONNECT a:1 HTTP/1.1\r\nHost: a:2\r\n\r\n", errHostMismatch},
		{"§3.2.4 asterisk for GET", line("*"), errTarget},
		{"§3.2.4 asterisk and more", "OPTIONS *a HTTP/1.1\r\n" + hostLine + "\r\n", errTarget},
		{"§3 HTTP/0.9", "GET /\r\n\r\n", errVersion},
		{"§2.3 HTTP/1.2", "GET / HTTP/1.2\r\n" + hostLine + "\r\n", errVersion},
		{"§2.3 HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", errVersion},
		{"§2.3 version is case-sensitive", "GET / http/1.1\r\n" + hostLine + "\r\n", errRequestLine},
		{"§2.3 two digits", "GET / HTTP/1.10\r\n" + hostLine + "\r\n", errRequestLine},
		{"§3.2 no Host", "GET / HTTP/1.1\r\n\r\n", ErrNoHost},
		{"§3.2 two Hosts", "GET / HTTP/1.1\r\n" + hostLine + hostLine + "\r\n", errManyHosts},
		{"§3.2 two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" + hostLine + hostLine + "\r\n", errManyHosts},
		{"RFC 9110 §4.2.1 empty Host", host(""), ErrHost},
		{"RFC 9110 §7.2 user information in Host", host("u@a"), ErrHost},
		{"RFC 9110 §7.2 path in Host", host("a/b"), ErrHost},
		{"RFC 9110 §7.2 list in Host", host("a, b"), ErrHost},
		{"RFC 9110 §7.2 list in Host without a blank", host("a,b"), ErrHost},
		{"RFC 9110 §7.2 encoded Host", host("ex%61mple.com"), ErrHost},
		{"RFC 9110 §7.2 empty label in Host", host("example.com.."), ErrHost},
		{"RFC 1035 §2.3.4 long Host", host(strings.Repeat("a.", 128)), ErrHost},
		{"§3.2.2 encoded host in the absolute form", "GET http://%61/ HTTP/1.1\r\n" + hostLine + "\r\n", errTarget},
		{"§3.2.2 empty label in the absolute form", "GET http://a../ HTTP/1.1\r\n" + hostLine + "\r\n", errTarget},
		{"§3.2.3 list in CONNECT", "CONNECT a,b:1 HTTP/1.1\r\nHost: a,b:1\r\n\r\n", ErrHost},
		{"§3.2.3 empty label in CONNECT", "CONNECT a..:1 HTTP/1.1\r\n" + hostLine + "\r\n", errTarget},
		{"RFC 9110 §7.2 port", host("a:x"), ErrHost},
		{"§5.1 space before colon", post("A : b\r\n"), errSpaceBeforeColon},
		{"§5.1 tab before colon", post("Content-Length\t: 1\r\n"), errSpaceBeforeColon},
		{"§5.1 space in a name", post("A b: c\r\n"), errFieldName},
		{"§5.1 no name", post(": c\r\n"), errFieldName},
		{"§5.1 no colon", post("abc\r\n"), errFieldName},
		{"§5.1 name with NUL", post("Hos\x00t: c\r\n"), errFieldName},
		{"§5.1 name with DEL", post("A\x7f: c\r\n"), errFieldName},
		{"§5.1 name not ASCII", post("\xe9: c\r\n"), errFieldName},
		{"§5.1 name with the case bit flipped elsewhere", post("Content\x0dLength: 1\r\n"), errBareCR},
		{"§5.2 fold", post("A: b\r\n c\r\n"), errFold},
		{"§5.2 fold that looks like a field", post("A: b\r\n\tC: d\r\n"), errFold},
		{"RFC 9110 §5.5 NUL in a value", post("A: b\x00c\r\n"), errFieldValue},
		{"RFC 9110 §5.5 control in a value", post("A: b\x1fc\r\n"), errFieldValue},
		{"RFC 9110 §5.5 DEL in a value", post("A: b\x7fc\r\n"), errFieldValue},
		{"§6.1 both lengths", post("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), errLengthAndCoding},
		{"§6.1 both lengths the other way", post("Content-Length: 1\r\nTransfer-Encoding: x\r\n"), errLengthAndCoding},
		{"§6.1 other coding", post("Transfer-Encoding: gzip, chunked\r\n"), errTransferCoding},
		{"§6.1 other coding alone", post("Transfer-Encoding: identity\r\n"), errTransferCoding},
		{"§6.1 chunked is not last", post("Transfer-Encoding: chunked, gzip\r\n"), errTransferCoding},
		{"§6.1 chunked twice", post("Transfer-Encoding: chunked, chunked\r\n"), errTransferEncoding},
		{"§6.1 chunked in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
			errTransferEncoding},
		{"§6.1 other coding in a second field", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
			errTransferCoding},
		{"§6.1 empty", post("Transfer-Encoding:\r\n"), errTransferEncoding},
		{"§6.1 empty element", post("Transfer-Encoding: ,chunked\r\n"), errTransferEncoding},
		{"§6.1 parameter", post("Transfer-Encoding: chunked;a=b\r\n"), errTransferEncoding},
		{"§6.1 vertical tab", post("Transfer-Encoding: \x0bchunked\r\n"), errFieldValue},
		{"§6.1 in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", errCodingInHTTP10},
		{"§6.3 two lengths", post("Content-Length: 1\r\nContent-Length: 1\r\n"), errManyLengths},
		{"§6.3 list of lengths", post("Content-Length: 1, 1\r\n"), errContentLength},
		{"§6.3 plus", post("Content-Length: +1\r\n"), errContentLength},
		{"§6.3 minus", post("Content-Length: -1\r\n"), errContentLength},
		{"§6.3 empty length", post("Content-Length: \r\n"), errContentLength},
		{"§6.3 hexadecimal", post("Content-Length: 0x1\r\n"), errContentLength},
		{"§6.3 space within", post("Content-Length: 1 1\r\n"), errContentLength},
		{"§6.3 overflow", post("Content-Length: 9223372036854775808\r\n"), errContentLength},
		{"§9.6 Connection is a list of tokens", post("Connection: a b\r\n"), errConnection},
		{"§9.6 too many options", post("Connection: " + strings.Repeat("a,", connectionOptionsMax) + "\r\n"),
			errConnection},
		{"request line too long", line("/" + long(8<<10)), ErrURITooLong},
		{"request line that does not end", "GET /" + long(8<<10), ErrURITooLong},
		{"field too long", post("A: " + long(16<<10) + "\r\n"), ErrFieldTooLarge},
		{"name too long", post(long(16<<10) + ": b\r\n"), ErrFieldTooLarge},
		{"too many fields", post(strings.Repeat("A: b\r\n", 100)), ErrTooManyFields},
		{"head too large", post(strings.Repeat("A: "+long(1000)+"\r\n", 33)), ErrHeadTooLarge},
		{"ends within the head", "GET / HTTP/1.1\r\nHos", errUnexpectedEOF},
		{"ends within the body", post("Content-Length: 3\r\n") + "ab", errUnexpectedEOF},
		{"ends within a chunk", post("Transfer-Encoding: chunked\r\n") + "3\r\nab", errUnexpectedEOF},
		{"ends before the last chunk", post("Transfer-Encoding: chunked\r\n") + "1\r\na\r\n", errUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := run(t, c.in, requests)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v\n%s", err, c.want, got)
			}
		})
	}
}

func TestDecoder_rejectsChunks(t *testing.T) {
	const valid = "3\r\nabc\r\n"
	for _, c := range []struct {
		name, in string
		want     *Error
	}{
		{"§7.1 no size", "\r\n", errChunkSize},
		{"§7.1 plus", "+1\r\na\r\n", errChunkSize},
		{"§7.1 minus", "-1\r\na\r\n", errChunkSize},
		{"§7.1 prefix", "0x1\r\na\r\n", errChunkSize},
		{"§7.1 underscore", "1_0\r\n", errChunkSize},
		{"§7.1 space before", " 1\r\na\r\n", errChunkSize},
		{"§7.1 space behind without extension", "1 \r\na\r\n", errChunkExtension},
		{"§7.1 sixteen digits", "0000000000000001\r\na\r\n", errChunkSize},
		{"§7.1 overflow", "ffffffffffffffff1\r\na\r\n", errChunkSize},
		{"§7.1 bare LF behind the size", "1\na\r\n", errBareLF},
		{"§7.1 bare CR behind the size", "1\ra\r\n", errBareCR},
		{"§7.1.1 bare LF in an extension", "1;a\nb\r\na\r\n", errBareLF},
		{"§7.1.1 bare CR in an extension", "1;a\rb\r\na\r\n", errBareCR},
		{"§7.1.1 NUL in an extension", "1;a\x00\r\na\r\n", errFieldValue},
		{"§7.1.1 no semicolon", "1 a\r\na\r\n", errChunkSize},
		{"§7.1.1 extension too long", "1;" + strings.Repeat("a", 256) + "\r\na\r\n", errChunkLineTooLong},
		{"§7.1.1 all extensions too long", strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\na\r\n", 100),
			errChunkExcess},
		{"§7.1 data longer than said", valid + "1\r\nab\r\n", errChunkEnd},
		{"§7.1 bare LF behind the data", "1\r\na\n", errChunkEnd},
		{"§7.1 bare CR behind the data", "1\r\na\rb", errChunkEnd},
		{"§7.1.2 bare LF as the end", valid + "0\r\n\n", errBareLF},
		{"§7.1.2 malformed trailer", valid + "0\r\nA : b\r\n\r\n", errSpaceBeforeColon},
		{"§7.1.2 bare LF in a trailer", valid + "0\r\nA: b\n\r\n", errBareLF},
		{"§7.1.2 trailers too large", valid + "0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 9),
			errTrailersTooLarge},
		{"§7.1.2 too many trailers", valid + "0\r\n" + strings.Repeat("A: b\r\n", 33) + "\r\n", errTrailersTooLarge},
		{"§7.1.2 trailer too long", valid + "0\r\nA: " + strings.Repeat("b", 17<<10), errTrailersTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := run(t, post("Transfer-Encoding: chunked\r\n")+c.in, requests)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestErrors_statusAndCode(t *testing.T) {
	for want, list := range map[int][]*Error{
		400: {errBareLF, ErrNoHost, errLengthAndCoding, errChunkSize, errUnexpectedEOF},
		414: {ErrURITooLong}, 431: {ErrHeadTooLarge, ErrFieldTooLarge, ErrTooManyFields, errTrailersTooLarge},
		501: {errTransferCoding}, 505: {errVersion},
	} {
		for _, e := range list {
			if e.Status != want || e.Code != "http_request_error" || e.answer.Status != 502 || e.answer.Code == e.Code {
				t.Errorf("%v: %d %s, in an answer %d %s", e, e.Status, e.Code, e.answer.Status, e.answer.Code)
			}
		}
	}
}

func TestHost_syntax(t *testing.T) {
	for _, s := range []string{"a", "A-b.c_d~", "127.0.0.1:80", "a:", "a:65535", "[::1]", "[::]:8080",
		"[1:2:3:4:5:6:7:8]",
		"[::ffff:1.2.3.4]", "[1:2:3:4:5:6:1.2.3.4]", "[fe80::1:2]", "xn--a;b=c", "[1::]", "a.",
		"a.b.:80", "_dmarc.a_b", "1.2.3.4.",
		strings.Repeat("a.", 127) + "a", strings.Repeat("a.", 127) + ":80",
		"[1:2:3:4:5:6:7::]"} {
		if _, _, ok := message.SplitAuthority([]byte(s)); !ok {
			t.Errorf("%q is not valid", s)
		}
	}
	for _, s := range []string{"", ":80", "a:65536", "a:000080", "a:8 0", "a:+8", "[", "[]", "[::1", "[::1]a", "[1]",
		"[:1]",
		"[1:2:3:4:5:6:7:8:9]", "[::1::]", "[12345::]", "[::1%25eth0]", "[v1.a]", "[::1.2.3]", "[::1.2.3.256]",
		"[::01.2.3.4]",
		"a%2", "a%zz", "a@b", "a b", "a/b", "a?b", "a#b", "a\\b", "a:80:80", "[1:2:3:4:5:6:7:1.2.3.4]", "\xe9", "a\"b",
		"a%20b", "ex%61mple.com", "%", "a,b", ",", "a..", "a..b", ".a", ".", "..", ".:80", "a..:80", "[::1].",
		strings.Repeat("a.", 127) + "aa", strings.Repeat("a.", 128), strings.Repeat("a.", 128) + ":80",
		"[1:2:3:4:5:6:7:8::]", "[:]", "[1:]", "[::1:]", "[:::]"} {
		if _, _, ok := message.SplitAuthority([]byte(s)); ok {
			t.Errorf("%q is valid", s)
		}
	}
}

// A client that sends byte after byte costs as much as its bytes: no byte of a head is searched twice.
func TestDecoder_scansOnce(t *testing.T) {
	head := []byte("GET / HTTP/1.1\r\n" + hostLine + "A: " + strings.Repeat("b", 15<<10) + "\r\n\r\n")
	var d Decoder
	var h message.Head
	d.InitRequests(nil)
	for n := 1; n < len(head); n++ {
		before := d.scanned
		if _, ev, _, err := d.Next(head[:n], &h); ev != NeedMore || err != nil {
			t.Fatal(ev, err)
		}
		if int(before) < n-1 || int(d.scanned) != n {
			t.Fatalf("with %d bytes the search went from %d to %d", n, before, d.scanned)
		}
	}
	if n, ev, _, err := d.Next(head, &h); n != len(head) || ev != HeadDone|End || err != nil {
		t.Fatal(n, ev, err)
	}
}
