package quic_test

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

	"github.com/edge-proxy/edge/quic"
)

// side is one end of a connection, with the TLS that it needs.
type side struct {
	conn quic.Conn
	tls  *tls.QUICConn
	say  string // a server's answer
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

// shake moves what TLS has to say into the connection.
func (s *side) shake() {
	for {
		switch e := s.tls.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			write := e.Kind == tls.QUICSetWriteSecret
			s.conn.SetSecret(levelOf(e.Level), write, e.Suite, e.Data) //nolint:errcheck // the event Closed tells
		case tls.QUICWriteData:
			s.conn.SendCrypto(levelOf(e.Level), e.Data)
		case tls.QUICTransportParameters:
			s.conn.SetParameters(e.Data) //nolint:errcheck // the event Closed tells
		case tls.QUICHandshakeDone:
			s.conn.HandshakeDone()
		}
	}
}

// begin begins the handshake.
func (s *side) begin() {
	s.tls.SetTransportParameters(s.conn.AppendParameters(nil))
	if err := s.tls.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	s.shake()
}

// receive takes a datagram and acts on what it brings.
func (s *side) receive(name string, d []byte, p quic.Path, now int64) {
	s.conn.Receive(d, p, now)
	for e := s.conn.Next(); e.Kind != quic.None; e = s.conn.Next() {
		switch e.Kind {
		case quic.Crypto:
			if err := s.tls.HandleData(levels[e.Level], e.Body); err != nil {
				s.conn.FailHandshake(quic.CryptoError(80))
			}
			s.shake()
		case quic.Data:
			fmt.Printf("%s got %q\n", name, e.Body)
			s.conn.Release(e.Stream, len(e.Body))
			if e.End {
				s.conn.Send(e.Stream, []byte(s.say), true)
				s.conn.Done(e.Stream)
			}
		}
	}
}

func config() *tls.Config {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	if err != nil {
		log.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		NextProtos:   []string{"hello"}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
	}
}

// A client asks and a server answers. Datagrams go from one to the other without a network; a program has a socket
// there, and calls Expire at Deadline.
func ExampleConn() {
	ids := byte(0)
	options := quic.Options{NewID: func() (id quic.ID, token [16]byte) {
		ids++
		id, _ = quic.MakeID([]byte{0, 0, 0, 0, 0, 0, 0, ids}) // a program draws them
		return id, token
	}, Random: mathrand.Uint64} // of ChaCha8
	path := quic.Path{Local: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddrPort("192.0.2.2:443")}
	client := &side{tls: tls.QUICClient(&tls.QUICConfig{TLSConfig: config()})}
	server := &side{tls: tls.QUICServer(&tls.QUICConfig{TLSConfig: config()}), say: "hello client"}
	if err := client.conn.InitClient(&options, path, 1); err != nil {
		log.Fatal(err)
	}
	client.begin()

	asked, begun := false, false
	for now := int64(1); now < 20; now++ {
		for client.conn.Pending() {
			d, _ := client.conn.AppendDatagram(make([]byte, 0, quic.DatagramMax), now)
			if h, ok := quic.Parse(d); ok && !begun {
				if err := server.conn.InitServer(&options, &h, path, now); err != nil {
					log.Fatal(err)
				}
				server.begin()
				begun = true
			}
			server.receive("server", d, path, now)
		}
		for server.conn.Pending() {
			d, _ := server.conn.AppendDatagram(make([]byte, 0, quic.DatagramMax), now)
			client.receive("client", d, path, now)
		}
		if s, err := client.conn.Open(quic.TwoWay); err == nil && !asked {
			client.conn.Send(s, []byte("hello server"), true)
			asked = true
		}
	}
	// Output:
	// server got "hello server"
	// client got "hello client"
}
