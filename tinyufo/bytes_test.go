package tinyufo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func newBytes(t testing.TB, o BytesOptions) *Bytes {
	t.Helper()
	c, err := NewBytes(o)
	testutil.Must(t, err)
	t.Cleanup(c.Close)
	return c
}

// stamped is a value that says of which key and which version it is, in all its bytes.
func stamped(key, version uint64, size int) []byte {
	v := binary.LittleEndian.AppendUint64(nil, key)
	v = binary.LittleEndian.AppendUint64(v, version)
	rng := rand.New(rand.NewPCG(key, version))
	for len(v) < 16+size {
		v = append(v, byte(rng.Uint32()))
	}
	return v
}

// version checks a stamped value, and returns its version.
func version(key uint64, v []byte) (uint64, error) {
	if len(v) < 16 || binary.LittleEndian.Uint64(v) != key {
		return 0, fmt.Errorf("%x is not of %d", v, key)
	}
	n := binary.LittleEndian.Uint64(v[8:])
	if !bytes.Equal(v, stamped(key, n, len(v)-16)) {
		return 0, fmt.Errorf("%d: not one value: %x", key, v)
	}
	return n, nil
}

func keyOf(k uint64) []byte { return fmt.Appendf(nil, "key-%d", k) }

func TestBytes_TTL(t *testing.T) {
	now := int64(1 << 40)
	c := newBytes(t, BytesOptions{Size: 1 << 20, TTL: 10 * time.Second, Clock: func() int64 { return now }})
	c.Set([]byte("k"), []byte("v"))
	now += int64(9 * time.Second)
	if v, ok := c.Get(nil, []byte("k")); !ok || string(v) != "v" {
		t.Errorf("after 9 s: %q %v", v, ok)
	}
	now += int64(1500 * time.Millisecond)
	if v, ok := c.Get(nil, []byte("k")); ok {
		t.Errorf("after 10.5 s: %q", v)
	}
}

func TestBytes_SetTTL(t *testing.T) {
	now := int64(1 << 40)
	c := newBytes(t, BytesOptions{Size: 1 << 20, TTL: Forever, Clock: func() int64 { return now }})
	c.Set([]byte("for ever"), []byte("v"))
	c.SetTTL([]byte("an hour"), []byte("v"), time.Hour)
	c.SetTTL([]byte("a ms"), []byte("v"), time.Millisecond)
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{0, "for ever, an hour, a ms"}, {time.Millisecond, "for ever, an hour, a ms"}, {time.Second, "for ever, an hour"},
		{time.Hour - time.Second, "for ever, an hour"}, {time.Hour + time.Second, "for ever"}} {
		now = 1<<40 + int64(step.after)
		var got []string
		for _, k := range []string{"for ever", "an hour", "a ms"} {
			if _, ok := c.Get(nil, []byte(k)); ok {
				got = append(got, k)
			}
		}
		if got := strings.Join(got, ", "); got != step.want {
			t.Errorf("after %v: %s, want %s", step.after, got, step.want)
		}
	}
	if c.SetTTL([]byte("for ever"), []byte("v"), 0) {
		t.Error("took in what does not live")
	}
	if _, ok := c.Get(nil, []byte("for ever")); ok {
		t.Error("a time of 0 leaves the entry")
	}
	c = newBytes(t, BytesOptions{Size: 1 << 20})
	c.Set([]byte("k"), []byte("v"))
	if c.SetTTL([]byte("k"), []byte("w"), time.Second) {
		t.Error("a cache without times to live takes what lives for a second")
	}
	if v, ok := c.Get(nil, []byte("k")); ok {
		t.Errorf("it has %q still", v)
	}
}

func TestNewBytes_refusesOptions(t *testing.T) {
	for want, o := range map[string]BytesOptions{
		"Size is less than 16 KiB": {}, "32 GiB for each shard": {Size: 1 << 40, Shards: 1},
		"not a power of two": {Size: 1 << 20, Shards: 3}, "TTL negative": {Size: 1 << 20, TTL: -1},
	} {
		if c, err := NewBytes(o); err == nil || c != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}

// The goroutine of a cache without a Clock keeps the time: no entry ends too soon, or much too late.
func TestBytes_ownClock(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		c, err := NewBytes(BytesOptions{Size: 1 << 20, TTL: 10 * time.Second})
		testutil.Must(t, err)
		defer c.Close()
		time.Sleep(1900 * time.Millisecond)
		c.Set([]byte("k"), []byte("v"))
		time.Sleep(10 * time.Second)
		if _, ok := c.Get(nil, []byte("k")); !ok {
			t.Error("it ended too soon")
		}
		time.Sleep(time.Second)
		if _, ok := c.Get(nil, []byte("k")); ok {
			t.Error("it is returned for more than a second longer")
		}
	})
}

func TestBytes_whatItRefuses(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 1 << 20, Shards: 1})
	c.Set([]byte("k"), []byte("old"))
	if c.Set([]byte("k"), make([]byte, 1<<20)) || c.Set([]byte("k"), make([]byte, 1<<17)) {
		t.Error("took in a value as large as an eighth of the cache")
	}
	if v, ok := c.Get(nil, []byte("k")); ok {
		t.Errorf("a refused value leaves %q", v)
	}
	if c.Set(make([]byte, 1<<16), nil) || c.Delete(make([]byte, 1<<16)) {
		t.Error("a key of 64 KiB")
	}
	if s := c.Stats(); s.Refusals != 3 || s.Deletions != 1 || c.Len() != 0 {
		t.Errorf("%+v", s)
	}
	for _, k := range []string{"", "\x00", "1234567", "12345678", "1234567890123456", "12345678901234567"} {
		c.Set([]byte(k), []byte(k))
		if v, ok := c.Get(nil, []byte(k)); !ok || string(v) != k {
			t.Errorf("%q: %q %v", k, v, ok)
		}
	}
}

// An entry that is too large for the small log is taken into main if there is room, and refused if it is worth less
// than what is there, until it was seen more often.
func TestBytes_largeValues(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 1 << 20, Shards: 1})
	large := stamped(1, 1, 100_000)
	if !c.Set([]byte("large"), large) {
		t.Fatal("an empty cache refuses it")
	}
	if v, ok := c.Get(nil, []byte("large")); !ok || !bytes.Equal(v, large) {
		t.Fatal("it is not what was set")
	}
	c.Delete([]byte("large"))
	value := make([]byte, 100)
	for range 4 {
		for i := range uint64(8000) {
			if _, ok := c.Get(nil, keyOf(i)); !ok {
				c.Set(keyOf(i), value)
			}
		}
	}
	for n := 1; !c.Set([]byte("other"), large); n++ {
		if _, ok := c.Get(nil, []byte("other")); ok {
			t.Fatal("it was refused, and is there")
		}
		if n > 200 {
			t.Fatalf("refused %d times: %+v", n, c.Stats())
		}
	}
	if v, ok := c.Get(nil, []byte("other")); !ok || !bytes.Equal(v, large) {
		t.Error("it is not what was set")
	}
	if c.Stats().Refusals == 0 {
		t.Error("it was not refused once")
	}
}

// What the cache takes beyond Size is little for each entry, and Memory tells it.
func TestBytes_Memory(t *testing.T) {
	testutil.OnlyPlain(t)
	const size, record = 16 << 20, 8 + 8 + 100 + 4
	c := newBytes(t, BytesOptions{Size: size})
	key, value := make([]byte, 8), make([]byte, 100)
	for i := range uint64(size / record * 5 / 4) {
		binary.LittleEndian.PutUint64(key, i)
		c.Set(key, value)
	}
	if n := c.Len(); n < size/record*98/100 || n > size/record {
		t.Errorf("%d entries of %d bytes", n, record)
	}
	over := float64(c.Memory())/float64(c.Len()) - 108
	if over < 12 || over > 36 {
		t.Errorf("%.1f bytes for an entry beyond key and value", over)
	}
}

func TestBytes_allocatesNothing(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 1 << 20})
	key, value, buf := []byte("key"), make([]byte, 100), make([]byte, 0, 100)
	for i := range 20_000 {
		c.Set(keyOf(uint64(i)), value)
	}
	if n := testutil.Allocs(1000, func() {
		c.Set(key, value)
		buf, _ = c.Get(buf[:0], key)
		c.Delete(key)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
