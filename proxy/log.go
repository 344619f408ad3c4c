package proxy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/poller"
)

// AccessLog takes records; *observe.AccessLog is one. Append copies what it keeps and never waits. Each is owned by one
// reactor.
type AccessLog interface {
	// Append takes a record. r and what it refers to are borrowed until return.
	Append(r *observe.Record)
}

// ID returns the number of the request in hexadecimal, the same as in the access log.
func (x *Exchange) ID() string {
	id := x.idBytes()
	return hex.EncodeToString(id[:])
}

// idBytes numbers the request when it is first asked for.
func (x *Exchange) idBytes() (id [16]byte) {
	if x.number == 0 {
		x.local.ids[1]++
		x.number = x.local.ids[1]
	}
	binary.BigEndian.PutUint64(id[:8], x.local.ids[0])
	binary.BigEndian.PutUint64(id[8:], x.number)
	return id
}

var question = []byte("?")

// log writes the record of x: the request as it came, whatever was made of it.
func (x *Exchange) log() {
	logs := x.listener.Log
	if x.route != nil && x.route.Log != nil {
		logs = x.route.Log
	}
	if logs == nil {
		return
	}
	l := x.local
	now := l.now()
	dur := l.reactor.Now() - x.started
	peer := x.down.Peer()
	path, query, _ := bytes.Cut(x.Request.Bytes(x.target), question)
	r := &l.record
	*r = observe.Record{
		Time: now - dur, ID: x.idBytes(), Listener: x.listener.Name,
		ClientIP: x.ClientIP(), Proto: uint8(x.Request.Proto),
		Method: x.Request.MethodBytes(), Host: x.Request.Bytes(x.authority),
		Path: path, Query: query,
		Status: x.status, BytesIn: x.bodyIn, BytesOut: x.toDown.passed, Dur: dur,
		Attempts: x.attempts, Reused: x.reused,
		UserAgent: x.Request.Peek(message.UserAgent), Referer: x.Request.Peek(message.Referer),
	}
	if !x.client.IsValid() {
		r.ClientPort = peer.IP.Port()
	}
	if x.route != nil {
		r.Route = x.route.Name
		if d, ok := x.route.To.(*toUpstream); ok {
			r.Upstream, r.Backend = d.upstream.Name(), x.Backend()
		}
	}
	if f := x.fault; f != nil {
		r.Reason = f.reason
		if x.status == 0 {
			r.Status = f.status
		}
	}
	if x.firstByte > 0 {
		r.T.FirstByte = x.firstByte - x.connected
		r.T.Body = l.reactor.Now() - x.firstByte
	}
	logs[l.reactor.Index()].Append(r)
}

// logRefused writes the record of a request that could not be decoded: little is known of it.
func (l *local) logRefused(on *Listener, peer poller.Addr, status int, cause error) {
	if on.Log == nil {
		return
	}
	l.record = observe.Record{
		Time: l.now(), Listener: on.Name, ClientIP: peer.IP.Addr(), ClientPort: peer.IP.Port(),
		Proto: uint8(message.HTTP11), Status: status, Reason: "client:" + cause.Error(),
	}
	on.Log[l.reactor.Index()].Append(&l.record)
}
