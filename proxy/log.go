package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/proxy/meter"
	"github.com/edge-proxy/edge/proxy/recent"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
)

// AccessLog takes records; *observe.AccessLog is one. Append copies what it keeps and never waits. Each is owned by one
// reactor.
type AccessLog interface {
	// Append takes a record. r and what it refers to are borrowed until return.
	Append(r *observe.Record)
}

// ExchangeLog is an AccessLog that looks at the exchange of a record too.
type ExchangeLog interface {
	AccessLog
	// AppendOf is Append for the record r of x. It runs on the reactor of x.
	AppendOf(x *Exchange, r *observe.Record)
}

// ChosenLog is an access log of those exchanges for which a condition holds, in lines of its own form. Owned by one
// reactor.
type ChosenLog struct {
	to     *observe.AccessLog
	when   *lang.Condition
	line   *lang.Template
	escape func(dst []byte, from int) []byte
	text   []byte // of the line
	value  []byte // that is escaped
}

// ChooseLog returns a log that writes to to where when holds, for nil always, and what line is in place of a record, if
// it is not nil. Both are for the phase of the log. The values of a line that begins with a brace are escaped as those
// of JSON are, any others as in the Common Log Format. What came and was no request is logged as a record.
func ChooseLog(to *observe.AccessLog, when *lang.Condition, line *lang.Template) *ChosenLog {
	l := &ChosenLog{to: to, when: when, line: line}
	escape := observe.EscapeText
	if line != nil && strings.HasPrefix(line.String(), "{{") {
		escape = observe.EscapeJSON
	}
	l.escape = func(dst []byte, from int) []byte {
		l.value = append(l.value[:0], dst[from:]...)
		return escape(dst[:from], l.value)
	}
	return l
}

// Append writes the record of what was no request.
func (l *ChosenLog) Append(r *observe.Record) { l.to.Append(r) }

// AppendOf writes the line or the record of x, where it is to be logged.
func (l *ChosenLog) AppendOf(x *Exchange, r *observe.Record) {
	v := View(x)
	switch {
	case l.when != nil && !l.when.Holds(v):
	case l.line == nil:
		l.to.Append(r)
	default:
		l.text = l.line.AppendEscaped(l.text[:0], v, l.escape)
		l.to.AppendLine(l.text)
	}
}

// Unlog has no access log get the record of x. Filters of the phase Log get it.
func Unlog(x *Exchange) { x.unlogged = true }

// logExchange makes the record of x, where somebody wants it, and gives it to the filters and then to the access logs.
func (l *local) logExchange(x *Exchange) {
	logs, list := x.listener.Log, x.filters().log
	if x.route != nil && x.route.Log != nil {
		logs = x.route.Log
	}
	if x.unlogged {
		logs = nil
	}
	if logs == nil && len(list) == 0 {
		return
	}
	r := l.takeRecord()
	l.fill(r, x)
	if len(list) > 0 {
		_ = tell(x, list, func(f onRecord) { f(x, r) }) // there is nothing left to end
		r.Fields = x.noted
	}
	if logs != nil {
		if log, ok := logs[l.reactor.Index()].(ExchangeLog); ok {
			log.AppendOf(x, r)
		} else {
			logs[l.reactor.Index()].Append(r)
		}
	}
	l.record = r
}

// takeRecord returns a record that nobody uses. It is given back to l.record.
func (l *local) takeRecord() *observe.Record {
	r := l.record
	if l.record = nil; r == nil { // a filter of Log ended another exchange of this reactor
		r = &observe.Record{}
	}
	return r
}

// fill makes r the record of x: the request as it came, whatever was made of it.
func (l *local) fill(r *observe.Record, x *Exchange) {
	now := l.now()
	dur := l.reactor.Now() - x.started
	path, query := x.Request.Bytes(x.target), []byte(nil)
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path, query = path[:i], path[i+1:]
	}
	// Member by member, all of them: a literal would be put together elsewhere and copied here.
	r.Time, r.Dur = now-dur, dur
	r.ID = numberOf(x)
	r.RequestID, r.TraceID = x.given, x.trace
	r.Listener = x.listener.Name
	r.ClientIP, r.ClientPort = x.client, 0
	if !x.client.IsValid() {
		peer := session.PeerIP(x.down)
		r.ClientIP, r.ClientPort = peer.Addr(), peer.Port()
	}
	r.Proto = uint8(x.Request.Proto)
	r.Method, r.Host = x.Request.MethodBytes(), x.Request.Bytes(x.authority)
	r.Path, r.Query = path, query
	r.Route, r.Upstream, r.Backend = "", "", ""
	if x.route != nil {
		r.Route = x.route.Name
		if d, ok := x.lead().to.(*toUpstream); ok {
			r.Upstream, r.Backend = d.upstream.Name(), x.Backend()
		}
	}
	r.Status, r.Reason = statusOf(x)
	r.BytesIn, r.BytesOut = x.bodyIn, x.toDown.passed
	r.Attempts, r.Reused = int(x.attempts), x.try.reused
	r.T = observe.Timings{Queue: x.waited, Connect: x.dialled, TLS: x.secured}
	if a := &x.try; a.firstByte > 0 {
		r.T.FirstByte = a.firstByte - a.connected
		r.T.Body = l.reactor.Now() - a.firstByte
	}
	r.GRPC, r.GRPCStatus = x.call.known, x.call.status
	r.TLSVersion = ""
	if d := x.digest; d != nil {
		logTLS(r, d)
	}
	r.Fields = x.noted
	r.UserAgent, r.Referer = x.Request.Peek(message.UserAgent), x.Request.Peek(message.Referer)
}

// logTLS fills in what is known of a secured connection.
func logTLS(r *observe.Record, d *tlsconn.Digest) {
	r.TLSVersion, r.TLSGroup, r.SNI, r.ClientCert = d.VersionName(), d.GroupName(), d.ServerName, ""
	if c := d.PeerCertificate(); c != nil {
		r.ClientCert = c.Subject
	}
}

// statusOf returns the status of x and its fault: that of the answer that was sent, or would have been.
func statusOf(x *Exchange) (status int, reason string) {
	status = int(x.status)
	if f := x.fault; f != nil {
		reason = f.Reason()
		if x.status == 0 {
			status = f.Status
		}
	}
	return status, reason
}

// count counts x for its route and its upstream, by the times and the status that its log record has.
func (l *local) count(x *Exchange) {
	by, index, now := x.listener.Meter, l.reactor.Index(), l.reactor.Now()
	m := by.Unrouted()
	if x.route != nil && x.route.Meter != nil {
		m = x.route.Meter
	}
	dur := now - x.started
	status, _ := statusOf(x)
	if x.tunnel {
		dur = meter.Untimed
	}
	m.Count(index, by, x.Request.Verb, status, dur)
	by.CountHost(index, x.Request.Bytes(x.authority), status)
	a := &x.try
	if a.up == nil || a.up.meter == nil {
		return
	}
	u := a.up.meter
	if x.waited > 0 {
		u.Observe(index, meter.Queue, x.waited)
	}
	if x.dialled > 0 {
		u.Observe(index, meter.Connect, x.dialled)
	}
	if x.secured > 0 {
		u.Observe(index, meter.TLS, x.secured)
	}
	if a.firstByte > 0 {
		u.Observe(index, meter.FirstByte, a.firstByte-a.connected)
		if dur != meter.Untimed {
			u.Observe(index, meter.Body, now-a.firstByte)
		}
	}
}

// past is what the record of an exchange needs of its attempts that failed.
type past struct {
	first  recent.Try
	lookup int64 // ns
}

// note records that a has ended without the answer of x: by a failure, or with a status for which another attempt is
// made.
func (a *attempt) note(x *Exchange, f *Error, status int) {
	if x.local.rings == nil || a.backend == nil {
		return
	}
	if x.past == nil {
		x.past = new(past)
	}
	if x.past.first.Backend != 0 {
		return
	}
	how := recent.StatusOutcome(status)
	if f != nil {
		how = f.noted()
	}
	m, after := a.backend, time.Duration(x.local.reactor.Now()-x.started)
	x.past.first = recent.MakeTry(backend.TagOf(m).Of(m.Address()), how, after)
}

// LookedUp notes for how long x waited until the name of its destination was looked up. On the reactor of x.
func LookedUp(x *Exchange, d time.Duration) {
	if x.local.rings == nil || d <= 0 {
		return
	}
	if x.past == nil {
		x.past = new(past)
	}
	if x.past.lookup == 0 {
		x.past.lookup = int64(d)
	}
}

// remember writes the record of x, which is over. What most requests have takes few instructions: one attempt at an
// upstream over a connection that stood, without a failure and not late.
func (l *local) remember(x *Exchange) {
	if x.number == 0 {
		l.ids[1]++
		x.number = l.ids[1]
	}
	k, a, peer, now := l.rings, &x.try, session.PeerIP(x.down), l.reactor.Now()
	took, first, sent := now-x.started, a.firstByte-x.started, max(a.connected, a.sent)-x.started
	if x.waited|x.dialled|int64(len(x.given)|len(x.noted)) != 0 || !k.Soon(first, took) || sent < 0 ||
		x.attempts != 1 || x.status >= 500 || x.tunnel || x.call.known || x.fault != nil || x.client.IsValid() ||
		x.past != nil && *x.past != (past{}) || !peer.IsValid() || x.route == nil || a.up == nil || a.backend == nil {
		l.rememberWhole(x)
		return
	}
	listener, route := x.listener.tag.Last(), x.route.tag.Last()
	up, member := a.up.tag.Last(), backend.TagOf(a.backend).Last()
	if !observe.Lasts(min(listener, route, up, member)) {
		l.rememberWhole(x)
		return
	}
	r := k.Next()
	r.ID, r.Given, r.Began = x.number, 0, x.started
	r.Queue, r.Lookup, r.Connect, r.TLS = 0, 0, 0, 0
	r.Sent, r.FirstByte, r.LastByte, r.End = recent.SpanOf(sent), recent.SpanOf(first), a.whole, recent.SpanOf(took)
	r.BytesIn, r.BytesOut = uint64(x.bodyIn), uint64(x.toDown.passed)
	r.Listener, r.Route, r.Upstream = listener, route, up
	r.Tries[0], r.Tries[1] = recent.Try{}, recent.Try{Backend: member}
	r.Client, r.Port = peer.Addr().As16(), peer.Port()
	flags := recent.Flags(0)
	if x.digest != nil {
		flags = recent.Secured
	}
	if a.reused {
		flags |= recent.Reused
	}
	r.Status, r.Generation, r.Flags = x.status, uint16(x.snapshot.number), flags
	r.Reason, r.Call, r.Attempts, r.Proto = 0, 0, 1, uint8(x.Request.Proto)
	if invariant.On {
		l.checkRemembered(x, r)
	}
	k.Add()
}

// rememberWhole is remember for any request.
func (l *local) rememberWhole(x *Exchange) { l.rings.Put(l.writeRecord(x, l.rings.Next())) }

// checkRemembered panics when r is not the record of x.
func (l *local) checkRemembered(x *Exchange, r *recent.Record) {
	var whole recent.Record
	bad := l.writeRecord(x, &whole)
	invariant.That(!bad && *r == whole, "remembered %+v in place of %+v (bad: %v)", r, &whole, bad)
}

// writeRecord makes r the record of x, whatever it was before, and reports whether x is one of the bad requests. x has
// its number.
func (l *local) writeRecord(x *Exchange, r *recent.Record) (bad bool) {
	a, now := &x.try, l.reactor.Now()
	*r = recent.Record{
		ID: x.number, Began: x.started, Queue: recent.Bounded(x.waited), Connect: recent.Bounded(x.dialled),
		TLS: recent.Bounded(x.secured), LastByte: a.whole, End: recent.Bounded(now - x.started),
		BytesIn: uint64(x.bodyIn), BytesOut: uint64(x.toDown.passed), Listener: x.listener.tag.Of(x.listener.Name),
		Generation: uint16(x.snapshot.number), Proto: uint8(x.Request.Proto),
	}
	if len(x.given) > 0 {
		r.Given = recent.HashOf(x.given)
	}
	if a.firstByte > 0 {
		r.FirstByte = recent.Bounded(a.firstByte - x.started)
	}
	if a.connected > 0 {
		r.Sent = recent.Bounded(max(a.connected, a.sent) - x.started)
	}
	if x.route != nil {
		r.Route = x.route.tag.Of(x.route.Name)
	}
	if to := a.up; to != nil {
		r.Upstream = to.tag.Of(to.upstream.Name())
	}
	if m := a.backend; m != nil && x.attempts > 0 {
		r.Tries[1].Backend = backend.TagOf(m).Of(m.Address())
	}
	if x.client.IsValid() {
		r.SetClient(x.client, 0)
	} else {
		peer := session.PeerIP(x.down)
		r.SetClient(peer.Addr(), peer.Port())
	}
	return l.writeEnd(x, r)
}

// writeEnd writes into r how x ended. r has its times already. It reports whether x is one of the bad requests.
func (l *local) writeEnd(x *Exchange, r *recent.Record) (bad bool) {
	r.Status, r.Attempts = x.status, uint8(min(x.attempts, 255))
	bad = x.status >= 500 || x.attempts > 1 || l.rings.Slow(r)
	if x.digest != nil {
		r.Flags = recent.Secured
	}
	if x.try.reused {
		r.Flags |= recent.Reused
	}
	if x.tunnel {
		r.Flags |= recent.Tunnel
	}
	if x.try.firstByte == 0 && x.status > 0 {
		r.Flags |= recent.Own
	}
	if len(x.noted) > 0 {
		r.Flags |= notedFlags(x)
	}
	if f := x.fault; f != nil {
		r.Reason = f.noted()
		if x.status == 0 {
			r.Status = uint16(f.Status)
		}
		bad = bad || r.Status >= 499 || x.status < 400 && !x.tunnel // the answer was cut off
	}
	if x.call.known {
		r.Call = uint8(min(x.call.status, 254)) + 1
		bad = bad || grpc.Failed(x.call.status)
	}
	if x.past != nil {
		r.Tries[0], r.Lookup = x.past.first, recent.Bounded(x.past.lookup)
	}
	return bad
}

// notedFlags returns what the fields of the log record of x say.
func notedFlags(x *Exchange) (f recent.Flags) {
	for i := range x.noted {
		switch n := &x.noted[i]; {
		case n.Name == "retry":
			f |= recent.Denied
		case n.Name == "hedge" && n.Value != "budget":
			if f |= recent.Hedged; n.Value == "won" {
				f |= recent.HedgeWon
			}
		}
	}
	return f
}

// logRefused writes the record of a request that could not be decoded: little is known of it.
func (l *local) logRefused(on *Listener, peer poller.Addr, status int, cause error) {
	if on.Log == nil && l.rings == nil {
		return
	}
	proto := message.HTTP11
	if malformed := (*h2.Error)(nil); errors.As(cause, &malformed) {
		proto = message.HTTP20
	}
	if l.rings != nil {
		l.rememberRefused(on, peer, status, proto, cause)
	}
	if on.Log == nil {
		l.refused = sessionRefusal{}
		return
	}
	r := l.takeRecord()
	*r = observe.Record{
		Time: l.now(), Listener: on.Name, ClientIP: peer.IP.Addr(), ClientPort: peer.IP.Port(),
		Proto: uint8(proto), Status: status, Reason: "client:" + cause.Error(),
	}
	if cause == l.refused.cause {
		r.ID, r.BytesOut = l.refused.id, int64(l.refused.bytes)
	}
	l.refused = sessionRefusal{}
	on.Log[l.reactor.Index()].Append(r)
	l.record = r
}

// reasonRefused is the reason of each request that could not be decoded: there are more causes than reasons.
var reasonRefused = recent.Reason{Word: "client:request", Text: "What came is no request, or came too slowly.",
	Try: "the access log says what was wrong with it"}

// rememberRefused remembers a request that could not be decoded.
func (l *local) rememberRefused(on *Listener, peer poller.Addr, status int, proto message.Proto, cause error) {
	r := l.rings.Next()
	*r = recent.Record{
		Began: l.reactor.Now(), Listener: on.tag.Of(on.Name), Proto: uint8(proto), Status: uint16(status),
		Flags: recent.Refused | recent.Own, Reason: recent.NumberOf(reasonRefused),
	}
	r.SetClient(peer.IP.Addr(), peer.IP.Port())
	if cause == l.refused.cause {
		r.ID, r.BytesOut = binary.BigEndian.Uint64(l.refused.id[8:]), uint64(l.refused.bytes)
	}
	l.rings.Put(status >= 500)
}
