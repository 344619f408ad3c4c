package explain

import (
	"net/netip"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// Arrived is a request of an Ask as it comes from the client.
type Arrived struct {
	Head   message.Head
	Scheme string
	Client netip.Addr
}

// Arrive returns the request that a asks about. The error says what is wrong with it.
func Arrive(a *Ask) (*Arrived, error) {
	q, err := parse(a)
	if err != nil {
		return nil, err
	}
	r := &Arrived{Scheme: q.Scheme, Client: q.client}
	return r, q.decode(&r.Head)
}

// widest are the limits of the listener that allows most. The dry run has the limits of the
// listener that takes the request.
var widest = h1.Limits{HeadBytes: 1 << 20, RequestLine: 1 << 20, FieldBytes: 1 << 20, FieldCount: 10000}

// decode makes h the head of q.
func (q *asked) decode(h *message.Head) error {
	var d h1.Decoder
	d.InitRequests(&widest)
	_, _, _, err := d.Next(q.wire(), h)
	return err
}
