package session

import (
	"bytes"
	"errors"
)

// What an origin speaks that does not speak what it was asked in: causes of OnReset with the code Malformed.
var (
	ErrSpeaksTLS = errors.New("the origin speaks TLS there")
	ErrSpeaksH1  = errors.New("the origin speaks HTTP/1 there")
	ErrSpeaksH2  = errors.New("the origin speaks HTTP/2 there")
)

// wrongProtocol returns what the first bytes of an origin tell of the protocol that it speaks; err where they tell
// nothing, or speak the protocol that it was asked in: asked is the error that names this one.
func wrongProtocol(in []byte, asked, err error) error {
	if is := protocolOf(in); is != nil && is != asked {
		return is
	}
	return err
}

// protocolOf returns the error that names the protocol of the first bytes of an origin, nil where they are of none.
func protocolOf(in []byte) error {
	const (
		frameHead   = 9
		settings    = 4  // the type of the frame that a server of HTTP/2 begins with: RFC 9113 §3.4
		settingSize = 6  // RFC 9113 §6.5.1
		alert       = 21 // the type of the record by which TLS refuses: RFC 8446 §5.1
	)
	switch {
	case bytes.HasPrefix(in, []byte("HTTP/1.")):
		return ErrSpeaksH1
	case len(in) >= 3 && in[0] == alert && in[1] == 3 && in[2] <= 4:
		return ErrSpeaksTLS
	case len(in) >= frameHead && in[0] == 0 && in[3] == settings && string(in[4:frameHead]) == "\x00\x00\x00\x00\x00" &&
		(int(in[1])<<8|int(in[2]))%settingSize == 0:
		return ErrSpeaksH2
	}
	return nil
}
