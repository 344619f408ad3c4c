package quic

import "bytes"

// retry is the Retry that a client has taken (RFC 9000 §8.1.2). Immutable.
type retry struct {
	source ID     // that the server chose
	token  []byte // of all Initial packets from now on
}

// takeRetry returns what a client keeps of a Retry, whose header is h; nil: it is dropped. original is the id that the
// client chose for the server, and the tag shows that the sender has seen it (RFC 9000 §17.2.5.2).
func takeRetry(packet []byte, h *Header, original *ID) *retry {
	source, _ := MakeID(h.Source)
	if source == *original || len(h.Token) > tokenMax || !VerifyRetry(packet, original) {
		return nil
	}
	return &retry{source: source, token: bytes.Clone(h.Token)}
}
