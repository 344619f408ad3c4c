package server

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

const askedAnswerMax = 64 << 10

// askedRequest is answered by the proxy itself, and the connection closes after it.
const askedRequest = "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

// askH1 sends a request over c: OPTIONS *, which the proxy answers itself (RFC 9110 §9.3.7). No request leaves the
// process, so a backend that is down does not fail the check; any answer below 500 will do. Like the other two it
// blocks until the deadline of c at most.
func askH1(c net.Conn) error {
	if _, err := io.WriteString(c, askedRequest); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, askedAnswerMax)), nil)
	if err != nil {
		return fmt.Errorf("no answer to a request: %w", err)
	}
	answer.Body.Close() //nolint:errcheck // it is not read
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("a request is answered with %s", answer.Status)
	}
	return nil
}

// askedPreface is what a client of HTTP/2 begins with (RFC 9113 §3.4): the magic bytes and an empty SETTINGS frame.
const askedPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

const (
	frameHead = 9
	settings  = 4 // type of a frame
)

var errNoSettings = errors.New("the preface of HTTP/2 is not answered with SETTINGS")

// askH2C begins HTTP/2 over c.
func askH2C(c net.Conn) error {
	if _, err := io.WriteString(c, askedPreface); err != nil {
		return err
	}
	var head [frameHead]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return fmt.Errorf("no answer to the preface of HTTP/2: %w", err)
	}
	if head[3] != settings {
		return errNoSettings
	}
	return nil
}

// askTLS shakes hands over c, as a client that names no host and has no certificate. It trusts every certificate:
// whether clients do is not the question. Where the listener asks for one, it has done its part by then.
func askTLS(c net.Conn, protocols []string) error {
	asked := false
	s := tls.Client(c, &tls.Config{
		InsecureSkipVerify: true, NextProtos: protocols, MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		},
	})
	err := s.Handshake()
	var alert *net.OpError
	switch {
	case asked:
		return nil
	case errors.As(err, &alert) && alert.Op == "remote error" && alert.Err.Error() == "tls: unrecognized name":
		return nil // all certificates are for names, as ordered ones are: RFC 6066 §3
	case err != nil:
		return fmt.Errorf("TLS handshake: %w", err)
	case s.ConnectionState().NegotiatedProtocol == "h2":
		return nil
	}
	return askH1(s)
}
