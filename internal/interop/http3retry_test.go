package interop

import (
	"net"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/quic"
)

// quic-go proves its address and gets its page, with a key of a reload.
func TestHTTP3_retry(t *testing.T) {
	t.Parallel()
	p := startPlaced(t, newSlow(t), "")
	listener := p.listener(`"h1", "h2", "h3"`)
	p.reload(t, listener+"h3 = { retry = \"always\" }\n")
	p.well(t, "retry always")
	if h := p.answered(t); h.Kind != quic.RetryPacket || len(h.Token) == 0 {
		t.Errorf("%+v", h)
	}
	p.reload(t, listener+"h3 = { retry = \"never\" }\n")
	p.well(t, "retry never")
}

// answered returns the header of the answer to an Initial that nobody has sealed.
func (p *placed) answered(t *testing.T) (h quic.Header) {
	t.Helper()
	c, err := net.Dial("udp4", p.addr)
	testutil.Must(t, err)
	defer c.Close()
	d := make([]byte, quic.DatagramSize)
	copy(d, "\xc3\x00\x00\x00\x01\x08original\x02me\x00\x44\x99")
	testutil.Must(t, c.SetDeadline(time.Now().Add(testutil.Patience)))
	if _, err := c.Write(d); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(d)
	testutil.Must(t, err)
	h, ok := quic.Parse(d[:n])
	if !ok {
		t.Fatalf("%x", d[:n])
	}
	return h
}
