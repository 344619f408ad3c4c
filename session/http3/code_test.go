package http3

import (
	"testing"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// What the end of a connection means to the exchanges on it.
func TestCauseOf(t *testing.T) {
	for _, test := range []struct {
		k    quic.Closure
		code session.Code
	}{
		{quic.Closure{Err: quic.ErrPeer, Code: uint64(h3.NoError), App: true, ByPeer: true}, session.Cancelled},
		{quic.Closure{Err: quic.ErrPeer, Code: uint64(h3.InternalError), App: true, ByPeer: true}, session.ConnectionLost},
		{quic.Closure{Err: quic.ErrPeer, Code: uint64(h3.NoError), ByPeer: true}, session.ConnectionLost},
		{quic.Closure{Err: quic.ErrIdle}, session.ConnectionLost},
		{quic.Closure{Err: quic.ErrReset, ByPeer: true}, session.ConnectionLost},
		{quic.Closure{Err: &quic.Error{Code: quic.FlowControlError}, Code: uint64(quic.FlowControlError)}, session.Malformed},
	} {
		if code, err := causeOf(test.k); code != test.code || err != test.k.Err {
			t.Errorf("%+v: %v, %v", test.k, code, err)
		}
	}
}
