package policy

import (
	"testing"
	"time"
)

// Each row of the table "reuse", in its order. The answer was received at noon and is fresh for a minute.
func TestRules_reuse(t *testing.T) {
	const fresh, stale = 50 * time.Second, 70 * time.Second
	minute := int64(time.Minute)
	honour := Rules{Honour: true, StaleWhile: time.Minute}
	for _, c := range []struct {
		name    string
		rules   Rules
		f       Freshness
		request string
		after   time.Duration
		want    Reason
	}{
		{name: "fresh", after: fresh, want: ReasonFresh},
		{name: "RFC 9111 §4.2: as old as its lifetime", after: time.Minute, want: ReasonExpired},
		{name: "expired", after: stale, want: ReasonExpired},
		{name: "no-cache", f: Freshness{Always: true}, after: fresh, want: ReasonNoCache},
		{name: "no-cache before the request", rules: honour, f: Freshness{Always: true}, after: fresh,
			request: "Cache-Control: no-cache", want: ReasonNoCache},
		{name: "§5.2.2.2 fresh", f: Freshness{Strict: true}, after: fresh, want: ReasonFresh},
		{name: "§5.2.2.2 stale", rules: honour, f: Freshness{Strict: true, StaleWhile: minute}, after: stale,
			request: "Cache-Control: max-stale", want: ReasonMustRevalidate},

		{name: "ignored directives", request: "Cache-Control: no-cache, max-age=0|Pragma: no-cache", after: fresh,
			want: ReasonFresh},
		{name: "§5.2.1.4", rules: honour, request: "Cache-Control: a, No-Cache", after: fresh,
			want: ReasonRequestNoCache},
		{name: "malformed", rules: honour, request: "Cache-Control: a b", after: fresh, want: ReasonRequestNoCache},
		{name: "§5.4", rules: honour, request: "Pragma: a, No-Cache", after: fresh, want: ReasonRequestNoCache},
		{name: "§5.4, with Cache-Control", rules: honour, request: "Pragma: no-cache|Cache-Control: x", after: fresh,
			want: ReasonFresh},
		{name: "§5.4, dropped", rules: honour, request: "-Pragma: no-cache|-Cache-Control: no-cache", after: fresh,
			want: ReasonFresh},
		{name: "§5.2.1.1 younger", rules: honour, request: "Cache-Control: max-age=50", after: fresh,
			want: ReasonFresh},
		{name: "§5.2.1.1 older", rules: honour, request: "Cache-Control: max-age=49", after: fresh,
			want: ReasonRequestMaxAge},
		{name: "§5.2.1.1 invalid", rules: honour, request: "Cache-Control: max-age=x", after: fresh,
			want: ReasonRequestMaxAge},
		{name: "§5.2.1.3 long enough", rules: honour, request: "Cache-Control: min-fresh=10", after: fresh,
			want: ReasonFresh},
		{name: "§5.2.1.3 too short", rules: honour, request: "Cache-Control: min-fresh=11", after: fresh,
			want: ReasonRequestMinFresh},
		{name: "§5.2.1.3 stale", rules: honour, request: "Cache-Control: min-fresh=0, max-stale", after: stale,
			want: ReasonRequestMinFresh},
		{name: "§5.2.1.2 any", rules: honour, request: "Cache-Control: max-stale", after: stale, want: ReasonMaxStale},
		{name: "§5.2.1.2 enough", rules: honour, request: "Cache-Control: max-stale=10", after: stale,
			want: ReasonMaxStale},
		{name: "§5.2.1.2 too few", rules: Rules{Honour: true}, request: "Cache-Control: max-stale=9, max-stale",
			after: stale, want: ReasonExpired},
		{name: "§5.2.1.2 ignored", request: "Cache-Control: max-stale", after: stale, want: ReasonExpired},

		{name: "retry later", rules: Rules{StaleOnError: time.Minute}, f: Freshness{Ask: received + int64(stale) + 1,
			StaleWhile: minute}, after: stale, want: ReasonRetryLater},
		{name: "retry now", rules: Rules{StaleOnError: time.Minute}, f: Freshness{Ask: received + int64(stale)},
			after: stale, want: ReasonExpired},
		{name: "retry later, not stale on errors", rules: Rules{StaleOnError: time.Minute},
			f: Freshness{Ask: received + 2*int64(stale), StaleOnError: 10 * second}, after: stale, want: ReasonExpired},
		{name: "RFC 5861 §3", f: Freshness{StaleWhile: 11 * second}, after: stale, want: ReasonStaleWhile},
		{name: "RFC 5861 §3, over", rules: honour, f: Freshness{StaleWhile: 10 * second}, after: stale,
			want: ReasonExpired},
		{name: "of the route", rules: honour, f: Freshness{StaleWhile: -1}, after: stale, want: ReasonStaleWhile},
		{name: "of the route, over", rules: honour, f: Freshness{StaleWhile: -1}, after: 2 * time.Minute,
			want: ReasonExpired},
	} {
		c.f.Received, c.f.Lifetime = received, minute
		if c.f.StaleOnError == 0 {
			c.f.StaleOnError = -1
		}
		if got := c.rules.Reuse(&c.f, heads(0, c.request), received+int64(c.after)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Stale answers in place of errors. The answer is stale for 10 s.
func TestRules_onError(t *testing.T) {
	route := Rules{StaleOnError: time.Minute}
	for _, c := range []struct {
		name     string
		rules    Rules
		f        Freshness
		request  string
		statuses []uint16
		want     Reason
	}{
		{name: "RFC 5861 §4", f: Freshness{StaleOnError: 11 * second}, statuses: []uint16{0, 500, 502, 503, 504},
			want: ReasonStaleIfError},
		{name: "RFC 5861 §4, no error", f: Freshness{StaleOnError: 11 * second}, statuses: []uint16{200, 404, 429,
			501, 505}},
		{name: "RFC 5861 §4, over", rules: route, f: Freshness{StaleOnError: 10 * second}, statuses: []uint16{0, 500}},
		{name: "RFC 5861 §4, never", rules: route, f: Freshness{StaleOnError: 0}, statuses: []uint16{0, 500}},
		{name: "of the route", rules: route, f: Freshness{StaleOnError: -1}, statuses: []uint16{0},
			want: ReasonStaleOnError},
		{name: "of the route, answers", rules: route, f: Freshness{StaleOnError: -1}, statuses: []uint16{500, 503,
			504}},
		{name: "of the route, over", rules: Rules{StaleOnError: 10 * time.Second}, f: Freshness{StaleOnError: -1},
			statuses: []uint16{0}},
		{name: "RFC 9111 §4.2.4", rules: route, f: Freshness{Strict: true, StaleOnError: 60 * second},
			statuses: []uint16{0, 500}},
		{name: "no-cache", rules: route, f: Freshness{Always: true, StaleOnError: 60 * second}, statuses: []uint16{0,
			500}},
		{name: "no-cache of the request", rules: Rules{Honour: true}, f: Freshness{StaleOnError: 60 * second},
			request: "Cache-Control: no-cache", statuses: []uint16{0, 500}},
		{name: "max-age of the request", rules: Rules{Honour: true}, f: Freshness{StaleOnError: 60 * second},
			request: "Cache-Control: max-age=0", statuses: []uint16{0, 500}, want: ReasonStaleIfError},
		{name: "ignored no-cache of the request", rules: route, f: Freshness{StaleOnError: -1},
			request: "Cache-Control: no-cache", statuses: []uint16{0}, want: ReasonStaleOnError},
	} {
		c.f.Received, c.f.Lifetime = received, 60*second
		for _, status := range c.statuses {
			if got := c.rules.OnError(&c.f, heads(0, c.request), received+70*second, status); got != c.want {
				t.Errorf("%s: %d %q, want %q", c.name, status, got, c.want)
			}
		}
	}
	// One that is fresh, which max-age=0 of a request has the backend asked about.
	f := Freshness{Received: received, Lifetime: 60 * second, StaleOnError: -1}
	if got := new(Rules).OnError(&f, heads(0, ""), received, 0); got != ReasonStaleOnError {
		t.Errorf("fresh: %q", got)
	}
}

// RFC 9111 §5.2.1.7.
func TestRules_onlyIfCached(t *testing.T) {
	for lines, want := range map[string]bool{
		"": false, "Cache-Control: max-age=0": false, "Pragma: only-if-cached": false,
		"Cache-Control: max-age=0|cache-control: Only-If-Cached": true,
	} {
		if got := (&Rules{Honour: true}).OnlyIfCached(heads(0, lines)); got != want {
			t.Errorf("%q: %v", lines, got)
		}
		if new(Rules).OnlyIfCached(heads(0, lines)) {
			t.Errorf("%q counts", lines)
		}
	}
}

// The windows are those that the answer states (RFC 5861), and what forbids stale answers is noted.
func TestRules_judgeWindows(t *testing.T) {
	obey := Rules{ObeyTTL: true, TTL: []StatusTTL{{200, time.Minute}}}
	for _, c := range []struct {
		rules          Rules
		answer         string
		while, onError int64
		always, strict bool
	}{
		{answer: "max-age=60", while: -1, onError: -1},
		{answer: "max-age=60, stale-while-revalidate=7, Stale-If-Error=9", while: 7 * second, onError: 9 * second},
		{answer: "stale-while-revalidate=7, stale-while-revalidate=8, stale-if-error=x", while: 7 * second},
		{answer: "stale-while-revalidate", onError: -1},
		{answer: "no-cache", while: -1, onError: -1, always: true},
		{answer: `no-cache="x-a"`, while: -1, onError: -1},
		{rules: obey, answer: "no-cache", while: -1, onError: -1},
		{rules: obey, answer: "must-revalidate, no-cache", while: -1, onError: -1, strict: true},
		{answer: "must-revalidate=1", while: -1, onError: -1, strict: true},
		{answer: "proxy-revalidate", while: -1, onError: -1, strict: true},
		{answer: "s-maxage=60", while: -1, onError: -1, strict: true}, // RFC 9111 §5.2.2.10
		{answer: "s-maxage=x", while: -1, onError: -1, strict: true},
	} {
		f := c.rules.Judge(heads(0, ""), heads(200, "Cache-Control: "+c.answer), received, received).Fresh
		if f.StaleWhile != c.while || f.StaleOnError != c.onError || f.Always != c.always || f.Strict != c.strict {
			t.Errorf("%s: %+v", c.answer, f)
		}
	}
}

// RFC 9213 §2.2: the first field of the list that is there and valid takes the place of Cache-Control and Expires.
func TestRules_judgeTargeted(t *testing.T) {
	expires := "|Expires: " + dated(time.Hour)
	for _, c := range []struct {
		name, answer string
		lifetime     time.Duration
		want         Reason
	}{
		{name: "in place of Cache-Control", answer: "CDN-Cache-Control: max-age=60|Cache-Control: no-store",
			lifetime: time.Minute},
		{name: "in any case", answer: "cdn-cache-CONTROL: max-age=60|Cache-Control: no-store", lifetime: time.Minute},
		{name: "the first of the list", answer: "CDN-Cache-Control: no-store|Edge-Cache-Control: max-age=60",
			lifetime: time.Minute},
		{name: "the first is dropped", answer: "CDN-Cache-Control: max-age=60|-Edge-Cache-Control: no-store",
			lifetime: time.Minute},
		{name: "another one", answer: "X-Cache-Control: max-age=60|Cache-Control: no-store", want: ReasonNoStore},
		{name: "empty", answer: "CDN-Cache-Control:|Cache-Control: max-age=9", lifetime: 9 * time.Second},
		{name: "the first is empty", answer: "Edge-Cache-Control:|CDN-Cache-Control: max-age=60",
			lifetime: time.Minute},
		{name: "wrong", answer: "CDN-Cache-Control: no-store, max-age=60,|Cache-Control: max-age=9",
			lifetime: 9 * time.Second},
		{name: "wrong in a line", answer: "CDN-Cache-Control: no-store|CDN-Cache-Control: a b|Cache-Control: max-age=9",
			lifetime: 9 * time.Second},
		{name: "upper case", answer: "CDN-Cache-Control: Max-Age=60|Cache-Control: max-age=9",
			lifetime: 9 * time.Second},
		{name: "in two lines", answer: "CDN-Cache-Control: public|CDN-Cache-Control: max-age=60",
			lifetime: time.Minute},
		{name: "Expires is ignored", answer: "CDN-Cache-Control: public" + expires, want: ReasonNoLifetime},
		{name: "Expires without it", answer: "Vary: a" + expires, lifetime: time.Hour},
		{name: "parameters are ignored", answer: "CDN-Cache-Control: max-age=60;a=1;no-store", lifetime: time.Minute},
		{name: "a decimal", answer: "CDN-Cache-Control: max-age=60.0|ETag: x"},
		{name: "a string", answer: `CDN-Cache-Control: max-age="60"|ETag: x`},
		{name: "negative", answer: `CDN-Cache-Control: max-age=-60|ETag: x`},
		{name: "twice", answer: "CDN-Cache-Control: max-age=60, max-age=90", lifetime: time.Minute},
		{name: "a flag of another type", answer: "CDN-Cache-Control: max-age=60, no-store=?0", lifetime: time.Minute,
			want: ReasonNoStore},
		{name: "names of fields", answer: `CDN-Cache-Control: max-age=60, private="x-a"`, lifetime: time.Minute},
		{name: "a token", answer: `CDN-Cache-Control: max-age=60, private=x-a`, lifetime: time.Minute,
			want: ReasonPrivate},
		{name: "extensions", answer: `CDN-Cache-Control: a, b=(c "d,no-store"), max-age=60`, lifetime: time.Minute},
	} {
		r := Rules{Targeted: []string{"edge-cache-control", "cdn-cache-control"}}
		a := r.Judge(heads(0, ""), heads(200, c.answer), received, received)
		if a.Reason != c.want || a.Fresh.Lifetime != int64(c.lifetime) {
			t.Errorf("%s: %q, %v", c.name, a.Reason, time.Duration(a.Fresh.Lifetime))
		}
		if new(Rules).directivesOf(heads(200, c.answer)).field != "" {
			t.Errorf("%s: counts without a list", c.name)
		}
	}
	h := heads(200,
		`CDN-Cache-Control: max-age=60, private="x-a , X-B"|Cache-Control: private="x-c"|X-A: 1|X-B: 1|X-C: 1`)
	a := (&Rules{Targeted: []string{"cdn-cache-control"}}).Judge(heads(0, ""), h, received, received)
	for i, want := range []bool{true, true, false, false, true} {
		if a.Keeps(h, i) != want {
			t.Errorf("keeps %s: %v", h.Name(i), !want)
		}
	}
}
