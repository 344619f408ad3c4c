package tinyufo

import (
	"testing"
	"time"
)

// A loop over All may set what it is given, and more: it ends nevertheless.
func TestBytes_AllEndsWhileEntriesAreSet(t *testing.T) {
	c := newBytes(t, BytesOptions{Size: 1 << 20, Shards: 1})
	value := make([]byte, 100)
	for k := range uint64(5000) {
		c.Set(keyOf(k), value)
	}
	n := uint64(0)
	for k := range c.All() {
		c.Set(k, value)
		for range 3 {
			n++
			c.Set(keyOf(1<<32+n), value)
		}
		if n > 1_000_000 {
			t.Fatal("All has no end")
		}
	}
}

// An entry that ends while a loop over All is under way is not returned after that.
func TestBytes_AllLooksAtTheTime(t *testing.T) {
	now := int64(1 << 40)
	c := newBytes(t, BytesOptions{Size: 1 << 20, Shards: 1, TTL: time.Second, Clock: func() int64 { return now }})
	value := make([]byte, 1000)
	for k := range uint64(500) {
		c.Set(keyOf(k), value)
	}
	before, n := c.Len(), 0
	for range c.All() {
		now = 1<<40 + int64(time.Minute)
		n++
	}
	if n == 0 || n > before/4 {
		t.Errorf("%d of %d entries, although a minute passed after the first", n, before)
	}
}

// What has ended is absent for Delete as it is for Get.
func TestBytes_DeleteOfWhatHasEnded(t *testing.T) {
	now := int64(1 << 40)
	c := newBytes(t, BytesOptions{Size: 1 << 20, TTL: time.Second, Clock: func() int64 { return now }})
	c.Set([]byte("k"), []byte("v"))
	now += int64(2 * time.Second)
	if c.Delete([]byte("k")) {
		t.Error("it was there")
	}
	if c.Len() != 0 || c.Stats().Deletions != 1 {
		t.Errorf("%d entries, %+v", c.Len(), c.Stats())
	}
}

// A Clock may begin anywhere: with the nanoseconds of 2043, when their steps since 1970 no longer fit into 32 bits, or
// before 0.
func TestBytes_clocksBeginAnywhere(t *testing.T) {
	for _, began := range []int64{1<<60 - int64(time.Second), -int64(time.Hour), 1<<63 - 1 - int64(time.Hour)} {
		now := began
		c := newBytes(t, BytesOptions{Size: 1 << 20, TTL: 3 * time.Second, Clock: func() int64 { return now }})
		c.Set([]byte("k"), []byte("v"))
		c.SetTTL([]byte("years"), []byte("v"), 30*365*24*time.Hour)
		now += int64(3 * time.Second)
		if _, ok := c.Get(nil, []byte("k")); !ok {
			t.Errorf("a clock that begins at %d: it ended too soon", began)
		}
		now += int64(time.Second)
		if _, ok := c.Get(nil, []byte("k")); ok {
			t.Errorf("a clock that begins at %d: it did not end", began)
		}
		if _, ok := c.Get(nil, []byte("years")); !ok {
			t.Errorf("a clock that begins at %d: 30 years ended too soon", began)
		}
	}
}
