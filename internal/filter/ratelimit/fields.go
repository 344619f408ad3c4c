package ratelimit

import (
	"strconv"
	"time"

	"github.com/edge-proxy/edge/limits"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// fieldsForm is how answers tell what is left of a limit.
type fieldsForm uint8

const (
	fieldsOff   fieldsForm = iota
	fieldsDraft            // draft-ietf-httpapi-ratelimit-headers-11: RateLimit-Policy, RateLimit
	fieldsX                // X-RateLimit-Limit, -Remaining, -Reset
)

// fields is what they are made of. Immutable.
type fields struct {
	form   fieldsForm
	policy string // value of RateLimit-Policy, or of X-RateLimit-Limit
	item   string // how a value of RateLimit begins
}

func newFields(c *Config, q limits.Quota, name string) fields {
	// A key may be a secret, and its quota tells an attacker who guesses keys which of them exist. So it is told only
	// where the configuration says so.
	form := c.Fields
	if form == "auto" && networkOf(c.Key) == (network{}) {
		form = "off"
	}
	switch form {
	case "auto", "draft":
		// The quota of the draft is one of a window: that in which a burst fills again.
		interval := (int64(q.Per)-1)/q.Count + 1
		window := limits.Seconds(time.Duration(q.Burst * interval))
		item := strconv.QuoteToASCII(name) // a String of RFC 9651 §3.3.3: names of filters are words
		return fields{fieldsDraft, item + ";q=" + strconv.FormatInt(q.Burst, 10) +
			";w=" + strconv.FormatInt(window, 10), item + ";r="}
	case "x":
		return fields{fieldsX, strconv.FormatInt(q.Burst, 10), ""}
	}
	return fields{}
}

// show notes that the answer to x tells of the key with this hash.
func (l *limiter) show(x *proxy.Exchange, hash uint64) {
	if t := tells.Of(x); t.n < len(t.shown) {
		t.shown[t.n].limiter, t.shown[t.n].hash = l, hash
		t.n++
	}
}

// addFields adds them to the answer. Several limits, one of the backend's own among them, are members of one list in
// the draft. The other form has room for one limit, the first.
func (l *limiter) addFields(x *proxy.Exchange) {
	t := tells.Of(x)
	for i := range t.n {
		if t.shown[i].limiter != l {
			continue
		}
		state := l.table.State(t.shown[i].hash, x.Reactor().Now())
		reset := limits.Seconds(state.Reset)
		h := &x.Response
		var b [96]byte
		if l.fields.form == fieldsDraft {
			value := strconv.AppendInt(append(b[:0], l.fields.item...), state.Remaining, 10)
			h.AddID(message.Other, "RateLimit-Policy", l.fields.policy)
			h.AddBytes(message.Other, "RateLimit", strconv.AppendInt(append(value, ";t="...), reset, 10))
		} else if h.Find("X-RateLimit-Limit") < 0 {
			h.AddID(message.Other, "X-RateLimit-Limit", l.fields.policy)
			h.AddBytes(message.Other, "X-RateLimit-Remaining", strconv.AppendInt(b[:0], state.Remaining, 10))
			h.AddBytes(message.Other, "X-RateLimit-Reset", strconv.AppendInt(b[:0], reset, 10))
		}
		return
	}
}
