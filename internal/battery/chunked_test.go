package battery

import (
	"fmt"
	"strings"
	"testing"
)

func chunkedCases(t *testing.T) {
	const last = "0\r\n\r\n"
	line := func(size string) string { return chunked(size + "\r\nhello\r\n" + last) }
	hello, bad := pass().with("hello"), refuse(400)
	probes(t, []probe{
		{"one chunk", "9112 7.1", line("5"), hello},
		{"five chunks", "9112 7.1", chunked("1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n" + last), hello},
		{"no chunk", "9112 7.1", chunked(last), pass()},
		{"letters in both cases", "9112 7.1", chunked("A\r\n0123456789\r\nb\r\n0123456789a\r\n" + last),
			pass().with("01234567890123456789a")},
		{"leading zeros", "9112 7.1", line("0005"), either(200, 400).with("hello")},
		{"thirty leading zeros", "9112 7.1", line(strings.Repeat("0", 30) + "5"), either(200, 400).with("hello")},
		{"a last chunk of three zeros", "9112 7.1", chunked("5\r\nhello\r\n000\r\n\r\n"), hello},
		{"a chunk that is a request", "9112 7.1",
			chunked("23\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n\r\n" + last),
			pass().with("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"a chunk that looks like the last one", "9112 7.1",
			chunked("7\r\n\r\n0\r\n\r\n\r\n" + last), pass().with("\r\n0\r\n\r\n")},
		{"no size", "9112 7.1", line(""), bad},
		{"no hex", "9112 7.1", line("g"), bad},
		{"a plus", "9112 7.1", line("+5"), bad},
		{"a minus", "9112 7.1", line("-5"), bad},
		{"minus zero", "9112 7.1", chunked("5\r\nhello\r\n-0\r\n\r\n"), bad},
		{"a prefix", "9112 7.1", line("0x5"), bad},
		{"a suffix", "9112 7.1", line("5h"), bad},
		{"an underscore", "9112 7.1", line("0_5"), bad},
		{"a dot", "9112 7.1", line("5."), bad},
		{"a comma", "9112 7.1", line("5,5"), bad},
		{"a colon", "9112 7.1", line("5:x"), bad},
		{"quotes", "9112 7.1", line(`"5"`), bad},
		{"digits of Unicode", "9112 7.1", line("５"), bad},
		{"space before", "9112 7.1", line(" 5"), bad},
		{"tab before", "9112 7.1", line("\t5"), bad},
		{"space behind", "9112 7.1", line("5 "), bad},
		{"tab behind", "9112 7.1", line("5\t"), bad},
		{"space inside", "9112 7.1", line("0 5"), bad},
		{"NUL behind", "9112 7.1", line("5\x00"), bad},
		{"NUL before", "9112 7.1", line("\x005"), bad},
		{"vertical tab behind", "9112 7.1", line("5\x0b"), bad},
		{"2^32 and five", "9112 7.1", line("100000005"), incomplete()},
		{"2^63", "9112 7.1", line("8000000000000000"), refuse(400, 413)},
		{"2^64 - 1", "9112 7.1", line("FFFFFFFFFFFFFFFF"), refuse(400, 413)},
		{"2^64", "9112 7.1", line("10000000000000000"), bad},
		{"2^64 and five", "9112 7.1", line("10000000000000005"), bad},
		{"2^128 and five", "9112 7.1", line("100000000000000000000000000000005"), bad},
		{"a thousand digits", "9112 7.1", line(strings.Repeat("f", 1000)), bad},
		{"LF behind the size", "9112 7.1", chunked("5\nhello\r\n" + last), bad},
		{"CR behind the size", "9112 7.1", chunked("5\rhello\r\n" + last), bad},
		{"CR CR LF behind the size", "9112 7.1", chunked("5\r\r\nhello\r\n" + last), bad},
		{"LF CR behind the size", "9112 7.1", chunked("5\n\rhello\r\n" + last), bad},
		{"LF behind the chunk", "9112 7.1", chunked("5\r\nhello\n" + last), bad},
		{"CR behind the chunk", "9112 7.1", chunked("5\r\nhello\r" + last), bad},
		{"LF CR behind the chunk", "9112 7.1", chunked("5\r\nhello\n\r" + last), bad},
		{"nothing behind the chunk", "9112 7.1", chunked("5\r\nhello" + last), bad},
		{"two bytes behind the chunk", "9112 7.1", chunked("5\r\nhelloXX" + last), bad},
		{"a chunk too long", "9112 7.1", chunked("5\r\nhello!\r\n" + last), bad},
		{"a chunk too short", "9112 7.1", chunked("5\r\nhell\r\n" + last), bad},
		{"an empty line between chunks", "9112 7.1", chunked("5\r\nhello\r\n\r\n" + last), bad},
		{"an empty line before the first", "9112 7.1", chunked("\r\n5\r\nhello\r\n" + last), bad},
		{"LF for all", "9112 7.1", chunked("5\nhello\n0\n\n"), bad},
		{"LF behind the last chunk", "9112 7.1", chunked("5\r\nhello\r\n0\n\r\n"), bad},
		{"LF for the end", "9112 7.1", chunked("5\r\nhello\r\n0\r\n\n"), bad},
		{"CR for the end", "9112 7.1", chunked("5\r\nhello\r\n0\r\n\rX"), bad},
		{"CR CR LF for the end", "9112 7.1", chunked("5\r\nhello\r\n0\r\n\r\r\n"), bad},
		{"no end", "9112 7.1", chunked("5\r\nhello\r\n0\r\n"), bad},
		{"no CRLF behind the last size", "9112 7.1", chunked("5\r\nhello\r\n0"), bad},
		{"junk for the end", "9112 7.1", chunked("5\r\nhello\r\n0\r\nxx\r\n"), bad},
		{"a byte of the last chunk's data", "9112 7.1", chunked("5\r\nhello\r\n0\r\nx\r\n\r\n"), bad},
		{"gone in the size", "9112 8", chunked("5"), incomplete()},
		{"gone behind the size", "9112 8", chunked("5\r\n"), incomplete()},
		{"gone in the chunk", "9112 8", chunked("5\r\nhel"), incomplete()},
		{"gone behind the chunk", "9112 8", chunked("5\r\nhello"), incomplete()},
		{"gone between chunks", "9112 8", chunked("5\r\nhello\r\n"), incomplete()},
		{"gone in the last size", "9112 8", chunked("5\r\nhello\r\n0"), incomplete()},
		{"gone before the end", "9112 8", chunked("5\r\nhello\r\n0\r\n"), incomplete()},
		{"gone in the end", "9112 8", chunked("5\r\nhello\r\n0\r\n\r"), incomplete()},
		{"gone in a trailer", "9112 8", chunked("5\r\nhello\r\n0\r\nX: y"), incomplete()},
		{"gone behind a trailer", "9112 8", chunked("5\r\nhello\r\n0\r\nX: y\r\n"), incomplete()},
		{"gone in a length", "9112 8", post("Content-Length: 5\r\n", "hell"), incomplete()},
	})
}

func extensionsCases(t *testing.T) {
	const last = "0\r\n\r\n"
	ext := func(text string) string { return chunked("5" + text + "\r\nhello\r\n" + last) }
	hello, bad := pass().with("hello"), refuse(400)
	probes(t, []probe{
		{"a name", "9112 7.1.1", ext(";a"), hello.not(";a")},
		{"a value", "9112 7.1.1", ext(";a=b"), hello.not("a=b")},
		{"two", "9112 7.1.1", ext(";a=b;c=d"), hello},
		{"quotes", "9112 7.1.1", ext(`;a="b c;\"d"`), hello},
		{"quotes around hex", "9112 7.1.1", ext(`;a="0"`), hello},
		{"of the last chunk", "9112 7.1.1", chunked("5\r\nhello\r\n0;a=b\r\n\r\n"), hello},
		{"space before the semicolon", "9112 7.1.1", ext(" ;a"), either(200, 400).with("hello")},
		{"spaces around", "9112 7.1.1", ext(" ; a = b"), either(200, 400).with("hello")},
		{"no name", "9112 7.1.1", ext(";"), either(200, 400).with("hello")},
		{"no value", "9112 7.1.1", ext(";a="), either(200, 400).with("hello")},
		{"no semicolon", "9112 7.1.1", ext("a=b"), bad},
		{"a space for a semicolon", "9112 7.1.1", ext(" a=b"), bad},
		{"LF", "9112 7.1.1", ext(";a\nb"), bad},
		{"LF ends the line", "9112 7.1.1", chunked("5;a\nhello\r\n" + last), bad},
		{"LF, chunks for a lenient one", "9112 7.1.1",
			chunked("2;\nxx\r\n4c\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n"), bad},
		{"CR", "9112 7.1.1", ext(";a\rb"), bad},
		{"CR before the end", "9112 7.1.1", ext(";a\r"), bad},
		{"LF in quotes", "9112 7.1.1", ext(";a=\"\n\""), bad},
		{"CR in quotes", "9112 7.1.1", ext(";a=\"\r\""), bad},
		{"CRLF in quotes", "9112 7.1.1", chunked("5;a=\"\r\n0\r\n\r\n\"\r\nhello\r\n" + last), bad},
		{"quotes that do not end", "9112 7.1.1", ext(`;a="b`), either(200, 400).with("hello")},
		{"NUL", "9112 7.1.1", ext(";a\x00"), bad},
		{"BEL", "9112 7.1.1", ext(";a\x07"), bad},
		{"DEL", "9112 7.1.1", ext(";a\x7f"), bad},
		{"200 bytes", "9112 7.1.1", ext(";" + strings.Repeat("a", 200)), hello},
		{"64 KiB", "9112 7.1.1", ext(";" + strings.Repeat("a", 1<<16)), bad},
		{"a byte of data each 200 bytes", "9112 7.1.1",
			chunked(strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 1000) + last), bad},
	})
}

func trailersCases(t *testing.T) {
	const data = "5\r\nhello\r\n0\r\n"
	trailer := func(lines string) string { return chunked(data + lines + "\r\n") }
	hello, bad := pass().with("hello"), refuse(400)
	table := []probe{
		{"a field", "9110 6.5", trailer("X-Sum: 1\r\n"), hello},
		{"two fields", "9110 6.5", trailer("X-Sum: 1\r\nX-Other: 2\r\n"), hello},
		{"announced", "9110 6.6.2",
			post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", data+"X-Sum: 1\r\n\r\n"), hello},
		{"no colon", "9112 7.1.2", trailer("X\r\n"), bad},
		{"no name", "9112 7.1.2", trailer(": x\r\n"), bad},
		{"space before colon", "9112 7.1.2", trailer("X : y\r\n"), bad},
		{"space in a name", "9112 7.1.2", trailer("X Y: z\r\n"), bad},
		{"a fold", "9112 7.1.2", trailer("X: y\r\n z\r\n"), bad},
		{"a fold at the front", "9112 7.1.2", trailer(" X: y\r\n"), bad},
		{"LF behind a field", "9112 7.1.2", trailer("X: y\n"), bad},
		{"LF in a value", "9112 7.1.2", trailer("X: y\nz\r\n"), bad},
		{"CR in a value", "9112 7.1.2", trailer("X: y\rz\r\n"), bad},
		{"CR in a name", "9112 7.1.2", trailer("X\rY: z\r\n"), bad},
		{"NUL in a value", "9112 7.1.2", trailer("X: \x00\r\n"), bad},
		{"NUL in a name", "9112 7.1.2", trailer("X\x00: y\r\n"), bad},
		{"a request", "9112 7.1.2", trailer("GET /smuggled HTTP/1.1\r\nHost: x\r\n"), bad},
		{"64 KiB", "9110 6.5", trailer("X: " + strings.Repeat("a", 1<<16) + "\r\n"), refuse(400, 431)},
		{"a thousand", "9110 6.5", trailer(strings.Repeat("X: y\r\n", 1000)), refuse(400, 431)},
	}
	for _, name := range []string{
		"Content-Length", "Transfer-Encoding", "Host", "Connection", "Upgrade", "TE", "Trailer", "Authorization",
		"Proxy-Authorization", "Cookie", "Expect", "Range", "If-Match", "Cache-Control", "Max-Forwards",
		"Content-Type", "Content-Encoding", "Content-Range", "X-Forwarded-For", "Forwarded", "Via", "Keep-Alive",
	} {
		value := map[string]string{"Content-Length": "4242", "Transfer-Encoding": "chunked, x4242"}[name]
		if value == "" {
			value = "x4242"
		}
		table = append(table, probe{"never " + name, "9110 6.5.1",
			trailer(fmt.Sprintf("%s: %s\r\n", name, value)), either(200, 400).with("hello").not("4242")})
	}
	probes(t, table)
}

func hopByHopCases(t *testing.T) {
	gone := func(names ...string) verdict { return pass().not(names...) }
	probes(t, []probe{
		{"what Connection names", "9110 7.6.1", req("Connection: X-Gone\r\nX-Gone: 1\r\n"), gone("x-gone")},
		{"what Connection names behind it", "9110 7.6.1", req("X-Gone: 1\r\nConnection: X-Gone\r\n"), gone("x-gone")},
		{"in other cases", "9110 7.6.1", req("connection: x-GONE\r\nX-gone: 1\r\n"), gone("x-gone")},
		{"in a list", "9110 7.6.1",
			req("Connection: a,X-Gone ,\tX-Away\r\nX-Gone: 1\r\nX-Away: 2\r\n"), gone("x-gone", "x-away")},
		{"in two fields", "9110 7.6.1",
			req("Connection: X-Gone\r\nConnection: X-Away\r\nX-Gone: 1\r\nX-Away: 2\r\n"), gone("x-gone", "x-away")},
		{"empty elements", "9110 5.6.1", req("Connection: ,, X-Gone,,\r\nX-Gone: 1\r\n"), gone("x-gone")},
		{"all of one name", "9110 7.6.1",
			req("X-Gone: 1\r\nX-Gone: 2\r\nConnection: X-Gone\r\nX-Gone: 3\r\n"), gone("x-gone")},
		{"with close", "9110 7.6.1", req("Connection: close, X-Gone\r\nX-Gone: 1\r\n"), gone("x-gone").close()},
		{"nothing that only begins so", "9110 7.6.1",
			req("Connection: X-Go\r\nX-Gone: 1\r\n"), pass().seen("X-Gone: 1\r\n")},
		{"Connection itself", "9110 7.6.1", req("Connection: x-token\r\n"), gone("x-token")},
		{"Keep-Alive", "9110 7.6.1", req("Connection: keep-alive\r\nKeep-Alive: timeout=42\r\n"), gone("timeout=42")},
		{"Keep-Alive that nobody names", "9110 7.6.1", req("Keep-Alive: timeout=42\r\n"), gone("timeout=42")},
		{"Proxy-Connection", "9112 C.2.2", req("Proxy-Connection: keep-alive\r\n"), gone("proxy-connection")},
		{"TE", "9110 10.1.4", req("Connection: TE\r\nTE: gzip;q=0.5\r\n"), gone("gzip")},
		{"TE that nobody names", "9110 10.1.4", req("TE: trailers, gzip\r\n"), gone("gzip")},
		{"Upgrade that nobody names", "9110 7.8", req("Upgrade: websocket\r\n"), gone("websocket")},
		{"Upgrade in HTTP/1.0", "9110 7.8",
			first("GET /{id} HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket"), gone("websocket").close()},
		{"Upgrade: h2c", "9113 3.1", req("Connection: Upgrade\r\nUpgrade: h2c\r\n"), gone("h2c").mayEnd()},
		{"Upgrade: h2c with its settings", "9113 3.1",
			req("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
			gone("h2c", "AAMAAABk").mayEnd()},
		{"Upgrade: H2C", "9113 3.1", req("Connection: upgrade\r\nUpgrade: H2C\r\n"), gone("h2c").mayEnd()},
		{"Upgrade: websocket, h2c", "9113 3.1",
			req("Connection: upgrade\r\nUpgrade: foo, h2c\r\n"), gone("h2c").mayEnd()},
		{"HTTP2-Settings that nobody names", "9113 3.1", req("HTTP2-Settings: AAMAAABk\r\n"), gone("AAMAAABk")},
		{"h2c that Connection does not name", "9113 3.1",
			req("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), gone("h2c", "AAMAAABk")},
		{"Upgrade: h2c with a body", "9113 3.1",
			post("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", "hello"), gone("h2c").with("hello").
				mayEnd()},
		{"Upgrade: TLS", "9110 7.8", req("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"), pass().mayEnd()},
		{"Connection names Host", "9110 7.6.1", req("Connection: Host\r\n"), either(200, 400)},
		{"Connection names Cookie", "9110 7.6.1", req("Connection: Cookie\r\nCookie: a=b\r\n"), either(200, 400)},
		{"Connection names Via", "9110 7.6.1", req("Connection: Via\r\n"), either(200, 400).seen("Via: ")},
		{"Connection names X-Forwarded-For", "9110 7.6.1",
			req("Connection: X-Forwarded-For\r\n"), either(200, 400).seen("X-Forwarded-For: 127.0.0.1\r\n")},
		{"Connection with quotes", "9110 7.6.1", req("Connection: \"X-Gone\"\r\n"), either(200, 400)},
		{"Connection with forty options", "9110 7.6.1",
			req("Connection: " + strings.Repeat("a,", 39) + "X-Gone\r\nX-Gone: 1\r\n"),
			either(200, 400, 431).not("x-gone: 1")},
		{"Via is added", "9110 7.6.3", req(""), pass().seen("Via: 1.1 ")},
		{"Via of HTTP/1.0", "9110 7.6.3", first("GET /{id} HTTP/1.0"), pass().seen("Via: 1.0 ").close()},
		{"Via is kept", "9110 7.6.3", req("Via: 1.1 other\r\n"), pass().seen("1.1 other")},
		{"Via in the answer", "9110 7.6.3", req(""), pass().tells("Via: 1.1 ")},
		{"Date in the answer", "9110 6.6.1", req(""), pass().tells("Date: ")},
		{"Max-Forwards counts down for OPTIONS", "9110 7.6.2",
			"OPTIONS /{id} HTTP/1.1\r\n" + host + "Max-Forwards: 5\r\n\r\n", pass().seen("Max-Forwards: 4\r\n")},
		{"Max-Forwards: 0 is not forwarded, OPTIONS", "9110 7.6.2",
			"OPTIONS /{id} HTTP/1.1\r\n" + host + "Max-Forwards: 0\r\n\r\n", answer(200, 204)},
		{"Max-Forwards: 0 is not forwarded, TRACE", "9110 7.6.2",
			"TRACE /{id} HTTP/1.1\r\n" + host + "Max-Forwards: 0\r\n\r\n", answer(200, 405, 501)},
		{"Max-Forwards means nothing to GET", "9110 7.6.2", req("Max-Forwards: 0\r\n"), pass()},
		{"Expect: 100-continue", "9110 10.1.1",
			post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"), pass().with("hello")},
		{"Expect of HTTP/1.0 is ignored", "9110 10.1.1", "POST /{id} HTTP/1.0\r\n" + host +
			"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
			pass().with("hello").close().keepsBack("100 Continue")},
		{"Expect of something else", "9110 10.1.1", req("Expect: the-unexpected\r\n"), answer(200, 417).as("/{id}")},
		{"two lengths behind Expect", "9112 6.3",
			post("Expect: 100-continue\r\nContent-Length: 5\r\nContent-Length: 6\r\n", "hello"),
			refuse(400).keepsBack("100 Continue")},
		{"a bad chunk behind Expect", "9112 7.1",
			post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "x\r\n"), refuse(400)},
	})
}
