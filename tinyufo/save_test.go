package tinyufo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var numbers = Codec[uint64, string]{
	Append: func(dst []byte, k uint64, v string) ([]byte, error) {
		return append(binary.AppendUvarint(dst, k), v...), nil
	},
	Parse: func(src []byte) (uint64, string, error) {
		k, n := binary.Uvarint(src)
		if n <= 0 {
			return 0, "", errors.New("no key")
		}
		return k, string(src[n:]), nil
	},
}

func saved(t testing.TB, c *Cache[uint64, string]) []byte {
	t.Helper()
	var b bytes.Buffer
	testutil.Must(t, c.SaveTo(&b, numbers))
	return b.Bytes()
}

func TestSaveTo_isReadByLoadFrom(t *testing.T) {
	now := int64(1e9)
	o := Options[uint64, string]{Entries: 500, TTL: time.Hour, Clock: func() int64 { return now }}
	c := New(o)
	for i := range uint64(300) {
		c.Set(i, string(make([]byte, i)))
	}
	c.SetTTL(1000, "short", time.Minute)
	c.SetTTL(1001, "for ever", Forever)
	file := saved(t, c)

	now = 5e9 // another process, another clock
	d := New(o)
	n, err := d.LoadFrom(bytes.NewReader(file), numbers)
	if err != nil || n != c.Len() || d.Len() != n {
		t.Fatalf("%d of %d entries, %d cached, %v", n, c.Len(), d.Len(), err)
	}
	if got := maps.Collect(d.All()); !maps.Equal(got, maps.Collect(c.All())) {
		t.Errorf("%d entries are not what was saved", len(got))
	}
	now += int64(time.Minute)
	if v, ok := d.Get(1000); ok {
		t.Errorf("%q outlives its minute", v)
	}
	now += int64(time.Hour)
	if _, ok := d.Get(7); ok {
		t.Error("an entry outlives its hour")
	}
	if _, ok := d.Get(1001); !ok {
		t.Error("what lives for ever has gone")
	}
}

func TestLoadFrom_takesTheHottest(t *testing.T) {
	c := New(Options[uint64, string]{Entries: 1000, Shards: 1})
	for i := range uint64(1000) {
		c.Set(i, "")
	}
	for i := range uint64(3000) {
		c.Get(i / 3 * 10 % 1000)
	}
	d := New(Options[uint64, string]{Entries: 100, Shards: 1})
	if n, err := d.LoadFrom(bytes.NewReader(saved(t, c)), numbers); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	hot := 0
	for k := range d.All() {
		if k%10 == 0 {
			hot++
		}
	}
	if hot < 90 {
		t.Errorf("%d of the 100 hottest", hot)
	}
	d.Set(5000, "newer")
	if n, err := d.LoadFrom(bytes.NewReader(saved(t, d)), numbers); n != 0 || err != nil {
		t.Errorf("%d entries where there was no room: %v", n, err)
	}
}

func TestLoadFrom_tellsWhatIsWrong(t *testing.T) {
	c := New(Options[uint64, string]{Entries: 10})
	c.Set(1, "one")
	c.Set(2, "two")
	file := saved(t, c)
	for n := range file {
		d := New(Options[uint64, string]{Entries: 10})
		if _, err := d.LoadFrom(bytes.NewReader(file[:n]), numbers); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d of %d: %v", n, len(file), err)
		}
		wrong := bytes.Clone(file)
		wrong[n] ^= 0x55
		got, err := d.LoadFrom(bytes.NewReader(wrong), numbers)
		if err == nil {
			t.Errorf("byte %d is wrong: %d entries, no error", n, got)
		}
	}
	d := New(Options[uint64, string]{Entries: 10})
	if _, err := d.LoadFrom(bytes.NewReader([]byte("not a file of this kind")), numbers); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func FuzzLoadFrom(f *testing.F) {
	c := New(Options[uint64, string]{Entries: 10})
	c.Set(1, "one")
	f.Add(saved(f, c))
	f.Fuzz(func(t *testing.T, file []byte) {
		d := New(Options[uint64, string]{Entries: 10, TTL: time.Hour, Clock: func() int64 { return 1 }})
		n, err := d.LoadFrom(bytes.NewReader(file), numbers)
		if n < d.Len() || n > 0 && len(file) == 0 {
			t.Errorf("%d entries, %d cached: %v", n, d.Len(), err)
		}
	})
}

func TestLoadFrom_passesOverNaN(t *testing.T) {
	keys := []float64{1, 2, 3}
	codec := Codec[float64, int]{
		Append: func(dst []byte, _ float64, v int) ([]byte, error) { return append(dst, byte(v)), nil },
		Parse:  func(src []byte) (float64, int, error) { return keys[src[0]], int(src[0]), nil },
	}
	c := New(Options[float64, int]{Entries: 10})
	for i, k := range keys {
		c.Set(k, i)
	}
	var b bytes.Buffer
	testutil.Must(t, c.SaveTo(&b, codec))
	keys[1] = math.NaN()
	d := New(Options[float64, int]{Entries: 10})
	if n, err := d.LoadFrom(&b, codec); n != 2 || err != nil || d.Len() != 2 {
		t.Errorf("%d entries taken in, %d cached, %v", n, d.Len(), err)
	}
}
