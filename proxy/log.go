package proxy

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// Unlog keeps the record of x out of all access logs. Filters of the phase Log get it.
func Unlog(x *Exchange) { x.unlogged = true }

// logExchange makes the record of x, where it is wanted, and gives it to the filters, then to the access log, then
// to the outputs of traces.
func (l *local) logExchange(x *Exchange) {
	logs, list := x.logs(), x.filters().log
	var traces *Tracing // that x is recorded for
	if t := x.tracing(); t != nil && x.part.recorded(t, x) {
		traces = t
	}
	if logs == nil && len(list) == 0 && traces == nil {
		return
	}
	r := (*observe.Record)(nil)
	if len(list) > 0 {
		r = l.takeRecord()
		l.fill(r, x)
		_ = tell(x, list, func(f onRecord) { f(x, r) }) // there is nothing left to end
		r.Fields = x.noted
	}
	var span *observe.Span
	if traces != nil { // after the filters, of which one may end another exchange of this reactor
		l.sampleRate = ""
		span = l.span.fill(traces, x)
	}
	log, rate := AccessLog(nil), ""
	switch {
	case logs == nil:
	case x.unlogged:
		l.stats.Logs.Unlogged++
	default:
		log = logs[l.reactor.Index()]
		if c, ok := log.(Chooser); ok {
			log, rate = c.Choose(x)
		}
	}
	if log != nil {
		if r == nil {
			r = l.takeRecord()
			l.fill(r, x)
		}
		r.SampleRate, l.sampleRate, r.Span = rate, rate, span
		l.stats.Logs.Written++
		if of, ok := log.(ExchangeLog); ok {
			of.AppendOf(x, r)
		} else {
			log.Append(r)
		}
	}
	if traces != nil {
		if r == nil {
			r = l.takeRecord()
			l.fill(r, x)
		}
		r.Span, r.SampleRate = span, ""
		traces.To[l.reactor.Index()].Append(r)
		r.Span = nil
	}
	if r != nil {
		l.record = r
	}
}

// logs returns the access logs of the exchange, by Reactor.Index; nil: it has none.
func (k *record) logs() []AccessLog {
	if r := k.route; r != nil {
		if r.LogsBy != nil {
			if logs := r.LogsBy[k.listener.Name]; logs != nil {
				return logs
			}
		}
		if r.Log != nil {
			return r.Log
		}
	}
	return k.listener.Log
}

// takeRecord returns a record that is not in use. It is given back to l.record.
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
	r.ID = x.ownID()
	r.RequestID, r.TraceID = x.given, x.traceID()
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
			r.Upstream, r.Backend = d.Upstream.Name(), x.Backend()
		} else if b := x.past.credited(); b != nil {
			r.Upstream, r.Backend = b.Upstream.Name(), x.Backend()
		}
	}
	r.Status, r.Reason = x.outcome()
	r.BytesIn, r.BytesOut = x.bodyIn, x.toDown.Passed
	r.Attempts, r.Reused = int(x.up.Attempts), x.up.Reused
	r.T = observe.Timings{Queue: x.up.Waited, Connect: x.up.Dialled, TLS: x.up.Secured}
	if a := &x.up; a.FirstByte > 0 {
		r.T.FirstByte = a.FirstByte - a.Connected
		r.T.Body = l.reactor.Now() - a.FirstByte
	}
	r.GRPC, r.GRPCStatus = x.call.known, x.call.status
	if r.Cache.Status = ""; x.cached != NoCache {
		c := CachedOf(x)
		r.Cache.Status, r.Cache.Reason, r.Cache.Age = c.Status.String(), c.Reason.Word(), int(c.Age)
	}
	r.Encoding, r.Saved = (*subject)(x).Encoded()
	r.TLSVersion, r.SNI = "", ""
	if d := x.digest; d != nil {
		logTLS(r, d)
	}
	r.Fields, r.SampleRate = x.noted, ""
	r.UserAgent, r.Referer = x.Request.Peek(message.UserAgent), x.Request.Peek(message.Referer)
	r.Redact(x.listener.Redact)
}

// Durations are the parts of the time that an exchange took. 0: there was no such part, as with a connection that
// stood.
type Durations struct {
	Queue     time.Duration // it waited for a backend with room, or for a connection of a limited number
	DNS       time.Duration // it waited until the name of its destination was looked up
	Connect   time.Duration // its connections were established, handshakes included
	TLS       time.Duration // the handshakes of these
	FirstByte time.Duration // from its last connection to the head of the answer
	Body      time.Duration // from there to the end
	Total     time.Duration // from the head of the request to the end
}

// Times returns the parts of the time of x until now: in Filter.Log, those that the access log has. Queue, Connect and
// TLS are the sums of all attempts. On a worker it is as late as when that began.
func Times(x *Exchange) (d Durations) {
	a, end := &x.up, x.started+int64((*subject)(x).Duration())
	d.Queue, d.Connect, d.TLS = time.Duration(x.up.Waited), time.Duration(x.up.Dialled), time.Duration(x.up.Secured)
	if x.past != nil {
		d.DNS = time.Duration(x.past.lookup)
	}
	if a.FirstByte > 0 {
		d.FirstByte, d.Body = time.Duration(a.FirstByte-a.Connected), time.Duration(end-a.FirstByte)
	}
	d.Total = time.Duration(end - x.started)
	return d
}

// logTLS fills in what is known of a secured connection.
func logTLS(r *observe.Record, d *tlsconn.Digest) {
	r.TLSVersion, r.TLSGroup, r.SNI, r.ClientCert = d.VersionName(), d.GroupName(), d.ServerName, ""
	if c := d.PeerCertificate(); c != nil {
		r.ClientCert = c.Subject
	}
}

// count counts x for its route and its upstream, by the times and the status that its log record has.
func (l *local) count(x *Exchange) {
	by, index, now := x.listener.Meter, l.reactor.Index(), l.reactor.Now()
	m := by.Unrouted()
	if x.route != nil && x.route.Meter != nil {
		m = x.route.Meter
	}
	dur := now - x.started
	status, _ := x.outcome()
	if x.tunnel {
		dur = meter.Untimed
	}
	m.Count(index, by, x.Request.Verb, status, dur)
	by.CountHost(index, x.Request.Bytes(x.authority), status)
	end := now
	if x.tunnel {
		end = 0
	}
	l.countAttempts(&x.up, end)
}

// countAttempts counts the attempts a for their upstream. end is when the answer ended; 0: it was a tunnel.
func (l *local) countAttempts(a *forward.Request, end int64) {
	if a.To == nil || a.To.Meter == nil {
		return
	}
	u, index := a.To.Meter, l.reactor.Index()
	if a.Waited > 0 {
		u.Observe(index, meter.Queue, a.Waited)
	}
	if a.Dialled > 0 {
		u.Observe(index, meter.Connect, a.Dialled)
	}
	if a.Secured > 0 {
		u.Observe(index, meter.TLS, a.Secured)
	}
	if a.FirstByte > 0 {
		u.Observe(index, meter.FirstByte, a.FirstByte-a.Connected)
		if end > 0 {
			u.Observe(index, meter.Body, end-a.FirstByte)
		}
	}
}

// LookedUp notes for how long x waited until the name of its destination was looked up. On the reactor of x.
func LookedUp(x *Exchange, d time.Duration) {
	if d <= 0 {
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
	k, a, peer, now := l.rings, &x.up, session.PeerIP(x.down), l.reactor.Now()
	took, first, sent := now-x.started, a.FirstByte-x.started, max(a.Connected, a.SentAt)-x.started
	if x.up.Waited|x.up.Dialled|int64(len(x.given)|len(x.noted)) != 0 || !k.Soon(first, took) || sent < 0 ||
		x.up.Attempts != 1 || x.status >= 500 || x.tunnel || x.call.known || x.fault != nil || x.client.IsValid() ||
		x.past != nil && *x.past != (past{}) || !peer.IsValid() || x.route == nil || a.To == nil || a.Backend == nil ||
		x.cached != NoCache {
		l.rememberWhole(x)
		return
	}
	listener, route := x.listener.tag.Last(), x.route.tag.Last()
	up, member := a.To.Tag.Last(), backend.TagOf(a.Backend).Last()
	if !observe.Lasts(min(listener, route, up, member)) {
		l.rememberWhole(x)
		return
	}
	// As16 writes halves and reads both at once, so it waits until all stores before it have left the processor's store
	// buffer. Those to the record miss the caches: after them it took 55 ns.
	client := peer.Addr().As16()
	r := k.Next()
	r.ID, r.Given, r.Began = x.number, 0, x.started
	r.Queue, r.Lookup, r.Connect, r.TLS = 0, 0, 0, 0
	r.Sent, r.FirstByte, r.LastByte, r.End = recent.SpanOf(sent), recent.SpanOf(first), a.Whole, recent.SpanOf(took)
	r.BytesIn, r.BytesOut = uint64(x.bodyIn), uint64(x.toDown.Passed)
	r.Listener, r.Route, r.Upstream = listener, route, up
	r.Tries[0], r.Tries[1] = recent.Try{}, recent.Try{Backend: member}
	r.Client, r.Port = client, peer.Port()
	flags := recent.Flags(0)
	if x.digest != nil {
		flags = recent.Secured
	}
	if a.Reused {
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
	a, now := &x.up, l.reactor.Now()
	*r = recent.Record{
		ID: x.number, Began: x.started, Queue: recent.Bounded(x.up.Waited), Connect: recent.Bounded(x.up.Dialled),
		TLS: recent.Bounded(x.up.Secured), LastByte: a.Whole, End: recent.Bounded(now - x.started),
		BytesIn: uint64(x.bodyIn), BytesOut: uint64(x.toDown.Passed), Listener: x.listener.tag.Of(x.listener.Name),
		Generation: uint16(x.snapshot.number), Proto: uint8(x.Request.Proto), Flags: recent.CacheFlags(uint8(x.cached)),
	}
	if len(x.given) > 0 {
		r.Given = recent.HashOf(x.given)
	}
	if a.FirstByte > 0 {
		r.FirstByte = recent.Bounded(a.FirstByte - x.started)
	}
	if a.Connected > 0 {
		r.Sent = recent.Bounded(max(a.Connected, a.SentAt) - x.started)
	}
	if x.route != nil {
		r.Route = x.route.tag.Of(x.route.Name)
	}
	if to := cmp.Or(x.past.credited(), a.To); to != nil {
		r.Upstream = to.Tag.Of(to.Upstream.Name())
	}
	if m := a.Backend; m != nil && x.up.Attempts > 0 {
		r.Tries[1].Backend = backend.TagOf(m).Of(m.Address())
	}
	if x.client.IsValid() {
		r.SetClient(x.client, 0)
	} else {
		peer := session.PeerIP(x.down)
		r.SetClient(peer.Addr(), peer.Port())
	}
	bad = x.writeEnd(r, &x.up, &x.call)
	if x.cached != NoCache && x.fault == nil {
		CachedOf(x).write(r, x.ours)
	}
	return bad
}

// writeEnd writes into r, which has its times already, how the exchange with the attempts a and the call c ended. It
// reports whether it is one of the bad requests.
func (k *record) writeEnd(r *recent.Record, a *forward.Request, c *call) (bad bool) {
	r.Status, r.Attempts = k.status, uint8(min(a.Attempts, 255))
	bad = k.status >= 500 || a.Attempts > 1 || k.local.rings.Slow(r)
	if k.digest != nil {
		r.Flags |= recent.Secured
	}
	if a.Reused {
		r.Flags |= recent.Reused
	}
	if k.tunnel {
		r.Flags |= recent.Tunnel
	}
	if a.FirstByte == 0 && k.status > 0 {
		r.Flags |= recent.Own
	}
	if len(k.noted) > 0 {
		r.Flags |= k.flags()
	}
	if f := k.fault; f != nil {
		r.Reason = f.noted()
		if k.status == 0 {
			r.Status = uint16(f.Status)
		}
		bad = bad || r.Status >= 499 || k.status < 400 && !k.tunnel // the answer was cut off
	}
	if c.known {
		r.Call = uint8(min(c.status, 254)) + 1
		bad = bad || grpc.Failed(c.status)
	}
	if k.past != nil {
		r.Tries[0], r.Lookup = k.past.first, recent.Bounded(k.past.lookup)
	}
	return bad
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

// reasonRefused returns the reason of a request that could not be decoded, and was answered with status: there are more
// causes than reasons.
func reasonRefused(status int) recent.Reason {
	switch status {
	case 414:
		return recent.Reason{Word: "client:request", Text: "The request line is too long.",
			Try: "limits.target_size of the listener bounds it"}
	case 431:
		return recent.Reason{Word: "client:request", Text: "The head of the request is too large.",
			Try: "limits.header_size, header_count and field_size of the listener bound it"}
	}
	return recent.Reason{Word: "client:request", Text: "What came is no request, or came too slowly.",
		Try: "the access log says what was wrong with it"}
}

// rememberRefused remembers a request that could not be decoded.
func (l *local) rememberRefused(on *Listener, peer poller.Addr, status int, proto message.Proto, cause error) {
	r := l.rings.Next()
	*r = recent.Record{
		Began: l.reactor.Now(), Listener: on.tag.Of(on.Name), Proto: uint8(proto), Status: uint16(status),
		Flags: recent.Refused | recent.Own, Reason: recent.NumberOf(reasonRefused(status)),
	}
	r.SetClient(peer.IP.Addr(), peer.IP.Port())
	if cause == l.refused.cause {
		r.ID, r.BytesOut = binary.BigEndian.Uint64(l.refused.id[8:]), uint64(l.refused.bytes)
	}
	l.rings.Put(status >= 500)
}
