package battery

import (
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func h2lengthCases() []h2case {
	cl := func(v string) []string { return []string{"content-length", v} }
	hello := passes().with("hello")
	get := func(method, body string, pairs ...string) h2script {
		return h2script{head: h2base(method).plus(pairs...), then: []part{pData(body, true)}}
	}
	pad := func(n byte, data string, zeros int) string {
		return string([]byte{n}) + data + strings.Repeat("\x00", zeros)
	}
	const padded, end = http2.FlagDataPadded, http2.FlagDataEndStream
	cases := []h2case{
		{"five", "9113 8.1.1", hPost("hello", cl("5")...), hello},
		{"in two frames", "9113 8.1.1", hParts(cl("5"), pData("he", false), pData("llo", true)), hello},
		{"with an empty frame at the end", "9113 8.1.1", hParts(cl("5"), pData("hello", false), pData("", true)),
			hello},
		{"none", "9113 8.1.1", hPost("hello"), hello},
		{"none and an empty frame at the end", "9113 8.1.1", hParts(nil, pData("hello", false), pData("", true)),
			hello},
		{"none and no body", "9113 8.1.1", h2script{head: h2base("POST"), end: true}, passes()},
		{"none and an empty body", "9113 8.1.1", hPost(""), passes()},
		{"zero", "9113 8.1.1", h2script{head: h2base("POST").plus(cl("0")...), end: true}, passes()},
		{"zero and an empty frame", "9113 8.1.1", hPost("", cl("0")...), passes()},
		{"a byte at a time", "9113 8.1.1", hParts(cl("5"), pData("h", false), pData("e", false), pData("l", false),
			pData("l", false), pData("o", true)), hello},
		{"a length, and the head is the end", "9113 8.1.1", hGet(cl("5")...), malformed()},
		{"a length, and the head is the end, of POST", "9113 8.1.1",
			h2script{head: h2base("POST").plus(cl("5")...), end: true}, malformed()},
		{"too short", "9113 8.1.1", hPost("hell", cl("5")...), malformed().late()},
		{"too short in two frames", "9113 8.1.1", hParts(cl("5"), pData("he", false), pData("ll", true)),
			malformed().late()},
		{"empty", "9113 8.1.1", hPost("", cl("5")...), malformed().late()},
		{"too long", "9113 8.1.1", hPost("hello!", cl("5")...), malformed().late()},
		{"too long by a request", "9113 8.1.1", hPost("hello"+inner, cl("5")...), malformed().late()},
		{"zero and a request", "9113 8.1.1", hPost(inner, cl("0")...), malformed().later()},
		{"too long in the second frame", "9113 8.1.1", hParts(cl("5"), pData("hello", false), pData(inner, true)),
			malformed().later()},
		{"too long, without an end", "9113 8.1.1", hParts(cl("5"), pData("hello!", false)), malformed().late()},
		{"too long, GET", "9113 8.1.1", get("GET", "hello"+inner, cl("5")...), malformed().late()},
		{"too short before trailers", "9113 8.1.1", hParts(cl("5"), pData("hell", false), pTrailers("x", "y")),
			malformed().late()},
		{"too long before trailers", "9113 8.1.1", hParts(cl("5"), pData("hello!", false), pTrailers("x", "y")),
			malformed().late().or(http2.ErrCodeStreamClosed)},
		{"right before trailers", "9113 8.1.1", hParts(cl("5"), pData("hello", false), pTrailers("x", "y")), hello},
		{"two equal", "9110 8.6", hPost("hello", "content-length", "5", "content-length", "5"),
			passesOr(400).with("hello")},
		{"two different", "9110 8.6", hPost("hello", "content-length", "5", "content-length", "6"), malformed()},
		{"two different, the second right", "9110 8.6", hPost("hello", "content-length", "6", "content-length", "5"),
			malformed()},
		{"zero and five", "9110 8.6", hPost("hello", "content-length", "0", "content-length", "5"), malformed()},
		{"chunks in the body are none", "9113 8.1", hPost("0\r\n\r\n" + inner), passes().with("0\r\n\r\n" + inner)},
		{"a request in the body is none", "9113 8.1", hPost(inner, cl("46")...), passes().with(inner)},
		{"left behind the head", "9113 5.4.2", hParts(cl("5"), pRST(8)), left()},
		{"left in the body", "9113 5.4.2", hParts(cl("5"), pData("hel", false), pRST(8)),
			left()},
		{"left in a body without a length", "9113 5.4.2", hParts(nil, pData("hel", false),
			pRST(8)), left()},
		{"left with NO_ERROR in a body without a length", "9113 5.4.2", hParts(nil, pData("hel", false),
			pRST(0)), left()},
		{"GET with a body", "9110 9.3.1", get("GET", "hello"), hello},
		{"GET with a length and a body", "9110 9.3.1", get("GET", "hello", cl("5")...), hello},
		{"HEAD with a body", "9110 9.3.2", get("HEAD", "hello", cl("5")...), hello},
		{"DELETE with a body", "9110 9.3.5", get("DELETE", "hello"), hello},
		{"OPTIONS with a body", "9110 9.3.7", get("OPTIONS", "hello", cl("5")...), hello},
		{"TRACE with a body", "9110 9.3.8", get("TRACE", "hello"), refused(400, 405, 501).or(http2.ErrCodeNo)},
		{"an unknown method with a body", "9110 9.1", get("BREW", "hello"), passesOr(405, 501).with("hello")},
		{"padding", "9113 6.1", hParts(cl("5"), pFrame(http2.FrameData, padded|end, pad(7, "hello", 7))), hello},
		{"an empty padding", "9113 6.1", hParts(cl("5"), pFrame(http2.FrameData, padded|end, pad(0, "hello", 0))),
			hello},
		{"padding alone", "9113 6.1", hParts(nil, pFrame(http2.FrameData, padded|end, pad(7, "", 7))), passes()},
		{"padding does not count", "9113 8.1.1", hParts(cl("8"), pFrame(http2.FrameData, padded|end, pad(2, "hello",
			2))),
			malformed().late()},
		{"padding as long as the frame", "9113 6.1", hParts(cl("5"), pFrame(http2.FrameData, padded|end,
			pad(8, "hello", 2))), dies(http2.ErrCodeProtocol).late()},
		{"padding longer than the frame", "9113 6.1", hParts(cl("5"), pFrame(http2.FrameData, padded|end,
			pad(255, "hello", 0))), dies(http2.ErrCodeProtocol).late()},
		{"padding without its length", "9113 6.1", hParts(cl("5"), pFrame(http2.FrameData, padded|end, "")),
			dies(http2.ErrCodeProtocol, http2.ErrCodeFrameSize).late()},
	}
	for _, v := range []string{
		"+5", "-5", "-0", "5,5", "5, 5", "5, 6", ",5", "5,", ",", "", "0x5", "5a", "5.0", "5e0", "0_5", "5 5", `"5"`,
		"5;",
		"NaN", "\uff15", "9223372036854775808", "18446744073709551616", "18446744073709551621",
		"340282366920938463463374607431768211461", strings.Repeat("9", 1000), "0o5", "5\x00", "5\x0b", "5\xa0",
	} {
		v0 := malformed()
		if v == "5,5" || v == "5, 5" {
			v0 = passesOr(400).with("hello")
		}
		cases = append(cases, h2case{"a length of " + v[:min(len(v), 40)], "9110 8.6", hPost("hello", cl(v)...), v0})
	}
	for _, v := range []string{" 5", "5 ", "\t5", "5\t", "\r5", "5\n", "5\r\n"} {
		cases = append(cases, h2case{"a length with blanks " + v, "9113 8.2.1", hPost("hello", cl(v)...), malformed()})
	}
	return append(cases,
		h2case{"leading zeros", "9110 8.6", hPost("hello", cl("0005")...), passesOr(400).with("hello")},
		h2case{"2^32 and five", "9110 8.6", hPost("hello", cl("4294967301")...), malformed().late()},
	)
}

func h2trailerCases() []h2case {
	with := func(pairs ...string) h2script { return hParts(nil, pData("hello", false), pTrailers(pairs...)) }
	hello := passes().with("hello")
	cases := []h2case{
		{"one", "9113 8.1", with("x-sum", "1"), hello.trails("x-sum: 1")},
		{"two of a name", "9113 8.1", with("x-sum", "1", "x-sum", "2"), hello.trails("x-sum: 1", "x-sum: 2")},
		{"none", "9113 8.1", with(), hello.trails()},
		{"without a body", "9113 8.1", hParts(nil, pTrailers("x-sum", "1")), passes()},
		{"announced", "9110 6.6.2", hParts([]string{"trailer", "x-sum"}, pData("hello", false), pTrailers("x-sum",
			"1")),
			hello.trails("x-sum: 1")},
		{":path", "9113 8.1", with(":path", "/smuggled"), malformed().late()},
		{":method", "9113 8.1", with(":method", "GET"), malformed().late()},
		{":status", "9113 8.1", with(":status", "200"), malformed().late()},
		{"an unknown pseudo-header field", "9113 8.1", with(":foo", "bar"), malformed().late()},
		{"a pseudo-header field behind others", "9113 8.1", with("x-sum", "1", ":path", "/smuggled"),
			malformed().late()},
		{"a whole head", "9113 8.1", hParts(nil, pData("hello", false), pHead(true, h2base("GET"))),
			malformed().late()},
		{"that do not end the stream", "9113 8.1", hParts(nil, pData("hello", false),
			pHead(false, h2pairs("x-sum", "1"))), malformed().late()},
		{"that do not end the stream, and then data", "9113 8.1", hParts(nil, pData("hello", false),
			pHead(false, h2pairs("x-sum", "1")), pData("evil", true)), malformed().late()},
		{"that do not end the stream, and then others", "9113 8.1", hParts(nil, pData("hello", false),
			pHead(false, h2pairs("x-sum", "1")), pTrailers("x-sum", "2")), malformed().late()},
		{"upper case", "9113 8.2.1", with("X-Sum", "1"), malformed().late()},
		{"an empty name", "9110 5.1", with("", "1"), malformed().late()},
		{"a blank in the name", "9113 8.2.1", with("x sum", "1"), malformed().late()},
		{"CRLF in the name", "9113 8.2.1", with("x\r\n\r\n"+inner, "1"), malformed().late()},
		{"a colon in the name", "9113 8.2.1", with("x:y", "1"), malformed().late()},
		{"CRLF in the value", "9113 8.2.1", with("x-sum", "1\r\nx: y"), malformed().late()},
		{"a request in the value", "9113 10.3", with("x-sum", "1\r\n\r\n"+inner), malformed().late()},
		{"LF in the value", "9113 8.2.1", with("x-sum", "1\n\n"+inner), malformed().late()},
		{"NUL in the value", "9113 8.2.1", with("x-sum", "\x00"), malformed().late()},
		{"a blank in front of the value", "9113 8.2.1", with("x-sum", " 1"), malformed().late()},
		{"a blank behind the value", "9113 8.2.1", with("x-sum", "1 "), malformed().late()},
		{"too large", "9113 10.5.1", with("x-sum", strings.Repeat("v", 40000)), tooLarge(431).late()},
		{"1000", "9113 10.5.1", with(many(1000, "v")...), tooLarge(431).late()},
	}
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"} {
		cases = append(cases, h2case{name, "9113 8.2.2", with(name, "close"), malformed().late()})
	}
	// RFC 9110 §6.5.1: framing, routing, request modifiers, authentication, content, must not be sent as trailers. They
	// are dropped, or the request is refused.
	for _, f := range [][2]string{
		{"content-length", "5"}, {"content-length", "99"}, {"host", "evil.test"}, {"authorization", "Basic evil"},
		{"proxy-authorization", "Basic evil"}, {"cookie", "a=evil"}, {"set-cookie", "a=evil"}, {"te", "trailers"},
		{"trailer", "x-evil"}, {"cache-control", "evil"}, {"expect", "100-continue"}, {"max-forwards", "1"},
		{"range", "bytes=0-1"}, {"if-match", "evil"}, {"content-encoding", "evil"}, {"content-type", "evil"},
		{"content-range", "evil"}, {"x-forwarded-for", "6.6.6.6"}, {"forwarded", "for=6.6.6.6"},
	} {
		v := passesOr(400).with("hello").trails("x-sum: 1")
		v.begins = true
		cases = append(cases, h2case{f[0] + ": " + f[1], "9110 6.5.1", with(f[0], f[1], "x-sum", "1"), v})
	}
	return cases
}

func h2frameCases() []h2case {
	const (
		proto, size, closed = http2.ErrCodeProtocol, http2.ErrCodeFrameSize, http2.ErrCodeStreamClosed
		flow                = http2.ErrCodeFlowControl
	)
	var raw = func(typ http2.FrameType, flags http2.Flags, payload string) h2script {
		return hRaw(pOn(0, typ, flags, payload))
	}
	on := func(stream uint32, typ http2.FrameType, flags http2.Flags, payload string) h2script {
		return hRaw(pOn(stream, typ, flags, payload))
	}
	get := func(s *scribe) string { return s.encode(h2base("GET")) }
	// headers is a HEADERS frame whose payload is made around the block of a good request.
	headers := func(flags http2.Flags, before string, behind string) h2script {
		return hRaw(func(s *scribe) {
			s.frame(http2.FrameHeaders, flags|http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream,
				before+get(s)+behind)
		})
	}
	then := func(s h2script, parts ...part) h2script { s.then = append(s.then, parts...); return s }
	return []h2case{
		{"padded HEADERS", "9113 6.2", headers(http2.FlagHeadersPadded, "\x05", "\x00\x00\x00\x00\x00"),
			passes().of("GET")},
		{"HEADERS with a priority", "9113 6.2", headers(http2.FlagHeadersPriority, "\x00\x00\x00\x00\x10", ""),
			passes().of("GET")},
		{"HEADERS with padding and a priority", "9113 6.2", headers(http2.FlagHeadersPadded|http2.FlagHeadersPriority,
			"\x02\x00\x00\x00\x00\x10", "\x00\x00"), passes().of("GET")},
		{"HEADERS whose padding is too long", "9113 6.2", headers(http2.FlagHeadersPadded, "\xff", ""), dies(proto)},
		{"HEADERS whose padding has no length", "9113 6.2", on(1, http2.FrameHeaders, http2.FlagHeadersPadded|
			http2.FlagHeadersEndHeaders, ""), dies(proto, size)},
		{"HEADERS with half a priority", "9113 6.2", on(1, http2.FrameHeaders, http2.FlagHeadersPriority|
			http2.FlagHeadersEndHeaders, "\x00\x00"), dies(proto, size)},
		{"HEADERS on stream 0", "9113 6.2", hRaw(func(s *scribe) { s.stream = 0; s.head(h2base("GET"), true) }),
			dies(proto)},
		{"HEADERS on an even stream", "9113 5.1.1", hRaw(func(s *scribe) { s.stream = 2; s.head(h2base("GET"), true) }),
			dies(proto)},
		{"HEADERS below the last stream", "9113 5.1.1", hRaw(func(s *scribe) {
			s.stream = 5
			s.head(h2base("GET").set(":path", "/five"), true)
			s.stream = 3
			s.head(h2base("GET").set(":path", "/three"), true)
		}), dies(proto, closed).latest("/five")},
		{"a second request on a stream", "9113 5.1", then(hGet(), pHead(true, h2base("GET").set(":path", "/smuggled"))),
			afterEnd()},
		{"DATA on stream 0", "9113 6.1", raw(http2.FrameData, 0, "hello"), dies(proto)},
		{"DATA on an idle stream", "9113 5.1", on(1, http2.FrameData, 1, inner), dies(proto)},
		{"CONTINUATION without HEADERS", "9113 6.10", on(1, http2.FrameContinuation, 4, "\x82"), dies(proto)},
		{"CONTINUATION on stream 0", "9113 6.10", raw(http2.FrameContinuation, 4, "\x82"), dies(proto)},
		{"CONTINUATION behind the end of a head", "9113 6.10", then(hGet(), pFrame(http2.FrameContinuation, 4, "\x82")),
			dies(proto).latest("/{id}")},
		{"CONTINUATION of another stream", "9113 6.10", hRaw(func(s *scribe) {
			s.frame(http2.FrameHeaders, 1, get(s))
			s.stream = 3
			s.frame(http2.FrameContinuation, 4, "")
		}), dies(proto)},
		{"DATA inside of a head", "9113 6.10", hRaw(func(s *scribe) {
			s.frame(http2.FrameHeaders, 0, get(s))
			s.frame(http2.FrameData, 1, "x")
		}), dies(proto)},
		{"PING inside of a head", "9113 6.10", hRaw(func(s *scribe) {
			s.frame(http2.FrameHeaders, 1, get(s))
			s.out.WriteString(h2frame(http2.FramePing, 0, 0, "12345678"))
		}), dies(proto)},
		{"an unknown frame inside of a head", "9113 5.5", hRaw(func(s *scribe) {
			s.frame(http2.FrameHeaders, 1, get(s))
			s.frame(0xfa, 0, "x")
		}), dies(proto)},
		{"unknown frames", "9113 4.1", then(hGet(), pOn(0, 0xfa, 0xff, inner), pFrame(0xfb, 0xff, inner),
			pOn(77, 0xfc, 0, "")), passes()},
		{"unknown flags", "9113 4.1", hRaw(func(s *scribe) { s.frame(http2.FrameHeaders, 0xd5&^0x28, get(s)) }),
			passes().of("GET")},
		{"the reserved bit of a stream", "9113 4.1", hRaw(func(s *scribe) {
			s.stream = 1 | 1<<31
			s.head(h2base("GET"), true)
		}), passes().of("GET")},
		{"DATA behind the end", "9113 5.1", then(hGet(), pData(inner, true)), afterEnd()},
		{"trailers behind the end", "9113 5.1", then(hGet(), pTrailers("x", "y")), afterEnd()},
		{"DATA behind a reset", "9113 5.1", hParts(nil, pRST(8), pData(inner, true)),
			h2verdict{is: h2Left, begins: true}},
		{"a frame of 16385 bytes", "9113 4.2", hParts(nil, pData(strings.Repeat("x", 16385), true)), dies(size).late()},
		{"a frame of 16 MiB is announced", "9113 4.2", hRaw(func(s *scribe) {
			s.out.WriteString("\xff\xff\xff\x00\x00\x00\x00\x00\x01")
		}), dies(size)},
		{"PUSH_PROMISE of a client", "9113 8.4", then(hGet(), pFrame(http2.FramePushPromise, 4,
			"\x00\x00\x00\x02\x82")),
			dies(proto).latest("/{id}")},
		{"RST_STREAM on an idle stream", "9113 6.4", on(1, http2.FrameRSTStream, 0, be32(8)), dies(proto)},
		{"RST_STREAM on stream 0", "9113 6.4", raw(http2.FrameRSTStream, 0, be32(8)), dies(proto)},
		{"RST_STREAM of 3 bytes", "9113 6.4", hParts(nil, pFrame(http2.FrameRSTStream, 0, "\x00\x00\x08")),
			dies(size).late()},
		{"PRIORITY of 4 bytes", "9113 6.3", hParts(nil, pFrame(http2.FramePriority, 0, "\x00\x00\x00\x00")),
			malformedAs(size).late()},
		{"PRIORITY on stream 0", "9113 6.3", raw(http2.FramePriority, 0, "\x00\x00\x00\x00\x10"), dies(proto)},
		{"PRIORITY on an idle stream", "9113 6.3", then(hGet(), pOn(55, http2.FramePriority, 0,
			"\x00\x00\x00\x01\x10")),
			passes()},
		{"SETTINGS on a stream", "9113 6.5", on(1, http2.FrameSettings, 0, ""), dies(proto)},
		{"SETTINGS of 5 bytes", "9113 6.5", raw(http2.FrameSettings, 0, "\x00\x01\x00\x00\x00"), dies(size)},
		{"SETTINGS ACK with a payload", "9113 6.5", raw(http2.FrameSettings, 1, h2setting(1, 0)), dies(size)},
		{"ENABLE_PUSH of 2", "9113 6.5.2", raw(http2.FrameSettings, 0, h2setting(2, 2)), dies(proto)},
		{"INITIAL_WINDOW_SIZE of 2^31", "9113 6.5.2", raw(http2.FrameSettings, 0, h2setting(4, 1<<31)), dies(flow)},
		{"MAX_FRAME_SIZE of 16383", "9113 6.5.2", raw(http2.FrameSettings, 0, h2setting(5, 16383)), dies(proto)},
		{"MAX_FRAME_SIZE of 2^24", "9113 6.5.2", raw(http2.FrameSettings, 0, h2setting(5, 1<<24)), dies(proto)},
		{"ENABLE_CONNECT_PROTOCOL of 2", "8441 3", raw(http2.FrameSettings, 0, h2setting(8, 2)), dies(proto)},
		{"an unknown setting", "9113 6.5.2", then(hGet(), pOn(0, http2.FrameSettings, 0, h2setting(0xff, 7))),
			passes()},
		{"PING of 7 bytes", "9113 6.7", raw(http2.FramePing, 0, "1234567"), dies(size)},
		{"PING on a stream", "9113 6.7", on(1, http2.FramePing, 0, "12345678"), dies(proto)},
		{"GOAWAY on a stream", "9113 6.8", on(1, http2.FrameGoAway, 0, be32(0)+be32(0)), dies(proto)},
		{"GOAWAY of 7 bytes", "9113 6.8", raw(http2.FrameGoAway, 0, "1234567"), dies(size)},
		{"WINDOW_UPDATE of 3 bytes", "9113 6.9", raw(http2.FrameWindowUpdate, 0, "\x00\x00\x01"), dies(size)},
		{"WINDOW_UPDATE by 0", "9113 6.9", raw(http2.FrameWindowUpdate, 0, be32(0)), dies(proto)},
		{"WINDOW_UPDATE by too much", "9113 6.9.1", raw(http2.FrameWindowUpdate, 0, be32(1<<31-1)), dies(flow)},
		{"WINDOW_UPDATE on an idle stream", "9113 5.1", on(1, http2.FrameWindowUpdate, 0, be32(1)), dies(proto)},
		{"WINDOW_UPDATE of a stream by 0", "9113 6.9", hParts(nil, pFrame(http2.FrameWindowUpdate, 0, be32(0))),
			malformed().late()},
		{"WINDOW_UPDATE of a stream by too much", "9113 6.9.1", hParts(nil, pFrame(http2.FrameWindowUpdate, 0,
			be32(1<<31-1))), malformedAs(flow).late()},
		{"a stream that depends on itself", "9113 5.3.1", headers(http2.FlagHeadersPriority, "\x00\x00\x00\x01\x10",
			""),
			passesOr(400).of("GET")},
	}
}

func (v h2verdict) of(method string) h2verdict { v.method = method; return v }

// latest is a fault of the connection after a good request, which may have reached the origin.
func (v h2verdict) latest(target string) h2verdict {
	v.begins, v.whole, v.target = true, true, target
	return v
}

// afterEnd is a fault after the end of a good request: RFC 9113 §5.1 makes it one of the stream when that is half
// closed, and of the connection when that is closed. Until the answer has come, it is the former.
func afterEnd() h2verdict {
	return h2verdict{is: h2AfterEnd, codes: []http2.ErrCode{http2.ErrCodeStreamClosed}}
}

func h2compressionCases() []h2case {
	block := func(f func(s *scribe) string) h2script {
		return hRaw(func(s *scribe) {
			s.frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, f(s))
		})
	}
	good := func(before, behind string) h2script {
		return block(func(s *scribe) string { return before + s.encode(h2base("GET")) + behind })
	}
	bad := dies(http2.ErrCodeCompression)
	many0 := func(n int) string { return "\xff" + strings.Repeat("\x80", n) + "\x00" }
	cases := []h2case{
		{"never indexed", "7541 6.2.3", good("", "\x10"+hpackString("x")+hpackString("y")),
			passes().of("GET").seen("x: y")},
		{"indexed and used again", "7541 6.1", good("", "\x40"+hpackString("x")+hpackString("y")+"\xbe"),
			passes().of("GET").seen("x: y")},
		{"a table of none", "7541 6.3", good("\x20", ""), passes().of("GET")},
		{"a table that shrinks and grows", "7541 4.2", good("\x20\x3f\xe1\x1f", ""), passes().of("GET")},
		{"a field larger than the table", "7541 4.4",
			good("", "\x40"+hpackString("x")+hpackString(strings.Repeat("y", 5000))),
			passes().of("GET").seen("x: " + strings.Repeat("y", 5000))},
		{"index 0", "7541 6.1", good("", "\x80"), bad},
		{"an index above all", "7541 2.3.3", good("", "\xff\x80\x01"), bad},
		{"an index just above the tables", "7541 2.3.3", block(func(s *scribe) string { return "\xfe" }), bad},
		{"a name's index above all", "7541 2.3.3", good("", "\x7f\x80\x01\x01y"), bad},
		{"an index that overflows", "7541 5.1", good("", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), bad},
		{"an index with many zeros", "7541 5.1", good("", many0(30)), bad},
		{"an index without an end", "7541 5.1", good("", "\xff\x80"), bad},
		{"a literal without its value", "7541 5.2", good("", "\x00"+hpackString("x")), bad},
		{"a name longer than the block", "7541 5.2", good("", "\x00\x7e"+"x"), bad},
		{"a value longer than the block", "7541 5.2", good("", "\x00"+hpackString("x")+"\x7e"+"y"), bad},
		{"a length of 2^32", "7541 5.2", good("", "\x00"+hpackString("x")+"\x7f\x81\xff\xff\xff\x0f"+"y"), bad},
		{"a Huffman code padded with zeros", "7541 5.2", good("", "\x00"+hpackString("x")+"\x81\x00"), bad},
		{"a Huffman code padded by a byte", "7541 5.2", good("", "\x00"+hpackString("x")+"\x82\xf3\xff"), bad},
		{"a Huffman code with EOS", "7541 5.2", good("", "\x00"+hpackString("x")+"\x84\xff\xff\xff\xff"), bad},
		{"a table above the limit", "7541 6.3", good("\x3f\xe2\x1f", ""), bad},
		{"a table size behind a field", "7541 4.2", good("", "\x20"), bad},
		{"a table size alone at the end", "7541 4.2", good("", "\x3f\xe1\x1f"), bad},
		{"NUL by Huffman", "9113 8.2.1", good("", "\x00"+hpackString("x")+"\x82\xff\xc7"), malformed()},
		{"CR LF by Huffman", "9113 8.2.1", good("", "\x00"+hpackString("x")+"\x88"+crlfHuffman), malformed()},
		{"upper case by Huffman", "9113 8.2.1", good("", "\x00\x81\xfc"+hpackString("y")), malformed()},
		{"a malformed field that is indexed", "9113 8.2.1", hRaw(func(s *scribe) {
			// it goes into the table, and is as malformed when it comes out
			s.frame(http2.FrameHeaders, 5, s.encode(h2base("GET"))+"\x40"+hpackString("x")+hpackString("a\r\nb"))
		}), malformed()},
	}
	return cases
}

// crlfHuffman is CR LF by the code of RFC 7541 appendix B.
var crlfHuffman = string(hpack.AppendHuffmanString(nil, "\r\n"))
