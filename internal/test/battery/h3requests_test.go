package battery

import (
	"fmt"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/h3"
)

// p3 is a frame of HTTP/3 on the stream of the case.
func p3(typ uint64, payload string) part { return p3raw(h3frame(typ, payload)) }

// p3raw is bytes of that stream, whatever they mean.
func p3raw(text string) part { return func(s *scribe) { s.out.WriteString(s.fill(text)) } }

// p3end ends it.
func p3end(s *scribe) { s.over.end = true }

// p3trailers are trailers after which the stream stays open.
func p3trailers(pairs ...string) part {
	return func(s *scribe) { s.out.WriteString(h3frame(h3Headers, s.section(h2pairs(pairs...)))) }
}

// p3other is a one-way stream of its own.
func p3other(text string) part { return p3beside(h3other{text: text}) }

// p3more is more of the control stream.
func p3more(text string) part { return p3beside(h3other{text: text, onControl: true}) }

func p3beside(o h3other) part { return func(s *scribe) { s.over.others = append(s.over.others, o) } }

// p3first has the control stream begin with these bytes.
func p3first(text string) part { return func(s *scribe) { s.over.control = text } }

// diesBy is a fault of the connection.
func diesBy(codes ...h3.Code) h2verdict {
	v := h2verdict{is: h2Dies}
	for _, c := range codes {
		v.codes = append(v.codes, h3code(uint64(c)))
	}
	return v
}

var h3excess = diesBy(h3.ExcessiveLoad)

// The types of frames that belong elsewhere (RFC 9114 §7.2, RFC 9218 §7.2), and the frames of HTTP/2 (RFC 9114 §7.2.8).
var h3elsewhere = []uint64{0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0x9, 0xd, 0xf0700, 0xf0701}

// h3orderCases are frames in the wrong order, or of types that have no place on the stream of a request.
func h3orderCases() []h2case {
	unexpected := diesBy(h3.FrameUnexpected)
	head, post := pHead(false, h2base("GET")), pHead(false, h2base("POST"))
	hello := passes().of("POST").with("hello")
	cases := []h2case{
		{"DATA before HEADERS", "9114 4.1", hRaw(pData("hello", false), head, p3end), unexpected},
		{"DATA alone", "9114 4.1", hRaw(pData(inner, true)), unexpected},
		{"empty DATA alone", "9114 4.1", hRaw(pData("", true)), unexpected},
		{"DATA after trailers", "9114 4.1", hRaw(post, pData("hello", false), p3trailers("x", "y"),
			pData("evil", true)), unexpected.latest("/{id}")},
		{"empty DATA after trailers", "9114 4.1", hRaw(post, p3trailers("x", "y"), pData("", true)),
			unexpected.latest("/{id}")},
		{"HEADERS after trailers", "9114 4.1", hRaw(post, pData("hello", false), p3trailers("x", "y"),
			pTrailers("x", "evil")), unexpected.latest("/{id}")},
		{"a second head after trailers", "9114 4.1", hRaw(post, p3trailers("x", "y"), func(s *scribe) {
			s.head(h2base("GET").set(":path", "/smuggled"), true)
		}), unexpected.latest("/{id}")},
		{"a second head", "9114 4.3", hRaw(head, pHead(true, h2base("GET").set(":path", "/smuggled"))),
			malformed().late()},
		{"a second head after a body", "9114 4.3", hRaw(post, pData("hello", false),
			pHead(true, h2base("GET").set(":path", "/smuggled"))), malformed().late()},
		{"trailers, and the end alone", "9114 4.1", hRaw(post, pData("hello", false), p3trailers("x", "y"), p3end),
			hello.trails("x: y")},
		{"an unknown frame after trailers", "9114 9", hRaw(post, pData("hello", false), p3trailers("x", "y"),
			p3(0x21, inner), p3end), hello.trails("x: y")},
		{"a length, and the end alone", "9114 4.1.2", hRaw(pHead(false, h2base("POST").plus("content-length", "5")),
			p3end), malformed().late()},
		{"nothing", "9114 4.1", hRaw(p3end), malformedAs(http2.ErrCode(h3.RequestIncomplete))},
		{"an unknown frame alone", "9114 4.1", hRaw(p3(0x21, inner), p3end),
			malformedAs(http2.ErrCode(h3.RequestIncomplete))},
		{"left before the head", "9114 4.1.1", hRaw(p3raw("\x01"), pRST(8)), h2verdict{is: h2Left}},
		{"left in the head", "9114 4.1.1", hRaw(p3raw("\x01\x7f\x00\x00\xd1"), pRST(8)), h2verdict{is: h2Left}},
		{"left in the head with NO_ERROR", "9114 4.1.1", hRaw(p3raw("\x01\x7f\x00\x00\xd1"), pRST(0)),
			h2verdict{is: h2Left}},
		{"left in a DATA frame", "9114 4.1.1", hRaw(post, p3raw("\x00\x05hel"), pRST(8)), left()},
		{"CONNECT with trailers", "9114 4.4", hRaw(pHead(false, h2pairs(":method", "CONNECT", ":authority",
			"battery.test:443")), pTrailers("x", "y")), answered(405, 501)},
	}
	for _, typ := range h3elsewhere {
		name := fmt.Sprintf("frame %#x", typ)
		cases = append(cases,
			h2case{name, "9114 7.2", hRaw(p3(typ, "\x00"), head, p3end), unexpected},
			h2case{name + " of nothing", "9114 7.2", hRaw(p3(typ, ""), head, p3end), unexpected},
			h2case{name + " after the head", "9114 7.2", hRaw(post, p3(typ, "\x00"), pData(inner, true)),
				unexpected.late()},
			h2case{name + " after a body", "9114 7.2", hRaw(post, pData("hello", false), p3(typ, "\x00"), p3end),
				unexpected.late()})
	}
	return cases
}

// h3frameCases are about frames as such: their lengths, their ends, and types that nobody knows.
func h3frameCases() []h2case {
	cut := diesBy(h3.FrameError)
	post := pHead(false, h2base("POST"))
	five := pHead(false, h2base("POST").plus("content-length", "5"))
	hello := passes().of("POST").with("hello")
	framed := func(typ string, length func(n int) string) h2script {
		return hRaw(func(s *scribe) {
			block := s.section(h2base("GET"))
			s.out.WriteString(typ + length(len(block)) + block)
		}, p3end)
	}
	const most = "\xff\xff\xff\xff\xff\xff\xff\xff"
	unknown := p3(0x21, "GET / HTTP/1.1\r\n")
	return []h2case{
		{"unknown frames around all", "9114 9", hRaw(unknown, p3(1<<62-1, ""), post, p3(0x40, inner),
			pData("he", false), p3(0x21, ""), pData("llo", false), unknown, p3end), hello},
		{"an unknown frame of 20 000 bytes", "9114 9", hRaw(p3(0x21, strings.Repeat("v", 20000)), post, pData("hello",
			true)), hello},
		{"a frame type in two bytes", "9114 7.1", hRaw(func(s *scribe) {
			block := s.section(h2base("GET"))
			s.out.WriteString("\x40\x01" + h3int(uint64(len(block))) + block)
		}, p3end), passes().of("GET")},
		{"a length in eight bytes", "9114 7.1", framed("\x01", func(n int) string {
			return "\xc0\x00\x00\x00\x00\x00" + string([]byte{byte(n >> 8), byte(n)})
		}), passes().of("GET")},
		{"type and length in eight bytes", "9114 7.1", framed("\xc0\x00\x00\x00\x00\x00\x00\x01", func(n int) string {
			return "\xc0\x00\x00\x00\x00\x00" + string([]byte{byte(n >> 8), byte(n)})
		}), passes().of("GET")},
		{"empty DATA frames", "9114 7.2.1", hRaw(five, pData("", false), pData("hel", false), pData("", false),
			pData("lo", false), pData("", true)), hello},
		{"HEADERS of nothing", "9204 4.5.1", hRaw(p3(h3Headers, ""), p3end), diesBy(h3.DecompressionFailed)},
		{"a type alone", "9114 7.1", hRaw(p3raw("\x01"), p3end), cut},
		{"half a type", "9114 7.1", hRaw(p3raw("\x40"), p3end), cut},
		{"half a length", "9114 7.1", hRaw(p3raw("\x01\x40"), p3end), cut},
		{"half a head", "9114 7.1", framed("\x01", func(n int) string { return h3int(uint64(n + 1)) }), cut},
		{"a head alone without its payload", "9114 7.1", hRaw(p3raw("\x01\x10"), p3end), cut},
		{"half a DATA frame", "9114 7.1", hRaw(post, p3raw("\x00\x06hello"), p3end), cut.late()},
		{"DATA without its payload", "9114 7.1", hRaw(post, p3raw("\x00\x05"), p3end), cut.late()},
		{"a type behind a whole body", "9114 7.1", hRaw(five, pData("hello", false), p3raw("\x00"), p3end),
			cut.latest("/{id}")},
		{"half an unknown frame", "9114 7.1", hRaw(p3raw("\x21\x05hell"), p3end), cut},
		{"half of trailers", "9114 7.1", hRaw(post, pData("hello", false), p3raw("\x01\x10\x00\x00"), p3end),
			cut.late()},
		{"DATA of the largest length", "9114 7.1", hRaw(post, p3raw("\x00"+most+"hello"), p3end), cut.late()},
		{"DATA of the largest length against a length", "9114 4.1.2", hRaw(five, p3raw("\x00"+most+"hello")),
			malformed().late()},
		{"DATA that says too much", "9114 4.1.2", hRaw(five, p3raw("\x00\x06hello")), malformed().late()},
		{"a request behind a whole body", "9114 4.1.2", hRaw(five, pData("hello", false), p3(h3Data, inner), p3end),
			malformed().later()},
		{"HEADERS of the largest length", "9114 4.2.2", hRaw(p3raw("\x01" + most + "\x00\x00\xd1")), tooLarge(431)},
		{"an unknown frame of the largest length", "9114 7.1", hRaw(p3raw("\x21"+most+inner), p3end), cut},
		{"a preface of HTTP/2", "9114 7.2.8", hRaw(p3raw(h2preface+h2frame(http2.FrameSettings, 0, 0, "")), p3end),
			diesBy(h3.FrameUnexpected, h3.FrameError, h3.ExcessiveLoad)},
		{"a request of HTTP/1", "9114 7.1", hRaw(p3raw(inner), p3end),
			diesBy(h3.FrameUnexpected, h3.FrameError, h3.ExcessiveLoad)},
	}
}

// h3controlCases are about the one-way streams (RFC 9114 §6.2).
func h3controlCases() []h2case {
	fine, unexpected, id := passes(), diesBy(h3.FrameUnexpected), diesBy(h3.IDError)
	critical, creation := diesBy(h3.ClosedCriticalStream), diesBy(h3.StreamCreationError)
	size, setting := diesBy(h3.FrameError), diesBy(h3.SettingsError)
	var cases []h2case
	add := func(name, rfc string, v h2verdict, parts ...part) {
		s := hRaw(parts...)
		if v.is == h2Passes {
			s = h2script{head: h2base("GET"), end: true, then: parts}
		}
		cases = append(cases, h2case{name, rfc, s, v})
	}
	settings := func(pairs string) part { return p3first(h3Control + h3frame(h3Settings, pairs)) }
	frame := func(typ uint64, payload string) part { return p3more(h3frame(typ, payload)) }

	add("no SETTINGS first", "9114 6.2.1", diesBy(h3.MissingSettings), p3first(h3Control+h3frame(h3GoAway, "\x00")))
	add("an unknown frame first", "9114 6.2.1", diesBy(h3.MissingSettings), p3first(h3Control+h3frame(0x21, "")))
	add("DATA first", "9114 6.2.1", diesBy(h3.MissingSettings, h3.FrameUnexpected), p3first(h3Control+h3frame(0, "x")))
	add("SETTINGS twice", "9114 7.2.4", unexpected, frame(h3Settings, ""))
	for _, typ := range []uint64{0x0, 0x1, 0x2, 0x5, 0x6, 0x8, 0x9} {
		add(fmt.Sprintf("frame %#x", typ), "9114 7.2", unexpected, frame(typ, "\x00"))
	}
	for _, n := range []string{"\x00", "\x02", "\x03", "\x04", "\x05"} {
		add(fmt.Sprintf("setting %q of HTTP/2", n), "9114 7.2.4.1", setting, settings(n+"\x00"))
	}
	add("a setting twice", "9114 7.2.4", setting, settings("\x06\x40\xff\x06\x40\xff"))
	add("ENABLE_CONNECT_PROTOCOL of 2", "9220 3", setting, settings("\x08\x02"))
	add("half a setting", "9114 7.1", size, settings("\x06"))
	add("half a value", "9114 7.1", size, settings("\x06\x40"))
	add("settings that nobody knows", "9114 7.2.4", fine, settings("\x21\x00\x40\x5f\x01\x33\x01"))
	add("a table and blocked streams", "9204 5", fine, settings("\x01\x50\x00\x07\x40\x64"))
	add("SETTINGS of 20 000 bytes", "9114 10.5", h3excess, settings(strings.Repeat("\x40\x41\x00", 7000)))
	add("the end of the control stream", "9114 6.2.1", critical, p3beside(h3other{onControl: true, end: true}))
	add("a reset of the control stream", "9114 6.2.1", critical, p3beside(h3other{onControl: true, reset: true}))
	add("a stop of edge's control stream", "9114 6.2.1", critical, p3beside(h3other{stop: true}))
	add("the end within a frame", "9114 6.2.1", diesBy(h3.ClosedCriticalStream, h3.FrameError),
		p3beside(h3other{text: "\x07\x04\x00", onControl: true, end: true}))
	add("two control streams", "9114 6.2.1", creation, p3other(h3greeting))
	add("a push stream", "9114 6.2.2", creation, p3other("\x01\x00"))
	add("two encoder streams", "9204 4.2", creation, p3other("\x02"), p3other("\x02"))
	add("two decoder streams", "9204 4.2", creation, p3other("\x03"), p3other("\x03"))
	add("streams of QPACK", "9204 4.2", fine, p3other("\x02"), p3other("\x03"))
	add("the end of an encoder stream", "9204 4.2", critical, p3beside(h3other{text: "\x02", end: true}))
	add("the end of a decoder stream", "9204 4.2", critical, p3beside(h3other{text: "\x03", end: true}))
	add("a reset of a decoder stream", "9204 4.2", critical, p3beside(h3other{text: "\x03", reset: true}))
	add("a stream of an unknown type", "9114 9", fine, p3other("\x21"+inner), p3other("\x40\x54x"))
	add("a stream of nothing", "9114 6.2", fine, p3beside(h3other{end: true}), p3beside(h3other{reset: true}))
	add("half a type of a stream", "9114 6.2", fine, p3beside(h3other{text: "\x40", end: true}))
	add("GOAWAY", "9114 5.2", fine, frame(h3GoAway, "\x04"), frame(h3GoAway, "\x04"), frame(h3GoAway, "\x00"))
	add("GOAWAY that grows", "9114 5.2", id, frame(h3GoAway, "\x00"), frame(h3GoAway, "\x01"))
	add("GOAWAY of nothing", "9114 7.1", size, frame(h3GoAway, ""))
	add("GOAWAY with more", "9114 7.1", size, frame(h3GoAway, "\x00\x00"))
	add("GOAWAY of half a number", "9114 7.1", size, frame(h3GoAway, "\x40"))
	add("MAX_PUSH_ID", "9114 7.2.7", fine, frame(0xd, "\x08"), frame(0xd, "\x08"), frame(0xd, "\x09"))
	add("MAX_PUSH_ID that shrinks", "9114 7.2.7", id, frame(0xd, "\x08"), frame(0xd, "\x07"))
	add("CANCEL_PUSH", "9114 7.2.3", id, frame(0x3, "\x00"))
	add("PRIORITY_UPDATE", "9218 7.2", fine, frame(0xf0700, "\x00u=1"), frame(0xf0700, "\x40\x40u=9, i=x"))
	add("PRIORITY_UPDATE of a one-way stream", "9218 7.2", id, frame(0xf0700, "\x02u=1"))
	add("PRIORITY_UPDATE of a push", "9218 7.2", id, frame(0xf0701, "\x00u=1"))
	add("PRIORITY_UPDATE of nothing", "9218 7.2", size, frame(0xf0700, ""))
	add("unknown frames", "9114 9", fine, frame(0x21, inner), frame(1<<40, ""))
	return cases
}

// h3compressionCases are about QPACK (RFC 9204) with a table of no room.
func h3compressionCases() []h2case {
	bad := diesBy(h3.DecompressionFailed)
	encoder, decoder := diesBy(h3.EncoderStreamError), diesBy(h3.DecoderStreamError)
	good := func(prefix, behind string) h2script {
		return hRaw(func(s *scribe) {
			block := s.section(h2base("GET"))[2:]
			s.out.WriteString(h3frame(h3Headers, prefix+block+behind))
		}, p3end)
	}
	field := func(behind string) h2script { return good("\x00\x00", behind) }
	x := func(value string) h2script { return field("\x21x" + value) }
	stream := func(text string) h2script { return hRaw(p3other(text)) }
	return []h2case{
		{"never indexed", "9204 4.5.6", field("\x31x\x01y"), passes().of("GET").seen("x: y")},
		{"an entry of the table", "9204 4.5.2", field("\xdf"),
			passes().of("GET").seen("accept-encoding: gzip, deflate, br")},
		{"a name of the table, never indexed", "9204 4.5.4", field("\x75\x01y"), passes().of("GET").seen("cookie: y")},
		{"a base that nobody needs", "9204 4.5.1", good("\x00\x05", ""), passes().of("GET")},
		{":status of the table", "9114 4.3", field("\xd9"), malformed()},
		{":path of the table, twice", "9114 4.3", field("\xc1"), malformed()},
		{":method of the table behind a field", "9114 4.3", field("\x21x\x01y\xd1"), malformed()},
		{"entries that are required", "9204 4.5.1", good("\x01\x00", ""), bad},
		{"a base below zero", "9204 4.5.1", good("\x00\x80", ""), bad},
		{"half a prefix", "9204 4.5.1", hRaw(p3(h3Headers, "\x00"), p3end), bad},
		{"a number in the prefix without an end", "9204 4.5.1", hRaw(p3(h3Headers, "\xff\x80"), p3end), bad},
		{"an entry of the dynamic table", "9204 2.2.3", field("\x80"), bad},
		{"an entry behind the base", "9204 2.2.3", field("\x10"), bad},
		{"a name of the dynamic table", "9204 2.2.3", field("\x40\x01y"), bad},
		{"a name behind the base", "9204 2.2.3", field("\x00\x01y"), bad},
		{"the last entry", "9204 A", field("\xff\x23"), passes().of("GET").seen("x-frame-options: sameorigin")},
		{"an entry above the table", "9204 3.1", field("\xff\x24"), bad},
		{"a name above the table", "9204 3.1", field("\x5f\x54\x01y"), bad},
		{"an entry that overflows", "9204 4.1.1", field("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), bad},
		{"an entry with many zeros", "9204 4.1.1", field("\xff" + strings.Repeat("\x80", 30) + "\x00"), bad},
		{"an entry without an end", "9204 4.1.1", field("\xff\x80"), bad},
		{"a literal without its value", "9204 4.1.2", field("\x21x"), bad},
		{"half a name", "9204 4.1.2", field("\x26x"), bad},
		{"half a value", "9204 4.1.2", x("\x7ey"), bad},
		{"a value of 2^32", "9204 4.1.2", x("\x7f\x81\xff\xff\xff\x0fy"), bad},
		{"a Huffman code padded with zeros", "9204 4.1.2", x("\x81\x00"), bad},
		{"a Huffman code padded by a byte", "9204 4.1.2", x("\x82\xf3\xff"), bad},
		{"a Huffman code with EOS", "9204 4.1.2", x("\x84\xff\xff\xff\xff"), bad},
		{"NUL by Huffman", "9114 10.3", x("\x82\xff\xc7"), malformed()},
		{"CR LF by Huffman", "9114 10.3", x("\x88" + crlfHuffman), malformed()},
		{"a request by Huffman", "9114 10.3", x(h3huffman("y\r\n\r\n" + inner)), malformed()},
		{"upper case by Huffman", "9114 4.2", field("\x29\xfc\x01y"), malformed()},
		{"an insertion", "9204 3.2.3", stream("\x02\x41x\x01y"), encoder},
		{"an insertion by name", "9204 3.2.3", stream("\x02\xc1\x01y"), encoder},
		{"a duplicate", "9204 3.2.3", stream("\x02\x00"), encoder},
		{"a table above the limit", "9204 4.3.1", stream("\x02\x3f\xe1\x1f"), encoder},
		{"a section that is acknowledged", "9204 4.4.1", stream("\x03\x80"), decoder},
		{"an increment", "9204 4.4.3", stream("\x03\x01"), decoder},
		{"an increment by zero", "9204 4.4.3", stream("\x03\x00"), decoder},
		{"a stream that is cancelled", "9204 4.4.2", h2script{head: h2base("GET"), end: true,
			then: []part{p3other("\x03\x40\x7f\x80\x01")}}, passes()},
		{"a number without an end", "9204 4.4.2", stream("\x03\x7f" + strings.Repeat("\x80", 30)), decoder},
	}
}

// h3huffman is a string literal by Huffman code.
func h3huffman(text string) string {
	b := hpack.AppendHuffmanString(nil, text)
	return hpackInt(7, 0x80, len(b)) + string(b)
}
