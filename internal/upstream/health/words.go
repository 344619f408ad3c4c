package health

import (
	"errors"
	"os"
	"syscall"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/session"
)

// word is why a check failed, in one word: an index of words.
type word uint8

const (
	refused        word = iota // the host refused the connection, or there is no such socket
	connectTimeout             // no connection in time
	connectError               // no connection, for another reason
	tlsError                   // no handshake
	headTimeout                // no answer in time
	bodyTimeout                // an answer that did not end in time
	reset                      // the connection was lost
	protocolError              // the answer is none
	status                     // a status that is not expected
	body                       // bytes that are not expected
	grpcStatus                 // the health service does not say SERVING
	dns                        // there is no address
	noResource                 // this host could not ask
	agentWord                  // an agent says nothing that is known
)

// words are the texts, for the log and for counters.
var words = [...]string{
	refused: "refused", connectTimeout: "connect_timeout", connectError: "connect", tlsError: "tls",
	headTimeout: "head_timeout", bodyTimeout: "body_timeout", reset: "reset", protocolError: "protocol",
	status: "status", body: "body", grpcStatus: "grpc", dns: "dns", noResource: "local",
	agentWord: "agent",
}

// gotMax is how many bytes of what a peer sent the log quotes.
const gotMax = 64

// findingOf explains an error of a connection that was not established.
func findingOf(err error) finding {
	f := finding{word: connectError, outcome: Failed}
	var handshake *tlsconn.HandshakeError
	switch {
	case err == nil:
		f.word = reset
	case errors.As(err, &handshake):
		f.word, f.got = tlsError, handshake.Reason.Error()
		switch handshake.Reason {
		case tlsconn.ErrTimeout:
			f.outcome = TimedOut
		case tlsconn.ErrCrowded, tlsconn.ErrFull, tlsconn.ErrLate:
			f.word, f.outcome, f.excused = noResource, TimedOut, true
		}
	case errors.Is(err, upstream.ErrNotSecured):
		f.word, f.got = tlsError, err.Error()
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		f.word = refused
	case err == engine.ErrConnectTimeout, errors.Is(err, syscall.ETIMEDOUT):
		f.word, f.outcome = connectTimeout, TimedOut
	case err == engine.ErrNoDescriptors, err == engine.ErrStopped, errors.Is(err, syscall.EADDRNOTAVAIL):
		f.word, f.got, f.outcome, f.excused = noResource, err.Error(), TimedOut, true
	default:
		f.got = err.Error()
	}
	return f
}

// findingOfReset explains the end of an exchange that has no whole answer.
func findingOfReset(code session.Code, cause error) finding {
	switch code {
	case session.ConnectFailed, session.ConnectTimeout:
		return findingOf(cause)
	case session.Timeout:
		return finding{word: headTimeout, outcome: TimedOut}
	case session.ConnectionLost, session.Refused, session.Cancelled, session.Aborted, session.WentAway:
		return finding{word: reset, outcome: Failed}
	}
	f := finding{word: protocolError, outcome: Failed, got: code.String()}
	if cause != nil {
		f.got = cause.Error()
	}
	return f
}
