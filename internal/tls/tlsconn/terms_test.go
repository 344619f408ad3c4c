package tlsconn_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// Choose is asked for each handshake, for what a client tells; what it chooses is known of the connection.
func TestServer_chooses(t *testing.T) {
	accept, digests := keep(func() engine.Handler { return echo{} })
	other, refused := serverConfig(), make(chan error, 8)
	other.ClientAuth, other.ClientCAs = tls.RequireAndVerifyClientCert, authority().pool
	shown := 0
	other.Certificates, other.GetCertificate = nil, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return tlsconn.HelloTerms(hello).Certificate(hello)
	}
	show := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		shown++
		c := authority().server
		return &c, nil
	}
	base := serverConfig()
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{Config: base, Asked: "nobody",
		Choose: func(hello *tls.ClientHelloInfo) tlsconn.Terms {
			if d := tlsconn.HelloDigest(hello); d.Peer.IP.Addr().String() != "127.0.0.1" || d.Local.IP.Port() == 0 {
				t.Errorf("a handshake of %v with %v", d.Peer, d.Local)
			}
			switch hello.ServerName {
			case "none.test", "":
				return tlsconn.Terms{}
			case "other.test":
				return tlsconn.Terms{Config: other, Asked: "all", Certificate: show}
			}
			return tlsconn.Terms{Config: base, Asked: "nobody"}
		}, Failed: func(_ *engine.Conn, err error) { refused <- err },
	}, accept)
	to := func(name string) *tls.Config {
		o := clientConfig()
		o.ServerName, o.InsecureSkipVerify, o.NextProtos = name, true, []string{"x"}
		o.Certificates = []tls.Certificate{authority().client}
		return o
	}
	exchange(t, v.dial(to("localhost")), noise(100))
	if d := <-digests; d.Asked != "nobody" || d.Verified || len(d.Offered) != 1 || d.Offered[0] != "x" {
		t.Errorf("%+v", d)
	}
	exchange(t, v.dial(to("other.test")), noise(100))
	if d := <-digests; d.Asked != "all" || !d.Verified || shown != 1 {
		t.Errorf("%+v, %d shown", d, shown)
	}
	for name, want := range map[string]string{"none.test": "unrecognized name", "": "access denied"} {
		if _, err := tls.Dial("tcp", v.addr, to(name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
		var failed *tlsconn.HandshakeError
		err := <-refused
		if !errors.As(err, &failed) || failed.Reason != tlsconn.ErrDenied || failed.ServerName != name {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Options that serve an address are given to Server for another one: a handshake at the first may go on meanwhile.
func TestServer_sameOptionsForAnotherAddress(t *testing.T) {
	h := newHouse(t, tlsconn.HandshakerOptions{})
	o := tlsconn.ServerOptions{Config: serverConfig()}
	o.Choose = func(*tls.ClientHelloInfo) tlsconn.Terms { return tlsconn.Terms{Config: o.Config} }
	h.hs.Server(o, nil)
	read := make(chan bool)
	go func() { read <- o.Config.DynamicRecordSizingDisabled && o.Config.GetConfigForClient != nil }()
	h.hs.Server(o, nil) // the race detector sees what it writes
	if !<-read {
		t.Error("the options of the first address are not set")
	}
}
