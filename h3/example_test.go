package h3_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"math/big"
	mathrand "math/rand/v2"
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

// side is one end of a connection: HTTP/3 on QUIC, with the TLS that QUIC needs.
type side struct {
	quic quic.Conn
	tls  *tls.QUICConn
	http h3.Conn
	head message.Head
	on   func(ev h3.Event)
}

// receive takes a datagram and acts on what it brings.
func (s *side) receive(datagram []byte, now int64) {
	s.quic.Receive(datagram, path, now)
	for {
		in := s.quic.Next()
		if in.Kind == quic.Crypto {
			if err := s.tls.HandleData(levels[in.Level], in.Body); err != nil {
				log.Fatal(err)
			}
			s.shake()
		}
		for n, ev := s.http.Next(&in, &s.head, now); ev.Kind != h3.NeedMore; n, ev = s.http.Next(&in, &s.head, now) {
			in.Body = in.Body[n:]
			if s.on(ev); ev.Kind == h3.Data {
				s.http.Release(ev.Stream, len(ev.Body))
			}
		}
		if in.Kind == quic.None {
			return
		}
	}
}

// A request and its answer. Datagrams go from one end to the other without a network.
func ExampleConn() {
	var client, server side
	client.on = func(ev h3.Event) {
		switch ev.Kind {
		case h3.HeadDone:
			fmt.Println(client.head.Status, "of", client.head.Length, "bytes")
		case h3.Data:
			fmt.Printf("%s, end %v\n", ev.Body, ev.End)
		}
	}
	server.on = func(ev h3.Event) {
		if ev.Kind == h3.HeadDone {
			fmt.Printf("%s %s, end %v\n", server.head.MethodBytes(), server.head.Path(), ev.End)
			must(server.http.SendHead(ev.Stream, &message.Head{Status: 200, Length: 5}, false))
			server.http.SendData(ev.Stream, []byte("hello"), true)
		}
	}
	must(client.quic.InitClient(&options, path, 1))
	client.begin(h3.Client, tls.QUICClient(&tls.QUICConfig{TLSConfig: config()}))

	var asked, begun bool
	for now := int64(1); now < 20; now++ { // a program has a socket here, and calls Expire at Deadline
		for client.quic.Pending() {
			d, _ := client.quic.AppendDatagram(make([]byte, 0, quic.DatagramMax), now)
			if h, ok := quic.Parse(d); ok && !begun {
				begun = true
				must(server.quic.InitServer(&options, &h, path, now))
				server.begin(h3.Server, tls.QUICServer(&tls.QUICConfig{TLSConfig: config()}))
			}
			server.receive(d, now)
		}
		for server.quic.Pending() {
			d, _ := server.quic.AppendDatagram(make([]byte, 0, quic.DatagramMax), now)
			client.receive(d, now)
		}
		if s, err := client.http.Open(now); err == nil && !asked {
			asked = true
			var req message.Head
			req.SetMethod("GET")
			req.SetTarget("/hello")
			req.SetAuthority("example.org")
			must(client.http.SendHead(s, &req, true))
		}
	}
	// Output:
	// GET /hello, end true
	// 200 of 5 bytes
	// hello, end true
}

// begin begins the handshake.
func (s *side) begin(role h3.Role, t *tls.QUICConn) {
	s.tls = t
	s.tls.SetTransportParameters(s.quic.AppendParameters(nil))
	must(s.tls.Start(context.Background()))
	s.http.Init(role, &s.quic, nil)
	s.shake()
}

// shake moves what TLS has to say into the connection.
func (s *side) shake() {
	for {
		switch e := s.tls.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			must(s.quic.SetSecret(levelOf(e.Level), e.Kind == tls.QUICSetWriteSecret, e.Suite, e.Data))
		case tls.QUICWriteData:
			s.quic.SendCrypto(levelOf(e.Level), e.Data)
		case tls.QUICTransportParameters:
			must(s.quic.SetParameters(e.Data))
		case tls.QUICHandshakeDone:
			s.quic.HandshakeDone()
		}
	}
}

// levels has the encryption levels of crypto/tls by the levels of package quic.
var levels = [...]tls.QUICEncryptionLevel{
	quic.Initial: tls.QUICEncryptionLevelInitial, quic.Handshake: tls.QUICEncryptionLevelHandshake,
	quic.OneRTT: tls.QUICEncryptionLevelApplication,
}

func levelOf(l tls.QUICEncryptionLevel) quic.Level {
	for i := range levels {
		if levels[i] == l {
			return quic.Level(i)
		}
	}
	return quic.OneRTT
}

var (
	path    = quic.Path{Local: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddrPort("192.0.2.2:443")}
	lastID  byte
	options = quic.Options{NewID: newID, Random: mathrand.Uint64} // of ChaCha8
)

// newID makes the id of a connection, by which its datagrams are known. A program draws it.
func newID() (id quic.ID, token [16]byte) {
	lastID++
	id, _ = quic.MakeID([]byte{0, 0, 0, 0, 0, 0, 0, lastID})
	return id, token
}

// config returns what either end says of itself.
func config() *tls.Config {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	must(err)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		NextProtos:   []string{"h3"}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
