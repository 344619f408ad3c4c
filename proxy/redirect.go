package proxy

import (
	"errors"
	"fmt"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// redirect is a Destination that sends the client elsewhere.
type redirect struct {
	to     *message.Template
	status int
}

var errRedirectStatus = errors.New("the status of a redirect is 301, 302, 303, 307 or 308")

// Redirect answers every request with status and a Location that the template to makes of it: see
// message.ParseLocation. Status 0 is 308, which keeps the method.
func Redirect(to string, status int) (Destination, error) {
	t, err := message.ParseLocation(to)
	if err != nil {
		return nil, fmt.Errorf("redirect to %q: %w", to, err)
	}
	switch status {
	case 0:
		status = 308
	case 301, 302, 303, 307, 308:
	default:
		return nil, errRedirectStatus
	}
	return &redirect{t, status}, nil
}

// Open answers.
func (d *redirect) Open(x *Exchange, _ session.Receiver) (session.Stream, error) {
	h := &x.Request
	if d.to.NeedsHost() && h.Authority.Len == 0 {
		return nil, faultTarget
	}
	at := len(h.Base)
	h.Base = d.to.Append(h.Base, h, x.Scheme())
	if len(h.Base)-at > targetMax {
		return nil, faultTargetTooLong
	}
	return nil, Respond(d.status, "").With("Location", string(h.Base[at:]))
}
