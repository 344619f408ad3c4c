package proxy_test

import (
	"testing"

	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// A backend is told the scheme of the client's connection, or the one that a trusted proxy names: in :scheme as in
// X-Forwarded-Proto.
func TestScheme_ofBackendsIsThatOfTheConnection(t *testing.T) {
	told := make(chan string, 1)
	origin := serveFramed(t, &framed{
		begun: func(c *framedConn, _ uint32) {
			fields := map[string]string{}
			for _, f := range c.head {
				fields[f.Name] = f.Value
			}
			told <- fields[":scheme"] + " " + fields["x-forwarded-proto"]
		},
		ended: func(c *framedConn, id uint32, _ string) { c.answer(id, "") },
	})
	r := multiplexed(t, origin, upstream.Options{})
	trust := &forwarding.Trust{Unix: true} // the peer of a client that is played
	for _, c := range []struct {
		claimed string
		digest  *tlsconn.Digest
		trusted *forwarding.Trust
		proto   string
		want    string
	}{
		{"", nil, nil, "", "http http"},
		{"http", nil, nil, "https", "http http"},
		{"", overTLS, nil, "", "https https"},
		{"http", overTLS, nil, "http", "https https"},
		{"https", overTLS, nil, "", "https https"},
		{"", nil, trust, "https", "https https"},
		{"", nil, trust, "HTTPS", "https HTTPS"},
		{"https", nil, trust, "", "https https"},
		{"http", overTLS, trust, "http", "http http"},
		{"https", overTLS, trust, "x y", "http x y"},
		{"", overTLS, trust, " , ", "https https"}, // an empty value says nothing
		{"https", nil, trust, " ", "https https"},
	} {
		h := headOf("GET", c.claimed, "h", "/")
		if c.proto != "" {
			h.Add("X-Forwarded-Proto", c.proto)
		}
		p := r.play(t, &proxy.Listener{Trusted: c.trusted}, c.digest, h, true)
		if got := <-told; got != c.want {
			t.Errorf("%+v: the backend was told %q", c, got)
		}
		p.want(t, "head 200")
	}
	w := testutil.Dial(t, r.addr())
	w.Send("GET hTTp://h/ HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := <-told; got != "http http" {
		t.Errorf("absolute form: the backend was told %q", got)
	}
	w.ReadResponse("GET")
}
