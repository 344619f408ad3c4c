package http3

import (
	"testing"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// What the end of a connection means to the exchanges on it.
func TestCauseOf(t *testing.T) {
	const done, failed = uint64(h3.NoError), uint64(h3.InternalError)
	for _, test := range []struct {
		k    quic.Closure
		code session.Code
	}{
		{quic.Closure{Err: quic.ErrPeer, Code: done, App: true, ByPeer: true}, session.Cancelled},
		{quic.Closure{Err: quic.ErrPeer, Code: failed, App: true, ByPeer: true}, session.ConnectionLost},
		{quic.Closure{Err: quic.ErrPeer, Code: done, ByPeer: true}, session.ConnectionLost},
		{quic.Closure{Err: quic.ErrIdle}, session.ConnectionLost},
		{quic.Closure{Err: quic.ErrReset, ByPeer: true}, session.ConnectionLost},
		{quic.Closure{Err: &quic.Error{Code: quic.FlowControlError}}, session.Malformed},
	} {
		if code, err := causeOf(test.k); code != test.code || err != test.k.Err {
			t.Errorf("%+v: %v, %v", test.k, code, err)
		}
	}
}
