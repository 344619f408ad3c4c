package proxy

import (
	"bytes"
	"errors"

	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy/meter"
	"github.com/edge-proxy/edge/tlsconn"
)

// AccessLog takes records; *observe.AccessLog is one. Append copies what it keeps and never waits. Each is owned by one
// reactor.
type AccessLog interface {
	// Append takes a record. r and what it refers to are borrowed until return.
	Append(r *observe.Record)
}

// logExchange makes the record of x, where somebody wants it, and gives it to the filters and then to the access logs.
func (l *local) logExchange(x *Exchange) {
	logs, list := x.listener.Log, x.filters().log
	if x.route != nil && x.route.Log != nil {
		logs = x.route.Log
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
		logs[l.reactor.Index()].Append(r)
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
	peer := x.down.Peer()
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
		r.ClientIP, r.ClientPort = peer.IP.Addr(), peer.IP.Port()
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
		reason = f.Reason
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

// logRefused writes the record of a request that could not be decoded: little is known of it.
func (l *local) logRefused(on *Listener, peer poller.Addr, status int, cause error) {
	if on.Log == nil {
		return
	}
	proto := message.HTTP11
	if malformed := (*h2.Error)(nil); errors.As(cause, &malformed) {
		proto = message.HTTP20
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
