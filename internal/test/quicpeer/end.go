package quicpeer

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"

	"github.com/edge-proxy/edge/quic"
)

// End is a client's Conn with its handshake, without a network.
//
//	Begin, or Prepare and Start ─► Conn.Receive, Conn.Expire ─► Events ─► Conn.AppendDatagram        until Stop
type End struct {
	Conn    quic.Conn
	Options quic.Options         // but for NewID and Random
	OnEvent func(ev *quic.Event) // takes all events but events of the handshake and of ids; nil: not called
	TLS     *tls.QUICConn
	Err     error // of crypto/tls
	State   tls.ConnectionState

	// Established and Closed say that their events have come.
	Established, Closed bool

	// Change makes other bytes of the bytes that crypto/tls says at a level; nil: they stay.
	Change func(l quic.Level, p []byte) []byte

	ids   uint64
	event quic.Event // of which OnEvent is told
}

// Begin begins a connection on path. random makes its numbers.
func (e *End) Begin(c *tls.Config, path quic.Path, now int64, random func() uint64) {
	e.Prepare(c, path, now, random)
	e.Start()
}

// Prepare is Begin without the ClientHello, which Start says.
func (e *End) Prepare(c *tls.Config, path quic.Path, now int64, random func() uint64) {
	e.Options.Random = random
	e.Options.NewID = func() (id quic.ID, token [16]byte) {
		e.ids++
		b := binary.BigEndian.AppendUint64(nil, random()<<16|e.ids)
		id, _ = quic.MakeID(b)
		copy(token[:], b)
		return id, token
	}
	e.TLS = tls.QUICClient(&tls.QUICConfig{TLSConfig: c})
	e.Err = e.Conn.InitClient(&e.Options, path, now)
	e.TLS.SetTransportParameters(e.Conn.AppendParameters(nil))
}

// Start says the ClientHello.
func (e *End) Start() {
	e.fail(e.TLS.Start(context.Background()))
	e.handshake()
}

// Stop ends the handshake, if that is still in progress.
func (e *End) Stop() { e.TLS.Close() } //nolint:errcheck // it tells what the handshake has told

// Events takes what Receive or Expire have brought.
func (e *End) Events() {
	for {
		e.event = e.Conn.Next()
		kind := e.event.Kind
		switch kind {
		case quic.Crypto:
			e.fail(e.TLS.HandleData(level[e.event.Level], e.event.Body))
			e.handshake()
			continue
		case quic.Established:
			e.Established = true
			continue
		case quic.IDRetired:
			continue
		case quic.Closed:
			e.Closed = true
		}
		if e.OnEvent != nil {
			e.OnEvent(&e.event)
		}
		if kind == quic.None {
			return
		}
	}
}

// level has the numbers of crypto/tls, which has a level of 0-RTT too.
var level = [...]tls.QUICEncryptionLevel{
	tls.QUICEncryptionLevelInitial, tls.QUICEncryptionLevelHandshake, tls.QUICEncryptionLevelApplication,
}

func levelOf(l tls.QUICEncryptionLevel) quic.Level {
	switch l {
	case tls.QUICEncryptionLevelInitial:
		return quic.Initial
	case tls.QUICEncryptionLevelHandshake:
		return quic.Handshake
	}
	return quic.OneRTT
}

// handshake acts on the events of crypto/tls.
func (e *End) handshake() {
	for {
		switch x := e.TLS.NextEvent(); x.Kind {
		case tls.QUICNoEvent:
			return
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			write := x.Kind == tls.QUICSetWriteSecret
			e.fail(e.Conn.SetSecret(levelOf(x.Level), write, x.Suite, x.Data))
		case tls.QUICWriteData:
			l := levelOf(x.Level)
			if e.Change != nil {
				x.Data = e.Change(l, x.Data)
			}
			e.Conn.SendCrypto(l, x.Data)
		case tls.QUICTransportParameters:
			e.fail(e.Conn.SetParameters(x.Data))
		case tls.QUICHandshakeDone:
			e.State = e.TLS.ConnectionState()
			e.Conn.HandshakeDone()
		}
	}
}

// fail ends the handshake for err, if that is one.
func (e *End) fail(err error) {
	if err == nil || e.Err != nil {
		return
	}
	e.Err = err
	var alert tls.AlertError
	if errors.As(err, &alert) {
		e.Conn.FailHandshake(quic.CryptoError(uint8(alert)))
	}
}
