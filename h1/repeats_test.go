package h1

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// remembering decodes like feed, with what r keeps, as a session does; nil: it keeps nothing.
func remembering(in string, cut func(left int) int, r *Repeats) (string, error) {
	var d Decoder
	d.InitRequests(nil)
	var out strings.Builder
	var h message.Head
	for used, seen := 0, 0; seen < len(in); {
		seen = min(len(in), seen+cut(len(in)-seen))
		for used < seen {
			piece, n := []byte(in[used:seen]), 0
			ev, body, err := HeadDone|End, []byte(nil), error(nil)
			if r != nil {
				n = d.Recall(piece, &h, r)
			}
			if n == 0 {
				if n, ev, body, err = d.Next(piece, &h); ev == HeadDone|End && r != nil {
					r.Note(piece[:n], &h)
				}
			}
			if used += n; err != nil {
				return out.String(), err
			}
			if ev == NeedMore {
				break
			}
			fmt.Fprintf(&out, "%d %q", ev, body)
			if ev&(HeadDone|Trailers) != 0 {
				out.WriteString(describe(&h))
			}
		}
	}
	return out.String(), nil
}

// What a Repeats keeps changes nothing: requests are decoded as without it, whichever came before.
func FuzzRepeats(f *testing.F) {
	for i, s := range []string{smallHead, browserHead, "\r\n" + smallHead, smallHead + smallHead,
		post("Content-Length: 2\r\n") + "hi" + smallHead, strings.Replace(smallHead, "GET", "PUT", 1),
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"} {
		f.Add(s, smallHead, uint64(i))
	}
	f.Fuzz(func(t *testing.T, one, other string, seed uint64) {
		if len(one)+len(other) > 4<<10 {
			return
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		var kept Repeats
		for range 8 {
			in := ""
			for range 1 + rng.IntN(4) {
				in += []string{one, one, one, other}[rng.IntN(4)]
			}
			cuts, all := rng.Uint64(), rng.IntN(2) == 0
			cut := func() func(int) int {
				by := rand.New(rand.NewPCG(cuts, 2))
				return func(left int) int {
					if all {
						return left
					}
					return 1 + by.IntN(max(left, 1))
				}
			}
			want, wantErr := remembering(in, cut(), nil)
			if got, err := remembering(in, cut(), &kept); got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%q:\n%s%v\nwithout what is kept:\n%s%v", in, got, err, want, wantErr)
			}
			kept.rest = 0
		}
	})
}

// A head is kept from its second time on, until another one comes, and costs no allocation.
func TestRepeats(t *testing.T) {
	var d Decoder
	var h message.Head
	var r Repeats
	d.InitRequests(nil)
	ask := func(in string) (kept bool) {
		n := d.Recall([]byte(in), &h, &r)
		if kept = n > 0; !kept {
			piece := []byte(in)
			n, _, _, _ = d.Next(piece, &h)
			r.Note(piece[:n], &h)
		}
		if n != len(in) || h.Verb != message.VerbGet {
			t.Fatalf("%d of %d, %s", n, len(in), describe(&h))
		}
		return kept
	}
	other := strings.Replace(smallHead, "GET /", "GET /other/", 1)
	for i, in := range []string{smallHead, smallHead, smallHead, other, smallHead, smallHead, smallHead} {
		if kept := ask(in); kept != (i == 2) {
			t.Errorf("request %d: kept %v", i, kept)
		}
	}
	r = Repeats{}
	ask(browserHead)
	ask(browserHead)
	in := []byte(browserHead)
	if n := testutil.Allocs(100, func() { d.Recall(in, &h, &r) }); n != 0 || h.Length != 0 {
		t.Errorf("%v allocations", n)
	}
}
