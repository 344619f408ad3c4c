package proxy

import (
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// intake is an Exchange that receives the body of its request before it goes on. It is the Exchange, by conversion.
//
//	route ─► stepRead: as much as Route.ReadBody ─► filters of the route ─► stepBuffer: all, for Route.BufferRequest
//
// What has come waits in forward.Body, released, so that more comes; what comes after that is passed on as it comes.
type intake Exchange

// reads reports whether the exchange goes on to its filters at once: what the route reads of the body is here. Nothing
// that the head says excepts a body: a client would choose whether rules see it.
func (i *intake) reads() bool { return i.hasRead() || i.wait() }

// hasRead reports whether as much of the body is here as the route reads, and keeps it as the backend gets it. A
// request for a tunnel, such as CONNECT, ends with its head.
func (i *intake) hasRead() bool {
	b, n := &i.up.Body, i.route.ReadBody
	if len(b.Raw) < n && !b.Ended {
		return false
	}
	b.Lent = true
	n = min(n, len(b.Raw))
	read := lang.Body{Bytes: b.Raw[:n:n], Cut: n < len(b.Raw) || !b.Ended}
	if i.call.form == grpc.WebText { // bytes after an error are not seen: stageUp refuses the request
		var quartet grpc.Quartet
		i.local.coded, _ = quartet.Decode(i.local.coded[:0], read.Bytes)
		read.Bytes = b.Copy(i.local.coded)
	}
	*bodyRead.Of((*Exchange)(i)) = read
	return true
}

// buffers reports whether the exchange goes on at once, for a route that wants the whole body: there is nothing to wait
// for.
func (i *intake) buffers() bool {
	h, x := &i.Request, (*Exchange)(i)
	switch {
	case h.Length == 0:
		return true // a request with content gets no upgrade: see settleUpgrade
	case h.Length > int64(i.route.BufferRequest), len(i.up.Body.Raw) > i.route.BufferRequest:
		x.fail(BodyTooLarge)
		return false
	case i.up.Body.Ended:
		i.measure()
		return true
	}
	return i.wait()
}

// wait makes the client send the body, and returns false: the exchange goes on with it.
func (i *intake) wait() bool {
	h, x := &i.Request, (*Exchange)(i)
	if h.Continue && !i.continued { // RFC 9110 §10.1.1: no backend will say it
		i.continued = true
		if err := i.down.SendHead(&message.Head{Status: 100, Proto: message.HTTP11}, false); err != nil {
			downError(x, err)
			return false
		}
	}
	h.DelID(message.Expect)
	h.Continue = false
	armTotal(x) // prepare does it again: a function that chooses the destination may have set times
	i.release(i.up.Body.Owed)
	return false
}

// takes receives a piece of the body, and reports whether enough of it is here, so that the exchange goes on.
func (i *intake) takes(p []byte, end bool) bool {
	b, x := &i.up.Body, (*Exchange)(i)
	reading := i.step == stepRead
	if !reading && len(b.Raw)+len(p) > i.route.BufferRequest {
		i.down.Release(len(p))
		x.fail(BodyTooLarge)
		return false
	}
	b.Wait(p, end)
	switch {
	case reading && i.hasRead(): // what is not released yet waits
	case !end && i.local.reactor.Overloaded():
		x.fail(Overload)
		return false
	case !end:
		i.release(len(p))
		return false
	default:
		i.measure()
	}
	return true
}

// release lets the client send n bytes more.
func (i *intake) release(n int) {
	i.up.Body.Owed -= n
	i.down.Release(n)
}

// measure gives a request whose body is here its length, unless the body is about to be changed or trailers follow it,
// which a length would rule out over HTTP/1.
func (i *intake) measure() {
	if b := &i.up.Body; b.Trailers == nil && !b.Staged {
		i.Request.Length = int64(len(b.Raw))
	}
}
