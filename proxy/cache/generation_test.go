package cache

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/message"
)

func newGenerations(buckets int) *generations {
	return &generations{notices: &notices{noticeBoard: new(noticeBoard)}, seed: 1, buckets: make([]bucket, buckets)}
}

// nameFor returns the name of a kind by which an answer is purged that has one place and one tag.
func nameFor(g *generations, k PurgeKind, of *subject) purgeName {
	switch k {
	case PurgeAll:
		return everything
	case PurgeTag:
		return tagName(of.tags)
	}
	return g.name(k, &of.at[0])
}

// modelAnswer is a stored answer whose names are texts.
type modelAnswer struct{ host, path, query, tag string }

func (a modelAnswer) subject() *subject {
	at := place{[]byte(a.host), []byte(a.path), []byte(a.query)}
	return &subject{at: [2]place{at}, one: true, tags: appendTag(nil, []byte(a.tag))}
}

// names returns the names of a kind, the longest prefix last.
func (a modelAnswer) names(k PurgeKind) (all []string) {
	for i, c := range a.path {
		if c == '/' {
			all = append(all, a.host+a.path[:i+1])
		}
	}
	return [...][]string{{a.host + a.path + "?" + a.query}, all, {a.host}, {a.tag}, {""}}[k]
}

// modelPurge is a purge; the model of generations is a list of them.
type modelPurge struct {
	kind  PurgeKind
	name  string
	soft  bool
	stamp uint64
}

func (a modelAnswer) judge(stamp, confirmed uint64, all []modelPurge) verdict {
	v := verdict{stamp: stamp, confirmed: confirmed}
	for _, p := range all {
		switch {
		case !slices.Contains(a.names(p.kind), p.name):
		case p.soft && p.stamp > confirmed:
			v.soft = p.stamp
		case !p.soft && p.stamp > stamp:
			v.dead = true
		}
	}
	return v
}

// generations judges answers as a list of all purges does. Only where a bucket has overflowed, answers are also dead
// that the list leaves alive; but none that was asked for after all but the last seven of the purged names.
func TestGenerations_model(t *testing.T) {
	for _, buckets := range []int{1 << 12, 2, 1} {
		stricter := 0
		for seed := range uint64(20) {
			g, rnd := newGenerations(buckets), rand.New(rand.NewPCG(seed, 0))
			var all []modelPurge
			stamps, last, full := []uint64{0}, map[purgeName]uint64{}, uint64(0)
			random := func() modelAnswer {
				return modelAnswer{
					pick(rnd, "a.b", "a"), pick(rnd, "/", "/b", "/b/", "/b/c", "/b/c/d"), pick(rnd, "", "q"),
					pick(rnd, "t", "u", "v"),
				}
			}
			for range 60 {
				now, of := rnd.Int64N(1e6), random() // the clock goes back, too
				k, soft := pick(rnd, PurgeURL, PurgePrefix, PurgeHost, PurgeTag, PurgeAll), rnd.IntN(4) > 0
				soft = soft || k == PurgeAll && rnd.IntN(4) > 0 // else little is alive
				names, name := of.names(k), nameFor(g, k, of.subject())
				if soft {
					name |= softly
				}
				last[name] = g.end(k, now, name)
				all = append(all, modelPurge{k, names[len(names)-1], soft, last[name]})
				if at := len(last) - 1 - bucketNames; at >= 0 && buckets < 1<<12 {
					full = slices.Sorted(maps.Values(last))[at]
				}
				stamps = append(stamps, g.next(now))
				for range 8 {
					stamp, of := stamps[rnd.IntN(len(stamps))], random()
					confirmed := max(stamp, stamps[rnd.IntN(len(stamps))])
					want, got := of.judge(stamp, confirmed, all), g.judge(stamp, confirmed, of.subject())
					if got == want {
						continue
					}
					if stricter++; stamp >= full || !got.dead {
						t.Fatalf("%d buckets, seed %d, %v: %+v, want %+v", buckets, seed, of, got, want)
					}
				}
			}
		}
		if buckets == 1 && stricter == 0 {
			t.Error("no bucket has overflowed")
		}
	}
}

// Stamps grow, whatever the clock does, and a soft purge knows its time by them where the clock is right.
func TestGenerations_stampsGrow(t *testing.T) {
	g, last := newGenerations(1), uint64(0)
	for _, now := range []int64{0, 0, 5e9, 5e9, 4e9, 0, 6e9, math.MaxInt64, 7e9, -1, math.MinInt64, 0} {
		n := g.next(now)
		if n <= last || now > 0 && int64(last) < now/1000 && n != uint64(now)/1000 {
			t.Errorf("at %d the stamp %d comes after %d", now, n, last)
		}
		last = n
	}
	seen := make([]atomic.Bool, 4*2000)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				if n := g.next(0); seen[n-last-1].Swap(true) {
					t.Errorf("two have the stamp %d", n)
				}
			}
		})
	}
	all.Wait()
}

// After end has returned, every reader sees the purge, whatever else is purged meanwhile.
func TestGenerations_race(t *testing.T) {
	for _, c := range []struct{ buckets, names, rounds int }{{1, bucketNames, 600}, {1, 39, 200}, {4, 59, 100}} {
		g := newGenerations(c.buckets)
		subjects, names := make([]*subject, c.names+1), make([]purgeName, c.names) // the last subject is never purged
		kind := func(i int) PurgeKind { return PurgeKind(i) % PurgeAll }
		for i := range subjects {
			host := fmt.Sprint("h", i)
			subjects[i] = modelAnswer{host, "/a/b", "", host}.subject()
		}
		for i := range names {
			if names[i] = nameFor(g, kind(i), subjects[i]); i%3 == 0 {
				names[i] |= softly
			}
		}
		asked := make([]atomic.Uint64, c.names) // stamps of answers that were asked for before a purge that is over
		var writers, readers sync.WaitGroup
		var over atomic.Bool
		for w := range 2 {
			writers.Go(func() {
				for n := w; n < c.rounds*c.names; n += 2 {
					i := n % c.names
					stamp := g.next(0)
					g.end(kind(i), 0, names[i])
					asked[i].Store(stamp)
					if n%64 == w {
						runtime.Gosched() // to a reader, where there is one processor
					}
				}
			})
		}
		for range 3 {
			readers.Go(func() {
				for last := false; !last; runtime.Gosched() {
					last = over.Load()
					for i := range asked {
						stamp := asked[i].Load()
						v := g.judge(stamp, stamp, subjects[i])
						if stamp > 0 && !v.dead && (names[i]&softly == 0 || v.soft <= stamp) {
							t.Errorf("%+v: %v of %d is alive: %+v", c, kind(i), i, v)
							return
						}
					}
					if v := g.judge(0, 0, subjects[c.names]); c.names <= bucketNames && v != (verdict{}) {
						t.Errorf("%+v: what was not purged is %+v", c, v)
						return
					}
				}
			})
		}
		writers.Wait()
		over.Store(true)
		readers.Wait()
	}
}

func newZone(t *testing.T) *Zone {
	z, err := New(Options{Reactors: 1, Memory: memoryMin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	z.queries.add(&Query{})
	z.queries.add(&Query{Drop: []string{"utm_*"}})
	return z
}

// subjectOf returns what tells of a request for a URL, for which the backend is sent another one.
func subjectOf(asked, sent string) *subject {
	s := &subject{}
	for i, url := range []string{asked, sent} {
		_, rest, _ := strings.Cut(url, "://")
		authority, target, _ := strings.Cut(rest, "/")
		s.at[i] = placeOf([]byte(authority), []byte("/"+target))
	}
	s.at[0].path = route.AppendPath(nil, s.at[0].path, route.Reading{})
	return s
}

func TestZone_purgeMeets(t *testing.T) {
	type row struct {
		kind       PurgeKind
		name, urls string // that it meets, " - ", and others; "=>" is before the URL that the backend is sent
	}
	deep := func(n int) string { return "http://h/" + strings.Repeat("x/", n-1) }
	rows := []row{
		{PurgeURL, "http://a.b/c", "https://A.B:444/c http://a.b./c http://a.b/c? http://a.b/%63 http://a.b/d/../c - " +
			"http://a.b/c/ http://a.b/C http://a.b/c?d http://a.b/ http://a.b/c/d http://z.a.b/ http://a/b/c"},
		{PurgeURL, "https://A.B.:8/c?", "http://a.b/c http://a.b/c? - http://a.b/c?d"},
		{PurgeURL, "http://a/%63?d=1&e", "http://a/c?d=1&e http://a/%63?d=1&e http://x/=>http://a/%63?d=1&e - " +
			"http://a/c http://a/c?e&d=1"},
		{PurgeURL, "http://a/c%2Fd", "http://a/c%2Fd http://a/c%2fd - http://a/c/d"},
		{PurgeURL, "http://a/c?utm_x=1&d", "http://a/c?d http://a/c?utm_x=1&d - http://a/c?utm_x=1"},
		{PurgeURL, "http://a", "http://a/ http://a http://a/? - http://a/a"},
		{PurgeURL, "http://a?b", "http://a/?b - http://a/ http://a/b"},
		{PurgeURL, "http://[::A]:8/c", "http://[::a]/c http://[::A]:9/c - http://[::b]/c http://a/c"},
		{PurgeURL, "http://a/c?d", "http://a/c?d=>http://x/y http://x/y=>http://a/c?d - " +
			"http://a/x?d=>http://y/c?d http://x/c?d=>http://a/y?d http://a/c=>http://a/x?d"},
		{PurgePrefix, "http://a/", "http://a/ http://a http://a/b/c?d http://A.:8/b - http://a.b/ http://b/a/"},
		{PurgePrefix, "http://a", "http://a/b - http://b/"},
		{PurgePrefix, "http://a/b/", "http://a/b/ http://a/b/c?d http://a/%62/c http://a/b//c - " +
			"http://a/b http://a/bc/ http://a/c/b/ http://a/b%2Fc http://a.b/ http://ab/b/ http://a/B/"},
		{PurgePrefix, "http://a/%62/", "http://a/b/c http://x/=>http://a/%62/c http://x/=>http://a/b/c - http://a/c/"},
		{PurgePrefix, "http://a//", "http://a//b - http://a/b"},
		{PurgeHost, "a.b", "http://a.b/ http://A.B.:8/c?d http://x/=>http://a.b/ - " +
			"http://a/.b http://a.b.c/ http://c.a.b/"},
		{PurgeHost, "A.B.:8", "http://a.b/ https://a.b:9/c - http://a/b/"},
		{PurgeHost, "[::1]:80", "http://[::1]/ - http://[::2]/"},
		{PurgeAll, "", "http://a/ http://b/c?d"},
		{PurgeTag, "http://a/", " - http://a/"},
	}
	for n := 2; n <= prefixLevels; n++ { // and longer paths have no more prefixes than these
		rows = append(rows, row{PurgePrefix, deep(n), deep(n) + "y " + deep(n+1) + " " + deep(20) + " - http://h" +
			strings.TrimSuffix(deep(n), "/")[len("http://h"):] + "y http://h/y/" + deep(n)[len("http://h/"):]})
	}
	z := newZone(t)
	for _, c := range rows {
		stamp := z.generations.next(0)
		if _, err := z.Purge(&Purge{Kind: c.kind, Name: c.name}); err != nil {
			t.Fatal(err)
		}
		met, others, _ := strings.Cut(c.urls, " - ")
		for i, urls := range []string{met, others} {
			for _, url := range strings.Fields(urls) {
				asked, sent, found := strings.Cut(url, "=>")
				if !found {
					sent = asked
				}
				if v := z.generations.judge(stamp, stamp, subjectOf(asked, sent)); v.dead != (i == 0) {
					t.Errorf("%v %s: that %s is dead is %v", c.kind, c.name, url, v.dead)
				}
			}
		}
	}
}

func TestZone_purgeErrors(t *testing.T) {
	z := newZone(t)
	const noURL, noHost, noTarget = "is no URL with a host", "has no valid host", "has a fragment, or a byte"
	for _, c := range []struct {
		kind        PurgeKind
		name, wants string
	}{
		{PurgeURL, "", "the url to purge is empty"}, {PurgePrefix, "", "the prefix to purge is empty"},
		{PurgeHost, "", "the host to purge is empty"}, {PurgeTag, "", "the tag to purge is empty"},
		{PurgeAll, "a", "is of no kind"}, {PurgeAll + 1, "a", "is of no kind"},
		{PurgeURL, "a/c", noURL}, {PurgeURL, "/c", noURL}, {PurgeURL, "ftp://a/", noURL}, {PurgeURL, "http:/a", noURL},
		{PurgeURL, "http://", noHost}, {PurgeURL, "http:///a", noHost}, {PurgeURL, "http://u@a/", noHost},
		{PurgeURL, "http://a..b/", noHost}, {PurgeURL, "http://a:x/", noHost}, {PurgeURL, "http://::1/", noHost},
		{PurgeURL, "http://a/#b", noTarget}, {PurgeURL, "http://a#b", noTarget}, {PurgeURL, "http://a/ b", noTarget},
		{PurgeURL, "http://a/ä", noTarget}, {PurgePrefix, "http://a/b#/", noTarget},
		{PurgePrefix, "a/", noURL}, {PurgePrefix, "http:///", noHost},
		{PurgePrefix, "http://a/?", "is no prefix: it has a query"},
		{PurgePrefix, "http://a/b", `ends inside a segment: write "/" at its end`},
		{PurgePrefix, "http://a" + strings.Repeat("/", prefixLevels+1), "has more than 15 segments"},
		{PurgeHost, "http://a", "is no host"}, {PurgeHost, "a/", "is no host"}, {PurgeHost, "::1", "is no host"},
		{PurgeHost, "*.test", "is no host"}, {PurgeURL, "http://*.test/", noHost},
		{PurgeTag, "a b", "has a blank or a comma"}, {PurgeTag, "a,b", "has a blank or a comma"},
		{PurgeTag, "http://a\nb", "has a blank or a comma"},
	} {
		_, err := z.Purge(&Purge{Kind: c.kind, Name: c.name})
		if err == nil || !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%d %q: %v, want %q", c.kind, c.name, err, c.wants)
		}
		if z.generations.ended.Load() > 0 || z.generations.kinds[min(c.kind, PurgeAll)].count.Load() > 0 {
			t.Fatalf("%d %q has ended something, or is counted", c.kind, c.name)
		}
	}
}

func headOf(fields ...string) *message.Head {
	h := &message.Head{Status: 200}
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func TestAppendTags(t *testing.T) {
	var tags, groups []string
	for i := range 64 {
		tags, groups = append(tags, fmt.Sprint("t", i)), append(groups, fmt.Sprintf(`"g%d"`, i))
	}
	many, names := strings.Join(tags, " "), []string{"Cache-Tag", "surrogate-key"}
	for _, c := range []struct {
		fields []string
		n      int
		ok     bool
	}{
		{nil, 0, true},
		{[]string{"Cache-Tag", "a,b,a", "Surrogate-Key", "b c", "SURROGATE-KEY", "d", "X-Tag", "e"}, 4, true},
		{[]string{"Cache-Groups", `"a", "b"`, "Cache-Groups", `"a"`, "Cache-Tag", `a "a"`}, 4, true},
		{[]string{"Cache-Groups", `"a", b`}, 0, true},
		{[]string{"Cache-Tag", many, "Surrogate-Key", many}, 64, true},
		{[]string{"Cache-Groups", strings.Join(groups, ",")}, 64, true},
		{[]string{"Cache-Tag", many, "Surrogate-Key", "a"}, 65, false},
		{[]string{"Cache-Tag", many + ",a,b,c"}, 65, false},
		{[]string{"Cache-Tag", many, "Cache-Groups", `"a"`}, 65, false},
	} {
		list, ok := appendTags(nil, headOf(c.fields...), names, "http", []byte("a"))
		if len(list) != c.n*tagLen || ok != c.ok {
			t.Errorf("%.80q: %d bytes, %v", c.fields, len(list), ok)
		}
	}
	dropped := headOf("Cache-Tag", "a", "Cache-Groups", `"a"`)
	for i := range dropped.Fields {
		dropped.Fields[i].Flags |= message.Dropped
	}
	if list, _ := appendTags(nil, dropped, names, "http", []byte("a")); len(list) > 0 {
		t.Error("a field counts that was dropped")
	}
	// The same group of one origin, in each spelling, and of others.
	seen := map[string]int{}
	for i, origins := range [][]string{
		{"http a", "http A", "http a:80", "http a.:80", "http a:"}, {"https a", "https a:443"},
		{"http a:443"}, {"https a:80"}, {"http a:8"}, {"http b"}, {"http [::1]", "http [::1]:80"},
	} {
		for _, origin := range origins {
			scheme, authority, _ := strings.Cut(origin, " ")
			list, _ := appendTags(nil, headOf("Cache-Groups", `"g"`), nil, scheme, []byte(authority))
			if other, found := seen[string(list)]; found && other != i || !found && origin != origins[0] {
				t.Errorf("%s has the group of %d, want %d", origin, other, i)
			}
			seen[string(list)] = i
		}
	}
	for _, tag := range []string{"g", `"g"`, "http://ag", `http://a"g"`, "http://a/g", "http://a\rg"} {
		if _, found := seen[string(appendTag(nil, []byte(tag)))]; found {
			t.Errorf("the tag %q is a group", tag)
		}
	}
}

func TestRecord_tags(t *testing.T) {
	h := headOf("Content-Type", "text/css", "Cache-Tag", "a b", "X-Empty", "")
	a := policy.Answer{Fresh: policy.Freshness{Received: 1, Age: 2, Lifetime: 3}}
	for _, n := range []int{0, 1, 64} {
		var tags []byte
		for i := range n {
			tags = appendTag(tags, []byte(fmt.Sprint(i)))
		}
		p, _, ok := appendAnswer(nil, nil, tags, h, &a)
		r := append(record(p), "body"...)
		r.setBodyLen(len("body"))
		got := new(message.Head)
		r.writeTo(got)
		if !ok || !bytes.Equal(r.tags(), tags) || string(r.body()) != "body" || r.fresh() != a.Fresh ||
			!bytes.Equal(got.Base, h.Base) || len(got.Fields) != len(h.Fields) {
			t.Errorf("%d tags: %q %q %q", n, r.tags(), r.body(), got.Base)
		}
	}
}

// After a soft purge an answer is expired from then on, also where it came later, and not a moment longer fresh.
func TestLocal_after(t *testing.T) {
	const second = int64(time.Second)
	z, of := newZone(t), subjectOf("http://a/b", "http://a/b")
	came := time.Now().Unix() * second // the answer has an age of 10 s, and lives for 60
	tag := appendTag(nil, []byte("t"))
	for name, c := range map[string]struct{ purged, now, lifetime int64 }{
		"purged while fresh":             {came + 20*second, came + 25*second, 30},
		"purged when it came":            {came, came + 5*second, 10},
		"it came after the purge":        {came - 5*second, came + 5*second, 5},
		"purged after its lifetime":      {came + 100*second, came + 200*second, 60},
		"the clock was set back after":   {came + 40*second, came + 30*second, 40},
		"the clock was set back by hour": {came + 20*second, came - 3600*second, 10},
	} {
		z.generations.last.Store(0)
		z.generations.buckets = make([]bucket, 1)
		a := policy.Answer{Fresh: policy.Freshness{Received: came, Age: 10 * second, Lifetime: 60 * second}}
		p, _, _ := appendAnswer(nil, nil, tag, headOf("ETag", `"a"`), &a)
		stamp := z.generations.next(came - 10*second)
		record(p).setStamps(stamp, stamp)
		z.end(PurgeTag, true, c.purged, nil, tagName(tag))
		left, met := (&local{zone: z}).after(p, of, c.now)
		if left == nil || met.dead {
			t.Errorf("%s: it is gone", name)
			continue
		}
		fresh := left.fresh()
		if a.Fresh.Lifetime = c.lifetime * second; fresh != a.Fresh || fresh.Left(c.now) > 0 {
			t.Errorf("%s: %+v, want a lifetime of %d s", name, fresh, c.lifetime)
		}
		z.end(PurgeTag, false, c.purged, nil, tagName(tag)) // a hard purge wins
		z.end(PurgeTag, true, c.purged, nil, tagName(tag))
		if left, met = (&local{zone: z}).after(p, of, c.now); left != nil || !met.dead {
			t.Errorf("%s: it is alive after a hard purge", name)
		}
	}
}
