package inspect

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/edge-proxy/edge/admin"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy/recent"
)

// A connection of a TCP service says where it leads and what came so far; one in its handshake is none yet.
func TestInspector_connectionsOfServices(t *testing.T) {
	backend := testutil.Serve(t, func(c net.Conn) {
		io.Copy(c, c) //nolint:errcheck // the client ends it
		c.Close()
	}).Addr().String()
	s, v := start(t, "log = { output = [] }\n[services.db]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ndest = \""+
		backend+"\"\n[services.secure]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ncert = \"internal\"\ndest = \""+
		backend+"\"\n")
	for _, a := range s.Addresses() {
		w := testutil.Dial(t, a.Addr.String())
		if a.TLS {
			w.Send("\x16\x03\x01") // the begin of a ClientHello
			continue
		}
		w.Send("hello")
		w.Want("hello")
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		list, _, err := v.Connections(context.Background(), "", 9, func(*admin.Connection) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		var tcp, shaking admin.Connection
		for _, c := range list {
			switch c.Listener {
			case "db":
				tcp = c
			case "secure":
				shaking = c
			}
		}
		return tcp.Protocol == "tcp" && tcp.Backend == backend && tcp.BytesIn == 5 && tcp.BytesOut == 5 &&
			tcp.Age > tcp.Idle && tcp.Idle > 0 && shaking.Protocol == "handshake" && shaking.Backend == ""
	}, "both are as they should be")
}

// The sentence about a connection says what happened, when, and what came before.
func TestExplain_connections(t *testing.T) {
	var tag observe.Tag
	member := tag.Of("10.0.0.7:1")
	for _, c := range []struct {
		status  uint16
		took    time.Duration
		connect recent.Span
		why     recent.Reason
		tries   uint8
		want    string
	}{
		{200, 2 * time.Second, 1, recent.Reason{}, 1, "Both sides have ended it, 2s after the client came."},
		{200, 26 * time.Hour, recent.SpanOf(3e7), recent.Reason{Word: "edge:idle", Text: "No byte came."}, 1,
			"No byte came, 25h59m59s after the client came. It took 30ms until 10.0.0.7:1 was connected to."},
		{499, time.Second, 0, recent.Reason{Word: "client:gone", Text: "The client left early."}, 1,
			"The client left early, 1s after the client came."},
		{502, time.Second, 0, recent.Reason{Word: "backend:connect", Text: "It refused."}, 2,
			"No backend of u could be connected to. The last attempt, at 10.0.0.7:1, ended 1s after the client came: " +
				"It refused. The first of 2 attempts failed: 10.0.0.7:1, backend:connect (It refused)."},
	} {
		r := remembered{Record: recent.Record{Proto: observe.ProtoTCP, Status: c.status, Connect: c.connect,
			Attempts: c.tries, Upstream: new(observe.Tag).Of("u")}}
		r.SetTook(int64(c.took) + 1<<20)
		r.Tries = [2]recent.Try{recent.MakeTry(member, 0, 0), {Backend: member}}
		if c.why.Word != "" {
			r.Reason = recent.NumberOf(c.why)
			r.Tries[0] = recent.MakeTry(member, r.Reason, time.Second)
		}
		one := describeRequest(&r, 0)
		if one.Protocol != "TCP" || one.Explained != c.want {
			t.Errorf("%s %q, want %q", one.Protocol, one.Explained, c.want)
		}
	}
}
