package tlsconn

import (
	"errors"
	"net"
	"reflect"
)

// The reasons of a HandshakeError, beside the errors of crypto/tls and of the engine.
var (
	ErrTimeout   = errors.New("took too long")
	ErrCrowded   = errors.New("gave way to newer ones")
	ErrFull      = errors.New("too many are in progress")
	ErrLate      = errors.New("too many computed before it")
	ErrLeft      = errors.New("the peer closed the connection")
	ErrNotTLS    = errors.New("the peer does not speak TLS")
	ErrHelloSize = errors.New("the ClientHello is too large")
	ErrDenied    = errors.New("no terms were chosen for the client") // ServerOptions.Choose has refused it
	ErrPanic     = errors.New("a callback of the configuration panicked")
)

// HandshakeError is why a handshake failed: the cause that OnClose is given. Reason is one of this package's errors, of
// crypto/tls (which tells alerts, certificates that do not verify, versions that do not match) or of the engine.
type HandshakeError struct {
	Reason     error
	ServerName string // that a client asked for, where the handshake came far enough
}

// Error describes the failure.
func (e *HandshakeError) Error() string { return "TLS handshake: " + e.Reason.Error() }

// Unwrap returns the reason.
func (e *HandshakeError) Unwrap() error { return e.Reason }

// Alert returns the number of the alert (RFC 8446 §6) by which the peer ended what failed with err; ok is false when
// it was no alert. The type that crypto/tls has for alerts is not exported.
func Alert(err error) (number uint8, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		number = uint8(v.Uint())
	}
	return number, true
}
