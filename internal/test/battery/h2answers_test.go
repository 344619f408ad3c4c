package battery

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// h2reply is one case of an origin of HTTP/2 that answers as it should not, or as it may.
type h2reply struct {
	name, rfc string
	say       []part
	h2outcome
}

// h2outcome is what must follow. Nothing of what an origin says may hold "evil" and reach a client.
type h2outcome struct {
	is      fate
	status  []int
	body    string
	method  string          // "": GET
	codes   []http2.ErrCode // of RST_STREAM, or of GOAWAY when whole is set, to the origin; nil: no matter
	conn    bool            // the fault is one of the connection to the origin
	then    string          // what the origin does after it: "", "close" or "reset"
	tells   []string
	trail   []string
	interim []string // that came; nil: no matter
}

func spoilt(codes ...http2.ErrCode) h2outcome {
	return h2outcome{is: fails, status: []int{502}, codes: codes}
}
func torn(codes ...http2.ErrCode) h2outcome {
	return h2outcome{is: cut, status: []int{200, 502}, codes: codes}
}
func fine(body string) h2outcome {
	return h2outcome{is: comes, status: []int{200}, body: body}
}
func fineOr(body string) h2outcome {
	return h2outcome{is: cutOr, status: []int{200, 502}, body: body}
}
func (o h2outcome) ofConn() h2outcome              { o.conn = true; return o }
func (o h2outcome) to(method string) h2outcome     { o.method = method; return o }
func (o h2outcome) code(n ...int) h2outcome        { o.status = n; return o }
func (o h2outcome) ends(how string) h2outcome      { o.then, o.conn = how, true; return o }
func (o h2outcome) telling(s ...string) h2outcome  { o.tells = s; return o }
func (o h2outcome) trails(s ...string) h2outcome   { o.trail = s; return o }
func (o h2outcome) interims(s ...string) h2outcome { o.interim = append([]string{}, s...); return o }

const proto = http2.ErrCodeProtocol

// h2ok is the head of a good answer.
func h2ok(pairs ...string) part { return pHead(false, h2pairs(":status", "200").plus(pairs...)) }

// h2okEnd is a whole answer without a body.
func h2okEnd(pairs ...string) part { return pHead(true, h2pairs(":status", "200").plus(pairs...)) }

func say(parts ...part) []part { return parts }

type h2replies []h2reply

func (r *h2replies) add(name, rfc string, o h2outcome, f ...part) {
	*r = append(*r, h2reply{name, rfc, f, o})
}

// hAnswer is a head with this status.
func hAnswer(status string, end bool, pairs ...string) part {
	return pHead(end, h2pairs(":status", status).plus(pairs...))
}

func h2answerHeadCases() []h2reply {
	var cases h2replies
	add := cases.add
	add("good", "9113 8.3.2", fine("hello"), h2ok(), pData("hello", true))
	add("good with a length", "9113 8.1.1", fine("hello"), h2ok("content-length", "5"), pData("hello", true))
	add("good and empty", "9113 8.1", fine(""), h2okEnd())
	add("status 599", "9110 15", fine("").code(599), pHead(true, h2pairs(":status", "599")))
	for _, s := range []string{
		"1000", "abc", "20", "2", "", "099", "000", "2x0", "+20", "-20", "20 ", " 20", "2 0", "200 OK", "0200",
		"200\r\n",
		"200\x00", "\uff12\uff10\uff10", "600", "999",
	} {
		o := spoilt(proto)
		if s == "600" || s == "999" { // RFC 9110 §15: to be treated as 5xx, or as invalid
			o = fineOr("evil").code(502, 600, 999)
			o.is, o.status = cutOr, []int{502}
		}
		add(fmt.Sprintf("status %q", s), "9113 8.3.2", o, pHead(false, h2pairs(":status", s)), pData("evil", true))
	}
	add("status 101", "9113 8.6", spoilt(proto), pHead(false, h2pairs(":status", "101")), pData("evil", true))
	add("no :status", "9113 8.3.2", spoilt(proto), pHead(false, h2pairs("x", "y")), pData("evil", true))
	add("an empty head", "9113 8.3.2", spoilt(proto), pHead(false, nil), pData("evil", true))
	add("an empty head at the end", "9113 8.3.2", spoilt(proto), pHead(true, nil))
	add("two :status", "9113 8.3", spoilt(proto), pHead(true, h2pairs(":status", "200", ":status", "404")))
	add("two equal :status", "9113 8.3", spoilt(proto), pHead(true, h2pairs(":status", "200", ":status", "200")))
	add(":status behind a field", "9113 8.3", spoilt(proto), pHead(true, h2pairs("x", "y", ":status", "200")))
	for _, p := range []string{":path", ":method", ":authority", ":scheme", ":protocol", ":foo", ":", ":Status"} {
		add(p, "9113 8.3", spoilt(proto), h2okEnd(p, "evil"))
	}
	for _, f := range [][2]string{
		{"connection", "close"}, {"connection", "evil"}, {"keep-alive", "timeout=5"}, {"proxy-connection", "close"},
		{"transfer-encoding", "chunked"}, {"transfer-encoding", "identity"}, {"transfer-encoding", ""},
		{"upgrade", "h2c"}, {"upgrade", "websocket"},
	} {
		add(f[0]+": "+f[1], "9113 8.2.2", spoilt(proto), h2ok(f[0], f[1]), pData("evil", true))
	}
	for _, n := range []string{
		"X-Evil", "Content-Length", "", "x y", " x", "x ", "x:y", "x\r\ny", "x\ny", "x\x00y", "x\ty", "x\x7fy",
		"x\xffy",
		"x(y", "x\"y", "x,y", "x/y", "set-cookie: evil\r\nx",
	} {
		add(fmt.Sprintf("field name %q", n), "9113 8.2.1", spoilt(proto), h2ok(n, "y"), pData("evil", true))
	}
	for _, v := range []string{
		"\r", "\n", "\x00", "a\rb", "a\nb", "a\x00b", "a\r\nset-cookie: evil", "a\r\n\r\nevil", "\r\n", " a", "a ",
		"\ta",
		"a\t", " ",
	} {
		add(fmt.Sprintf("field value %q", v), "9113 8.2.1", spoilt(proto), h2ok("x", v), pData("evil", true))
	}
	add("a field of 20 000 bytes", "9113 10.5.1", fineOr(""), h2okEnd("x", strings.Repeat("v", 20000)))
	add("a list of 70 000 bytes", "9113 10.5.1", h2outcome{is: fails, status: []int{502}, conn: true},
		h2okEnd(many(70, strings.Repeat("v", 1000))...))
	add("1000 fields", "9113 10.5.1", h2outcome{is: cutOr, status: []int{200, 502}, conn: true},
		h2okEnd(many(1000, "v")...))
	for _, n := range []string{
		"+5", "-5", "5,6", "5a", "0x5", "", "5 5", "9223372036854775808", "18446744073709551621", ",", "5,", "NaN",
		strings.Repeat("9", 1000),
	} {
		add("length "+n[:min(len(n), 40)], "9110 8.6", spoilt(proto), h2ok("content-length", n), pData("evil!", true))
	}
	add("two lengths", "9110 8.6", spoilt(proto), h2ok("content-length", "5", "content-length", "6"), pData("evil!",
		true))
	add("two equal lengths", "9110 8.6", fineOr("hello"), h2ok("content-length", "5", "content-length", "5"),
		pData("hello", true))
	return cases
}

func h2answerBodyCases() []h2reply {
	var cases h2replies
	add := cases.add
	five := h2ok("content-length", "5")

	add("in pieces", "9113 8.1", fine("hello"), five, pData("he", false), pData("", false), pData("llo", false),
		pData("", true))
	add("padded", "9113 6.1", fine("hello"), five, pFrame(http2.FrameData, 9, "\x03hello\x00\x00\x00"))
	add("too short", "9113 8.1.1", torn(proto), five, pData("hell", true))
	add("too short by all", "9113 8.1.1", torn(proto), five, pData("", true))
	add("a length and no body", "9113 8.1.1", torn(proto), h2okEnd("content-length", "5"))
	add("too long", "9113 8.1.1", torn(proto), h2ok("content-length", "2"), pData("heevil", true))
	add("too long, without an end", "9113 8.1.1", torn(proto), h2ok("content-length", "2"), pData("heevil", false))
	add("too long in a second frame", "9113 8.1.1", fineOr("he"), h2ok("content-length", "2"), pData("he", false),
		pData("evil", true))
	add("zero and a body", "9113 8.1.1", fineOr(""), h2ok("content-length", "0"), pData("evil", true))
	add("too short before trailers", "9113 8.1.1", torn(proto), five, pData("hell", false), pTrailers("x", "y"))
	add("DATA before HEADERS", "9113 8.1", spoilt(proto), pData("evil", false), h2ok(), pData("evil", true))
	add("DATA alone", "9113 8.1", spoilt(proto), pData("evil", true))
	add("DATA behind an interim answer", "9113 8.1", spoilt(proto), hAnswer("103", false), pData("evil", true))
	add("HEADERS behind the end", "9113 5.1", fine("hello").ofConn(), five, pData("hello", true),
		hAnswer("200", true, "x", "evil"))
	add("DATA behind the end", "9113 5.1", fine("hello").ofConn(), five, pData("hello", true), pData("evil", true))
	add("DATA behind an end without a length", "9113 5.1", fine("hello").ofConn(), h2ok(), pData("hello", true),
		pData("evil", true))
	add("a second answer", "9113 5.1", fine("").ofConn(), h2okEnd(), h2ok("x", "evil"), pData("evil", true))
	add("a second head", "9113 8.1", torn(proto), h2ok(), pData("he", false), h2ok("x", "evil"), pData("evil", true))
	add("a second head at once", "9113 8.1", torn(proto), h2ok(), h2ok("x", "evil"), pData("evil", true))

	add("HEAD", "9110 9.3.2", fine("").to("HEAD"), h2okEnd("content-length", "5"))
	add("HEAD with an empty DATA", "9110 9.3.2", fine("").to("HEAD"), five, pData("", true))
	add("HEAD with a body", "9110 9.3.2", fine("").to("HEAD"), five, pData("evil!", true))
	add("HEAD with a body and no length", "9110 9.3.2", fine("").to("HEAD"), h2ok(), pData("evil!", true))
	add("204", "9110 15.3.5", fine("").code(204), hAnswer("204", true))
	add("204 with a body", "9110 15.3.5", fine("").code(204), hAnswer("204", false), pData("evil", true))
	add("204 with a length and a body", "9110 15.3.5", fine("").code(204), hAnswer("204", false, "content-length", "4"),
		pData("evil", true))
	add("304 with a length", "9110 15.4.5", fine("").code(304), hAnswer("304", true, "content-length", "5"))
	add("304 with a body", "9110 15.4.5", fine("").code(304), hAnswer("304", false, "content-length", "4"),
		pData("evil", true))
	add("304 with a body behind a pause", "9110 15.4.5", fine("").code(304), hAnswer("304", false), pData("", false),
		pData("evil", false), pData("evil", true))
	add("HEAD and a reset behind the head", "9110 9.3.2", fine("").to("HEAD"), five, pRST(http2.ErrCodeInternal))
	add("204 and a second head", "9110 15.3.5", fine("").code(204), hAnswer("204", false), h2ok("x", "evil"))
	add("204 and the end of the connection", "9110 15.3.5", fine("").code(204).ends("close"), hAnswer("204", false))
	add("205 with a body", "9110 15.3.6", fineOr("hello").code(205, 502), hAnswer("205", false), pData("hello", true))
	return cases
}

func h2answerInterimCases() []h2reply {
	var cases h2replies
	add := cases.add
	add("an interim answer", "9110 15.2", fine("").interims("103"), hAnswer("103", false, "link", "x"), h2okEnd())
	add("100 unasked", "9110 15.2", fine(""), hAnswer("100", false), h2okEnd())
	add("eight", "9110 15.2", fine(""), append(slices.Repeat(say(hAnswer("103", false)), 8), h2okEnd())...)
	add("forty", "9110 15.2", h2outcome{is: fails, status: []int{502}},
		append(slices.Repeat(say(hAnswer("103", false, "x", "y")), 40), h2okEnd("x", "evil"))...)
	add("one at the end", "9113 8.1", spoilt(proto), hAnswer("103", true))
	add("100 at the end", "9113 8.1", spoilt(proto), hAnswer("100", true))
	add("101 before the answer", "9113 8.6", spoilt(proto), hAnswer("101", false), h2okEnd("x", "evil"))
	add("one with upper case", "9113 8.2.1", spoilt(proto), hAnswer("103", false, "X-Evil", "y"), h2okEnd("x", "evil"))
	add("one with CRLF", "9113 8.2.1", spoilt(proto), hAnswer("103", false, "x", "a\r\n\r\nevil"), h2okEnd("x", "evil"))
	add("one with a connection field", "9113 8.2.2", spoilt(proto), hAnswer("103", false, "connection", "evil"),
		h2okEnd("x", "evil"))
	add("one behind the answer", "9113 8.1", torn(proto), h2ok(), hAnswer("103", false, "x", "evil"), pData("evil",
		true))
	add("one without an answer", "9113 8.1", spoilt(), hAnswer("103", false), pRST(http2.ErrCodeCancel))
	return cases
}

func h2answerTrailerCases() []h2reply {
	var cases h2replies
	add := cases.add
	five := h2ok("content-length", "5")
	add("trailers", "9113 8.1", fine("hello").trails("x-sum: 1"), h2ok(), pData("hello", false), pTrailers("x-sum",
		"1"))
	add("trailers without a body", "9113 8.1", fine(""), h2ok(), pTrailers("x-sum", "1"))
	add("trailers behind a length", "9113 8.1", fine("hello"), five, pData("hello", false), pTrailers("x-sum", "1"))
	body := say(h2ok(), pData("he", false))
	with := func(name, rfc string, o h2outcome, f ...part) { add(name, rfc, o, append(slices.Clone(body), f...)...) }
	for _, p := range []string{":status", ":path", ":method", ":evil"} {
		with("trailers with "+p, "9113 8.1", torn(proto), pTrailers(p, "200"))
	}
	with("trailers without an end", "9113 8.1", torn(proto), pHead(false, h2pairs("x", "y")), pData("evil", true))
	with("trailers in upper case", "9113 8.2.1", torn(proto), pTrailers("X-Evil", "y"))
	with("trailers with CRLF", "9113 8.2.1", torn(proto), pTrailers("x", "a\r\nevil"))
	with("trailers with a request", "9113 8.2.1", torn(proto), pTrailers("x\r\n\r\nevil", "a"))
	with("trailers with NUL", "9113 8.2.1", torn(proto), pTrailers("x", "\x00"))
	with("trailers with an empty name", "9110 5.1", torn(proto), pTrailers("", "evil"))
	with("trailers with a connection field", "9113 8.2.2", torn(proto), pTrailers("connection", "evil"))
	with("trailers with a coding", "9113 8.2.2", torn(proto), pTrailers("transfer-encoding", "chunked"))
	with("trailers of 70 000 bytes", "9113 10.5.1", torn().ofConn(), pTrailers(many(70, strings.Repeat("v", 1000))...))
	for _, n := range []string{"content-length", "set-cookie", "www-authenticate", "host", "location", "content-type",
		"cache-control", "age", "content-encoding", "trailer", "te", "authorization"} {
		add("trailers with "+n, "9110 6.5.1", fineOr("hello"), h2ok(), pData("hello", false), pTrailers(n, "evil"))
	}
	return cases
}

func h2answerEndCases() []h2reply {
	var cases h2replies
	add := cases.add
	five := h2ok("content-length", "5")
	body := say(h2ok(), pData("he", false))
	with := func(name, rfc string, o h2outcome, f ...part) { add(name, rfc, o, append(slices.Clone(body), f...)...) }
	for _, c := range []http2.ErrCode{0, 1, 2, 3, 5, 8, 9, 11, 13, 99} {
		with("reset in the body with "+c.String(), "9113 8.1", torn(), pRST(c))
		add("reset in a body of a length with "+c.String(), "9113 8.1", torn(), five, pData("hell", false), pRST(c))
		add("reset before the head with "+c.String(), "9113 8.1", h2outcome{is: fails, status: []int{502}}, pRST(c))
	}
	with("REFUSED_STREAM in the body", "9113 8.7", torn(), pRST(http2.ErrCodeRefusedStream))
	add("REFUSED_STREAM", "9113 8.7", h2outcome{is: fails, status: []int{502, 503}}, pRST(http2.ErrCodeRefusedStream))
	add("NO_ERROR behind the answer", "9113 8.1", fine("hello"), five, pData("hello", true), pRST(0))
	add("NO_ERROR behind all bytes but not the end", "9113 8.1", fineOr("hello"), five, pData("hello", false), pRST(0))
	add("a reset behind the head", "9113 8.1", torn(), h2ok(), pRST(http2.ErrCodeInternal))
	goAway := func(last, code uint32) part { return pOn(0, http2.FrameGoAway, 0, be32(last)+be32(code)) }
	add("GOAWAY in the body", "9113 6.8", fine("hello").ofConn(), h2ok(), pData("he", false), goAway(1<<31-1, 0),
		pData("llo", true))
	add("GOAWAY before the head", "9113 6.8", fine("hello").ofConn(), goAway(1<<31-1, 0), h2ok(), pData("hello", true))
	add("GOAWAY below the stream", "9113 6.8", h2outcome{is: fails, status: []int{502, 503}, conn: true}, goAway(0, 0))
	add("GOAWAY below the stream in the body", "9113 6.8", torn().ofConn(), h2ok(), pData("he", false), goAway(0, 0))
	add("GOAWAY and the end in the body", "9113 6.8", torn().ends("close"), h2ok(), pData("he", false),
		goAway(1<<31-1, 0))
	add("GOAWAY with an error and the end", "9113 6.8", spoilt().ends("close"), goAway(1<<31-1, 2))
	add("the end in the body", "9113 5.4", torn().ends("close"), h2ok(), pData("he", false))
	add("the end in a body of a length", "9113 5.4", torn().ends("close"), five, pData("hell", false))
	add("the end behind the head", "9113 5.4", torn().ends("close"), h2ok())
	add("the end before the head", "9113 5.4", spoilt().ends("close"))
	add("RST in the body", "9113 5.4", torn().ends("reset"), h2ok(), pData("he", false))
	add("RST before the head", "9113 5.4", spoilt().ends("reset"))
	add("half a frame and the end", "9113 4.1", torn().ends("close"), h2ok(), func(s *scribe) {
		s.out.WriteString(h2frame(http2.FrameData, 1, s.stream, "hello")[:11])
	})
	return cases
}

func h2answerFrameCases() []h2reply {
	var cases []h2reply
	// Faults of the connection, in the middle of a body.
	lost := func(name, rfc string, code http2.ErrCode, f ...part) {
		o := torn(code).ofConn()
		cases = append(cases, h2reply{name, rfc, append(say(h2ok(), pData("he", false)), f...), o})
	}
	size, flow, comp := http2.ErrCodeFrameSize, http2.ErrCodeFlowControl, http2.ErrCodeCompression
	lost("PUSH_PROMISE", "9113 8.4", proto, pFrame(http2.FramePushPromise, 4, "\x00\x00\x00\x02\x82\x86\x84"))
	lost("DATA on stream 0", "9113 6.1", proto, pOn(0, http2.FrameData, 0, "evil"))
	lost("HEADERS on stream 0", "9113 6.2", proto, pOn(0, http2.FrameHeaders, 4, "\x88"))
	lost("RST_STREAM on stream 0", "9113 6.4", proto, pOn(0, http2.FrameRSTStream, 0, be32(8)))
	lost("PRIORITY on stream 0", "9113 6.3", proto, pOn(0, http2.FramePriority, 0, "\x00\x00\x00\x00\x10"))
	lost("CONTINUATION on stream 0", "9113 6.10", proto, pOn(0, http2.FrameContinuation, 4, "\x88"))
	lost("HEADERS on an idle stream", "9113 5.1.1", proto, pOn(100001, http2.FrameHeaders, 4, "\x88"))
	lost("HEADERS on an even stream", "9113 5.1.1", proto, pOn(2, http2.FrameHeaders, 4, "\x88"))
	lost("DATA on an idle stream", "9113 5.1", proto, pOn(100001, http2.FrameData, 1, "evil"))
	lost("RST_STREAM on an idle stream", "9113 6.4", proto, pOn(100001, http2.FrameRSTStream, 0, be32(8)))
	lost("WINDOW_UPDATE on an idle stream", "9113 5.1", proto, pOn(100001, http2.FrameWindowUpdate, 0, be32(8)))
	lost("CONTINUATION alone", "9113 6.10", proto, pFrame(http2.FrameContinuation, 4, "\x88"))
	lost("DATA inside of trailers", "9113 6.10", proto, pFrame(http2.FrameHeaders, 1, ""), pData("evil", true))
	lost("an unknown frame inside of trailers", "9113 5.5", proto, pFrame(http2.FrameHeaders, 1, ""), pFrame(0xfa, 0,
		""))
	lost("SETTINGS on a stream", "9113 6.5", proto, pFrame(http2.FrameSettings, 0, ""))
	lost("SETTINGS of 5 bytes", "9113 6.5", size, pOn(0, http2.FrameSettings, 0, "\x00\x01\x00\x00\x00"))
	lost("ENABLE_PUSH of 1", "9113 6.5.2", proto, pOn(0, http2.FrameSettings, 0, h2setting(2, 1)))
	lost("INITIAL_WINDOW_SIZE of 2^31", "9113 6.5.2", flow, pOn(0, http2.FrameSettings, 0, h2setting(4, 1<<31)))
	lost("MAX_FRAME_SIZE of 1", "9113 6.5.2", proto, pOn(0, http2.FrameSettings, 0, h2setting(5, 1)))
	lost("ENABLE_CONNECT_PROTOCOL of 2", "8441 3", proto, pOn(0, http2.FrameSettings, 0, h2setting(8, 2)))
	lost("PING of 7 bytes", "9113 6.7", size, pOn(0, http2.FramePing, 0, "1234567"))
	lost("PING on a stream", "9113 6.7", proto, pFrame(http2.FramePing, 0, "12345678"))
	lost("GOAWAY on a stream", "9113 6.8", proto, pFrame(http2.FrameGoAway, 0, be32(0)+be32(0)))
	lost("GOAWAY of 7 bytes", "9113 6.8", size, pOn(0, http2.FrameGoAway, 0, "1234567"))
	lost("RST_STREAM of 3 bytes", "9113 6.4", size, pFrame(http2.FrameRSTStream, 0, "\x00\x00\x08"))
	lost("WINDOW_UPDATE by 0", "9113 6.9", proto, pOn(0, http2.FrameWindowUpdate, 0, be32(0)))
	lost("WINDOW_UPDATE of 3 bytes", "9113 6.9", size, pOn(0, http2.FrameWindowUpdate, 0, "\x00\x00\x01"))
	lost("WINDOW_UPDATE by too much", "9113 6.9.1", flow, pOn(0, http2.FrameWindowUpdate, 0, be32(1<<31-1)))
	lost("a frame of 16385 bytes", "9113 4.2", size, pData(strings.Repeat("evil", 4097), false))
	lost("padding that lies", "9113 6.1", proto, pFrame(http2.FrameData, 9, "\xffevil"))
	lost("an index above all", "7541 2.3.3", comp, pFrame(http2.FrameHeaders, 5, "\xff\x80\x01"))
	lost("half a field", "7541 5.2", comp, pFrame(http2.FrameHeaders, 5, "\x00\x05evi"))
	lost("a table above the limit", "7541 6.3", comp, pFrame(http2.FrameHeaders, 5, "\x3f\xe2\x7f"))
	lost("an answer in HTTP/1", "9113 3.4", size, func(s *scribe) {
		s.out.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
	})
	// Faults of the stream.
	torn2 := func(name, rfc string, code http2.ErrCode, f ...part) {
		cases = append(cases, h2reply{name, rfc, append(say(h2ok(), pData("he", false)), f...), torn(code)})
	}
	torn2("WINDOW_UPDATE of the stream by 0", "9113 6.9", proto, pFrame(http2.FrameWindowUpdate, 0, be32(0)))
	torn2("WINDOW_UPDATE of the stream by too much", "9113 6.9.1", flow,
		pFrame(http2.FrameWindowUpdate, 0, be32(1<<31-1)), pFrame(http2.FrameWindowUpdate, 0, be32(1<<31-1)))
	torn2("PRIORITY of 4 bytes", "9113 6.3", size, pFrame(http2.FramePriority, 0, "\x00\x00\x00\x00"))
	// None.
	fair := func(name, rfc string, f ...part) {
		all := append(say(h2ok(), pData("he", false)), f...)
		cases = append(cases, h2reply{name, rfc, append(all, pData("llo", true)), fine("hello")})
	}
	fair("unknown frames", "9113 4.1", pFrame(0xfa, 0xff, "evil"), pOn(0, 0xfb, 0xff, "evil"))
	fair("an unknown setting", "9113 6.5.2", pOn(0, http2.FrameSettings, 0, h2setting(0xff, 1)))
	fair("a PING", "9113 6.7", pOn(0, http2.FramePing, 0, "12345678"))
	fair("a window that shrinks", "9113 6.9.2", pOn(0, http2.FrameSettings, 0, h2setting(4, 0)),
		pOn(0, http2.FrameSettings, 0, h2setting(4, 65535)))
	fair("a table that shrinks", "9113 6.5.2", pOn(0, http2.FrameSettings, 0, h2setting(1, 0)))
	fair("ALTSVC", "7838 4", pOn(0, 0xa, 0, "\x00\x00evil"))
	return cases
}

// h2replyGroups run side by side, each for clients of either version.
var h2replyGroups = []struct {
	name  string
	table func() []h2reply
}{
	{"originHead", h2answerHeadCases}, {"originBody", h2answerBodyCases},
	{"originInterim", h2answerInterimCases}, {"originTrailers", h2answerTrailerCases}, {"originEnd", h2answerEndCases},
	{"originFrames", h2answerFrameCases},
}

func h2runReplies(t *testing.T, table []h2reply) {
	t.Parallel()
	for client, asks := range map[string]asker{"h1": (*h2lane).askH1, "h2": (*h2lane).askH2} {
		t.Run(client, func(t *testing.T) {
			o := newH2Origin(t)
			l := newH2Lane(t, o, "")
			ask := func(r *h2reply, id string) *got { return asks(l, t, r, id) }
			for _, r := range table {
				t.Run(r.name, func(t *testing.T) {
					judge(t, r.rfc, func() error { return l.reply(t, o, &r, ask) })
				})
			}
		})
	}
}

// got is what a client of either version has of one exchange and of the next one.
type got struct {
	status   int
	body     string
	whole    bool
	trailers []string
	interims []string
	next     string
	text     string // all of it
}

// asker asks for one exchange and for the next one, as a client of one version.
type asker func(l *h2lane, t *testing.T, r *h2reply, id string) *got

// reply lets the origin answer one request as the case says. Another request waits on the same connection to the
// origin.
func (l *h2lane) reply(t *testing.T, o *h2origin, r *h2reply, ask func(*h2reply, string) *got) error {
	t.Helper()
	l.n++
	id := fmt.Sprintf("c%d", l.n)
	hold := make(chan bool)
	o.note(func() {
		o.goaways = nil
		o.plays["/hold-"+id] = &h2play{hold: hold}
		o.plays["/"+id] = &h2play{do: func(s *h2exchange) {
			s.say(r.say...)
			if r.then == "reset" {
				s.c.Conn.(*net.TCPConn).SetLinger(0)
			}
			if r.then != "" {
				s.c.Close()
			}
		}}
	})
	beside, _ := h2ask(t, l.edge, id, "", h2base("GET").set(":path", "/hold-{id}"), true)
	defer beside.Close()
	testutil.Eventually(t, testutil.Patience, func() bool { return o.sees("/hold-" + id) }, "the origin waits")

	g := ask(r, id)
	close(hold)
	beside.until(func() bool { return beside.answer(1).done() })
	b := beside.answer(1)
	lost := h2victim(t, l.edge, id)
	if r.codes != nil {
		testutil.Eventually(t, patience, func() bool { return o.heard(r, "/"+id) != "" }, "a code at the origin")
	}
	code := o.heard(r, "/"+id)
	rec := l.record(t)
	said := fmt.Sprintf("\nclient: %s\nbeside: %s\norigin: %q, heard %q", g.text, b, rec.raw, code)
	switch {
	case lost != nil:
		return fmt.Errorf("%w%s", lost, said)
	case rec.wrong != nil || beside.wrong != nil:
		return fmt.Errorf("edge sent what it must not: %q, %q%s", rec.wrong, beside.wrong, said)
	case r.codes != nil && !slices.Contains(r.codes, codeNamed(code)):
		return fmt.Errorf("the origin heard %q, want one of %v%s", code, r.codes, said)
	case !r.conn && (b.status != 200 || !b.ended || b.body.String() != "/hold-"+id):
		return fmt.Errorf("the exchange beside it was disturbed%s", said)
	case r.conn && b.status == 200 && b.ended && b.body.String() != "/hold-"+id:
		return fmt.Errorf("the exchange beside it got another's answer%s", said)
	}
	if err := r.check(g, id); err != nil {
		return fmt.Errorf("%w%s", err, said)
	}
	return nil
}

func codeNamed(name string) http2.ErrCode {
	for c := http2.ErrCode(0); c < 14; c++ {
		if c.String() == name {
			return c
		}
	}
	return 0xffff
}

func (o *h2origin) sees(target string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.seen, func(a *arrived) bool { return a.target == target })
}

// heard is the code that edge sent: of GOAWAY for a fault of the connection, else of RST_STREAM.
func (o *h2origin) heard(r *h2reply, target string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.conn && len(o.goaways) > 0 {
		return o.goaways[0].String()
	}
	if c, ok := o.resets[target]; ok && !r.conn {
		return c.String()
	}
	return ""
}

func (r *h2reply) verb() string {
	if r.method != "" {
		return r.method
	}
	return "GET"
}

func (l *h2lane) askH1(t *testing.T, r *h2reply, id string) *got {
	t.Helper()
	request := r.verb() + " /" + id + " HTTP/1.1\r\n" + host + "TE: trailers\r\nConnection: TE\r\n\r\n" +
		"GET /next-" + id + " HTTP/1.1\r\n" + host + "\r\n"
	h := (&lane{edge: l.edge}).talk(t, []string{request}, r.verb(), 2, false)
	g := &got{text: h.String()}
	for _, m := range h.interims {
		g.interims = append(g.interims, m.word(1))
	}
	if r.is == cut || r.is == cutOr {
		if len(h.answers) < 2 && h.closed() {
			g.next = "/next-" + id // the connection may end
		}
	}
	if len(h.answers) == 0 {
		t.Logf("edge ends the connection without an answer: %v", h.end)
		return g
	}
	m := h.answers[0]
	g.status, g.body = m.status(), m.body
	g.whole = len(h.answers) > 1 || !h.cut && h.end == io.EOF
	for _, f := range m.trailers {
		g.trailers = append(g.trailers, strings.ToLower(f[0])+": "+f[1])
	}
	if len(h.answers) > 1 {
		g.next = h.answers[1].body
	} else if !g.whole || m.get("Connection") == "close" {
		g.next = "/next-" + id // the connection had to end
	}
	return g
}

func (l *h2lane) askH2(t *testing.T, r *h2reply, id string) *got {
	t.Helper()
	c, s := h2ask(t, l.edge, id, "", h2base(r.verb()).plus("te", "trailers"), true)
	defer c.Close()
	c.until(func() bool { return c.answer(1).done() })
	s.stream = 3
	s.head(h2base("GET").set(":path", "/next-{id}"), true)
	io.WriteString(c, s.out.String())
	c.until(func() bool { return c.answer(3).done() })
	return gotOf(c.answer(1), c.answer(3), c.wrong, c.gone, c.end)
}

// gotOf is what a client of HTTP/2 or HTTP/3 has.
func gotOf(a, next *h2answer, wrong []string, gone *http2.ErrCode, end any) *got {
	g := &got{status: a.status, body: a.body.String(), whole: a.ended && !a.reset, interims: a.interims}
	g.text = fmt.Sprintf("%s; next: %s; %v %v", a, next, wrong, end)
	if g.next = next.body.String(); next.status != 200 || !next.ended || gone != nil {
		g.next = "GOAWAY, or no answer"
	}
	for _, f := range a.trailers {
		g.trailers = append(g.trailers, f[0]+": "+f[1])
	}
	if wrong != nil {
		g.status = 0
	}
	return g
}

func (r *h2reply) check(g *got, id string) error {
	switch {
	case strings.Contains(strings.ToLower(g.text), "evil"):
		return fmt.Errorf("the client got what is evil")
	case len(g.interims) > interimsMax:
		return fmt.Errorf("the client got %d interim answers", len(g.interims))
	case r.interim != nil && !slices.Equal(g.interims, r.interim):
		return fmt.Errorf("the client got the interim answers %v, want %v", g.interims, r.interim)
	case g.next != "/next-"+id:
		return fmt.Errorf("the next request got no answer of its own")
	case g.status == 502 && r.is == fails && !g.whole:
		return fmt.Errorf("half an answer of edge itself")
	case g.status == 0 && (r.is == cut || r.is == cutOr):
		return nil // the client knows that it has no answer
	case !slices.Contains(r.status, g.status):
		return fmt.Errorf("status %d, want one of %v", g.status, r.status)
	case g.status >= 502:
		return nil
	case r.is == cut && g.whole:
		return fmt.Errorf("the answer does not look incomplete")
	case r.is == cut || r.is == cutOr && !g.whole:
		return nil
	case !g.whole || g.body != r.body:
		return fmt.Errorf("the client got %q, whole %v, want %q", g.body, g.whole, r.body)
	case r.trail != nil && !slices.Equal(g.trailers, r.trail):
		return fmt.Errorf("the client got the trailers %q, want %q", g.trailers, r.trail)
	}
	for _, s := range r.tells {
		if !strings.Contains(g.text, s) {
			return fmt.Errorf("the client misses %q", s)
		}
	}
	return nil
}
