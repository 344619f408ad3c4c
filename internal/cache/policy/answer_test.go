package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/message"
)

// Each row of the table "storable", and what lifts it.
func TestRules_judgeReason(t *testing.T) {
	const fresh = "Cache-Control: max-age=60"
	changed := "Last-Modified: " + dated(-time.Hour)
	const html = "|Content-Type: text/html"
	honour, known := Rules{Honour: true}, Rules{KnownOnly: true}
	minute := []StatusTTL{{200, time.Minute}, {404, time.Minute}, {500, time.Minute}}
	for _, c := range []struct {
		name            string
		rules           Rules
		request, answer string
		target          string
		status          uint16
		want            Reason
	}{
		{name: "fresh", answer: fresh},
		{name: "status interim", answer: fresh, status: 103, want: ReasonStatus},
		{name: "status 206", answer: fresh, status: 206, want: ReasonStatus},
		{name: "status 304", answer: fresh, status: 304, want: ReasonStatus},
		{name: "status 416", answer: fresh, status: 416, want: ReasonStatus},
		{name: "status unknown", answer: fresh, status: 299},
		{name: "status before no-store", answer: "Cache-Control: no-store", status: 206, want: ReasonStatus},

		{name: "must-understand", answer: fresh + ", must-understand"},
		{name: "must-understand, unknown", answer: fresh + ", must-understand", status: 299,
			want: ReasonMustUnderstand},
		{name: "must-understand, reserved", answer: fresh + ", must-understand", status: 402,
			want: ReasonMustUnderstand},
		{name: "must-understand=1, unknown", answer: fresh + ", must-understand=1", status: 299,
			want: ReasonMustUnderstand},

		{name: "no-store", answer: fresh + ", no-store", want: ReasonNoStore},
		{name: "no-store in capitals", answer: fresh + ", NO-Store", want: ReasonNoStore},
		{name: "no-store with an argument", answer: fresh + ", no-store=0", want: ReasonNoStore},
		{name: "no-store in a second line", answer: fresh + "|Cache-Control: no-store", want: ReasonNoStore},
		{name: "no-store that is dropped", answer: fresh + "|-Cache-Control: no-store"},
		{name: "no-store, understood", answer: fresh + ", no-store, must-understand"},
		{name: "no-store, must-understand=1", answer: fresh + ", no-store, must-understand=1", want: ReasonNoStore},
		{name: "no-store obeying ttl", answer: "Cache-Control: no-store", rules: Rules{TTL: minute, ObeyTTL: true},
			want: ReasonNoStore},
		{name: "no-store in quotes", answer: fresh + `, x="no-store"`},
		{name: "no-store of the request", answer: fresh, request: "Cache-Control: no-store"},
		{name: "a comma is missing", answer: "Cache-Control: public max-age=60", want: ReasonNoStore},
		{name: "a quote does not end", answer: fresh + `, x="a|Cache-Control: b"`, want: ReasonNoStore},
		{name: "all is in quotes", answer: `Cache-Control: "public, max-age=60"`, want: ReasonNoStore},

		{name: "private", answer: fresh + ", private", want: ReasonPrivate},
		{name: "private of fields", answer: fresh + `, private="x-user"`},
		{name: "private of one field", answer: fresh + `, private=x-user`},
		{name: "private of nothing", answer: fresh + `, private=""`, want: ReasonPrivate},
		{name: "private of a malformed list", answer: fresh + `, private="x y"`, want: ReasonPrivate},
		{name: "private in other quotes", answer: fresh + `, private='x-user'`, want: ReasonPrivate},
		{name: "private with garbage", answer: fresh + `, private="x-user"x`, want: ReasonPrivate},
		{name: "private of fields and all", answer: fresh + `, private="x-user", private`, want: ReasonPrivate},
		{name: "private often", answer: fresh + strings.Repeat(`, private="x"`, 50)},
		{name: "private obeying ttl", answer: "Cache-Control: private", rules: Rules{TTL: minute, ObeyTTL: true},
			want: ReasonPrivate},

		{name: "authorization", request: "Authorization: x", answer: fresh, want: ReasonAuthorization},
		{name: "authorization, dropped", request: "-Authorization: x", answer: fresh},
		{name: "authorization, public", request: "Authorization: x", answer: fresh + ", public"},
		{name: "authorization, public=1", request: "Authorization: x", answer: fresh + ", public=1",
			want: ReasonAuthorization},
		{name: "authorization, must-revalidate", request: "Authorization: x", answer: fresh + ", must-revalidate"},
		{name: "authorization, s-maxage", request: "Authorization: x", answer: "Cache-Control: s-maxage=9"},
		{name: "authorization, bad s-maxage", request: "Authorization: x", rules: Rules{TTL: minute, ObeyTTL: true},
			answer: "Cache-Control: s-maxage=x", want: ReasonAuthorization},
		{name: "authorization obeying ttl", request: "Authorization: x", rules: Rules{TTL: minute, ObeyTTL: true},
			answer: fresh, want: ReasonAuthorization},

		{name: "authorization obeying ttl, public", request: "Authorization: x", answer: fresh + ", public",
			rules: Rules{TTL: minute, ObeyTTL: true}},
		{name: "authorization obeying ttl, no-cache", request: "Authorization: x", answer: fresh + ", public, no-cache",
			rules: Rules{TTL: minute, ObeyTTL: true}, want: ReasonAuthorization},
		{name: "authorization obeying ttl, must-revalidate", request: "Authorization: x",
			answer: "Cache-Control: max-age=0, must-revalidate", rules: Rules{TTL: minute, ObeyTTL: true},
			want: ReasonAuthorization},
		{name: "cookie obeying ttl, no-cache", request: "Cookie: a=b", answer: fresh + ", no-cache",
			rules: Rules{TTL: minute, ObeyTTL: true}, want: ReasonCookie},
		{name: "cookie", request: "Cookie: a=b", answer: changed, want: ReasonCookie},
		{name: "cookie, max-age", request: "Cookie: a=b", answer: fresh},
		{name: "cookie, s-maxage", request: "Cookie: a=b", answer: "Cache-Control: s-maxage=9"},
		{name: "cookie, Expires", request: "Cookie: a=b", answer: "Expires: " + dated(time.Hour)},
		{name: "cookie, ttl", request: "Cookie: a=b", rules: Rules{TTL: minute}, want: ReasonCookie},
		{name: "cookie, ignored", request: "Cookie: a=b", answer: changed, rules: Rules{Cookies: Ignore}},
		{name: "cookie, max-age=0", request: "Cookie: a=b", answer: "Cache-Control: max-age=0",
			want: ReasonNoValidator},
		{name: "cookie obeying ttl, max-age=0", request: "Cookie: a=b", answer: "Cache-Control: max-age=0",
			rules: Rules{TTL: minute, ObeyTTL: true}, want: ReasonCookie},
		{name: "cookie obeying ttl, max-age", request: "Cookie: a=b", answer: fresh, rules: Rules{TTL: minute,
			ObeyTTL: true}},

		{name: "set-cookie", answer: fresh + "|Set-Cookie: a=b", want: ReasonSetCookie},
		{name: "set-cookie, dropped", answer: fresh + "|-Set-Cookie: a=b"},
		{name: "set-cookie, stripped", answer: fresh + "|Set-Cookie: a=b", rules: Rules{SetCookie: Strip}},
		{name: "set-cookie, stored", answer: fresh + "|Set-Cookie: a=b", rules: Rules{SetCookie: Store}},
		{name: "set-cookie, private", answer: fresh + `, private="set-cookie"|Set-Cookie: a=b`, want: ReasonSetCookie},
		{name: "set-cookie obeying ttl", answer: "Set-Cookie: a=b", rules: Rules{TTL: minute, ObeyTTL: true},
			want: ReasonSetCookie},

		{name: "vary", answer: fresh + "|Vary: Accept, Cookie"},
		{name: "vary by all", answer: fresh + "|Vary: Accept, *", want: ReasonVary},
		{name: "vary, malformed", answer: fresh + "|Vary: Accept Cookie", want: ReasonVary},
		{name: "vary by 9", answer: fresh + "|Vary: a, b, c, d, e, f, g, h, i", want: ReasonVary},
		{name: "vary by 8 and Origin", answer: fresh + "|Vary: a, b, c, d, e, f, g, h|Access-Control-Allow-Origin: x",
			want: ReasonVary},

		{name: "no-lifetime 302", status: 302, answer: changed, want: ReasonNoLifetime},
		{name: "no-lifetime 302, public", status: 302, answer: changed + "|Cache-Control: public"},
		{name: "no-lifetime 302, max-age", status: 302, answer: fresh},
		{name: "no-lifetime 400, public", status: 400, answer: changed + "|Cache-Control: public",
			want: ReasonNoLifetime},
		{name: "no-lifetime 431", status: 431, answer: changed, want: ReasonNoLifetime},
		{name: "no-lifetime 503", status: 503, answer: changed, want: ReasonNoLifetime},
		{name: "414", status: 414, answer: changed},
		{name: "501", status: 501, answer: changed},
		{name: "no-lifetime 503, max-age", status: 503, answer: fresh},
		{name: "no-lifetime 503, another ttl", status: 503, answer: changed, rules: Rules{TTL: minute},
			want: ReasonNoLifetime},
		{name: "no-lifetime 500, its ttl", status: 500, rules: Rules{TTL: minute}},
		{name: "lifetime estimated 200", answer: changed},
		{name: "lifetime estimated 404", status: 404, answer: changed},

		{name: "no-cache", answer: fresh + ", no-cache", want: ReasonNoValidator},
		{name: "no-cache, ETag", answer: fresh + ", no-cache|ETag: x"},
		{name: "no-cache, Last-Modified", answer: "Cache-Control: no-cache|" + changed},
		{name: "no-cache without a lifetime", answer: "Cache-Control: no-cache", want: ReasonNoValidator},
		{name: "no-cache without a lifetime, 302", status: 302, answer: "ETag: x|Cache-Control: no-cache",
			want: ReasonNoLifetime},
		{name: "no-cache in a stale window", answer: fresh + ", no-cache, stale-while-revalidate=9",
			want: ReasonNoValidator},
		{name: "no-cache of fields", answer: fresh + `, no-cache="x-user"`},
		{name: "no-cache obeying ttl", answer: "Cache-Control: no-cache", rules: Rules{TTL: minute, ObeyTTL: true}},
		{name: "no-cache obeying ttl, another status", status: 302, answer: "Cache-Control: no-cache, max-age=60",
			rules: Rules{TTL: minute, ObeyTTL: true}, want: ReasonNoValidator},
		{name: "no-cache, a ttl that it would not need", answer: "Cache-Control: no-cache, max-age=60",
			rules: Rules{TTL: minute}, want: ReasonNoValidator},
		{name: "no-cache with ttl", answer: "Cache-Control: no-cache", rules: Rules{TTL: minute},
			want: ReasonNoValidator},

		{name: "no-validator", answer: "Cache-Control: max-age=0", want: ReasonNoValidator},
		{name: "no-lifetime, nothing to estimate it by", want: ReasonNoLifetime},
		{name: "no-validator, Age", answer: fresh + "|Age: 60", want: ReasonNoValidator},
		{name: "no-validator, Date", answer: fresh + "|Date: " + dated(-time.Minute), want: ReasonNoValidator},
		{name: "no-validator, for errors alone", answer: "Cache-Control: max-age=0, stale-if-error=60",
			rules: Rules{StaleOnError: time.Minute}, want: ReasonNoValidator},
		{name: "expired, ETag", answer: "Cache-Control: max-age=0|ETag: x"},
		{name: "expired, Last-Modified", answer: "Cache-Control: max-age=0|" + changed},
		{name: "expired, as Expires says", answer: "ETag: x|Expires: 0"},
		{name: "expired by a ttl of 0", answer: changed, rules: Rules{TTL: []StatusTTL{{200, 0}}}},
		{name: "expired, stale window", answer: fresh + ", stale-while-revalidate=2|Age: 61"},
		{name: "expired, stale window over", answer: fresh + ", stale-while-revalidate=2|Age: 62",
			want: ReasonNoValidator},
		{name: "expired, stale window of the route", answer: fresh + "|Age: 61", rules: Rules{StaleWhile: time.Minute}},
		{name: "expired, its own stale window", answer: fresh + ", stale-while-revalidate=0|Age: 61",
			rules: Rules{StaleWhile: time.Minute}, want: ReasonNoValidator},
		{name: "expired, must-revalidate", answer: fresh + ", must-revalidate|Age: 61",
			rules: Rules{StaleWhile: time.Minute}, want: ReasonNoValidator},
		{name: "not yet expired", answer: fresh + "|Age: 59"},

		{name: "request-no-store", answer: fresh, request: "Cache-Control: no-store", rules: honour,
			want: ReasonRequestNoStore},
		{name: "request-no-store, malformed", answer: fresh, request: "Cache-Control: a b", rules: honour,
			want: ReasonRequestNoStore},
		{name: "no-cache of the request", answer: fresh, request: "Cache-Control: no-cache", rules: honour},
		{name: "request-no-store before private", answer: "Cache-Control: private", request: "Cache-Control: no-store",
			rules: honour, want: ReasonRequestNoStore},
		{name: "no-store before request-no-store", answer: "Cache-Control: no-store",
			request: "Cache-Control: no-store",
			rules:   honour, want: ReasonNoStore},

		{name: "type", target: "/a/account.css", request: "Cookie: a=b", answer: fresh + html, want: ReasonType},
		{name: "type, no visitor", target: "/a/account.css", answer: fresh + html},
		{name: "type, Authorization", target: "/a.PNG?b", request: "Authorization: x", answer: fresh + ", public" +
			html,
			want: ReasonType},
		{name: "type, after a parameter", target: "/a;b.js", request: "Cookie: a=b", answer: fresh + html,
			want: ReasonType},
		{name: "type, none", target: "/a.woff2", request: "Cookie: a=b", answer: fresh, want: ReasonType},
		{name: "type, as its suffix", target: "/a.Css", request: "Cookie: a=b",
			answer: fresh + "|Content-Type: Text/CSS ; charset=utf-8"},
		{name: "type, another image", target: "/a.png", request: "Cookie: a=b", answer: fresh +
			"|Content-Type: image/webp"},
		{name: "type, longer", target: "/a.css", request: "Cookie: a=b", answer: fresh + "|Content-Type: text/cssx",
			want: ReasonType},
		{name: "type, unknown to the server", target: "/a.ttf", request: "Cookie: a=b",
			answer: fresh + "|Content-Type: application/octet-stream"},
		{name: "type, no suffix", target: "/css", request: "Cookie: a=b", answer: fresh + html},
		{name: "type, a suffix of pages", target: "/a.css/index.html", request: "Cookie: a=b", answer: fresh + html},
		{name: "type, in the query", target: "/a?b=c.css", request: "Cookie: a=b", answer: fresh + html},

		{name: "unknown-field", request: "X-Evil: x", answer: fresh, rules: known, want: ReasonUnknownField},
		{name: "unknown-field, a response's", request: "Location: x", answer: fresh, rules: known,
			want: ReasonUnknownField},
		{name: "unknown-field, X-Requested-With", request: "X-Requested-With: x", answer: fresh, rules: known,
			want: ReasonUnknownField},
		{name: "unknown-field, like a prefix", request: "Accept_X: x", answer: fresh, rules: known,
			want: ReasonUnknownField},
		{name: "unknown-field, dropped", request: "-X-Evil: x", answer: fresh, rules: known},
		{name: "unknown-field, any", request: "X-Evil: x", answer: fresh},
		{name: "known fields", request: "accept: x|Accept-Language: x|Accept-Ch: x|sec-ch-ua-arch: x|Sec-GPC: x|" +
			"User-Agent: x|Referer: x|Via: x|X-Forwarded-For: x|X-Forwarded-Server: x|Forwarded: x|X-Real-IP: x|" +
			"Save-Data: x|If-None-Match: x|Range: x|Host: x|Connection: x|TE: x|Cookie: x|Traceparent: x" +
			"|X-Request-Id: x",
			answer: fresh, rules: known},
		{name: "known fields of the route", request: "x-tenant: x", answer: fresh,
			rules: Rules{KnownOnly: true, Known: []string{"x-tenant"}}},
	} {
		if c.status == 0 {
			c.status = 200
		}
		request := heads(0, c.request)
		request.SetTarget(c.target)
		a := c.rules.Judge(request, heads(c.status, c.answer), received, received)
		if a.Reason != c.want {
			t.Errorf("%s: %q, want %q", c.name, a.Reason, c.want)
		}
		marks := c.want.Marks()
		if c.status >= 400 && c.status != 404 && c.status != 405 && c.status != 410 {
			marks = Nobody
		}
		if a.Marks != marks {
			t.Errorf("%s: marks %d, want %d", c.name, a.Marks, marks)
		}
	}
}

// Each row of the table "lifetime and age".
func TestRules_judgeFreshness(t *testing.T) {
	year, hour := 365*24*time.Hour, time.Hour
	long := Rules{TTLMax: 200 * year, HeuristicMax: 200 * year}
	ttl := Rules{TTL: []StatusTTL{{404, hour}, {200, 5 * time.Minute}}}
	obey := ttl
	obey.ObeyTTL = true
	for _, c := range []struct {
		name          string
		rules         Rules
		answer        string
		lifetime, age time.Duration
	}{
		{name: "max-age", answer: "Cache-Control: max-age=60", lifetime: time.Minute},
		{name: "s-maxage first", answer: "Cache-Control: max-age=60, s-maxage=5|Expires: " + dated(hour),
			lifetime: 5 * time.Second},
		{name: "max-age before Expires", answer: "Cache-Control: max-age=60|Expires: " + dated(hour),
			lifetime: time.Minute},
		{name: "bad s-maxage before max-age", answer: "Cache-Control: max-age=60, s-maxage=x"},
		{name: "max-age before ttl", rules: ttl, answer: "Cache-Control: max-age=60", lifetime: time.Minute},
		{name: "ttl", rules: ttl, lifetime: 5 * time.Minute},
		{name: "ttl before an estimate", rules: ttl, answer: "Last-Modified: " + dated(-hour),
			lifetime: 5 * time.Minute},
		{name: "obeyed ttl", rules: obey, answer: "Cache-Control: max-age=60", lifetime: 5 * time.Minute},
		{name: "ttl_max", answer: "Cache-Control: max-age=9999999999", lifetime: 30 * 24 * hour},
		{name: "ttl_max of a route", rules: Rules{TTLMax: hour}, answer: "Cache-Control: max-age=9999", lifetime: hour},
		{name: "2^31 s", rules: long, answer: "Cache-Control: max-age=99999999999999999999",
			lifetime: 1 << 31 * time.Second},
		{name: "2^31-1 s", rules: long, answer: "Cache-Control: max-age=2147483647",
			lifetime: (1<<31 - 1) * time.Second},

		{name: "quoted", answer: `Cache-Control: max-age="60"`, lifetime: time.Minute},
		{name: "leading zeros", answer: `Cache-Control: max-age=0060`, lifetime: time.Minute},
		{name: "the least", answer: `Cache-Control: max-age=60, max-age=5|Cache-Control: max-age=9`,
			lifetime: 5 * time.Second},
		{name: "one is invalid", answer: `Cache-Control: max-age=60, max-age=x`},
		{name: "sign", answer: `Cache-Control: max-age=+60`},
		{name: "negative", answer: `Cache-Control: max-age=-60`},
		{name: "point", answer: `Cache-Control: max-age=60.0`},
		{name: "letters", answer: `Cache-Control: max-age=60s`},
		{name: "letters first", answer: `Cache-Control: max-age=a60`},
		{name: "other quotes", answer: `Cache-Control: max-age='60'`},
		{name: "blank before =", answer: `Cache-Control: max-age =60`},
		{name: "blank after =", answer: `Cache-Control: max-age= 60`},
		{name: "no argument", answer: `Cache-Control: max-age`},
		{name: "empty argument", answer: `Cache-Control: max-age=`},
		{name: "empty quotes", answer: `Cache-Control: max-age=""`},
		{name: "garbage after quotes", answer: `Cache-Control: max-age="60"x`},
		{name: "garbage after a blank", answer: `Cache-Control: max-age=60 x`},
		{name: "semicolon", answer: `Cache-Control: max-age=60;public`},
		{name: "escaped digit", answer: `Cache-Control: max-age="6\0"`},
		{name: "inside of quotes", answer: `Cache-Control: x="a, max-age=5\", max-age=6", max-age=60`,
			lifetime: time.Minute},
		{name: "empty members", answer: "Cache-Control: ,, max-age=60 ,\t,", lifetime: time.Minute},
		{name: "unknown ones", answer: `Cache-Control: a, b=c, max-age=60, d="e, f"`, lifetime: time.Minute},
		{name: "stale directives", answer: `Cache-Control: max-age=60, stale-while-revalidate=99, immutable`,
			lifetime: time.Minute},

		{name: "Expires", answer: "Expires: " + dated(hour), lifetime: hour},
		{name: "Expires, Date earlier", answer: "Expires: " + dated(hour) + "|Date: " + dated(-hour),
			lifetime: 2 * hour, age: hour},
		{name: "Expires in the past", answer: "Expires: " + dated(-hour)},
		{name: "Expires twice", answer: "Expires: " + dated(hour) + "|Expires: " + dated(hour)},
		{name: "Expires as a list", answer: "Expires: " + dated(hour) + ", " + dated(hour)},
		{name: "Expires: 0", rules: ttl, answer: "Expires: 0"},
		{name: "Expires empty", rules: ttl, answer: "Expires: "},
		{name: "Expires before ttl", rules: ttl, answer: "Expires: " + dated(hour), lifetime: hour},
		{name: "Expires, bad Date", answer: "Date: x|Expires: " + dated(hour), lifetime: hour},
		{name: "Expires in year 9999", rules: long, answer: "Expires: Fri, 31 Dec 9999 23:59:59 GMT",
			lifetime: 1 << 31 * time.Second},

		{name: "a tenth", answer: "Last-Modified: " + dated(-hour), lifetime: 6 * time.Minute},
		{name: "a tenth at most 1 h", answer: "Last-Modified: " + dated(-year), lifetime: hour},
		{name: "heuristic_max", rules: Rules{HeuristicMax: time.Minute}, answer: "Last-Modified: " + dated(-year),
			lifetime: time.Minute},
		{name: "modified after Date", answer: "Last-Modified: " + dated(hour)},
		{name: "modified twice", answer: "Last-Modified: " + dated(-year) + "|Last-Modified: " + dated(-year)},

		{name: "Age", answer: "Cache-Control: max-age=60|Age: 7", lifetime: time.Minute, age: 7 * time.Second},
		{name: "Age, first member", answer: "Cache-Control: max-age=60|Age: 7, 9|Age: 8", lifetime: time.Minute,
			age: 7 * time.Second},
		{name: "Age, invalid", answer: "Cache-Control: max-age=60|Age: 7s", lifetime: time.Minute},
		{name: "Age, negative", answer: "Cache-Control: max-age=60|Age: -7", lifetime: time.Minute},
		{name: "Age, too large", answer: "Cache-Control: max-age=60|Age: 99999999999999999999", lifetime: time.Minute,
			age: 1 << 31 * time.Second},
		{name: "Date", answer: "Cache-Control: max-age=60|Date: " + dated(-9*time.Second), lifetime: time.Minute,
			age: 9 * time.Second},
		{name: "Date and Age", answer: "Cache-Control: max-age=60|Age: 7|Date: " + dated(-9*time.Second),
			lifetime: time.Minute, age: 9 * time.Second},
		{name: "Date in the future", answer: "Cache-Control: max-age=60|Date: " + dated(hour), lifetime: time.Minute},
		{name: "Date of the earliest line", answer: "Cache-Control: max-age=60|Date: " + dated(0) + "|Date: " +
			dated(-hour), lifetime: time.Minute, age: hour},
		{name: "Date that is dropped", answer: "Cache-Control: max-age=60|-Date: " + dated(-hour),
			lifetime: time.Minute},
		{name: "Date in 1900", answer: "Cache-Control: max-age=60|Date: Mon, 01 Jan 1900 00:00:00 GMT",
			lifetime: time.Minute,
			age:      noon.Sub(time.Unix(0, 0))},
	} {
		a := c.rules.Judge(heads(0, ""), heads(200, c.answer), received, received)
		if a.Fresh.Received != received || a.Fresh.Age != int64(c.age) || a.Fresh.Lifetime != int64(c.lifetime) {
			t.Errorf("%s: lifetime %v, age %v", c.name, time.Duration(a.Fresh.Lifetime), time.Duration(a.Fresh.Age))
		}
	}
}

// A Date has the resolution of a second: an answer that was made for the request is as old as it took to come.
func TestRules_Judge_dateOfTheSecond(t *testing.T) {
	for _, c := range []struct{ made, asked, received, want time.Duration }{
		{0, 900 * time.Millisecond, 1050 * time.Millisecond, 150 * time.Millisecond},
		{0, 999 * time.Millisecond, 1999 * time.Millisecond, time.Second},
		{0, time.Second, 1050 * time.Millisecond, 1050 * time.Millisecond}, // made before the request was sent
		{-time.Second, 10 * time.Millisecond, 20 * time.Millisecond, 1020 * time.Millisecond},
		{time.Second, 900 * time.Millisecond, 1050 * time.Millisecond, 150 * time.Millisecond},
		{time.Hour, 0, 100 * time.Millisecond, 100 * time.Millisecond}, // by a clock that is ahead
	} {
		answer := heads(200, "Cache-Control: max-age=1|Date: "+dated(c.made))
		rules := Rules{}
		a := rules.Judge(heads(0, ""), answer, noon.Add(c.asked).UnixNano(), noon.Add(c.received).UnixNano())
		if got := time.Duration(a.Fresh.Age); got != c.want {
			t.Errorf("%+v: age %v", c, got)
		}
	}
}

// RFC 9111 §4.2.3: corrected_age_value = age_value + response_delay.
func TestRules_judgeAddsDelayToAge(t *testing.T) {
	for _, c := range []struct{ delay, want int64 }{{3, 10}, {0, 7}, {-5, 7}} {
		a := new(Rules).Judge(heads(0, ""), heads(200, "Age: 7|Cache-Control: max-age=60"), received-c.delay*second,
			received)
		if a.Fresh.Age != c.want*second {
			t.Errorf("delay %d: age %d, want %d", c.delay, a.Fresh.Age/second, c.want)
		}
	}
}

func TestAnswer_keeps(t *testing.T) {
	const dropped = "-X-Dropped: 1|Connection: close, X-Hop|X-HOP: 1|Keep-Alive: 1|TE: 1|Trailer: a|" +
		"Transfer-Encoding: chunked|Upgrade: h2c|Proxy-Connection: close|Proxy-Authenticate: x|Proxy-Status: x|" +
		"proxy-anything: x|Age: 1|Content-Length: 5|X-A: 1|x-b: 1|X-C: 1"
	kept := []string{"Cache-Control", "Date", "ETag", "Vary", "X-D", "Proxy", "Set-Cookie", "Content-Encoding"}
	const lines = `Cache-Control: max-age=60, no-cache="x-a , X-B,,", private=x-c|Date: x|ETag: x|Vary: a|X-D: 1|` +
		"Proxy: 1|Set-Cookie: a=b|Content-Encoding: gzip|" + dropped
	for _, policy := range []SetCookie{Store, Strip} {
		h := heads(200, lines)
		a := (&Rules{SetCookie: policy}).Judge(heads(0, ""), h, received, received)
		var got []string
		for i := range h.Fields {
			if a.Keeps(h, i) {
				got = append(got, string(h.Name(i)))
			}
		}
		want := kept
		if policy == Strip {
			want = slices.DeleteFunc(slices.Clone(kept), func(s string) bool { return s == "Set-Cookie" })
		}
		if !slices.Equal(got, want) || a.Reason != ReasonNone {
			t.Errorf("%v: keeps %q, want %q", a.Reason, got, want)
		}
	}
}

func TestFreshness(t *testing.T) {
	const most = 1 << 31 * second
	for _, c := range []struct {
		f    Freshness
		now  int64
		age  time.Duration
		left time.Duration
		want Reason
	}{
		{Freshness{Received: received, Age: 0, Lifetime: 60 * second}, received, 0, time.Minute, ReasonFresh},
		{Freshness{Received: received, Age: 0, Lifetime: 60 * second}, received + 60*second - 1, time.Minute - 1, 1,
			ReasonFresh},
		{Freshness{Received: received, Age: 0, Lifetime: 60 * second}, received + 60*second, time.Minute, 0,
			ReasonExpired},
		{Freshness{Received: received, Age: 10 * second, Lifetime: 60 * second}, received + 55*second,
			65 * time.Second, -5 * time.Second,
			ReasonExpired},
		{Freshness{Received: received, Age: 0, Lifetime: 60 * second}, received - 1, 0, time.Minute, ReasonFresh},
		// by another clock
		{Freshness{Received: received, Age: 0, Lifetime: 60 * second}, received - second, 0, time.Minute, ReasonFresh},
		{Freshness{Received: received, Age: 0, Lifetime: 60 * second}, received - second - 1, ageMax,
			time.Minute - ageMax, ReasonExpired},
		{Freshness{Received: received, Age: 0, Lifetime: most}, received - second - 1, ageMax, 0, ReasonExpired},
		{Freshness{Received: received, Age: most, Lifetime: most}, received + most, ageMax, 0, ReasonExpired},
		{Freshness{Received: -1 << 63, Age: 1, Lifetime: most}, received, ageMax, 0, ReasonExpired},
		{Freshness{Received: received, Age: -1 << 63, Lifetime: 1 << 62}, received, ageMax, 0, ReasonExpired},
		{Freshness{Received: received, Age: 1<<63 - 1, Lifetime: -1 << 63}, received, ageMax, -ageMax, ReasonExpired},
		{Freshness{}, 0, 0, 0, ReasonExpired},
	} {
		age, left, got := c.f.AgeAt(c.now), c.f.Left(c.now), new(Rules).Reuse(&c.f, heads(0, ""), c.now)
		if age != c.age || left != c.left || got != c.want {
			t.Errorf("%+v at %d: age %v, left %v, %v", c.f, c.now, age, left, got)
		}
	}
}

// All statuses of RFC 9110 §15 that must-understand is about.
func TestUnderstood(t *testing.T) {
	var got strings.Builder
	for s, first := uint16(0), uint16(0); s < 1000; s++ {
		switch {
		case !understood(s):
			first = 0
		case first == 0:
			if first = s; !understood(s + 1) {
				fmt.Fprintf(&got, "%d ", s)
			}
		case !understood(s + 1):
			fmt.Fprintf(&got, "%d-%d ", first, s)
		}
	}
	// 206, 304 and 416 are not stored at all.
	if want := "200-205 300-303 307-308 400-401 403-415 417 421-422 426 500-505 "; got.String() != want {
		t.Errorf("%s, want %s", got.String(), want)
	}
}

func ExampleRules_Judge() {
	rules := &Rules{}
	var request, answer message.Head
	request.Add("Cookie", "session=1")
	answer.Status = 200
	answer.Add("Cache-Control", "max-age=60")
	answer.Add("Set-Cookie", "seen=1")

	a := rules.Judge(&request, &answer, received, received)
	text, try := a.Reason.Explain()
	fmt.Printf("%s: %s\n%s\n", a.Reason, text, try)

	rules = &Rules{SetCookie: Strip}
	a = rules.Judge(&request, &answer, received, received)
	fmt.Println(a.Reason == ReasonNone, a.Keeps(&answer, 0), a.Keeps(&answer, 1), a.Fresh.Left(received+20*second))
	// Output:
	// set-cookie: the answer sets a cookie
	// set_cookie = "strip", or no Set-Cookie on this path
	// true true false 40s
}
