package h1

import (
	"errors"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

const coded = "Transfer-Encoding: chunked\r\n"

func answer(status, fields string) string { return "HTTP/1.1 " + status + "\r\n" + fields + "\r\n" }

func TestDecoder_acceptsResponses(t *testing.T) {
	const rest = " upgrade=false continue=false hops="
	for _, c := range []struct {
		name, in, want string
		verb           message.Verb
	}{
		{"length", answer("200 OK", "Content-Length: 2\r\n") + "hi",
			"  :// 200 OK v11 length=2 chunked=false close=false" + rest + "false\n  Content-Length: 2 (7)\n" +
				"data \"hi\"\nend\n", message.VerbGet},
		{"length 0", answer("200 ", "Content-Length: 0\r\n"),
			"  :// 200  v11 length=0 chunked=false close=false" + rest + "false\n  Content-Length: 0 (7)\nend\n",
			message.VerbGet},
		{"no reason and no space", answer("200", "Content-Length: 0\r\n"),
			"  :// 200  v11 length=0 chunked=false close=false" + rest + "false\n  Content-Length: 0 (7)\nend\n",
			message.VerbGet},
		{"chunked", answer("200 Fine by me", "Transfer-Encoding: chunked\r\n") + "2\r\nhi\r\n0\r\n\r\n",
			"  :// 200 Fine by me v11 length=-1 chunked=true close=false" + rest + "true\n" +
				"  Transfer-Encoding: chunked (6)\ndata \"hi\"\nend\n", message.VerbGet},
		{"§6.3 until close", answer("200 OK", "") + "hi",
			"  :// 200 OK v11 length=-1 chunked=false close=true" + rest + "false\ndata \"hi\"\nend\n",
			message.VerbGet},
		{"§6.3 until close, empty", answer("200 OK", "Connection: keep-alive\r\n"),
			"  :// 200 OK v11 length=-1 chunked=false close=true" + rest + "false\n  Connection: keep-alive (2)\nend\n",
			message.VerbPost},
		{"§6.3 HEAD", answer("200 OK", "Content-Length: 2\r\n"),
			"  :// 200 OK v11 length=0 chunked=false close=false" + rest + "false\n  Content-Length: 2 (7)\nend\n",
			message.VerbHead},
		{"§6.3 HEAD without length", answer("200 OK", ""),
			"  :// 200 OK v11 length=0 chunked=false close=false" + rest + "false\nend\n", message.VerbHead},
		{"§6.3 HEAD, chunked", answer("200 OK", "Transfer-Encoding: chunked\r\n"),
			"  :// 200 OK v11 length=0 chunked=false close=false" + rest +
				"true\n  Transfer-Encoding: chunked (6)\nend\n",
			message.VerbHead},
		{"§6.3 304", answer("304 Not Modified", "Content-Length: 2\r\n"),
			"  :// 304 Not Modified v11 length=0 chunked=false close=false" + rest + "false\n" +
				"  Content-Length: 2 (7)\nend\n", message.VerbGet},
		{"§6.3 204", answer("204 No Content", ""),
			"  :// 204 No Content v11 length=0 chunked=false close=false" + rest + "false\nend\n", message.VerbGet},
		{"§6.3 1xx come first, the verb stays", answer("100 Continue", "") + answer("103 Early Hints", "Link: a\r\n") +
			answer("200 OK", "Content-Length: 2\r\n"),
			"  :// 100 Continue v11 length=0 chunked=false close=false" + rest + "false\n" +
				"  :// 103 Early Hints v11 length=0 chunked=false close=false" + rest + "false\n  Link: a (54)\n" +
				"  :// 200 OK v11 length=0 chunked=false close=false" + rest + "false\n  Content-Length: 2 (7)\nend\n",
			message.VerbHead},
		{"§9.3 HTTP/1.0 keep-alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
			"  :// 200 OK v10 length=0 chunked=false close=false" + rest + "false\n  Connection: keep-alive (2)\n" +
				"  Content-Length: 0 (7)\nend\n", message.VerbGet},
		{"§9.3 HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
			"  :// 200 OK v10 length=0 chunked=false close=true" + rest + "false\n  Content-Length: 0 (7)\nend\n",
			message.VerbGet},
		{"answer to CONNECT that refuses", answer("403 No", "Content-Length: 0\r\n"),
			"  :// 403 No v11 length=0 chunked=false close=false" + rest + "false\n  Content-Length: 0 (7)\nend\n",
			message.VerbConnect},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := run(t, c.in, responsesTo(c.verb))
			want := strings.ReplaceAll(c.want, "Link: a (54)", "Link: a ("+itoa(message.Link)+")")
			if err != nil || got != want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

func TestDecoder_rejectsResponses(t *testing.T) {
	for _, c := range []struct {
		name, in string
		verb     message.Verb
		want     *Error
	}{
		{"§4 not a status line", "ICY 200 OK\r\n\r\n", message.VerbGet, errStatusLine},
		{"§4 empty line before it", "\r\nHTTP/1.1 200 OK\r\n\r\n", message.VerbGet, errStatusLine},
		{"§2.3 version", "HTTP/2.0 200 OK\r\n\r\n", message.VerbGet, errVersion},
		{"§4 two digits", answer("20 OK", ""), message.VerbGet, errStatusLine},
		{"§4 four digits", answer("2000 OK", ""), message.VerbGet, errStatusLine},
		{"§4 two spaces", answer(" 200 OK", ""), message.VerbGet, errStatusLine},
		{"RFC 9110 §15 below 100", answer("099 A", ""), message.VerbGet, errStatusLine},
		{"RFC 9110 §15 above 599", answer("600 A", ""), message.VerbGet, errStatusLine},
		{"§4 control in the reason", answer("200 O\x00K", ""), message.VerbGet, errFieldValue},
		{"§2.2 bare CR in the reason", answer("200 O\rK", ""), message.VerbGet, errBareCR},
		{"§2.2 bare CR in a head of bare LF", "HTTP/1.1 200 OK\nA: b\rC: d\n\n", message.VerbGet, errBareCR},
		{"§2.2 two CR before a LF", "HTTP/1.1 200 OK\nA: b\r\r\n\n", message.VerbGet, errBareCR},
		{"§5.2 fold after a bare LF", "HTTP/1.1 200 OK\nA: b\n c\n\n", message.VerbGet, errFold},
		{"§6.3 two lengths after bare LF", "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\n",
			message.VerbGet, errManyLengths},
		{"head of bare LF too large", "HTTP/1.1 200 OK\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\n", 33),
			message.VerbGet, ErrHeadTooLarge},
		{"too many fields after bare LF", "HTTP/1.1 200 OK\n" + strings.Repeat("A: b\n", 101) + "\n", message.VerbGet,
			ErrTooManyFields},
		{"§7.1 bare LF after a size", answer("200 OK", coded) + "1\na\r\n0\r\n\r\n", message.VerbGet, errBareLF},
		{"§7.1 bare LF after a padded size", answer("200 OK", coded) + "1 \na\r\n0\r\n\r\n", message.VerbGet,
			errBareLF},
		{"§7.1.2 bare LF in a trailer", answer("200 OK", coded) + "0\r\nA: b\n\r\n", message.VerbGet, errBareLF},
		{"§7.1 blank before a size", answer("200 OK", coded) + " 1\r\na\r\n0\r\n\r\n", message.VerbGet, errChunkSize},
		{"§7.1 blank in a size", answer("200 OK", coded) + "0 1\r\na\r\n0\r\n\r\n", message.VerbGet, errChunkSize},
		{"§7.1 padding too long", answer("200 OK", coded) + "1" + strings.Repeat(" ", 256) + "\r\na\r\n",
			message.VerbGet, errChunkLineTooLong},
		{"§5.2 fold", answer("200 OK", "A: b\r\n c\r\n"), message.VerbGet, errFold},
		{"§6.3 two lengths", answer("200 OK", "Content-Length: 1\r\nContent-Length: 2\r\n"), message.VerbGet,
			errManyLengths},
		{"§6.3 both lengths", answer("200 OK", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), message.VerbGet,
			errLengthAndCoding},
		{"§6.3 both lengths to HEAD", answer("200 OK", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
			message.VerbHead, errLengthAndCoding},
		{"§6.1 other coding", answer("200 OK", "Transfer-Encoding: gzip\r\n"), message.VerbGet, errTransferCoding},
		{"§6.1 in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", message.VerbGet,
			errCodingInHTTP10},
		{"101 that nobody asked for", answer("101 Switching Protocols", "Upgrade: a\r\nConnection: upgrade\r\n"),
			message.VerbGet, ErrSwitchedProtocols},
		{"tunnel", answer("200 OK", ""), message.VerbConnect, errTunnel},
		{"1xx without end", strings.Repeat(answer("103 Early Hints", ""), interimMax+1), message.VerbGet,
			errManyInterim},
		{"§8 ends within the head", "HTTP/1.1 200 OK\r\n", message.VerbGet, errUnexpectedEOF},
		{"§8 ends behind 1xx", answer("100 Continue", ""), message.VerbGet, errUnexpectedEOF},
		{"§8 ends within the body", answer("200 OK", "Content-Length: 3\r\n") + "ab", message.VerbGet,
			errUnexpectedEOF},
		{"§8 ends within a chunk", answer("200 OK", "Transfer-Encoding: chunked\r\n") + "5\r\nab", message.VerbGet,
			errUnexpectedEOF},
		{"too many fields", answer("200 OK", strings.Repeat("A: b\r\n", 101)), message.VerbGet, ErrTooManyFields},
		{"head too large", answer("200 OK", strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 33)),
			message.VerbGet,
			ErrHeadTooLarge},
		{"reason too long", answer("200 "+strings.Repeat("b", 17<<10), ""), message.VerbGet, ErrFieldTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := run(t, c.in, responsesTo(c.verb))
			var e *Error
			if !errors.Is(err, c.want) || !errors.As(err, &e) || e.Status != 502 {
				t.Errorf("%v, want %v\n%s", err, c.want, got)
			}
		})
	}
}

// Origins end lines of heads with LF alone, and pad the sizes of chunks. The message is the same as without.
func TestDecoder_acceptsSpellings(t *testing.T) {
	const body = "2\r\nhi\r\n0\r\n\r\n"
	for _, c := range []struct{ name, in, as string }{
		{"LF alone", "HTTP/1.1 200 OK\nContent-Length: 2\nServer: a\n\nhi",
			answer("200 OK", "Content-Length: 2\r\nServer: a\r\n") + "hi"},
		{"LF after the status line", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi",
			answer("200 OK", "Content-Length: 2\r\n") + "hi"},
		{"LF after a field", answer("200 OK", "A: b\nContent-Length: 2\r\n") + "hi",
			answer("200 OK", "A: b\r\nContent-Length: 2\r\n") + "hi"},
		{"LF for the end", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nhi",
			answer("200 OK", "Content-Length: 2\r\n") + "hi"},
		{"no field, no reason", "HTTP/1.1 204\n\n", answer("204", "")},
		{"LF in interim answers", "HTTP/1.1 103 Early Hints\nLink: a\n\nHTTP/1.1 200 OK\nContent-Length: 0\n\n",
			answer("103 Early Hints", "Link: a\r\n") + answer("200 OK", "Content-Length: 0\r\n")},
		{"blanks after sizes", answer("200 OK", coded) + "2   \r\nhi\r\n0\t \r\n\r\n", answer("200 OK", coded) + body},
		{"blanks after sizes, LF in the head",
			"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2 \r\nhi\r\n0 \r\n\r\n", answer("200 OK", coded) + body},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := run(t, c.as, responsesTo(message.VerbGet))
			testutil.Must(t, err)
			if got, err := run(t, c.in, responsesTo(message.VerbGet)); err != nil || got != want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

// A tunnel begins after a head that was asked for, and ends with the connection.
func TestDecoder_tunnels(t *testing.T) {
	for _, c := range []struct {
		name, in string
		verb     message.Verb
		want     *Error
		wire     string // the head as it is sent on
	}{
		{"101", answer("101 Switching Protocols", "Upgrade: websocket\r\nConnection: Upgrade\r\nAge: 1\r\n"),
			message.VerbGet, nil,
			answer("101 Switching Protocols", "Age: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")},
		{"2xx to CONNECT, whose framing is ignored", answer("200 OK", "Content-Length: 5\r\n"), message.VerbConnect,
			nil, answer("200 OK", "")},
		{"101 without Upgrade", answer("101 A", "Connection: upgrade\r\n"), message.VerbGet, errUpgrade, ""},
		{"101 without Connection", answer("101 A", "Upgrade: websocket\r\n"), message.VerbGet, errUpgrade, ""},
		{"101 in HTTP/1.0", "HTTP/1.0 101 A\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n", message.VerbGet,
			errUpgrade, ""},
		{"101 to CONNECT", answer("101 A", "Upgrade: a\r\nConnection: upgrade\r\n"), message.VerbConnect,
			ErrSwitchedProtocols, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			var h message.Head
			d.InitResponses(nil)
			d.Expect(c.verb)
			d.ExpectTunnel()
			in := []byte(answer("100 Continue", "") + c.in + "raw\r\n")
			n, ev, _, err := d.Next(in, &h)
			if err != nil || ev != HeadDone || h.Tunnel {
				t.Fatal(ev, h.Tunnel, err)
			}
			in = in[n:]
			n, ev, _, err = d.Next(in, &h)
			if c.want != nil {
				if !errors.Is(err, c.want) {
					t.Fatal(err)
				}
				return
			}
			if err != nil || ev != HeadDone || !h.Tunnel {
				t.Fatal(ev, h.Tunnel, err)
			}
			if got := string(AppendResponse(nil, &h, ResponseOptions{Close: true})); got != c.wire {
				t.Errorf("%q, want %q", got, c.wire)
			}
			_, ev, body, err := d.Next(in[n:], &h)
			if err != nil || ev != Data || string(body) != "raw\r\n" {
				t.Fatal(ev, string(body), err)
			}
			if ev, err := d.EOF(); ev != End || err != nil {
				t.Fatal(ev, err)
			}
		})
	}
}

func TestDecoder_limitsAreOptions(t *testing.T) {
	for _, c := range []struct {
		limits Limits
		in     string
		want   *Error
	}{
		{Limits{HeadBytes: 40}, "GET / HTTP/1.1\r\nHost: a\r\nAge: 1\r\n\r\n", nil},
		{Limits{HeadBytes: 34}, "GET / HTTP/1.1\r\nHost: a\r\nAge: 1\r\n\r\n", ErrHeadTooLarge},
		{Limits{RequestLine: 16}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{Limits{RequestLine: 15}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ErrURITooLong},
		{Limits{FieldBytes: 9}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{Limits{FieldBytes: 8}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ErrFieldTooLarge},
		{Limits{FieldCount: 1}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{Limits{FieldCount: 1}, "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n", ErrTooManyFields},
		{Limits{ChunkLine: 3}, post("Transfer-Encoding: chunked\r\n") + "1\r\na\r\n0\r\n\r\n", nil},
		{Limits{ChunkLine: 3}, post("Transfer-Encoding: chunked\r\n") + "01\r\na\r\n0\r\n\r\n", errChunkLineTooLong},
		{Limits{TrailerBytes: 8}, post("Transfer-Encoding: chunked\r\n") + "0\r\nA: b\r\n\r\n", nil},
		{Limits{TrailerBytes: 7}, post("Transfer-Encoding: chunked\r\n") + "0\r\nA: b\r\n\r\n", errTrailersTooLarge},
		{Limits{TrailerCount: 1}, post("Transfer-Encoding: chunked\r\n") + "0\r\nA: b\r\nA: b\r\n\r\n",
			errTrailersTooLarge},
	} {
		_, err := run(t, c.in, func(d *Decoder) { d.InitRequests(&c.limits) })
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.limits, err, c.want)
		}
	}
}

func TestDecoder_idleBetweenMessages(t *testing.T) {
	var d Decoder
	var h message.Head
	d.InitRequests(nil)
	step := func(in string, n int, ev Event, idle bool) {
		t.Helper()
		got, e, _, err := d.Next([]byte(in), &h)
		if got != n || e != ev || d.Idle() != idle || err != nil {
			t.Fatalf("%q: n=%d event=%d idle=%t %v", in, got, e, d.Idle(), err)
		}
	}
	step("", 0, NeedMore, true)
	step("\r", 0, NeedMore, false)
	step("\r\n", 2, NeedMore, true)
	step("P", 0, NeedMore, false)
	step(post("Content-Length: 3\r\n")+"a", len(post("Content-Length: 3\r\n")), HeadDone, false)
	if d.Remaining() != 3 {
		t.Fatal(d.Remaining())
	}
	step("a", 1, Data, false)
	step("bcX", 2, Data|End, true)
	if ev, err := d.EOF(); ev != NeedMore || err != nil {
		t.Fatal(ev, err)
	}
}

func itoa(n message.Name) string {
	return strings.TrimLeft(string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)}), "0")
}
