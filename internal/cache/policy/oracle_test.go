package policy

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// oracle is a second reading of RFC 9111 and of the page of the cache, written from their text: slow, on strings, in
// whole seconds where they have these.
type oracle struct {
	rules               Rules
	status              int
	path                string
	request, answer     [][2]string // names in lower case; none that is dropped
	asked, received     time.Time
	oracleDirectives                     // of the answer
	demands             oracleDirectives // of the request, where they count
	targeted            bool
	lifetime, age       time.Duration
	stale, staleOnError time.Duration // windows that the answer states, -1: none
	always, strict      bool
	estimated           bool // the lifetime
}

// oracleDirectives has the arguments of each name: "" for none, "!" for an invalid one, else "=" and the text; of a
// dictionary "#" and an integer, or `"` and a string.
type oracleDirectives struct {
	directives        map[string][]string
	indistinguishable bool
}

func newOracle(rules Rules, request, answer *message.Head, asked, received int64) *oracle {
	o := &oracle{rules: rules, status: int(answer.Status), path: string(request.Path()), request: pairs(request),
		answer: pairs(answer),
		asked:  time.Unix(0, asked), received: time.Unix(0, received)}
	for _, name := range rules.Targeted {
		if o.readDictionary(name) {
			o.targeted = true
			break
		}
	}
	if !o.targeted {
		o.oracleDirectives = readCacheControl(o.answer)
	}
	if rules.Honour {
		o.demands = readCacheControl(o.request)
		if slices.Contains(listOf(o.request, "pragma"), "no-cache") && len(values(o.request, "cache-control")) == 0 {
			o.demands.directives["no-cache"] = []string{""}
		}
	}
	return o
}

func pairs(h *message.Head) (all [][2]string) {
	for name, value := range h.All() {
		all = append(all, [2]string{strings.ToLower(string(name)), string(value)})
	}
	return all
}

func values(fields [][2]string, name string) (all []string) {
	for _, f := range fields {
		if f[0] == name {
			all = append(all, f[1])
		}
	}
	return all
}

func listOf(fields [][2]string, name string) (all []string) {
	for _, m := range strings.Split(strings.Join(values(fields, name), ","), ",") {
		if m = strings.Trim(m, " \t"); m != "" {
			all = append(all, m)
		}
	}
	return all
}

const tokenText = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"

var (
	// RFC 9111 §5.2: cache-directive = token [ "=" ( token / quoted-string ) ], with what people write instead.
	directiveText = regexp.MustCompile(`^[ \t]*(?:(` + tokenText +
		`)(?:([ \t]*)=([ \t]*)(?:"((?:[^"\\]|\\.)*)"([^",]*)|([^",]*))|[ \t]*))?(?:,|$)`)
	tokenOnly  = regexp.MustCompile(`^` + tokenText + `$`)
	digitsOnly = regexp.MustCompile(`^[0-9]+$`)
)

func readCacheControl(fields [][2]string) oracleDirectives {
	o := oracleDirectives{directives: map[string][]string{}}
	for _, line := range values(fields, "cache-control") {
		for line != "" {
			m := directiveText.FindStringSubmatch(line)
			if m == nil {
				o.indistinguishable = true
				return o
			}
			member := strings.TrimSuffix(m[0], ",")
			line = line[len(m[0]):]
			name, argument := strings.ToLower(m[1]), ""
			if strings.Contains(member, "=") {
				argument = "=" + m[4] + strings.TrimRight(m[6], " \t")
				if m[2]+m[3] != "" || strings.Trim(m[5], " \t") != "" {
					argument = "!"
				}
			}
			o.directives[name] = append(o.directives[name], argument)
		}
	}
	return o
}

// RFC 8941 §3: the grammar of a dictionary.
const (
	sfKey    = `[a-z*][a-z0-9_.*-]*`
	sfString = `"(?:[ !#-\[\]-~]|\\["\\])*"`
	sfItem   = `(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|` + sfString +
		"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*" + `|:[A-Za-z0-9+/=]*:|\?[01])`
	sfParameters = `(?:; *` + sfKey + `(?:=` + sfItem + `)?)*`
	sfInner      = `\( *(?:` + sfItem + sfParameters + `(?: +` + sfItem + sfParameters + `)* *)?\)`
	sfMember     = `(` + sfKey + `)(?:=(` + sfItem + `|` + sfInner + `))?` + sfParameters
)

var (
	sfDictionary  = regexp.MustCompile(`^` + sfMember + `(?:[ \t]*,[ \t]*` + sfMember + `)*$`)
	sfFirst       = regexp.MustCompile(`^` + sfMember + `(?:[ \t]*,[ \t]*|$)`)
	sfIntegerOnly = regexp.MustCompile(`^-?[0-9]+$`)
)

// readDictionary follows RFC 9213 §2.1. A field that is empty or not valid is ignored.
func (o *oracle) readDictionary(name string) bool {
	text := strings.Join(values(o.answer, name), ", ")
	if !sfDictionary.MatchString(text) {
		return false
	}
	o.directives = map[string][]string{}
	for text != "" {
		m := sfFirst.FindStringSubmatch(text)
		text = text[len(m[0]):]
		argument := "!"
		switch value := m[2]; {
		case value == "" || value == "?1":
			argument = ""
		case sfIntegerOnly.MatchString(value):
			argument = "#" + value
		case value[0] == '"':
			argument = `"` + value[1:len(value)-1]
		}
		o.directives[m[1]] = append(o.directives[m[1]], argument)
	}
	return true
}

func (o oracleDirectives) has(directive string) bool { return len(o.directives[directive]) > 0 }

func (o oracleDirectives) plainly(directive string) bool {
	return slices.Contains(o.directives[directive], "")
}

// fieldsOf returns the fields that a directive names, and whether one of its members is about the whole answer.
func (o oracleDirectives) fieldsOf(directive string) (fields []string, whole bool) {
	for _, argument := range o.directives[directive] {
		own := []string{}
		for _, name := range strings.Split(strings.TrimLeft(argument, `="`), ",") {
			if name = strings.Trim(name, " \t"); name != "" {
				own = append(own, strings.ToLower(name))
			}
		}
		bad := func(name string) bool { return !tokenOnly.MatchString(name) || strings.Contains(name, "'") }
		isText := strings.HasPrefix(argument, "=") || strings.HasPrefix(argument, `"`)
		if !isText || len(own) == 0 || slices.ContainsFunc(own, bad) {
			whole = true
			continue
		}
		fields = append(fields, own...)
	}
	return fields, whole
}

func (o oracleDirectives) seconds(directive string) (least time.Duration, stated, valid bool) {
	for _, argument := range o.directives[directive] {
		var s time.Duration
		isNumber := strings.HasPrefix(argument, "=") || strings.HasPrefix(argument, "#")
		if isNumber && digitsOnly.MatchString(argument[1:]) {
			s, valid = deltaSeconds(argument[1:]), true
		} else if directive == "max-stale" && argument == "" {
			s = 1 << 31 * time.Second
		}
		if !stated || s < least {
			least = s
		}
		stated = true
	}
	return least, stated, valid
}

func deltaSeconds(digits string) time.Duration {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > 1<<31 {
		n = 1 << 31
	}
	return time.Duration(n) * time.Second
}

// date reads one of the three forms; the text that the time would be written as has to be the one that was read.
func (o *oracle) date(s string) (time.Time, bool) {
	for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", "Mon Jan _2 15:04:05 2006"} {
		t, err := time.Parse(layout, s)
		if comma := strings.IndexAny(s, ", "); err == nil && strings.EqualFold(t.Format(layout)[comma:], s[comma:]) {
			return t, true
		}
	}
	const layout = "Monday, 02-Jan-06 15:04:05 GMT"
	if t, err := time.Parse(layout, s); err == nil && strings.HasSuffix(s, "GMT") {
		for year := o.received.UTC().Year() + 51; ; year-- {
			if year%100 != t.Year()%100 {
				continue
			}
			t := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
			if !t.After(o.received.UTC().AddDate(50, 0, 0)) {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

func (o *oracle) judge() Reason {
	date := o.received
	for i, s := range values(o.answer, "date") {
		t, ok := o.date(s)
		if !ok {
			t = o.received
		}
		if i == 0 || t.Before(date) {
			date = t
		}
	}
	o.readAge(date)
	known, declared, noCacheCounts := o.readLifetime(date)
	_, private := o.fieldsOf("private")
	_, noCache := o.fieldsOf("no-cache")
	_, sharedStated, shared := o.seconds("s-maxage")
	o.always = noCache && noCacheCounts
	o.strict = sharedStated || o.has("must-revalidate") || o.has("proxy-revalidate")
	o.stale, o.staleOnError = o.stated("stale-while-revalidate"), o.stated("stale-if-error")
	overruled := !noCacheCounts && (!declared || noCache) // a TTL that is obeyed takes the place of asking again
	hasValidator := len(values(o.answer, "etag"))+len(values(o.answer, "last-modified")) > 0
	hasCookie, authorized := len(values(o.request, "cookie")) > 0, len(values(o.request, "authorization")) > 0
	usableStale := !o.strict && o.age-o.lifetime < o.windowOr(o.stale, o.rules.StaleWhile)
	rows := []struct {
		reason Reason
		fits   bool
	}{
		{ReasonStatus, o.status < 200 || o.status == 206 || o.status == 304 || o.status == 416},
		{ReasonMustUnderstand, o.has("must-understand") && !slices.Contains(known9110, o.status)},
		{ReasonNoStore, o.indistinguishable || o.has("no-store") && !o.plainly("must-understand")},
		{ReasonRequestNoStore, o.demands.has("no-store") || o.demands.indistinguishable},
		{ReasonPrivate, private},
		{ReasonAuthorization, authorized &&
			(!(o.plainly("public") || o.plainly("must-revalidate") || shared) || overruled)},
		{ReasonCookie, hasCookie && (!declared || overruled) && o.rules.Cookies == Careful},
		{ReasonSetCookie, len(values(o.answer, "set-cookie")) > 0 && o.rules.SetCookie == Skip},
		{ReasonVary, o.variesTooMuch()},
		{ReasonNoLifetime, !known || o.estimated && !hasValidator && !o.always && o.lifetime <= o.age && !usableStale},
		{ReasonNoValidator, !hasValidator && (o.always || o.lifetime <= o.age && !usableStale)},
		{ReasonType, (hasCookie || authorized) && o.disguised()},
		{ReasonUnknownField, o.rules.KnownOnly && len(values(o.request, "x-strange")) > 0},
		{ReasonNone, true},
	}
	for _, row := range rows {
		if row.fits {
			return row.reason
		}
	}
	panic("no row fits")
}

// stated returns a window that the answer states, -1 where it does not.
func (o oracleDirectives) stated(directive string) time.Duration {
	window, stated, _ := o.seconds(directive)
	if !stated {
		return -1
	}
	return window
}

func (o *oracle) windowOr(stated, route time.Duration) time.Duration {
	if stated < 0 {
		return route
	}
	return stated
}

// disguised says whether the path, which is /a, /a.css or /a.PNG, has another suffix than the content.
func (o *oracle) disguised() bool {
	type_ := strings.Join(values(o.answer, "content-type"), "")
	switch o.path {
	case "/a.css":
		return !strings.HasPrefix(type_, "text/css")
	case "/a.PNG":
		return !strings.HasPrefix(type_, "image/")
	}
	return false
}

// reuse follows the table of reuse of the page of the cache, from RFC 9111 §4 and §5.2.1 and RFC 5861 §3.
func (o *oracle) reuse(ask, now time.Time) Reason {
	age := min(o.age+max(0, now.Sub(o.received)), 1<<31*time.Second)
	_, demanded := o.demands.fieldsOf("no-cache")
	maxAge, hasMaxAge, _ := o.demands.seconds("max-age")
	minFresh, hasMinFresh, _ := o.demands.seconds("min-fresh")
	maxStale, hasMaxStale, _ := o.demands.seconds("max-stale")
	staleFor := age - o.lifetime // it is fresh where that is negative
	switch {
	case o.always:
		return ReasonNoCache
	case demanded || o.demands.indistinguishable:
		return ReasonRequestNoCache
	case hasMaxAge && age > maxAge:
		return ReasonRequestMaxAge
	case hasMinFresh && o.lifetime < age+minFresh:
		return ReasonRequestMinFresh
	case staleFor < 0:
		return ReasonFresh
	case o.strict:
		return ReasonMustRevalidate
	case hasMaxStale && staleFor <= maxStale:
		return ReasonMaxStale
	case hasMaxAge && !hasMaxStale:
		return ReasonRequestMaxAge
	case now.Before(ask) && staleFor < o.windowOr(o.staleOnError, o.rules.StaleOnError):
		return ReasonRetryLater
	case staleFor < o.windowOr(o.stale, o.rules.StaleWhile):
		return ReasonStaleWhile
	}
	return ReasonExpired
}

// onError follows RFC 5861 §4 and RFC 9111 §4.2.4.
func (o *oracle) onError(status int, now time.Time) Reason {
	staleFor := min(o.age+max(0, now.Sub(o.received)), 1<<31*time.Second) - o.lifetime
	_, demanded := o.demands.fieldsOf("no-cache")
	switch {
	case o.always || o.strict || demanded || o.demands.indistinguishable:
	case o.staleOnError >= 0:
		if slices.Contains([]int{0, 500, 502, 503, 504}, status) && staleFor < o.staleOnError {
			return ReasonStaleIfError
		}
	case status == 0 && staleFor < o.rules.StaleOnError:
		return ReasonStaleOnError
	}
	return ReasonNone
}

var known9110 = []int{200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 407,
	408,
	409, 410, 411, 412, 413, 414, 415, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505}

// readAge follows RFC 9111 §4.2.3.
func (o *oracle) readAge(date time.Time) {
	var ageValue time.Duration
	if lines := values(o.answer, "age"); len(lines) > 0 {
		if first := strings.Trim(strings.Split(lines[0], ",")[0], " \t"); digitsOnly.MatchString(first) {
			ageValue = deltaSeconds(first)
		}
	}
	if date.Before(o.asked) && date.Add(time.Second).After(o.asked) { // it was made for this request
		date = o.asked
	}
	apparentAge := max(0, o.received.Sub(date))
	responseDelay := max(0, o.received.Sub(o.asked))
	o.age = min(max(apparentAge, ageValue+responseDelay), 1<<31*time.Second)
}

// readLifetime follows RFC 9111 §4.2.1 and §4.2.2.
func (o *oracle) readLifetime(date time.Time) (known, declared, noCacheCounts bool) {
	longest := 30 * 24 * time.Hour
	if o.rules.TTLMax > 0 {
		longest = min(o.rules.TTLMax, 1<<31*time.Second)
	}
	defer func() { o.lifetime = max(0, min(o.lifetime, longest)) }()
	stated, ok, _ := o.seconds("s-maxage")
	if !ok {
		stated, ok, _ = o.seconds("max-age")
	}
	if lines := values(o.answer, "expires"); !ok && !o.targeted && len(lines) > 0 {
		ok = true
		if t, isDate := o.date(lines[0]); isDate && len(lines) == 1 {
			stated = max(0, t.Sub(date))
		}
	}
	for _, ttl := range o.rules.TTL {
		if int(ttl.Status) != o.status {
			continue
		}
		if o.rules.ObeyTTL {
			o.lifetime = ttl.For
			return true, ok && stated > 0, false
		} else if !ok {
			o.lifetime = ttl.For
			return true, false, true
		}
	}
	if ok {
		o.lifetime = stated
		return true, true, true
	}
	o.estimated = true
	estimable := []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
	provoked := slices.Contains([]int{400, 413, 431}, o.status)
	if !slices.Contains(estimable, o.status) && (provoked || !o.plainly("public")) {
		return false, false, true
	}
	if lines := values(o.answer, "last-modified"); len(lines) == 1 {
		if t, isDate := o.date(lines[0]); isDate {
			o.lifetime = date.Sub(t) / 10
		}
	}
	estimateMax := time.Hour
	if o.rules.HeuristicMax > 0 {
		estimateMax = o.rules.HeuristicMax
	}
	o.lifetime = min(o.lifetime, estimateMax)
	return true, false, true
}

func (o *oracle) variesTooMuch() bool {
	names := map[string]bool{}
	for _, m := range listOf(o.answer, "vary") {
		if m == "*" || !tokenOnly.MatchString(m) {
			return true
		}
		names[strings.ToLower(m)] = true
	}
	for _, v := range values(o.answer, "access-control-allow-origin") {
		if v != "*" {
			names["origin"] = true
		}
	}
	return len(names) > 8
}

func (o *oracle) keeps(name string) bool {
	name = strings.ToLower(name)
	omitted := []string{"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade",
		"content-length",
		"trailer", "age", "host", "http2-settings"}
	omitted = append(omitted, listOf(o.answer, "connection")...)
	for _, directive := range []string{"no-cache", "private"} {
		fields, _ := o.fieldsOf(directive)
		omitted = append(omitted, fields...)
	}
	if o.rules.SetCookie == Strip {
		omitted = append(omitted, "set-cookie")
	}
	return !strings.HasPrefix(name, "proxy-") &&
		!slices.ContainsFunc(omitted, func(g string) bool { return strings.EqualFold(g, name) })
}

// TestRules_judgeAsOracle compares both readings over random pairs of heads.
func TestRules_judgeAsOracle(t *testing.T) {
	n := 500_000
	if testing.Short() || testutil.RaceOn {
		n = 100_000
	}
	random := rand.New(rand.NewPCG(1, 2))
	counts := map[Reason]int{}
	for range n {
		rules, request, answer, asked := randomCase(random)
		o := newOracle(rules, request, answer, asked, received)
		want := o.judge()
		got := rules.Judge(request, answer, asked, received)
		counts[want]++
		marks := want.Marks()
		if o.status >= 400 && !slices.Contains([]int{404, 405, 410}, o.status) {
			marks = Nobody
		}
		fresh := Freshness{Received: received, Age: int64(o.age), Lifetime: int64(o.lifetime),
			StaleWhile: int64(o.stale), StaleOnError: int64(o.staleOnError), Always: o.always, Strict: o.strict}
		if got.Reason != want || got.Marks != marks || got.Fresh != fresh {
			t.Fatalf("%+v\n%s\n%s\n%s marks %d %+v\nwant %s marks %d %+v",
				rules, textOf(request), textOf(answer), got.Reason, got.Marks, got.Fresh, want, marks, fresh)
		}
		for i := range answer.Fields {
			name := string(answer.Name(i))
			keeps := !answer.Fields[i].Dropped() && o.keeps(name)
			if want == ReasonNone && got.Keeps(answer, i) != keeps {
				t.Fatalf("%+v\n%s\nkeeps %s: %v", rules, textOf(answer), name, !keeps)
			}
		}
		now := noon.Add(time.Duration(random.IntN(1000))*time.Second/4 - time.Second)
		got.Fresh.Ask = now.Add(time.Duration(random.IntN(3)-1) * time.Second).UnixNano()
		want = o.reuse(time.Unix(0, got.Fresh.Ask), now)
		counts[want]++
		if got := rules.Reuse(&got.Fresh, request, now.UnixNano()); got != want {
			t.Fatalf("%+v\n%s\n%s\n%+v at %v\nreuse %s, want %s", rules, textOf(request), textOf(answer), fresh, now,
				got, want)
		}
		status := []int{0, 0, 500, 502, 503, 504, 404, 501}[random.IntN(8)]
		want = o.onError(status, now)
		counts[want]++
		if got := rules.OnError(&got.Fresh, request, now.UnixNano(), uint16(status)); got != want {
			t.Fatalf("%+v\n%s\n%s\n%+v at %v\non error %d %s, want %s", rules, textOf(request), textOf(answer), fresh,
				now,
				status, got, want)
		}
	}
	elsewhere := []Reason{ReasonTooLarge, ReasonTags, ReasonProgram, ReasonPurged, ReasonOnlyIfCached}
	for r := ReasonStatus; r < ReasonCount; r++ {
		if !slices.Contains(elsewhere, r) && counts[r] < n/2000 {
			t.Errorf("%q came %d times: %v", r, counts[r], counts)
		}
	}
}

func textOf(h *message.Head) string {
	text := fmt.Sprint(h.Status)
	for i := range h.Fields {
		text += fmt.Sprintf("\n  %s: %s %v", h.Name(i), h.Value(i), h.Fields[i].Dropped())
	}
	return text
}

func randomCase(random *rand.Rand) (rules Rules, request, answer *message.Head, asked int64) {
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	some := func(n int) bool { return random.IntN(n) == 0 }
	if some(3) {
		rules.TTL = []StatusTTL{{200, time.Hour}, {404, 0}, {500, time.Minute}, {302, -time.Second}}
		rules.ObeyTTL = some(2)
	}
	rules.TTLMax = []time.Duration{0, 0, time.Minute, 1 << 62}[random.IntN(4)]
	rules.HeuristicMax = []time.Duration{0, 0, time.Minute, 1 << 62}[random.IntN(4)]
	rules.StaleWhile = []time.Duration{0, 0, time.Minute}[random.IntN(3)]
	rules.StaleOnError = []time.Duration{0, time.Minute, time.Minute}[random.IntN(3)]
	rules.Honour, rules.KnownOnly = some(2), some(4)
	if some(2) {
		rules.Targeted = []string{"edge-cache-control", "cdn-cache-control"}[random.IntN(2):]
	}
	rules.Cookies, rules.SetCookie = Cookies(random.IntN(2)), SetCookie(random.IntN(3))
	request, answer = &message.Head{}, &message.Head{Status: 200}
	if some(2) {
		answer.Status = []uint16{100, 103, 201, 203, 206, 299, 302, 304, 400, 402, 404, 414, 416, 418, 431, 451, 500,
			501, 503,
			599}[random.IntN(20)]
	}
	add := func(h *message.Head, n int, name, value string) {
		if some(n) {
			h.Add(name, value)
			if some(10) {
				h.Fields[len(h.Fields)-1].Flags |= message.Dropped
			}
		}
	}
	date := func() string { return randomDate(random) }
	add(request, 6, "Cookie", "a=b")
	add(request, 6, "Authorization", "x")
	add(request, 6, "X-Strange", "x")
	add(request, 4, "Cache-Control", randomCacheControl(random, demandNames))
	add(request, 8, "Pragma", pick("no-cache", "x, no-cache", "x"))
	request.SetTarget(pick("/a", "/a.css", "/a.PNG"))
	add(answer, 1, "Content-Type", pick("text/css", "text/css ; charset=utf-8", "image/png", "image/webp"))
	for range 2 {
		add(answer, 4, pick("Edge-Cache-Control", "CDN-Cache-Control", "cdn-cache-control"), randomDictionary(random))
	}
	for range random.IntN(3) {
		add(answer, 1, pick("Cache-Control", "cache-control"), randomCacheControl(random, directiveNamesOnly))
	}
	for range 2 {
		add(answer, 3, "Expires", date())
		add(answer, 3, "Date", date())
		add(answer, 3, "Last-Modified", date())
		add(answer, 6, "Age", pick("0", "7", "59, 3", "x", "", "-1", ", 3", "99999999999999999999", "2147483648"))
		add(answer, 6, "Vary", pick("Accept", "a, b,c ,d", "e,f,g,h,i", "*", "a b", ",", "Origin", "E, F"))
		add(answer, 6, "Connection", pick("close", "x-a", "X-B , close", ""))
		add(answer, 3, pick("X-A", "x-b", "X-C", "Trailer", "Proxy-X", "Keep-Alive", "Content-Length", "Server"), "1")
	}
	add(answer, 6, "Set-Cookie", "a=b")
	add(answer, 6, "ETag", "x")
	add(answer, 6, "Access-Control-Allow-Origin", pick("*", "null", "https://a"))
	return rules, request, answer, received - random.Int64N(10)*second + 2*second
}

var (
	directiveNamesOnly = []string{"no-store", "no-cache", "private", "public", "must-revalidate", "proxy-revalidate",
		"must-understand", "PUBLIC", "x", "immutable", "max-age2", "max-age", "Max-Age", "max-age", "max-age",
		"max-age",
		"s-maxage", "stale-while-revalidate", "stale-if-error"}
	demandNames = []string{"no-store", "no-cache", "Max-Age", "max-age", "min-fresh", "max-stale", "max-stale", "x"}
)

// takesSeconds says whether a directive does.
func takesSeconds(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "age") || strings.Contains(name, "stale") || name == "min-fresh"
}

func randomCacheControl(random *rand.Rand, names []string) string {
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	var text strings.Builder
	for range 1 + random.IntN(4) {
		if text.Len() > 0 {
			text.WriteString(pick(",", ", ", " ,", ",,", ", ", ", ", "\t,\t", " ")) // the last one is wrong
		}
		name := pick(names...)
		argument := pick("", "", "", "=", "=x", `="X-A, x-c"`, `=x-b`, `="a\"b, no-store"`, "='x-a'", `="`, `=a"b`,
			`=""`)
		if takesSeconds(name) {
			argument = pick("=60", "=60", "=60", "=0", "=5", `="60"`, "=007", "=9999999999", "=-1", "= 60", " =60",
				"=60x", "=6 0", "=30", "=120",
				`="60"x`, `="60" `, `="6\0"`, "", "='60'")
		} else if random.IntN(3) > 0 {
			argument = ""
		}
		text.WriteString(name + argument)
	}
	return text.String()
}

func randomDictionary(random *rand.Rand) string {
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	text := pick("", "", "", "", " ", ",")
	for i := range 1 + random.IntN(4) {
		if i > 0 {
			text += pick(",", ", ", " ,", "\t,\t", ",", ", ", ",,")
		}
		name := pick(directiveNamesOnly...)
		if random.IntN(8) > 0 {
			name = strings.ToLower(name)
		}
		value := ""
		switch {
		case takesSeconds(name):
			value = pick("=60", "=60", "=0", "=5", "=120", `="60"`, "=60.5", "=-1", "= 60", "=1234567890123456", "",
				"=?1",
				"=60;a", "=60 ;a", "=60; b=\"c,\\\"d\"")
		case random.IntN(2) == 0:
			value = pick("=?1", "=?0", "=x-b", `="X-A, x-c"`, `=""`, "=(a \"b,c\";d  1)", "=( )", "=(a,b)", "=:YQ==:",
				";x=1",
				"=1.5", "=?2", "=\"a")
		}
		text += name + value
	}
	return strings.Trim(text, " ")
}

func randomDate(random *rand.Rand) string {
	at := noon
	switch random.IntN(4) {
	case 0:
		at = at.Add(time.Duration(random.IntN(100)-50) * time.Second)
	case 1:
		at = at.AddDate(random.IntN(100)-50, random.IntN(12), random.IntN(31))
	default:
		at = at.Add(time.Duration(random.IntN(200)-100) * time.Hour)
	}
	layout := []string{message.DateLayout, message.DateLayout, message.DateLayout, time.ANSIC,
		"Monday, 02-Jan-06 15:04:05 GMT",
		"Mon, 2 Jan 2006 15:04:05 GMT", time.RFC1123Z, "0", ""}[random.IntN(9)]
	text := at.Format(layout)
	if random.IntN(8) == 0 {
		text = strings.ToUpper(text)
	}
	return text
}
