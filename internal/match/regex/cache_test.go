package regex

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// dear has a state for each way in which the last 15 letters can be an a or a b.
const dear = `(a|b)*a(a|b){14}\d`

// hostile are patterns whose tables never end, or whose states are dear.
var hostile = []string{
	dear, `(a|b|ab)*c{0,100}$`, `((a{0,9}){0,9}){0,5}\d`, `(?i)(k|s|ks){1,99}\b$`, `(\pL|\d){90}\d`, `(.*a){30}\d`,
	`(a?){100}a{100}\d`, `^(.|\n)*a.{200}\d$`, `(?:(?:\b|a)*){30}\d`, strings.Repeat("$", 500), `([é-Ж]|.)*a[^b]{12}\d`,
}

// ab returns n bytes that are letters at random, the same ones for each run.
func ab(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = "ababababababababababkS é\xc3"[random.IntN(26)]
	}
	return b
}

// No pattern and no text has more built than the bounds allow, and the answer stays that of package regexp.
func TestMatch_boundsWhatIsBuilt(t *testing.T) {
	for _, pattern := range hostile {
		p, err := Compile(pattern, Limits{Load: math.MaxInt})
		if err != nil {
			t.Fatal(err)
		}
		want, c := regexp.MustCompile(pattern), NewCache(nil)
		for i := range uint64(4) {
			text := ab(i, 300)
			before := c.Stats()
			if got := p.Match(c, text); got != want.Match(text) {
				t.Fatalf("%q: %v on %q", pattern, got, text)
			}
			after := c.Stats()
			if built := after.Built - before.Built; built > uint64(p.states*(flushesMax+1)) {
				t.Errorf("%q: %d states for one text", pattern, built)
			}
			if over := c.builder.visited - visitedMax; over > 2*len(p.prog.Inst)*4 {
				t.Errorf("%q: %d instructions more than the bound for one text", pattern, over)
			}
			checkTables(t, c, p)
		}
	}
}

// Short texts one after the other have no more built than one long text has: 8000 of them took 0.2 s.
func TestMatch_boundsWhatManyTextsBuild(t *testing.T) {
	p, c := compile(t, `^(?:.|\n)*a.{900}\d$`), NewCache(nil)
	texts, bytes := 20_000, 0
	for i := range texts {
		text := ab(uint64(i), 8)
		bytes += len(text)
		p.Match(c, text)
	}
	most := creditMax + texts*textCredit + bytes + visitedMax
	if s := c.Stats(); s.Visited > uint64(most) || s.Left == 0 {
		t.Errorf("%+v, at most %d are to be visited", s, most)
	}
}

// After Begin all texts together have the time to find groups that one has otherwise.
func TestCache_Begin(t *testing.T) {
	p, c := compile(t, `<[^>]*>|<`), NewCache(nil)
	text := bytes.Repeat([]byte("<"), 800) // a million visits
	matches := func(texts int) (all int) {
		for range texts {
			for s := p.Scan(c, text); s.Next(new(Groups)); {
				all++
			}
		}
		return all
	}
	if all := matches(20); all != 20*len(text) || c.Stats().Ungrouped != 0 {
		t.Errorf("%d matches, %+v", all, c.Stats())
	}
	c.Begin()
	if all := matches(20); all > 8*len(text) || all < len(text) || c.Stats().Ungrouped == 0 {
		t.Errorf("%d matches in texts that share a bound, %+v", all, c.Stats())
	}
	if c.Begin(); !p.Submatches(c, text, new(Groups)) {
		t.Error("Begin does not give back what was used")
	}
}

// Sets have the answer that package regexp has where tables have none. It took 1.8 s for 64 KiB, they take some 20 ms
// at most.
func TestMatch_setsOfLongTexts(t *testing.T) {
	for _, pattern := range []string{dear, `^(?:.|\n)*a.{900}\d$`, `(?i)(union|select).{0,200}(from|where)\b`,
		`\pL{490}x`, `(\w+\s?){90}$`, `(?m)^(a|\bk|é.)*b$`} {
		p, c := compile(t, pattern), NewCache(nil)
		for i, size := range []int{10, 63, 64, 200, 1500, 64 << 10} {
			text := ab(uint64(i), size)
			if got := p.Match(c, text); size < 2000 && got != p.machine().Match(text) ||
				got != p.nfa.match(new(tracks), p, text, 0) {
				t.Errorf("%q: %v of %d bytes", pattern, got, size)
			}
		}
		if p.Load() > loadDefault || c.Stats().Visited > uint64(7*visitedMax) {
			t.Errorf("%q: load %d, %+v", pattern, p.Load(), c.Stats())
		}
	}
}

// A pattern for which a text can be made that takes too long is refused.
func TestCompile_boundsLoad(t *testing.T) {
	for pattern, refused := range map[string]bool{
		`\d(a?){20}\d`: false, `\d(a?){150}\d`: true, `\d(a?b?){90}\d`: true, `(?i)(k|s|ks){1,99}\b$`: false,
		strings.Repeat(`\bfoo\d\b|`, 100) + "x": false, strings.Repeat("$", 500): false, `(foo|bar){1,50}\d`: false,
	} {
		p, err := Compile(pattern, Limits{})
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "too long") ||
			!refused && p.Load() > loadDefault {
			t.Errorf("%.20q: %v", pattern, err)
		}
	}
	if p := compile(t, "^/api/"); p.Load() != 0 || p.Instructions() < 5 {
		t.Errorf("load %d, %d instructions", p.Load(), p.Instructions())
	}
}

// A text whose states are dear is left to the nfa before it has cost much. The states stay, so texts get further.
func TestMatch_leavesATextThatIsDear(t *testing.T) {
	p, c := compile(t, `^(?:.|\n)*a.{900}\d$`), NewCache(nil)
	text := append(bytes.Repeat([]byte("a"), 1500), '1')
	if !p.Match(c, text) || c.Stats().Abandoned != 1 || c.Stats().Built < 10 {
		t.Errorf("%+v", c.Stats())
	}
	built := c.Stats().Built
	if !p.Match(c, text) || c.Stats().Built == built {
		t.Errorf("the second time: %+v", c.Stats())
	}
}

// A table that is full again and again is given up for a while, then tried again.
func TestMatch_restsAndComesBack(t *testing.T) {
	p, c := compile(t, dear), NewCache(nil)
	for i := range uint64(100) {
		if c.Rung(p) == NFA {
			break
		}
		p.Match(c, ab(i, 900))
	}
	if c.Rung(p) != NFA || c.Stats().Bytes != 0 || c.Stats().Rested != 1 || c.Stats().Flushed < flushesMax {
		t.Fatalf("rung %v, %+v", c.Rung(p), c.Stats())
	}
	text := []byte("aaaa1")
	for range restTexts {
		p.Match(c, text)
	}
	if c.Stats().Patterns != 0 {
		t.Errorf("in the rest: %+v", c.Stats())
	}
	p.Match(c, text)
	if c.Rung(p) != p.Rung() || c.Stats().Patterns != 1 {
		t.Errorf("after the rest: rung %v, %+v", c.Rung(p), c.Stats())
	}
}

// A table that is full because texts differ, and that reads much for each state, is begun anew without end.
func TestMatch_keepsATableThatIsWorthIt(t *testing.T) {
	p, err := Compile(`(a|b)*a(a|b){4}\d`, Limits{States: 16})
	if err != nil {
		t.Fatal(err)
	}
	c, plain := NewCache(nil), bytes.Repeat([]byte("-"), 2000)
	for i := range uint64(60) {
		text := append(ab(i, 6), plain...)
		if got, want := p.Match(c, text), p.machine().Match(text); got != want {
			t.Fatalf("%v on %.10q", got, text)
		}
	}
	if s := c.Stats(); s.Flushed < flushesMax || s.Rested != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBudget_boundsAllCaches(t *testing.T) {
	const budgetBytes = 50_000
	budget := NewBudget(budgetBytes)
	caches := []*Cache{NewCache(budget), NewCache(budget)}
	var patterns []*Pattern
	for i := range 60 {
		p := compile(t, fmt.Sprintf(`x%d[a-z]+\d|[0-9]{2}-%d`, i, i))
		patterns = append(patterns, p)
		for _, c := range caches {
			for _, text := range []string{fmt.Sprintf("x%dabc7", i), "12-5", "x59zz1"} {
				if got, want := p.Match(c, []byte(text)), p.machine().MatchString(text); got != want {
					t.Fatalf("%q on %q: %v", p, text, got)
				}
			}
			checkTables(t, c, p)
		}
		if used := budget.used.Load(); used > budgetBytes || used != caches[0].Stats().Bytes+caches[1].Stats().Bytes {
			t.Fatalf("%d bytes used, %+v %+v", used, caches[0].Stats(), caches[1].Stats())
		}
	}
	if caches[0].Stats().Rested == 0 {
		t.Error("the budget was never over")
	}
	runtime.KeepAlive(patterns)
	for _, c := range caches {
		c.Close()
	}
	if budget.used.Load() != 0 {
		t.Errorf("%d bytes used after Close", budget.used.Load())
	}
}

// A budget counts about the bytes by which the heap grows.
func TestBudget_countsTheHeap(t *testing.T) {
	var patterns []*Pattern
	for i := range 200 {
		patterns = append(patterns, compile(t, fmt.Sprintf(`(a|b)*a(a|b){%d}[%d-9]`, 3+i%5, i%8)))
	}
	text, c := ab(1, 300), NewCache(nil)
	heap := heapBytes()
	for _, p := range patterns {
		p.Match(c, text)
	}
	grown, counted := heapBytes()-heap, c.Stats().Bytes
	t.Logf("the heap has grown by %d, %d are counted", grown, counted)
	if counted*3 < grown*2 || grown*2 < counted {
		t.Errorf("the heap has grown by %d, %d are counted", grown, counted)
	}
	runtime.KeepAlive(c)
	runtime.KeepAlive(patterns)
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Patterns come and go as configurations do. Their tables go with them, and nothing in a Cache keeps a pattern alive.
func TestCache_givesUpTablesOfPatternsThatAreGone(t *testing.T) {
	c := NewCache(nil)
	for range 3 {
		generation(t, c, 50)
	}
	deadline := time.Now().Add(10 * time.Second)
	for c.sweep(); c.Stats().Patterns > 0; c.sweep() {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", c.Stats())
		}
		runtime.GC()
	}
	if c.budget.used.Load() != 0 {
		t.Errorf("%d bytes used", c.budget.used.Load())
	}
	for { // numbers are free a little later than the patterns are gone
		numbers.Lock()
		used, free := numbers.used, len(numbers.free)
		numbers.Unlock()
		if free >= 100 && used >= free {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d numbers, %d free", used, free)
		}
		runtime.GC()
	}
}

// generation compiles so many patterns and matches each of them once.
func generation(t *testing.T, c *Cache, patterns int) {
	t.Helper()
	for i := range patterns {
		p := compile(t, fmt.Sprintf(`x%d[a-z]+\d`, i))
		if !p.Match(c, fmt.Appendf(nil, "-x%dab1", i)) {
			t.Fatal(p)
		}
	}
}

// A pattern gets the number of another that is gone, never its table.
func TestCache_tellsPatternsOfOneNumberApart(t *testing.T) {
	a, b, c := compile(t, `[a-c]+\d`), compile(t, `[x-z]+\d`), NewCache(nil)
	if !a.Match(c, []byte("b1")) {
		t.Fatal(a)
	}
	number := b.number
	b.number = a.number // as if a had been collected
	if b.Match(c, []byte("b1")) || !b.Match(c, []byte("y1")) || !a.Match(c, []byte("b1")) {
		t.Error("two patterns of one number have one table")
	}
	checkTables(t, c, a)
	b.number = number
	runtime.KeepAlive(a)
}

// Rules run in all event loops at once, over one pattern and one budget.
func TestPattern_isSafeForAnyGoroutine(t *testing.T) {
	budget, done := NewBudget(60_000), make(chan error)
	var patterns []*Pattern
	for _, row := range rows {
		patterns = append(patterns, compile(t, row.pattern))
	}
	for range 4 {
		go func() {
			c := NewCache(budget)
			defer c.Close()
			var wrong error
			for i := range 400 {
				p, row := patterns[i%len(rows)], rows[i*7%len(rows)]
				if got, want := p.Match(c, []byte(row.text)), p.machine().MatchString(row.text); got != want {
					wrong = fmt.Errorf("%q on %q: %v", p, row.text, got)
				}
			}
			done <- wrong
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
