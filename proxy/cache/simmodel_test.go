package cache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is the world around the cache in a simulation: what the origin has and answers, and which answers a cache
// may give to whom, when, and in which form. It shares nothing with package policy.

// simResource is what the origin has at a path.
type simResource struct {
	path      string
	status    int
	storage   string // Cache-Control
	vary      string
	setCookie bool
	tag       string // how its entity tags begin; "": it has none
	dated     bool   // it has Last-Modified
	length    int    // of most bodies
	framing   string
	waiting   [moments][]func()
	tags      string // Cache-Tag
	groups    string // Cache-Groups

	changed int          // answers before the one with this number show what was there before
	latest  *simAnswer   // to GET, whole or not
	changes []*simAnswer // to requests that have changed it
	failed  []int64      // when the origin answered with 5xx
}

// wanted is what a request says beside its path.
type wanted struct {
	method, lang, coding, cookie, authorization string
	part, ifRange, match, since, must, control  string
	content                                     string // of QUERY
	soft                                        string // Soft-Purge
}

// wantedField is a field of a wanted.
type wantedField struct {
	name  string
	value *string
}

// fields are the fields of the head in which w says what it wants.
func (w *wanted) fields() []wantedField {
	return []wantedField{
		{"x-lang", &w.lang}, {"accept-encoding", &w.coding}, {"cookie", &w.cookie},
		{"authorization", &w.authorization}, {"range", &w.part}, {"if-range", &w.ifRange},
		{"if-none-match", &w.match}, {"if-modified-since", &w.since}, {"if-match", &w.must},
		{"cache-control", &w.control}, {"soft-purge", &w.soft},
	}
}

// asFill is what a fill for w says, but for conditions of its own.
func (w wanted) asFill() wanted {
	if w.method == "HEAD" {
		w.method = "GET"
	}
	w.part, w.ifRange, w.match, w.since = "", "", "", ""
	return w
}

func (w *wanted) isSafe() bool { return w.method != "POST" && w.method != "PUT" }

// simAnswer is one answer of the origin. Its body is of no other one.
type simAnswer struct {
	number int
	asked  int // the number of its request, as the proxy counts: see numbering
	of     *simResource
	to     wanted
	at     int64

	status    int
	storage   string
	vary      string
	setCookie bool
	tag       string
	modified  string
	age       int        // s
	confirms  *simAnswer // of 304: the answer that is as good as new
	odd       bool       // 304 that speaks of another answer
	names     *simResource
	part      string // Content-Range
	tags      string // Cache-Tag
	groups    string // Cache-Groups
	ends      string // Cache-Group-Invalidation
	purge     *simPurge
	framing   string // "length", "chunked", "close"
	failure   string
	body      []byte // all that there is
	sent      []byte // what the origin sends of it

	given  int   // to how many clients as the answer to their own request
	begun  int64 // when the origin had sent its head
	ended  int64 // when the origin was through with it
	headAt int64 // when a client had its head
}

// whole reports whether the origin sends all of a.
func (a *simAnswer) whole() bool { return a.failure == "" }

// matches reports whether a, which varies by some fields, is for requests that say w.
func (a *simAnswer) matches(w wanted) bool {
	return (!strings.Contains(a.vary, "X-Lang") || a.to.lang == w.lang) &&
		(!strings.Contains(a.vary, "Accept-Encoding") || a.to.coding == w.coding) &&
		(a.to.method == "QUERY") == (w.method == "QUERY") && a.to.content == w.content
}

// key is what a cache has a under.
func (a *simAnswer) key() string {
	key := strings.TrimPrefix(a.to.method, "GET") + a.of.path + " " + a.to.content
	if strings.Contains(a.vary, "X-Lang") {
		key += " " + a.to.lang
	}
	if strings.Contains(a.vary, "Accept-Encoding") {
		key += " " + a.to.coding
	}
	return key
}

// bodiless reports whether there is no body whatever the head says.
func (a *simAnswer) bodiless() bool {
	return a.to.method == "HEAD" || a.status == 304 || a.status == 204
}

// wire returns the bytes of a, and how many of them are its head. The number of an answer, and the number of each 304
// that a cache has renewed it by, stand in fields that stay in a 304 of the cache.
func (a *simAnswer) wire() (b []byte, headLen int) {
	number, location := "Number", ""
	if a.confirms != nil {
		number = fmt.Sprintf("R%d", a.number)
	}
	if a.names != nil {
		location = a.names.path
	}
	b = fmt.Appendf(nil, "HTTP/1.1 %d Some\r\n%s-Cache-Control: %d\r\n", a.status, number, a.number)
	for _, f := range [][2]string{
		{"Date", simDate(a.at)}, {"Cache-Control", a.storage}, {"Vary", a.vary}, {"ETag", a.tag},
		{"Last-Modified", a.modified}, {"Location", location}, {"Content-Range", a.part},
		{"Cache-Tag", a.tags}, {"Cache-Groups", a.groups}, {"Cache-Group-Invalidation", a.ends},
	} {
		if f[1] != "" {
			b = fmt.Appendf(b, "%s: %s\r\n", f[0], f[1])
		}
	}
	if a.setCookie {
		b = append(b, "Set-Cookie: a=b\r\n"...)
	}
	if a.age > 0 {
		b = fmt.Appendf(b, "Age: %d\r\n", a.age)
	}
	switch {
	case a.framing == "close":
		b = append(b, "Connection: close\r\n\r\n"...)
	case a.status == 304, a.status == 204:
		b = append(b, "\r\n"...)
	case a.framing == "length":
		b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n", len(a.sent))
	default:
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
	}
	switch headLen = len(b); {
	case a.bodiless():
	case a.framing == "chunked":
		b = a.appendChunks(b)
	default:
		b = append(b, a.sent...)
	}
	return b, headLen
}

func (a *simAnswer) appendChunks(b []byte) []byte {
	for body, n := a.sent, 0; len(body) > 0; body = body[n:] {
		n = min(len(body), 1+(a.number*131+len(body)*977)%9000)
		b = append(append(fmt.Appendf(b, "%x\r\n", n), body[:n]...), "\r\n"...)
	}
	b = append(b, "0\r\n"...)
	if a.number%4 == 0 {
		b = append(b, "X-Trailer: 1\r\n"...)
	}
	return append(b, "\r\n"...)
}

func simDate(ns int64) string { return time.Unix(0, ns).UTC().Format(http.TimeFormat) }

// simModified is the Last-Modified of the answer with a number: no other one has it.
func simModified(number int) string {
	return simDate(time.Date(2020, 1, 1, 0, 0, number, 0, time.UTC).UnixNano())
}

// The origin.

// answer makes the answer to a request.
func (s *simulation) answer(head, content string) *simAnswer {
	lines := strings.Split(head, "\r\n")
	a := &simAnswer{number: len(s.answers), at: simEpoch + s.w.Now()}
	a.to.content = content
	var path string
	fmt.Sscan(lines[0], &a.to.method, &path)
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ": ")
		if strings.EqualFold(name, "X-Asked") {
			a.asked, _ = strconv.Atoi(value)
		}
		for _, f := range a.to.fields() {
			if strings.EqualFold(name, f.name) {
				*f.value = value
			}
		}
	}
	i := slices.IndexFunc(s.resources, func(r *simResource) bool { return r.path == path })
	if i < 0 || a.to.method == "PURGE" {
		s.t.Fatalf("origin: %q", lines[0])
	}
	a.of = s.resources[i]
	s.draw(a)
	if s.answers = append(s.answers, a); a.to.isSafe() {
		s.condition(a)
	} else {
		s.change(a)
	}
	if a.status >= 500 {
		a.of.failed = append(a.of.failed, a.at)
	}
	a.failure = s.failure()
	if a.to.method == "GET" {
		a.of.latest = a
	}
	// A marker of a visitor has visitors alone go by: requests with Cookie or Authorization.
	passes := a.to.authorization != "" || s.visitors && a.to.cookie != ""
	if s.calm && (a.to.method == "GET" || a.to.method == "QUERY") && a.to.part == "" && a.to.must == "" && !passes {
		s.judgeNeed(a)
	}
	return a
}

// failure draws how an answer fails.
func (s *simulation) failure() string {
	switch {
	case !s.faults, s.settled, s.fails == "no", s.fails == "503":
		return ""
	case s.fails != "":
		return s.fails
	case s.rng.IntN(2) > 0:
		return ""
	}
	return pick(s.rng, "dies", "closes", "silent", "half head", "reset", "reset", "short", "short")
}

// draw gives a what the origin has there.
func (s *simulation) draw(a *simAnswer) {
	r, n := a.of, a.of.length
	a.status, a.storage, a.vary, a.setCookie, a.framing = r.status, r.storage, r.vary, r.setCookie, r.framing
	if s.fails == "503" {
		a.status, a.storage = 503, ""
	}
	if !s.steady && s.rng.IntN(4) == 0 {
		n, a.framing = s.bodySize(), pick(s.rng, "length", "chunked", "close")
		if !s.calm && s.rng.IntN(2) == 0 {
			a.storage, a.setCookie = pick(s.rng, simStorages...), s.rng.IntN(8) == 0
			a.vary = pick(s.rng, "", "X-Lang", "Accept-Encoding")
			a.status = pick(s.rng, 200, 200, 500, 503)
			a.age = pick(s.rng, 0, 0, 1, 3)
		}
	}
	if s.purges {
		s.drawTags(a)
	}
	if r.tag != "" {
		a.tag = fmt.Sprintf(`%s%d"`, r.tag, a.number)
	}
	if r.dated {
		a.modified = simModified(a.number)
	}
	a.body = s.bodyOf(a.number, n)
	a.sent = a.body
}

// condition has a be what the conditions and the range of its request make of it.
func (s *simulation) condition(a *simAnswer) {
	if a.status != 200 {
		return
	}
	if s.rng.IntN(4) == 0 && !s.steady {
		a.of.changed = a.number
	}
	if k := s.named(a); k != nil {
		a.status, a.confirms, a.body, a.sent = 304, k, nil, nil
		a.tag, a.modified = pick(s.rng, k.tag, ""), pick(s.rng, k.modified, "")
		a.storage, a.vary = pick(s.rng, a.storage, ""), pick(s.rng, a.vary, "")
		a.tags, a.groups = pick(s.rng, a.tags, ""), pick(s.rng, a.groups, "")
		if s.ages && !s.steady && s.rng.IntN(4) == 0 {
			a.storage = pick(s.rng, simAging...)
		}
		if a.odd = !s.calm && s.rng.IntN(8) == 0; a.odd && k.tag != "" {
			a.tag = `"other"`
		} else if a.odd {
			a.vary = "X-Lang, X-Other"
		}
		return
	}
	if a.to.part == "" || a.to.method != "GET" || s.rng.IntN(3) == 0 {
		return
	}
	w := wanted{method: "GET", part: a.to.part, ifRange: a.to.ifRange}
	var at, n int
	if a.status, at, n = versionOf(a).shape(&w); a.status != 200 {
		a.framing, a.sent, a.part = "length", a.body[at:at+n], contentRange(a.status, at, n, len(a.body))
	}
}

// named returns the answer that the conditions of the request for a name, if it is as good as new.
func (s *simulation) named(a *simAnswer) *simAnswer {
	if s.confuses && a.of.latest != nil && a.to.match+a.to.since != "" {
		return a.of.latest
	}
	for _, k := range s.answers[a.of.changed:a.number] {
		named := a.to.match == "" && a.to.since != "" && a.to.since == k.modified
		for tag := range strings.SplitSeq(a.to.match, ", ") {
			named = named || k.tag != "" && bare(tag) == bare(k.tag)
		}
		if named && k.of == a.of && k.status == 200 && k.to.method != "HEAD" && k.vary == a.vary && k.matches(a.to) {
			return k
		}
	}
	return nil
}

// change has a, the answer to a request that is not safe, say what has become of that.
func (s *simulation) change(a *simAnswer) {
	if a.status = 200; !s.steady {
		a.status = pick(s.rng, 200, 200, 204, 303, 404, 500)
	}
	switch {
	case a.status >= 400:
		return
	case a.status == 204:
		a.body, a.sent = nil, nil
	}
	if a.ends != "" {
		a.purge = &simPurge{kind: PurgeTag, name: a.ends, asked: a.asked, drawn: a.number}
		s.purged = append(s.purged, a.purge)
	}
	a.of.changed, a.of.changes = a.number+1, append(a.of.changes, a)
	if s.rng.IntN(2) == 0 {
		a.names = pick(s.rng, s.resources...)
		a.names.changed, a.names.changes = a.number+1, append(a.names.changes, a)
	}
}

// drawTags gives a its tags and groups, and groups that only the answer to an unsafe request ends.
func (s *simulation) drawTags(a *simAnswer) {
	if a.tags, a.groups = a.of.tags, a.of.groups; !s.steady && s.rng.IntN(4) == 0 {
		a.tags, a.groups = s.someTags(a.of), pick(s.rng, "", `"g0"`, `"g0", "g1"`)
	}
	a.ends = pick(s.rng, "", "", `"g0"`, `"g1"`)
}

// someTags draws a Cache-Tag for answers of r.
func (s *simulation) someTags(r *simResource) string {
	own := "own" + r.path
	return pick(s.rng, "", own, "t0", "t0, "+own, "t0, t1", own+", t1, t0")
}

// bodyOf returns the body of the answer with a number.
func (s *simulation) bodyOf(number, n int) []byte {
	rng := rand.NewPCG(s.w.Seed(), uint64(number))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b[:n]
}

// What a cache has.

// version is an answer as a cache has it: the answer with the body, and the last 304 that has renewed it.
type version struct {
	*simAnswer
	last      *simAnswer // the last 304, or else the answer itself
	storage   string     // Cache-Control of the last 304 that has it, or else of the answer
	tags      string     // Cache-Tag, likewise
	groups    string     // Cache-Groups, likewise
	setCookie bool       // the answer or a 304 sets a cookie
	before    *version   // the version that the last 304 has renewed
	unshared  bool       // others may have asked by themselves before it came
	uncertain bool       // and may have got something else that the cache has now
}

func versionOf(a *simAnswer) version {
	return version{
		simAnswer: a, last: a, storage: a.storage, setCookie: a.setCookie, tags: a.tags, groups: a.groups,
	}
}

// renewed is v after a 304.
func (v version) renewed(by *simAnswer) version {
	before := v
	v.last, v.setCookie, v.before = by, v.setCookie || by.setCookie, &before
	v.storage, v.tags = cmp.Or(by.storage, v.storage), cmp.Or(by.tags, v.tags)
	v.groups = cmp.Or(by.groups, v.groups)
	return v
}

// directive returns a directive of Cache-Control as a time.
func (v *version) directive(name string) (d time.Duration, found bool) {
	for one := range strings.SplitSeq(v.storage, ", ") {
		if key, value, _ := strings.Cut(one, "="); key == name {
			n, _ := strconv.Atoi(value)
			return time.Duration(n) * time.Second, true
		}
	}
	return 0, false
}

func (v *version) says(name string) bool {
	_, found := v.directive(name)
	return found
}

// lifetime is how long v is fresh.
func (v *version) lifetime() (d time.Duration, known, stated bool) {
	for _, name := range []string{"s-maxage", "max-age"} {
		if d, found := v.directive(name); found {
			return d, true, true
		}
	}
	switch known = v.status < 500; {
	case known && v.modified != "": // six years ago
		return time.Hour, true, false
	default:
		return 0, known, false
	}
}

// born is when v was of no age: at the first time at the earliest, and at the second one at the latest. Its Date says
// nothing more: it names the second of the answer, which is not older than its request.
func (v *version) born(delay time.Duration) (from, to int64) {
	aged := v.last.at - int64(v.last.age)*int64(time.Second)
	return aged - int64(delay), aged
}

// window is how long after its lifetime v may be used, by a directive or else by the route.
func (v *version) window(name string, route time.Duration) time.Duration {
	if d, found := v.directive(name); found {
		return d
	}
	return route
}

// isStrict reports whether v is never used after its lifetime.
func (v *version) isStrict() bool {
	return v.says("no-cache") || v.says("must-revalidate") || v.says("s-maxage")
}

// storable reports whether v may be given to others than the sender of the request that its last answer is to.
func (s *simulation) storable(v *version) bool {
	to := &v.last.to
	_, known, stated := v.lifetime()
	return (to.method == "GET" || to.method == "QUERY") && to.part == "" && known && !v.setCookie &&
		v.status != 206 && v.status != 304 && v.status != 416 && !v.says("no-store") && !v.says("private") &&
		(to.authorization == "" || v.says("public") || v.says("s-maxage") || v.says("must-revalidate")) &&
		(to.cookie == "" || stated) && !(s.route.Rules.Honour && to.control == "no-store") &&
		!strings.Contains(v.vary, "*") && int64(len(v.body)) <= s.route.most(s.zone)
}

// bare is a tag without the mark of a weak one.
func bare(tag string) string { return strings.TrimPrefix(tag, "W/") }

// shape returns which status a request gets from a cache that has v, and which n bytes of the body.
func (v version) shape(w *wanted) (status, at, n int) {
	all := len(v.body)
	switch since, err := http.ParseTime(w.since); {
	case v.status != 200:
		return v.status, 0, all
	case w.match == "*", w.match != "" && v.tag != "" && slices.ContainsFunc(strings.Split(w.match, ", "),
		func(tag string) bool { return bare(tag) == bare(v.tag) }):
		return 304, 0, 0
	case w.match == "" && err == nil:
		modified := time.Unix(0, v.last.at-v.last.at%int64(time.Second))
		if v.modified != "" {
			modified, _ = http.ParseTime(v.modified)
		}
		if !since.Before(modified) {
			return 304, 0, 0
		}
	}
	holds := w.ifRange == "" || w.ifRange == v.modified || w.ifRange == v.tag && w.ifRange[0] == '"'
	spec, ok := strings.CutPrefix(w.part, "bytes=")
	if w.method != "GET" || !ok || all == 0 || !holds || strings.Contains(spec, ",") {
		return 200, 0, all
	}
	from, to, _ := strings.Cut(spec, "-")
	first, _ := strconv.Atoi(from)
	last, err := strconv.Atoi(to)
	switch {
	case from == "" && last == 0:
		return 416, 0, 0
	case from == "":
		n = min(last, all)
		return 206, all - n, n
	case err == nil && last < first:
		return 200, 0, all
	case first >= all:
		return 416, 0, 0
	case err != nil:
		last = all - 1
	}
	return 206, first, min(last, all-1) - first + 1
}

// contentRange is the field that comes with a status.
func contentRange(status, at, n, all int) string {
	switch status {
	case 206:
		return fmt.Sprintf("bytes %d-%d/%d", at, at+n-1, all)
	case 416:
		return fmt.Sprintf("bytes */%d", all)
	}
	return ""
}

// simPurge is a purge of all answers that have a name.
//
//	sent ──► it takes effect: an answer asked for before sent is purged, one asked for later may be ──► answered
type simPurge struct {
	kind  PurgeKind
	name  string // a path, where it is about a URL or a prefix
	soft  bool
	asked int // requests that had gone to the origin when it was sent: answers to these are purged
	drawn int // answers that the origin had drawn then: so are these
	turn  int // simulation.turns when it was answered; 0: it was not
	at    int64
	until int // requests that had gone to the origin when it was answered
}

// answered notes that p was answered.
func (s *simulation) answered(p *simPurge) {
	s.turns++
	p.turn, p.at, p.until = s.turns, s.w.Now(), s.asked
}

// precedes reports whether p was answered before q began.
func (p *simPurge) precedes(q *simRequest) bool { return p.turn > 0 && p.turn < q.turn }

// names reports whether v has the name of p.
func (p *simPurge) names(v *version) bool {
	switch p.kind {
	case PurgeURL:
		return p.name == v.of.path
	case PurgePrefix:
		return strings.HasPrefix(v.of.path, p.name)
	case PurgeHost:
		return p.name == "sim"
	case PurgeTag:
		return slices.Contains(strings.Split(v.tags+", "+v.groups, ", "), p.name)
	}
	return true
}

// covers reports whether v was asked for before p, and has the name of p; or what v was before the last 304 is such a
// version, and p was answered before that 304 was sent.
func (p *simPurge) covers(v *version) bool {
	if (v.last.asked <= p.asked || v.last.number < p.drawn) && p.names(v) {
		return true
	}
	return v.before != nil && p.turn > 0 && v.last.begun > p.at && (!p.soft || v.last.asked <= p.asked) &&
		p.covers(v.before)
}

// mayCover reports whether v, or what it was before the last 304, may be purged by p.
func (p *simPurge) mayCover(v *version) bool {
	return (p.turn == 0 || v.last.asked <= p.until) && (p.names(v) || v.before != nil && p.names(v.before))
}

// explained reports whether the origin may have been asked for a since v was purged. What tags an answer will have is
// not known before its head: until then a purge of any tag counts. An answer that was purged on its way makes known by
// what answers vary, so that a fill which was begun after the purge is not found any more.
//
// A 304 that changes the tags of an answer does not renew it where anything was purged by a URL since it was asked for.
func (s *simulation) explained(v *version, a *simAnswer) bool {
	retagged := func(b *simAnswer) bool {
		return b.of == a.of && b.confirms != nil && b.tags+b.groups != b.confirms.tags+b.confirms.groups
	}
	if len(s.purged) > 0 && slices.ContainsFunc(s.answers, retagged) {
		return true
	}
	if v.vary != "" && len(s.purged) > 0 && s.onItsWay(v, a.at) {
		return true
	}
	return slices.ContainsFunc(s.purged, func(p *simPurge) bool {
		early := p.kind == PurgeTag && (p.turn == 0 || v.last.asked <= p.until && s.onItsWay(v, simEpoch+p.at))
		return a.asked > p.asked && (early || p.mayCover(v))
	})
}

// expired reports whether v is expired for q by soft purges, and when the last one was that may count; 0: none.
func (s *simulation) expired(q *simRequest, v *version) (by int64, expired bool) {
	for _, p := range s.purged {
		if !p.soft || !p.mayCover(v) {
			continue
		}
		at := simEpoch + p.at
		if p.turn == 0 {
			at = simEpoch + s.w.Now()
		}
		by, expired = max(by, at), expired || p.precedes(q) && p.covers(v)
	}
	return by, expired
}

// The judgement.

// told is what Cache-Status says.
type told struct {
	hit, collapsed    bool
	forwarded, detail string
	code, ttl         int
}

func tellOf(status string) (t told) {
	for p := range strings.SplitSeq(status, "; ") {
		switch name, value, _ := strings.Cut(p, "="); name {
		case "hit":
			t.hit = true
		case "collapsed":
			t.collapsed = true
		case "fwd":
			t.forwarded = value
		case "detail":
			// Why a stored answer was not used says nothing of the answer that came in its place.
			switch value {
			case "no-cache", "must-revalidate", "request-no-cache", "request-max-age", "request-min-fresh":
			default:
				t.detail = value
			}
		case "fwd-status":
			t.code, _ = strconv.Atoi(value)
		case "ttl":
			t.ttl, _ = strconv.Atoi(value)
		}
	}
	return t
}

// passed reports whether the request went by the cache.
func (t *told) passed() bool { return t.forwarded == "bypass" || t.forwarded == "method" }

// own reports whether the answer is the one to the request itself.
func (t *told) own() bool { return !t.hit && !t.collapsed }

// judgeNeed looks whether the origin had to be asked for a, which all may have that want the same.
func (s *simulation) judgeNeed(a *simAnswer) {
	fresh := versionOf(a)
	if a.confirms != nil {
		fresh = versionOf(a.confirms).renewed(a)
	}
	key := fresh.key()
	if v, held := s.held[key]; held {
		if v.last.asked > a.asked && s.explained(&fresh, v.last) { // a was purged, and comes late
			v.unshared = true
			s.held[key] = v
			return
		}
		s.judgeAsked(a, v, key)
		if v.simAnswer == a.confirms {
			fresh = v.renewed(a)
		}
		life, _, _ := v.lifetime()
		from, _ := v.born(s.delay)
		fresh.unshared = v.says("no-cache") || v.last.ended+int64(s.delay) >= from+int64(life) ||
			v.uncertain || v.unshared && s.onItsWay(&v, a.at) || slices.ContainsFunc(s.purged, func(p *simPurge) bool {
			return p.soft && p.mayCover(&v) && s.onItsWay(&v, simEpoch+p.at)
		})
		fresh.uncertain = (v.unshared || s.lag > 0) && s.onItsWay(&v, a.at) ||
			v.uncertain && a.confirms != nil && a.storage == ""
	}
	s.held[key] = fresh
}

// judgeAsked looks whether the origin had to be asked for a while a cache has v.
func (s *simulation) judgeAsked(a *simAnswer, v version, key string) {
	for _, p := range a.of.changes { // v may count no more
		if p.headAt == 0 || simEpoch+p.headAt > v.last.at-int64(s.delay) {
			return
		}
	}
	if s.explained(&v, a) {
		return
	}
	life, _, _ := v.lifetime()
	if a.to.match+a.to.since == "" && v.tag+v.modified != "" && !s.onItsWay(&v, a.at) {
		s.t.Fatalf("the origin was asked for %q without conditions\n%s", key, s.history())
	}
	alone := v.says("no-cache") || v.uncertain || v.unshared && s.onItsWay(&v, a.at)
	if from, _ := v.born(s.delay); a.at < from+int64(life) && !alone {
		s.t.Fatalf("the origin was asked for %q, answer %d of which was fresh\n%s", key, v.last.number, s.history())
	}
}

// onItsWay reports whether the cache may not have had v at a time.
func (s *simulation) onItsWay(v *version, at int64) bool {
	return v.last.ended == 0 || at < v.last.ended+int64(s.delay)
}

// judgeHead looks whether q may be answered by that head.
func (s *simulation) judgeHead(q *simRequest, status int, field map[string]string) {
	if q.answer != nil || q.ours {
		return
	}
	v, ok := s.versionIn(field)
	switch {
	case ok:
	case q.purge != nil && status == 200:
		q.ours = true
		s.answered(q.purge)
		return
	case status == 416:
		s.judgeNoPart(q, field)
		return
	default:
		q.ours = true
		demanded := s.route.Rules.Honour && q.control == "only-if-cached" && status == 504
		failed := s.faults && !s.settled && field["proxy-status"] != "" && 502 <= status && status <= 504
		if !demanded && !failed {
			s.t.Fatalf("%v: the proxy answers %d by itself: %v\n%s", q, status, field, s.history())
		}
		return
	}
	how := tellOf(field["cache-status"])
	q.answer, q.how = &v, how
	if p := v.last.purge; p != nil && p.turn == 0 {
		s.answered(p)
	}
	if v.last.headAt = cmp.Or(v.last.headAt, s.w.Now()); how.own() {
		v.last.given++
	}
	for _, wrong := range []string{
		s.misgiven(q, &v, &how, field), s.unfresh(q, &v, &how), s.misshaped(q, &v, &how, status, field),
		s.misaged(q, &v, &how, field["age"]), s.undemanded(q, &how, field["age"]), s.goesBack(q, &v, &how),
	} {
		if wrong != "" {
			s.t.Fatalf("%v: %s: %d %v\n%s", q, wrong, status, field, s.history())
		}
	}
}

// judgeNoPart looks whether the cache may say that there is nothing at the range of q. It does not say of which answer.
func (s *simulation) judgeNoPart(q *simRequest, field map[string]string) {
	w := q.wanted
	w.match, w.since = "", "" // a 304 has changed the Date
	for _, a := range s.answers {
		v := versionOf(a)
		status, _, _ := v.shape(&w)
		if all := len(a.body); a.of == q.of && a.matches(q.wanted) && s.storable(&v) && status == 416 &&
			field["content-range"] == contentRange(416, 0, 0, all) && field["content-length"] == "0" {
			q.answer, q.how = &v, tellOf(field["cache-status"])
			return
		}
	}
	s.t.Fatalf("%v: there is no such answer: 416 %v\n%s", q, field, s.history())
}

// renewals are the numbers of all 304 that a head has, in a map of its fields.
const renewals = ""

// addField adds a field to a map of all.
func addField(fields map[string]string, name, value string) {
	name = strings.ToLower(name)
	if digits, ok := strings.CutSuffix(name, "-cache-control"); ok && digits[0] == 'r' {
		fields[renewals] += " " + digits[1:]
	}
	fields[name] += value
}

// versionIn returns the version that a head is of. It reports false for an answer of the proxy.
func (s *simulation) versionIn(field map[string]string) (v version, ok bool) {
	number, found := field["number-cache-control"]
	by := strings.Fields(field[renewals])
	if !found && len(by) == 1 { // to the conditions of the client
		number, by = by[0], nil
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return v, false
	}
	v = versionOf(s.answers[n])
	for _, number := range by {
		n, _ := strconv.Atoi(number)
		if !s.storable(&v) {
			s.t.Fatalf("answer %d was stored\n%s", v.last.number, s.history())
		}
		v = v.renewed(s.answers[n])
		if a := v.last; a.confirms != v.simAnswer || a.odd || !v.matches(a.to) || !s.storable(&v) {
			s.t.Fatalf("answer %d was renewed by %d\n%s", v.number, n, s.history())
		}
	}
	return v, true
}

// misgiven says why v may not be given to q.
func (s *simulation) misgiven(q *simRequest, v *version, how *told, field map[string]string) string {
	own, as := v.last.to, q.wanted
	if !how.passed() {
		own, as = own.asFill(), as.asFill()
	}
	switch {
	case v.of != q.of || field["etag"] != v.tag:
		return "it is another answer"
	case how.own() && v.last.given > 1:
		return "it was given before"
	case how.own() && (own != as || v.last.to.part != as.part):
		return "it is the answer to another request"
	case strings.HasSuffix(how.forwarded, "miss") && v.last.to.match+v.last.to.since != "":
		return "the origin was asked with conditions"
	case how.forwarded != "" && !how.passed() && v.last.to.ifRange != "":
		return "the origin was asked for a part"
	case strings.HasSuffix(how.forwarded, "miss") && how.own() && q.method == "HEAD":
		return "HEAD has fetched something"
	case s.calm && !s.visitors && !s.ages && slices.Contains([]string{"waited", "crowd", "uncacheable"}, how.detail):
		return "it was not necessary to go by"
	case !v.matches(q.wanted):
		return "it is for other requests"
	case !how.own() && !s.storable(v):
		return "it is for one request"
	case how.hit && !(v.whole() && v.last.whole()):
		return "it was cut off"
	case v.simAnswer != v.last && how.code != 304 && !how.hit:
		return "it does not say that it was renewed"
	}
	for _, p := range q.of.changes {
		if p.headAt > 0 && p.headAt <= q.sent && v.last.number < p.number {
			return fmt.Sprintf("answer %d had ended it %v before", p.number, time.Duration(q.sent-p.headAt))
		}
	}
	for _, p := range s.purged {
		if !p.soft && p.precedes(q) && p.covers(v) {
			return fmt.Sprintf("the %v %q had been purged %v before", p.kind, p.name, time.Duration(q.sent-p.at))
		}
	}
	return ""
}

// simHit is that a client had the head of a version at a time.
type simHit struct {
	at int64
	of *simAnswer // its last one
}

// goesBack says that there was a hit before q with a version that was asked for later. Where not all is stored, a
// marker may have taken the place of that, and have been removed.
func (s *simulation) goesBack(q *simRequest, v *version, how *told) string {
	if !how.hit || !s.calm {
		return ""
	}
	key := v.key()
	for _, before := range s.hits[key] {
		if before.at < q.sent && before.of.asked > v.last.asked {
			return fmt.Sprintf("answer %d was given from the cache before, which is newer", before.of.number)
		}
	}
	s.hits[key] = append(s.hits[key], simHit{s.w.Now(), v.last})
	return ""
}

// unfresh says why v is too old for q.
func (s *simulation) unfresh(q *simRequest, v *version, how *told) string {
	life, _, _ := v.lifetime()
	_, born := v.born(0)
	ends := born + int64(life)
	by, expired := s.expired(q, v)
	if expired { // stamps of many requests at a time are ahead of the clock
		ends = min(ends, by+int64(20*time.Millisecond))
	}
	stale := time.Duration(simEpoch+q.sent-ends) - s.lag // when the cache was asked, at least
	window := time.Duration(-1)
	switch how.detail {
	case "stale-while-revalidate":
		window = v.window("stale-while-revalidate", s.route.Rules.StaleWhile)
	case "max-stale":
		if window = -1; s.route.Rules.Honour && q.control == "max-stale=2" {
			window = 2 * time.Second
		}
	case "retry-later":
		window = v.window("stale-if-error", s.route.Rules.StaleOnError)
	case "stale-if-error":
		window, _ = v.directive("stale-if-error")
	case "stale-on-error":
		if !v.says("stale-if-error") {
			window = s.route.Rules.StaleOnError
		}
	}
	fails := slices.ContainsFunc(q.of.failed, func(at int64) bool {
		return at > simEpoch+q.sent-int64(time.Second+s.delay)
	})
	switch {
	case how.own():
		return ""
	case v.says("no-cache"), life <= 0 && how.collapsed:
		return "each request has to be answered by the origin"
	case how.collapsed && how.detail == "", how.hit && how.detail == "":
		if stale >= 0 || expired || how.hit && how.ttl < 0 {
			return fmt.Sprintf("it is stale for %v", stale)
		}
	case how.ttl > 0 && !expired && strings.HasSuffix(how.detail, "-error"): // it came while the origin failed
		return ""
	case how.ttl > 0:
		return "it is fresh"
	case v.isStrict(), stale >= window:
		return fmt.Sprintf("it is stale for %v, which is for %v at most", stale, window)
	case how.detail == "retry-later" && !s.faults && !fails, strings.HasSuffix(how.detail, "-error") && s.calm:
		return "the origin has not failed"
	}
	return ""
}

// misshaped says why the form of the answer is not what q asks for, and notes which bytes q is to get.
func (s *simulation) misshaped(q *simRequest, v *version, how *told, status int, field map[string]string) string {
	want, at, n := v.shape(&q.wanted)
	q.want = v.body[at : at+n]
	switch {
	case how.passed():
		want, n, q.want = v.last.status, len(v.last.sent), v.last.sent
		if part := field["content-range"]; part != v.last.part {
			return "Content-Range of another answer"
		}
	case how.detail != "" && !how.hit, status == 200 && want != 304 && v.framing != "length" && !how.hit:
		want, n, q.want = v.status, len(v.body), v.body // it is not stored, or its length was not known
		fallthrough
	default:
		if part := field["content-range"]; part != contentRange(want, at, len(q.want), len(v.body)) {
			return "Content-Range"
		}
	}
	length, stated := field["content-length"]
	switch {
	case status != want:
		return fmt.Sprintf("want status %d", want)
	case status == 204, !stated:
	case status == 304:
		n = len(v.body)
	}
	if stated && length != strconv.Itoa(n) {
		return fmt.Sprintf("want Content-Length %d", n)
	}
	if q.method == "HEAD" || v.last.bodiless() && how.passed() {
		q.want = nil
	} else {
		q.whole = status == v.status
	}
	return ""
}

// misaged says why Age is wrong, or how long the answer is said to be fresh.
func (s *simulation) misaged(q *simRequest, v *version, how *told, age string) string {
	if how.own() && how.code != 304 || how.passed() {
		return ""
	}
	n, err := strconv.Atoi(age)
	life, _, _ := v.lifetime()
	from, to := v.born(s.delay)
	least, most := simEpoch+q.sent-to-int64(s.lag), simEpoch+s.w.Now()-from
	by, expired := s.expired(q, v)
	if expired {
		life = min(life, time.Duration(by-from))
	}
	wrong := n + how.ttl - int(life/time.Second)
	if by > 0 || s.purges && !s.calm { // a retried request has a later number, and may be purged earlier
		wrong = max(wrong, 0)
	}
	switch has := int64(n) * int64(time.Second); {
	case err != nil, has > most, has <= least-int64(time.Second):
		return fmt.Sprintf("want an Age from %v to %v", time.Duration(least), time.Duration(most))
	case how.hit && abs(wrong) > 1:
		return fmt.Sprintf("the lifetime is %v", life)
	}
	return ""
}

// undemanded says why the directives of q do not allow the answer.
func (s *simulation) undemanded(q *simRequest, how *told, age string) string {
	n, _ := strconv.Atoi(age)
	fresh := how.hit && how.detail == ""
	switch {
	case !s.route.Rules.Honour, how.passed():
	case q.control == "only-if-cached" && !how.hit, q.control == "no-cache" && how.hit,
		q.control == "max-age=0" && fresh && n > 0, q.control == "min-fresh=1" && fresh && how.ttl < 1:
		return "Cache-Control of the request"
	}
	return ""
}

func abs(n int) int { return max(n, -n) }

// judgeEnd looks whether what q got for a whole answer is one.
func (s *simulation) judgeEnd(q *simRequest) {
	q.over = true
	if q.ours {
		s.Own++
		return
	}
	if q.whole && !q.answer.whole() {
		s.t.Fatalf("%v: an answer that was cut off came as a whole one\n%s", q, s.history())
	}
	if !bytes.Equal(q.body, q.want) {
		s.t.Fatalf("%v: %d wrong bytes, want %d\n%s", q, len(q.body), len(q.want), s.history())
	}
	s.Right++
}

// lost counts q, which has no whole answer, and looks at what it has.
func (s *simulation) lost(q *simRequest, reason *int) {
	q.over = true
	*reason++
	if reason == &s.CutOff && (!s.faults || s.settled) {
		s.t.Fatalf("%v was cut off\n%s", q, s.history())
	}
	if q.answer != nil && !bytes.HasPrefix(q.want, q.body) {
		s.t.Fatalf("%v: %d wrong bytes before the end", q, len(q.body))
	}
}

// history lists the answers of the origin.
func (s *simulation) history() string {
	var b strings.Builder
	for _, a := range s.answers {
		at := time.Duration(a.at - simEpoch - int64(time.Second))
		fmt.Fprintf(&b, "  %v: %d %s to %+v: %d %q %q %s %s, age %d, %s, %d bytes, %q, given to %d",
			at, a.number, a.of.path, a.to, a.status, a.storage, a.vary, a.tag, a.modified, a.age, a.framing,
			len(a.body), a.failure, a.given)
		if a.confirms != nil {
			fmt.Fprintf(&b, ", confirms %d", a.confirms.number)
		}
		fmt.Fprintf(&b, ", asked %d, tags %s %s\n", a.asked, a.tags, a.groups)
	}
	for _, p := range s.purged {
		fmt.Fprintf(&b, "  purge of %v, answered at %v: %+v\n", p.kind, time.Duration(p.at)-time.Second, *p)
	}
	return b.String()
}
