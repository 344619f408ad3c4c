package qpack

import (
	"github.com/edge-proxy/edge/internal/base/huffman"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// known is a name whose representation is at hand.
type known struct {
	literal string // the beginning of a field with it in full (RFC 9204 §4.5.6), where static is noIndex
	static  uint8  // the first entry of the static table that has the name, or noIndex
}

// names holds the names that message has numbers for, and after them the pseudo-fields.
var names = knownNames()

// pseudoAt is the index in names of a pseudo-field.
func pseudoAt(p section.Pseudo) int { return int(message.NameCount) + int(p) }

func knownNames() (names [int(message.NameCount) + int(section.PseudoCount)]known) {
	var text, all [64]byte
	for i := range names {
		name := append(text[:0], section.Pseudo(max(i-int(message.NameCount), 0)).String()...)
		if i < int(message.NameCount) {
			name = message.AppendLower(text[:0], []byte(message.Name(i).String()))
		}
		k := &names[i]
		if k.static = staticIndex(string(name), 0); k.static == noIndex {
			k.literal = string(huffman.AppendString(all[:0], name, literalName, nameBits))
		}
	}
	return names
}
