package tinyufo_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/tinyufo"
)

// user is what the examples cache.
type user struct{ name string }

func fetchUser(_ context.Context, id int) (*user, error) {
	fmt.Println("fetch", id)
	return &user{name: fmt.Sprintf("user %d", id)}, nil
}

// A cache of a thousand users, filled as they are asked for.
func Example() {
	users := tinyufo.New(tinyufo.Options[int, *user]{Entries: 1000})

	u, err := users.Load(context.Background(), 7, fetchUser) // calls fetchUser
	if err != nil {
		panic(err)
	}
	fmt.Println(u.name)

	u, ok := users.Get(7)
	fmt.Println(u.name, ok)
	// Output:
	// fetch 7
	// user 7
	// user 7 true
}

// A budget by weight: here the bytes of keys and values.
func ExampleNew_weight() {
	pages := tinyufo.New(tinyufo.Options[string, []byte]{
		Weight:  1 << 20,
		Weigher: func(path string, body []byte) uint32 { return uint32(len(path) + len(body)) },
	})
	pages.Set("/", make([]byte, 999))
	pages.Set("/a", make([]byte, 98))
	fmt.Println(pages.Weight(), "bytes in", pages.Len(), "pages")
	// Output: 1100 bytes in 2 pages
}

// An entry whose weight is 0 is pinned: it is never evicted.
func ExampleNew_pinned() {
	type page struct {
		body   string
		pinned bool
	}
	pages := tinyufo.New(tinyufo.Options[string, page]{
		Weight: 100,
		Weigher: func(_ string, p page) uint32 {
			if p.pinned {
				return 0
			}
			return uint32(len(p.body))
		},
	})
	pages.Set("/", page{"home", true})
	for i := range 1000 {
		pages.Set(fmt.Sprint("/", i), page{body: "one of many"})
	}
	home, ok := pages.Get("/")
	fmt.Println(home.body, ok)
	fmt.Println("within the budget:", pages.Weight() <= 100)

	pages.Set("/", page{body: "home"}) // not pinned any more
	_, ok = pages.Get("/")
	fmt.Println(ok)
	// Output:
	// home true
	// within the budget: true
	// true
}

// OnEvict is told of each entry that has left, once; OnReplace of each value that another has replaced.
func ExampleNew_onEvict() {
	files := tinyufo.New(tinyufo.Options[string, int]{
		Entries:   10,
		OnEvict:   func(name string, fd int, cause tinyufo.Cause) { fmt.Println("close", fd, cause) },
		OnReplace: func(name string, fd int) { fmt.Println("close", fd, "replaced") },
	})
	files.Set("a.log", 3)
	files.Set("a.log", 4)
	files.Delete("a.log")
	// Output:
	// close 3 replaced
	// close 4 deleted
}

// ticks is a clock that is set by hand. A server has one in its event loop.
type ticks struct{ ns int64 }

func (t *ticks) now() int64           { return t.ns }
func (t *ticks) pass(d time.Duration) { t.ns += int64(d) }

// Times to live, by a clock of the program's own: such a cache has no goroutine and needs no Close.
func ExampleNew_clock() {
	var clock ticks
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100, TTL: time.Minute, Clock: clock.now})
	c.Set("a", 1)

	clock.pass(59 * time.Second)
	fmt.Println(c.Get("a"))
	clock.pass(time.Second)
	fmt.Println(c.Get("a"))
	// Output:
	// 1 true
	// 0 false
}

// TTLFunc gives each entry its own time to live, here what the origin has said of it.
func ExampleNew_ttlFunc() {
	type page struct {
		body   string
		maxAge time.Duration
	}
	var clock ticks
	pages := tinyufo.New(tinyufo.Options[string, page]{
		Entries: 100,
		TTL:     time.Minute,
		TTLFunc: func(_ string, p page) time.Duration { return p.maxAge }, // 0: TTL
		Clock:   clock.now,
	})
	pages.Set("/news", page{"news", 5 * time.Second})
	pages.Set("/about", page{body: "about"})

	clock.pass(30 * time.Second)
	_, news := pages.Get("/news")
	_, about := pages.Get("/about")
	fmt.Println(news, about)
	// Output: false true
}

// TTI lets entries live as long as they are used.
func ExampleNew_tti() {
	var clock ticks
	sessions := tinyufo.New(tinyufo.Options[string, string]{Entries: 100, TTI: time.Minute, Clock: clock.now})
	sessions.Set("a", "used")
	sessions.Set("b", "idle")
	for range 3 {
		clock.pass(40 * time.Second)
		sessions.Get("a")
	}
	fmt.Println(sessions.Get("a"))
	fmt.Println(sessions.Get("b"))
	// Output:
	// used true
	//  false
}

// SetTTL needs a cache with times to live; Forever is one in which other entries have none.
func ExampleCache_SetTTL() {
	var clock ticks
	c := tinyufo.New(tinyufo.Options[string, string]{Entries: 100, TTL: tinyufo.Forever, Clock: clock.now})
	c.Set("name", "stays")
	c.SetTTL("token", "secret", time.Minute)

	clock.pass(time.Hour)
	fmt.Println(c.Get("name"))
	fmt.Println(c.Get("token"))
	// Output:
	// stays true
	//  false
}

// A cache with a Clock drops what has expired when entries are added, and when Expire is called.
func ExampleCache_Expire() {
	var clock ticks
	c := tinyufo.New(tinyufo.Options[string, int]{
		Entries: 100,
		TTL:     time.Minute,
		Clock:   clock.now,
		OnEvict: func(key string, value int, cause tinyufo.Cause) { fmt.Println(key, value, cause) },
	})
	c.Set("a", 1)
	clock.pass(2 * time.Minute)
	fmt.Println(c.Len(), "entry")
	c.Expire()
	fmt.Println(c.Len(), "entries")
	// Output:
	// 1 entry
	// a 1 expired
	// 0 entries
}

// A cache with times to live and without a Clock has a goroutine that tells it the time.
func ExampleCache_Close() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100, TTL: time.Minute})
	defer c.Close()
	c.Set("a", 1)
	fmt.Println(c.Get("a"))
	// Output: 1 true
}

func ExampleCache_Delete() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	c.Set("a", 1)
	fmt.Println(c.Delete("a"), c.Delete("a"))
	// Output: true false
}

func ExampleCache_DeleteFunc() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	for i, path := range []string{"/a/1", "/a/2", "/b/1"} {
		c.Set(path, i)
	}
	n := c.DeleteFunc(func(path string, _ int) bool { return strings.HasPrefix(path, "/a/") })
	fmt.Println(n, "deleted,", c.Len(), "left")
	// Output: 2 deleted, 1 left
}

func ExampleCache_Purge() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	c.Set("a", 1)
	c.Set("b", 2)
	c.Purge()
	fmt.Println(c.Len())
	// Output: 0
}

// Swap gives back what it has replaced.
func ExampleCache_Swap() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	fmt.Println(c.Swap("a", 1))
	fmt.Println(c.Swap("a", 2))
	// Output:
	// 0 false
	// 1 true
}

func ExampleCache_GetOrSet() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	fmt.Println(c.GetOrSet("a", 1))
	fmt.Println(c.GetOrSet("a", 2))
	// Output:
	// 1 false
	// 1 true
}

// Peek looks without a trace: for a page of diagnostics, say.
func ExampleCache_Peek() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100, Stats: true})
	c.Set("a", 1)
	fmt.Println(c.Peek("a"))
	fmt.Println(c.Stats().Hits, "hits")
	// Output:
	// 1 true
	// 0 hits
}

// A counter: nobody else changes the key between reading and writing it.
func ExampleCache_Compute() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	count := func(old int, _ bool) (int, tinyufo.Op) { return old + 1, tinyufo.Store }
	c.Compute("a", count)
	fmt.Println(c.Compute("a", count))

	fmt.Println(c.Compute("a", func(old int, _ bool) (int, tinyufo.Op) {
		if old < 10 {
			return 0, tinyufo.Remove
		}
		return 0, tinyufo.Keep
	}))
	// Output:
	// 2 true
	// 0 false
}

// Len and Weight are the same in a cache of entries, but for pinned ones in a cache of weight.
func ExampleCache_Len() {
	c := tinyufo.New(tinyufo.Options[int, int]{Entries: 100})
	for i := range 1000 {
		c.Set(i, i)
	}
	fmt.Println(c.Len())
	// Output: 100
}

func ExampleCache_Weight() {
	c := tinyufo.New(tinyufo.Options[string, string]{
		Weight: 1000, Weigher: func(_, value string) uint32 { return uint32(len(value)) },
	})
	c.Set("a", "four")
	c.Set("b", "")
	fmt.Println(c.Len(), c.Weight())
	// Output: 2 4
}

// Resize evicts what is too much before it returns.
func ExampleCache_Resize() {
	c := tinyufo.New(tinyufo.Options[int, int]{Entries: 100})
	for i := range 100 {
		c.Set(i, i)
	}
	c.Resize(10)
	fmt.Println(c.Len())
	c.Resize(1000)
	for i := range 500 {
		c.Set(i, i)
	}
	fmt.Println(c.Len())
	// Output:
	// 10
	// 500
}

func ExampleCache_All() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	c.Set("a", 1)
	c.Set("b", 2)
	var found []string
	for key, value := range c.All() {
		found = append(found, fmt.Sprint(key, "=", value))
	}
	slices.Sort(found) // they come in no order
	fmt.Println(found)
	// Output: [a=1 b=2]
}

// uses fills a cache and asks for 0 three times, for 1 twice, for 2 once, and never for 3.
func uses(c *tinyufo.Cache[int, string]) {
	for i, name := range []string{"zero", "one", "two", "three"} {
		c.Set(i, name)
		for range 3 - i {
			c.Get(i)
		}
	}
}

func ExampleCache_Hottest() {
	c := tinyufo.New(tinyufo.Options[int, string]{Entries: 100})
	uses(c)
	for key, value := range c.Hottest(2) {
		fmt.Println(key, value)
	}
	// Output:
	// 0 zero
	// 1 one
}

func ExampleCache_Coldest() {
	c := tinyufo.New(tinyufo.Options[int, string]{Entries: 100})
	uses(c)
	for key, value := range c.Coldest(2) {
		fmt.Println(key, value)
	}
	// Output:
	// 3 three
	// 2 two
}

// Those who ask for a key that is being loaded wait for the same loader.
func ExampleCache_Load() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	begun, done := make(chan bool), make(chan bool)
	load := func(_ context.Context, key string) (int, error) {
		close(begun) // a second call would panic
		<-done
		return len(key), nil
	}
	results := make(chan int)
	for range 3 {
		go func() {
			v, err := c.Load(context.Background(), "key", load)
			if err != nil {
				panic(err)
			}
			results <- v
		}()
	}
	<-begun
	close(done)
	fmt.Println(<-results, <-results, <-results)
	fmt.Println(c.Stats().Loads, "load")
	// Output:
	// 3 3 3
	// 1 load
}

// A caller waits no longer than its own context; the others go on.
func ExampleCache_Load_deadline() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	ctx, cancel := context.WithCancel(context.Background())
	_, err := c.Load(ctx, "key", func(loading context.Context, _ string) (int, error) {
		cancel()
		<-loading.Done() // nobody waits any more
		return 0, loading.Err()
	})
	fmt.Println(err)
	// Output: context canceled
}

// A loader that panics takes nobody with it.
func ExamplePanicError() {
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100})
	_, err := c.Load(context.Background(), "key", func(context.Context, string) (int, error) {
		panic("no such luck")
	})
	var panicked *tinyufo.PanicError
	if errors.As(err, &panicked) {
		fmt.Println(panicked.Value, len(panicked.Stack) > 0)
	}
	fmt.Println(err)
	// Output:
	// no such luck true
	// tinyufo: the loader panicked: no such luck
}

// What a loader does not find is remembered too.
func ExampleNew_negative() {
	var clock ticks
	c := tinyufo.New(tinyufo.Options[string, int]{Entries: 100, Negative: time.Second, Clock: clock.now})
	find := func(_ context.Context, key string) (int, error) {
		fmt.Println("look for", key)
		return 0, tinyufo.ErrNotFound
	}
	for range 3 {
		_, err := c.Load(context.Background(), "ghost", find)
		fmt.Println(err)
	}
	clock.pass(time.Second)
	_, err := c.Load(context.Background(), "ghost", find)
	fmt.Println(errors.Is(err, tinyufo.ErrNotFound))
	// Output:
	// look for ghost
	// tinyufo: not found
	// tinyufo: not found
	// tinyufo: not found
	// look for ghost
	// true
}

// With Stale, Load returns an entry that has expired at once, while one goroutine loads it anew.
func ExampleNew_stale() {
	var clock ticks
	c := tinyufo.New(tinyufo.Options[string, int]{
		Entries: 100, TTL: time.Minute, Stale: time.Hour, Clock: clock.now,
	})
	loaded := make(chan bool, 1)
	version := 0
	load := func(context.Context, string) (int, error) {
		defer func() { loaded <- true }()
		version++
		return version, nil
	}
	fmt.Println(c.Load(context.Background(), "a", load))
	<-loaded

	clock.pass(2 * time.Minute)
	fmt.Println(c.Get("a")) // Get returns nothing that has expired
	fmt.Println(c.Load(context.Background(), "a", load))
	<-loaded
	for c.Stats().Loads < 2 { // until it is cached
		runtime.Gosched()
	}
	fmt.Println(c.Load(context.Background(), "a", load))
	// Output:
	// 1 <nil>
	// 0 false
	// 1 <nil>
	// 2 <nil>
}

// One call of the loader for all keys that are neither cached nor being loaded.
func ExampleCache_LoadMany() {
	c := tinyufo.New(tinyufo.Options[int, string]{Entries: 100})
	c.Set(1, "one")
	names, err := c.LoadMany(context.Background(), []int{1, 2, 3, 4},
		func(_ context.Context, missing []int) (map[int]string, error) {
			fmt.Println("missing", missing)
			return map[int]string{2: "two", 3: "three"}, nil // there is no 4
		})
	fmt.Println(names, err)
	// Output:
	// missing [2 3 4]
	// map[1:one 2:two 3:three] <nil>
}

func ExampleCache_Stats() {
	c := tinyufo.New(tinyufo.Options[int, int]{Entries: 10, Stats: true})
	for i := range 15 {
		c.Set(i, i)
	}
	c.Set(100, 100)
	c.Get(100)
	c.Get(100)
	c.Get(100)
	c.Get(-1)
	c.Delete(100)
	s := c.Stats()
	fmt.Println(s.Hits, "hits,", s.Misses, "miss,", s.Insertions, "insertions,", s.Evictions, "evictions,",
		s.Deletions, "deletion")
	// Output: 3 hits, 1 miss, 16 insertions, 6 evictions, 1 deletion
}

// numbers turns an entry of an uint32 and a string into bytes and back.
var numbers = tinyufo.Codec[uint32, string]{
	Append: func(dst []byte, key uint32, value string) ([]byte, error) {
		return append(binary.BigEndian.AppendUint32(dst, key), value...), nil
	},
	Parse: func(src []byte) (uint32, string, error) {
		if len(src) < 4 {
			return 0, "", errors.New("no key")
		}
		return binary.BigEndian.Uint32(src), string(src[4:]), nil
	},
}

func ExampleCache_SaveTo() {
	old := tinyufo.New(tinyufo.Options[uint32, string]{Entries: 100})
	old.Set(7, "seven")
	var file bytes.Buffer
	if err := old.SaveTo(&file, numbers); err != nil {
		panic(err)
	}

	// The next process.
	cache := tinyufo.New(tinyufo.Options[uint32, string]{Entries: 100})
	n, err := cache.LoadFrom(&file, numbers)
	fmt.Println(n, err)
	fmt.Println(cache.Get(7))
	// Output:
	// 1 <nil>
	// seven true
}

func ExampleCache_LoadFrom() {
	cache := tinyufo.New(tinyufo.Options[uint32, string]{Entries: 100})
	_, err := cache.LoadFrom(bytes.NewReader([]byte("something else")), numbers)
	fmt.Println(errors.Is(err, tinyufo.ErrFormat))
	// Output:
	// true
}

func ExampleNewBytes() {
	pages, err := tinyufo.NewBytes(tinyufo.BytesOptions{Size: 64 << 20})
	if err != nil {
		panic(err) // the kernel has no memory for it
	}
	pages.Set([]byte("/index.html"), []byte("<h1>hello</h1>"))

	var buffer []byte // used again and again
	buffer, ok := pages.Get(buffer[:0], []byte("/index.html"))
	fmt.Printf("%s %v\n", buffer, ok)
	// Output:
	// <h1>hello</h1> true
}

func ExampleBytes_Get() {
	c := newBytes()
	c.Set([]byte("name"), []byte("edge"))
	greeting, ok := c.Get([]byte("hello "), []byte("name"))
	fmt.Printf("%s %v\n", greeting, ok)
	greeting, ok = c.Get([]byte("hello "), []byte("nobody"))
	fmt.Printf("%q %v\n", greeting, ok)
	// Output:
	// hello edge true
	// "hello " false
}

func ExampleBytes_Set() {
	c := newBytes()
	fmt.Println(c.Set([]byte("key"), []byte("value")))
	fmt.Println(c.Set([]byte("key"), make([]byte, 1<<20))) // as large as the cache
	_, ok := c.Get(nil, []byte("key"))
	fmt.Println(ok)
	// Output:
	// true
	// false
	// false
}

func ExampleBytes_SetTTL() {
	c, err := tinyufo.NewBytes(tinyufo.BytesOptions{Size: 1 << 20, TTL: tinyufo.Forever})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Println(c.SetTTL([]byte("session"), []byte("token"), time.Hour))
	// Output:
	// true
}

func ExampleBytes_Memory() {
	c := newBytes()
	c.Set([]byte("name"), []byte("edge"))
	fmt.Println(c.Memory() > 1<<20, c.Memory() < 2<<20)
	// Output:
	// true true
}

func ExampleBytes_All() {
	c := newBytes()
	c.Set([]byte("a"), []byte("1"))
	for key, value := range c.All() {
		fmt.Printf("%s = %s\n", key, value)
	}
	// Output:
	// a = 1
}

func newBytes() *tinyufo.Bytes {
	c, err := tinyufo.NewBytes(tinyufo.BytesOptions{Size: 1 << 20})
	if err != nil {
		panic(err)
	}
	return c
}

func ExampleNewFlat() {
	type quote struct {
		Bid, Ask float64
		Volume   uint32
	}
	quotes := tinyufo.NewFlat[uint64, quote](tinyufo.FlatOptions{Entries: 100_000})

	quotes.Set(7, quote{Bid: 99.5, Ask: 100, Volume: 20})
	q, ok := quotes.Get(7)
	fmt.Println(q, ok)
	// Output:
	// {99.5 100 20} true
}

func ExampleFlat_All() {
	c := tinyufo.NewFlat[int, int](tinyufo.FlatOptions{Entries: 100})
	for i := range 10 {
		c.Set(i, i*i)
	}
	for k, v := range c.All() {
		if v%2 == 1 {
			c.Delete(k) // no lock is held
		}
	}
	fmt.Println(c.Len())
	// Output:
	// 5
}
