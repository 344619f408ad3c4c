package health

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// exchange is the request of a check and its answer. It is the Receiver of the answer.
// Owned by its reactor.
type exchange struct {
	place  place
	probe  *probe         // nil: it was given up, or has told its result: what still comes is thrown away
	stream session.Stream // nil: no exchange is in progress
	owed   []byte         // of a call, that has not left
	seen   []byte         // of the body: what the next bytes may complete
	read   int            // bytes of the body
	asks   word           // what it waits for
}

// place is a slot to connect that a link holds.
type place struct{ local *local }

// leave gives the slot back, once.
func (p *place) leave() {
	if p.local != nil {
		p.local.leavePlace()
		p.local = nil
	}
}

// begin sends the request of a check on s.
func (x *exchange) begin(p *probe, s session.Stream) {
	x.probe, x.stream, x.read, x.seen = p, s, 0, x.seen[:0]
	x.asks = headTimeout
	if x.place.local != nil {
		x.asks = connectTimeout
	}
	h, o := &p.local.request, p.plan
	h.Reset()
	h.SetMethod(o.Method)
	h.SetTarget(o.Path)
	host := o.Host
	if host == "" {
		host = hostOf(p)
	}
	h.SetAuthority(host)
	for _, f := range o.Fields {
		h.Add(f.Name, f.Value)
	}
	if h.Find("User-Agent") < 0 {
		h.Add("User-Agent", userAgent)
	}
	if o.Kind == GRPC {
		x.sendCall(h, o.Service)
		return
	}
	if err := s.SendHead(h, true); err != nil && x.stream == s {
		x.fail(finding{word: protocolError, outcome: Failed, got: err.Error()})
	}
}

// userAgent is what requests of checks say of themselves, unless their fields say otherwise.
const userAgent = "edge-health"

// hostOf returns what Host says where the options do not: what the member is called in HTTP.
func hostOf(p *probe) string {
	if m := p.member; len(m.ID().Addr.Path) == 0 {
		return m.Host()
	}
	return "localhost"
}

// sendCall sends grpc.health.v1.Health/Check for a service. The message has one field, a string with number 1.
func (x *exchange) sendCall(h *message.Head, service string) {
	h.SetMethod("POST")
	h.SetTarget("/grpc.health.v1.Health/Check")
	h.Add("content-type", "application/grpc")
	h.Add("te", "trailers")
	h.Trailers = true
	call := make([]byte, 5, 5+2+binary.MaxVarintLen32+len(service)) // a byte and a length precede a message
	if service != "" {
		call = append(call, 1<<3|2)
		call = binary.AppendUvarint(call, uint64(len(service)))
		call = append(call, service...)
	}
	binary.BigEndian.PutUint32(call[1:], uint32(len(call)-5))
	h.Length = int64(len(call))
	s := x.stream
	err := s.SendHead(h, false)
	if err == nil {
		x.owed = call
		x.send(s)
	}
}

// pass tells that the check has passed.
func (x *exchange) pass() {
	if p := x.probe; p != nil {
		x.probe = nil
		p.pass()
	}
}

// fail tells that it has failed.
func (x *exchange) fail(f finding) {
	if p := x.probe; p != nil {
		x.probe = nil
		p.fail(f)
	}
}

// OnHead judges the status. What follows is read only for the body that has to come, and for the connection's sake.
func (x *exchange) OnHead(_ session.Stream, h *message.Head, end bool) {
	x.place.leave()
	p := x.probe
	if h.Status < 200 || p == nil {
		x.ended(end && h.Status >= 200)
		return
	}
	o := p.plan
	x.asks = bodyTimeout
	switch {
	case o.Kind == GRPC:
		x.grpcHead(h, end)
	case !o.passes(int(h.Status)):
		x.ended(end)
		x.fail(finding{word: status, outcome: Failed, expected: o.expected, got: strconv.Itoa(int(h.Status))})
	case o.Body == "":
		x.ended(end)
		x.pass()
	case end:
		x.ended(true)
		x.failBody()
	}
}

// ended notes that the answer is whole.
func (x *exchange) ended(end bool) {
	if end {
		x.stream = nil
	}
}

// failBody tells that the text that has to be in the body is not.
func (x *exchange) failBody() {
	if p := x.probe; p != nil {
		f := finding{word: body, outcome: Failed, expected: quote([]byte(p.plan.Body))}
		f.got = strconv.Itoa(x.read) + " bytes without it"
		x.fail(f)
	}
}

// quote returns the beginning of what a peer sent, for the log.
func quote(p []byte) string { return string(bytes.ToValidUTF8(p[:min(len(p), gotMax)], []byte("?"))) }

// OnData looks for the text.
func (x *exchange) OnData(s session.Stream, in []byte, end bool) {
	s.Release(len(in))
	x.ended(end)
	x.read += len(in)
	switch p := x.probe; {
	case p == nil:
	case p.plan.Kind == GRPC:
		x.seen = append(x.seen, in[:min(len(in), grpcMax-len(x.seen))]...)
		if end {
			x.judgeCall("")
		}
	case x.finds(in, p.plan.Body):
		x.pass()
	case end || x.read >= bodyMax:
		x.failBody()
	}
	if x.read >= bodyMax && x.stream != nil {
		x.stream.Reset(session.Cancelled) // the connection is not worth the rest
		x.stream = nil
	}
}

// finds reports whether text is in the body, which goes on with in. What may be its beginning is kept.
func (x *exchange) finds(in []byte, text string) bool {
	x.seen = append(x.seen, in...)
	if bytes.Contains(x.seen, []byte(text)) {
		return true
	}
	if keep := len(text) - 1; len(x.seen) > keep {
		x.seen = append(x.seen[:0], x.seen[len(x.seen)-keep:]...)
	}
	return false
}

// OnTrailers ends the answer.
func (x *exchange) OnTrailers(_ session.Stream, h *message.Head) {
	x.stream = nil
	if p := x.probe; p != nil && p.plan.Kind == GRPC {
		x.judgeCall(h.Get("grpc-status"))
		return
	}
	x.failBody()
}

// OnSendable says that the connection is established.
func (x *exchange) OnSendable(s session.Stream) {
	x.place.leave()
	if x.asks == connectTimeout {
		x.asks = headTimeout
	}
	x.send(s)
}

// send sends the bytes of a call that wait.
func (x *exchange) send(s session.Stream) {
	if len(x.owed) == 0 || x.stream == nil {
		return
	}
	if n, err := s.SendData(x.owed, true); err == nil {
		x.owed = x.owed[n:]
	}
}

// OnReset tells why there is no whole answer, unless another connection may bring one.
func (x *exchange) OnReset(_ session.Stream, code session.Code, cause error) {
	x.place.leave()
	x.stream = nil
	p := x.probe
	if p == nil {
		return
	}
	again := code == session.ConnectionLost || code == session.Refused || code == session.WentAway
	if again && x.asks == headTimeout && p.lost() {
		return
	}
	x.fail(findingOfReset(code, cause))
}
