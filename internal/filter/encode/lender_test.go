package compress_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/filter/encode"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
)

// onReactor runs f on a reactor of a simulated world, whose clock it may move by the second argument.
func onReactor(t *testing.T, o engine.Options, f func(r *engine.Reactor, sleep func(time.Duration))) {
	t.Helper()
	sim.Run(t, 1, func(t testing.TB, w *sim.World) {
		o.Reactors, o.Kernel = 1, func(i int) (poller.Kernel, error) { return w.Kernel(i), nil }
		e, err := engine.New(o)
		if err != nil {
			t.Fatal(err)
		}
		r := e.Reactors()[0]
		w.Add(r)
		f(r, func(d time.Duration) {
			over := false
			w.After(d, func() { over = true; w.Kernel(0).Wake() })
			if err := w.Run(func() bool { return over }, 1_000_000); err != nil {
				t.Fatal(err)
			}
			r.Tick()
		})
	})
}

// sample is n bytes that can be compressed.
func sample(rng *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, "<li id=%d>%s</li>\n", rng.IntN(1000), strings.Repeat("word ", rng.IntN(9)))
	}
	return b[:n]
}

var levels = []compress.Level{compress.Auto, compress.Fast, compress.Best}

// A body comes out of the decoder as it went in, whatever its pieces are, and a flush keeps nothing back.
func TestLender_bodies(t *testing.T) {
	onReactor(t, engine.Options{}, func(r *engine.Reactor, _ func(time.Duration)) {
		l := compress.NewLender(r)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range testutil.RaceRounds(300) {
			coding, streams := compress.Gzip+compress.Coding(i%2), i%6 == 0
			length := int64(-1)
			if i%5 == 0 {
				length = int64(rng.IntN(2 * 128 << 10))
			}
			e := l.Lend(coding, levels[i/2%3], length, streams)
			if e == nil {
				t.Fatal(i)
			}
			in := sample(rng, rng.IntN(1+100*i*i%400_000))
			if i%7 == 0 {
				for j := range in {
					in[j] = byte(rng.Uint32()) // which cannot be compressed
				}
			}
			var out []byte
			for rest := in; ; {
				n := min(len(rest), rng.IntN(40_000))
				how := proxy.EncodeMore
				if rest = rest[n:]; len(rest) == 0 {
					how = proxy.EncodeEnd
				} else if rng.IntN(4) == 0 {
					how = proxy.EncodeFlush
				}
				at := len(in) - len(rest)
				late := false
				out, late = e.Append(out, in[at-n:at], how)
				if late && (how != proxy.EncodeMore || streams) {
					t.Fatal("something is kept back")
				}
				if how == proxy.EncodeEnd {
					break
				}
			}
			if got := testutil.Decoded(t, e.Coding(), bytes.NewReader(out)); !bytes.Equal(got, in) {
				t.Fatalf("%d: %s of %d bytes became %d", i, e.Coding(), len(in), len(got))
			}
			if e.Close(); r.Stats().BufBytes < 0 {
				t.Fatal(r.Stats().BufBytes)
			}
		}
	})
}

// What was flushed can be read before more comes.
func TestLender_flushed(t *testing.T) {
	onReactor(t, engine.Options{}, func(r *engine.Reactor, _ func(time.Duration)) {
		for _, streams := range []bool{false, true} {
			e := compress.NewLender(r).Lend(compress.Gzip, compress.Auto, -1, streams)
			out, _ := e.Append(nil, []byte("data: one\n\n"), proxy.EncodeFlush)
			d, err := stdgzip.NewReader(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 100)
			if n, _ := io.ReadAtLeast(d, p, 11); string(p[:n]) != "data: one\n\n" {
				t.Errorf("%q", p[:n])
			}
			e.Close()
		}
	})
}

// There are 16 streams. Then gzip does without, and zstd is not to be had, but for a body that is whole.
func TestLender_isBounded(t *testing.T) {
	onReactor(t, engine.Options{}, func(r *engine.Reactor, sleep func(time.Duration)) {
		const one, other = 2160 << 10, 1060 << 10
		l := compress.NewLender(r)
		kept := func(inUse int64, free int) {
			t.Helper()
			if got := r.Stats().BufBytes; got != inUse || compress.Kept(l) != free {
				t.Errorf("%d bytes in use, %d streams kept; want %d, %d", got, compress.Kept(l), inUse, free)
			}
		}
		var lent []proxy.Encoder
		for range 15 {
			lent = append(lent, l.Lend(compress.Zstd, compress.Auto, -1, false))
		}
		kept(15*one, 0)
		if l.Lend(compress.Zstd, compress.Auto, -1, false) != nil {
			t.Error("one more of zstd")
		}
		e := l.Lend(compress.Gzip, compress.Auto, -1, false)
		if _, late := e.Append(nil, []byte("x"), proxy.EncodeMore); late {
			t.Error("gzip keeps something back")
		}
		e.Close()
		for _, coding := range both {
			e := l.Lend(coding, compress.Auto, 100, false)
			out, _ := e.Append(nil, []byte("hello "), proxy.EncodeMore)
			out, _ = e.Append(out, nil, proxy.EncodeFlush) // for which gzip goes on without a stream
			out, _ = e.Append(out, []byte("there"), proxy.EncodeEnd)
			if got := testutil.Decoded(t, e.Coding(), bytes.NewReader(out)); string(got) != "hello there" {
				t.Errorf("%v: %q", coding, got)
			}
			e.Close()
		}
		kept(15*one, 1)
		for _, e := range lent[1:] {
			e.Close()
		}
		kept(one, 15)
		e = l.Lend(compress.Gzip, compress.Auto, -1, false) // in the place of one of the others
		if _, late := e.Append(nil, []byte("x"), proxy.EncodeMore); !late {
			t.Error("gzip has no stream")
		}
		kept(one+other, 14)
		e.Close()
		lent[0].Close()
		kept(0, 16)
		sleep(25 * time.Second) // without use
		kept(0, 0)
	})
}

// Where memory is short there are no new encoders, and those in use are not kept.
func TestLender_underPressure(t *testing.T) {
	onReactor(t, engine.Options{Memory: 64 << 20}, func(r *engine.Reactor, _ func(time.Duration)) {
		l := compress.NewLender(r)
		e := l.Lend(compress.Zstd, compress.Auto, -1, false)
		r.Account(55 << 20)
		if l.Lend(compress.Zstd, compress.Auto, -1, false) != nil {
			t.Error("a new encoder")
		}
		e.Close()
		r.Account(-55 << 20)
		if got := r.Stats().BufBytes; got != 0 || compress.Kept(l) != 0 {
			t.Error(got, "bytes in use,", compress.Kept(l), "encoders kept")
		}
	})
}

// An encoder that is used again allocates nothing for a body.
func TestLender_allocatesNothing(t *testing.T) {
	onReactor(t, engine.Options{}, func(r *engine.Reactor, _ func(time.Duration)) {
		l := compress.NewLender(r)
		in, out := sample(rand.New(rand.NewPCG(1, 2)), 9<<10), make([]byte, 0, 16<<10)
		for i, coding := range both {
			length := int64(i*10_000 - 1)
			if n := testutil.Allocs(100, func() {
				e := l.Lend(coding, compress.Auto, length, false)
				e.Append(out, in, proxy.EncodeEnd)
				e.Close()
			}); n > 0 {
				t.Error(coding, n, "allocations")
			}
		}
	})
}

func FuzzEncoder(f *testing.F) {
	f.Add([]byte("hello hello"), uint8(0), uint16(3))
	f.Add(bytes.Repeat([]byte("<p>text</p>"), 3000), uint8(5), uint16(999))
	f.Fuzz(func(t *testing.T, in []byte, kind uint8, cut uint16) {
		onReactor(t, engine.Options{}, func(r *engine.Reactor, _ func(time.Duration)) {
			streams := kind&1 == 0 && kind&8 > 0
			length := int64(len(in)) - int64(kind>>5&1)<<20 // or it is not known
			e := compress.NewLender(r).Lend(compress.Gzip+compress.Coding(kind&1), levels[kind>>1%3], length, streams)
			n := min(int(cut), len(in))
			out, _ := e.Append(nil, in[:n], proxy.Encode(kind>>4&1))
			out, _ = e.Append(out, in[n:], proxy.EncodeEnd)
			if got := testutil.Decoded(t, e.Coding(), bytes.NewReader(out)); !bytes.Equal(got, in) {
				t.Fatalf("%q became %q", in, got)
			}
			e.Close()
		})
	})
}
