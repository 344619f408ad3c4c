package h1

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/message"
)

// feed runs in through d in pieces that cut decides, as a session would: what is not consumed is offered again. It
// returns what happened, one line an event, bodies joined, and the fault.
func feed(d *Decoder, in string, cut func(left int) int) (string, error) {
	var out strings.Builder
	var h message.Head
	body, have, fed := "", []byte(nil), 0
	flush := func() {
		if body != "" {
			fmt.Fprintf(&out, "data %q\n", body)
			body = ""
		}
	}
	for fed < len(in) {
		k := max(1, min(cut(len(in)-fed), len(in)-fed))
		have = append(have, in[fed:fed+k]...)
		fed += k
		for {
			n, ev, p, err := d.Next(have, &h)
			if n < 0 || n > len(have) {
				panic("consumed more than there is")
			}
			body += string(p)
			if err != nil {
				flush()
				return out.String(), err
			}
			if ev&HeadDone != 0 {
				out.WriteString(describe(&h))
			}
			if ev&Trailers != 0 {
				flush()
				out.WriteString("trailers " + describe(&h))
			}
			if ev&End != 0 {
				flush()
				out.WriteString("end\n")
			}
			have = have[n:]
			if ev == NeedMore || len(have) == 0 && ev&End != 0 {
				break
			}
		}
	}
	ev, err := d.EOF()
	flush()
	if ev == End {
		out.WriteString("end\n")
	}
	return out.String(), err
}

func describe(h *message.Head) string {
	var s strings.Builder
	scheme := map[bool]string{true: "https"}[h.HTTPS]
	fmt.Fprintf(&s, "%s %s %s://%s %d %s", h.MethodBytes(), h.Bytes(h.Target), scheme, h.Bytes(h.Authority),
		h.Status, h.Bytes(h.Reason))
	fmt.Fprintf(&s, " v%d length=%d chunked=%t close=%t upgrade=%t continue=%t hops=%t\n", h.Proto, h.Length, h.Chunked,
		h.Close, h.Upgrade, h.Continue, h.Hops)
	for i := range h.Fields {
		if !h.Fields[i].Dropped() {
			fmt.Fprintf(&s, "  %s: %s (%d)\n", h.Name(i), h.Value(i), h.Fields[i].ID)
		}
	}
	return s.String()
}

func whole(left int) int { return left }
func byByte(int) int     { return 1 }

// run decodes in whole, byte by byte and cut at random, and wants the same each time.
func run(t *testing.T, in string, init func(*Decoder)) (string, error) {
	t.Helper()
	var d Decoder
	init(&d)
	want, wantErr := feed(&d, in, whole)
	cuts := []func(int) int{byByte}
	r := rand.New(rand.NewPCG(uint64(len(in)), 1))
	for range 5 {
		cuts = append(cuts, func(left int) int { return 1 + r.IntN(left) })
	}
	for _, cut := range cuts {
		init(&d)
		got, err := feed(&d, in, cut)
		if got != want || (err == nil) != (wantErr == nil) {
			t.Fatalf("%q cut up:\n%s%v\nwhole:\n%s%v", in, got, err, want, wantErr)
		}
	}
	return want, wantErr
}

func requests(d *Decoder) { d.InitRequests(nil) }

func responsesTo(v message.Verb) func(*Decoder) {
	return func(d *Decoder) { d.InitResponses(nil); d.Expect(v) }
}

func TestDecoder_isSmall(t *testing.T) {
	// One for each direction in every session; an idle connection holds both.
	if s := unsafe.Sizeof(Decoder{}); s > 64 {
		t.Errorf("%d bytes", s)
	}
}

func TestDecoder_errorsStay(t *testing.T) {
	var d Decoder
	var h message.Head
	d.InitRequests(nil)
	_, _, _, err := d.Next([]byte("GET / HTTP/1.1\nHost: a\n\n"), &h)
	if err != errBareLF {
		t.Fatal(err)
	}
	if _, _, _, err := d.Next([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), &h); err != errBareLF {
		t.Fatal(err)
	}
	if _, err := d.EOF(); err != errBareLF || d.Idle() {
		t.Fatal(err)
	}
	d.InitResponses(nil)
	_, _, _, err = d.Next([]byte("HTTP/1.1 200 O\rK\n"), &h)
	var e *Error
	if !errors.Is(err, errBareCR) || !errors.As(err, &e) || e.Status != 502 {
		t.Fatal(err)
	}
}
