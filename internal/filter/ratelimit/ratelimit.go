package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/limits"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Config is the table of a filter of the type "rate_limit".
type Config struct {
	Key *lang.Template `edge:"key" doc:"Key of the limit; empty: none holds." default:"{cidr(client.ip, 32, 64)}"`

	Rate plugin.Rate `edge:"rate" doc:"Rate of requests that each key may keep up." required:"true" example:"100/s"`

	Burst   int `edge:"burst" doc:"Requests a key may send at once; 0: as in rate." min:"0" max:"1000000" example:"200"`
	MaxKeys int `edge:"max_keys" doc:"Largest number of keys counted." default:"100000" min:"1" max:"100000000"`

	Mode string `edge:"mode" doc:"Action for requests over the limit." enum:"reject delay log" default:"reject"`

	MaxDelay time.Duration `edge:"max_delay" doc:"Longest time a request is delayed." default:"5s" min:"1ms" max:"1m"`

	MaxDelayed int `edge:"max_delayed" doc:"Largest number of delayed requests." default:"1000" min:"1" max:"100000"`
	Status     int `edge:"status" doc:"Status that requests over the limit get." default:"429" min:"400" max:"599"`

	Fields string `edge:"fields" doc:"Fields that tell clients their quota." enum:"auto draft x off" default:"auto"`
}

// Check finds what the types of keys cannot say.
func (c *Config) Check(r *plugin.Report) {
	if err := c.quota().Validate(); err != nil {
		r.At("rate").Errorf("", "%v", err)
	}
	if text, constant := c.Key.Constant(); constant && !strings.HasPrefix(text, "static:") {
		r.At("key").Errorf(fmt.Sprintf(`write a value, such as "{client.ip}", or "static:%s" where all requests share `+
			`the limit`, text), "it is the same for every request")
	}
}

// quota is what the table is for. What would be delayed for too long is refused at once: the burst is smaller then.
func (c *Config) quota() limits.Quota {
	q := limits.Quota{Count: int64(c.Rate.Count), Per: c.Rate.Per, Burst: int64(c.Burst)}
	q.Burst = cmp.Or(q.Burst, q.Count)
	if c.Mode == "delay" && q.Per > 0 {
		q.Burst = min(q.Burst, 1+int64(float64(c.MaxDelay)/float64(q.Per)*float64(q.Count)))
	}
	return q
}

// network is a key that needs no text: the first bits of the client's address.
type network struct{ four, six int }

var aNetwork = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\{ *(?:client\.ip|cidr\(client\.ip, *([0-9]+), *([0-9]+)\)) *\}$`)
})

// networkOf returns the network of a key; the zero network is none.
func networkOf(key *lang.Template) network {
	part := aNetwork().FindStringSubmatch(key.String())
	switch {
	case part == nil:
		return network{}
	case part[1] == "":
		return network{32, 128}
	}
	four, _ := strconv.Atoi(part[1]) // the language knows that they are lengths
	six, _ := strconv.Atoi(part[2])
	return network{four, six}
}

func init() {
	plugin.Register(plugin.Filters, "rate_limit", "Bounds the rate of requests by client or another key.", New)
}

// counts is what is kept over reloads. Safe for all reactors.
type counts struct {
	hasher  limits.Hasher
	table   *limits.SharedGCRATable
	evicted atomic.Uint64 // takeovers of the table that are counted
	warned  atomic.Int64  // reactor time of the last line about them
}

// limiter is a filter of this type. Safe for all reactors.
type limiter struct {
	*counts
	key     *lang.Template
	client  network // what key is; the zero network: a text
	name    string
	waiting *filter.DelayLine // nil: nothing is delayed
	log     *slog.Logger
	onlyLog bool
	refusal proxy.Verdict
	fields  fields

	allowed, limited, delayed, evictions *plugin.Counter
}

// New makes a filter of c.
func New(c *Config, b *plugin.Build) (*proxy.Filter, error) {
	l, err := newLimiter(c, b, "")
	if err != nil {
		return nil, err
	}
	f := &proxy.Filter{Response: l.response, NamesMatch: l.key.NamesMatch()}
	f.Request = func(x *proxy.Exchange) proxy.Verdict { return l.request(x, nil, nil) }
	if l.waiting != nil {
		f.Log = func(x *proxy.Exchange, _ *observe.Record) { l.waiting.Leave(x) }
	}
	return f, nil
}

// Limit is a limit that another filter asks for its own requests: rules have some. Safe for all reactors.
type Limit struct{ *limiter }

var errDelays = errors.New(`mode "delay": only a filter of its own holds requests back`)

// NewLimit makes the limit of c, which does not delay. It has the name of b, and is one with those that have the same
// name, keys and whose.
func NewLimit(c *Config, b *plugin.Build, whose string) (*Limit, error) {
	l, err := newLimiter(c, b, " of "+whose)
	if err != nil {
		return nil, err
	}
	if l.waiting != nil {
		return nil, errDelays
	}
	return &Limit{l}, nil
}

// Take counts x, whose View is v. when is the condition that has just held for v, in whose groups the key may look;
// nil: it had none. It returns false with the verdict that refuses x.
func (l *Limit) Take(x *proxy.Exchange, v *lang.X, when *lang.Condition) (refused proxy.Verdict, ok bool) {
	refused = l.request(x, v, when)
	return refused, tells.Of(x).refused != l.limiter
}

// Tell adds to the answer to x what it tells of the limit, if x was counted. It is for the phase Response.
func (l *Limit) Tell(x *proxy.Exchange) { l.response(x) }

// newLimiter makes the limiter of c. Limiters with the same name, keys and whose share their state.
func newLimiter(c *Config, b *plugin.Build, whose string) (*limiter, error) {
	c, err := plugin.Completed(c, b)
	if err != nil {
		return nil, err
	}
	q := c.quota()
	kept, err := plugin.Keep(b, identityOf(c, q)+whose, func() (*counts, error) {
		return &counts{hasher: limits.NewHasher(), table: limits.NewSharedGCRATable(q, c.MaxKeys)}, nil
	})
	if err != nil {
		return nil, err
	}
	l := &limiter{
		counts: kept, key: c.Key, client: networkOf(c.Key), name: nameOf(b), log: b.Log(), onlyLog: c.Mode == "log",
		allowed: b.Counter("allowed"), limited: b.Counter("limited"), delayed: b.Counter("delayed"),
		evictions: b.Counter("evicted"),
		refusal:   proxy.Fail(filter.Refusal("rate_limit", c.Status, "Too many requests.", false)),
	}
	l.fields = newFields(c, q, l.name)
	if c.Mode == "delay" {
		l.waiting = filter.NewDelayLine(c.MaxDelayed)
	}
	return l, nil
}

func identityOf(c *Config, q limits.Quota) string {
	return fmt.Sprintf("%d/%v %d %d %s", q.Count, q.Per, q.Burst, c.MaxKeys, c.Key)
}

func nameOf(b *plugin.Build) string {
	if b == nil || b.Name == "" {
		return "rate_limit"
	}
	return b.Name
}

// told is what limiters have to say in the answer to an exchange.
type told struct {
	refused *limiter      // that refused it
	after   time.Duration // for Retry-After
	n       int
	shown   [shownMax]struct {
		limiter *limiter
		hash    uint64
	}
}

// shownMax is of how many limiters an answer tells what is left.
const shownMax = 4

var tells = proxy.NewLocal[told]()

// valuesMax is how many keys one request may have: a client sends as many values of a field as it likes.
const valuesMax = 8

var tooManyValues = proxy.Fail(proxy.NewError(proxy.Error{
	Kind: "limit_key", From: proxy.SideClient, Status: 400, Token: "http_request_error",
	Text: "What requests are counted by has too many values.",
}))

// request counts x, by each of its keys: all of them need room. v is its View, nil where there is none yet. when is as
// in Take.
func (l *limiter) request(x *proxy.Exchange, v *lang.X, when *lang.Condition) proxy.Verdict {
	var room [valuesMax]uint64
	keys, refused, ok := l.keys(x, v, when, room[:0])
	if ok && len(keys) == 0 {
		return proxy.Next
	}
	now := x.Reactor().Now()
	if l.fields.form != fieldsOff && len(keys) > 0 {
		l.show(x, keys[0])
	}
	wait := time.Duration(0)
	for _, key := range keys {
		var free bool
		var after time.Duration
		if l.waiting != nil { // its place in the evenly spaced events of the key
			free, after = l.table.Reserve(key, now, 1)
		} else {
			free, after = l.table.Take(key, now, 1)
		}
		ok, wait = ok && free, max(wait, after)
	}
	if l.table.Takeovers() != l.evicted.Load() {
		l.countEviction(x, now)
	}
	switch {
	case !ok && l.onlyLog:
		l.limited.Add(x)
		x.LogField("over_limit", l.name)
		return proxy.Next
	case len(keys) == 0:
		return l.refuse(x, -1, refused)
	case !ok:
		return l.refuse(x, wait, l.refusal)
	case l.waiting == nil, wait < time.Millisecond: // less than the timers of reactors tell apart
		l.allowed.Add(x)
		return proxy.Next
	}
	verdict, held := l.waiting.Hold(x, wait, proxy.Next)
	if !held {
		return l.refuse(x, wait, l.refusal)
	}
	l.delayed.Add(x)
	return verdict
}

// refuse notes that v refuses x. after is for Retry-After; below 0 there is none.
func (l *limiter) refuse(x *proxy.Exchange, after time.Duration, v proxy.Verdict) proxy.Verdict {
	l.limited.Add(x)
	t := tells.Of(x)
	t.refused, t.after = l, after
	return v
}

// keys appends the hashes of the keys of x: one for each value that its key has, where a client may send several, and
// for each reading of the path. An empty value is no key. Where there are too many, or a key did not see all that it
// asks for, it returns the verdict that refuses x, and false. when is as in Take.
func (l *limiter) keys(
	x *proxy.Exchange, v *lang.X, when *lang.Condition, dst []uint64,
) (keys []uint64, refused proxy.Verdict, ok bool) {
	if l.client != (network{}) {
		if ip := x.ClientIP(); ip.IsValid() {
			return append(dst, l.hasher.Network(ip, l.client.four, l.client.six)), proxy.Next, true
		}
		return append(dst, l.hasher.Uint64(0)), proxy.Next, true // clients on a Unix socket
	}
	if v == nil {
		v = proxy.View(x)
	}
	most, before := 1, v.State.Unasked()
	add := func() {
		for n, all := 0, 1; n < all && most <= valuesMax; n++ {
			var text []byte
			text, all = filter.TextIn(x, v, l.key, n)
			if hash := l.hasher.Bytes(text); len(text) > 0 && !slices.Contains(dst, hash) {
				dst = append(dst, hash)
			}
			most = max(most, all, len(dst))
		}
	}
	if proxy.EachReading(x, v, l.key, when, add) == 0 {
		add()
	}
	if f := proxy.RefuseUnasked(x, v.State, before); f != nil {
		return nil, proxy.Fail(f), false
	}
	if most > valuesMax {
		return nil, tooManyValues, false
	}
	return dst, proxy.Next, true
}

// countEviction counts one key that was given up for another, and says so now and then.
func (l *limiter) countEviction(x *proxy.Exchange, now int64) {
	if n := l.evicted.Load(); n < l.table.Takeovers() && l.evicted.CompareAndSwap(n, n+1) {
		l.evictions.Add(x)
	}
	if last := l.warned.Load(); (last == 0 || now-last > int64(time.Minute)) && l.warned.CompareAndSwap(last, now) {
		l.log.Warn("a rate limit has more active keys than max_keys: some begin anew", "filter", l.name)
	}
}

// response adds what the answer tells of the limit.
func (l *limiter) response(x *proxy.Exchange) proxy.Verdict {
	if x.Failure() != nil {
		if t := tells.Of(x); t.refused == l && t.after >= 0 {
			addRetryAfter(x, t.after)
		}
	}
	if l.fields.form != fieldsOff {
		l.addFields(x)
	}
	return proxy.Next
}

// addRetryAfter says when to come again, up to a tenth later, so that those refused together do not come back together.
func addRetryAfter(x *proxy.Exchange, after time.Duration) {
	after += time.Duration(rand.Int64N(int64(min(after, time.Hour))/10 + 1))
	var b [20]byte
	x.Response.AddBytes(message.RetryAfter, "Retry-After", strconv.AppendInt(b[:0], limits.Seconds(after), 10))
}
