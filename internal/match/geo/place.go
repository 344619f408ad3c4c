package geo

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/match/table"
)

// Field is something that a database says of an address.
type Field uint8

// The fields.
const (
	Country      Field = iota // two letters of ISO 3166-1
	Continent                 // two letters
	Region                    // the code of ISO 3166-2 without the country's code, or a name
	City                      // in English
	Organization              // of the autonomous system
	ASN                       // the number of the autonomous system

	fields
)

// names are what fields are called in messages.
var names = [fields]string{"countries", "continents", "regions", "cities", "names of autonomous systems",
	"numbers of autonomous systems"}

// String is what a database has that has the field, in the plural: "countries".
func (f Field) String() string { return names[f] }

// Fields are those that a database has.
type Fields uint64

// All are all fields.
const All Fields = 1<<fields - 1

// Has reports whether f is among them.
func (s Fields) Has(f Field) bool { return s>>f&1 != 0 }

// String lists them.
func (s Fields) String() string {
	var list []string
	for rest := uint64(s & All); rest != 0; rest &= rest - 1 {
		list = append(list, Field(bits.TrailingZeros64(rest)).String())
	}
	return strings.Join(list, ", ")
}

// Place is what a database says of addresses: a length in one byte and a text, for one field after another. ASN is
// four bytes. Immutable.
type Place []byte

// Text returns a field other than ASN; nil: it is missing. The result must not be written.
func (p Place) Text(f Field) []byte {
	at := 0
	for ; f > 0 && at < len(p); f-- {
		at += 1 + int(p[at])
	}
	if at >= len(p) || p[at] == 0 {
		return nil
	}
	end := at + 1 + int(p[at])
	return p[at+1 : end : end]
}

// Number returns the number of the autonomous system; 0: it is missing.
func (p Place) Number() uint32 {
	if b := p.Text(ASN); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// AppendPlace appends a Place, and returns which fields it has. An empty text and the number 0 are missing; a text is
// cut to 255 bytes.
func AppendPlace(p []byte, texts *[ASN]string, asn uint32) (_ []byte, has Fields) {
	for f, text := range texts {
		if p = appendText(p, text); text != "" {
			has |= 1 << f
		}
	}
	if asn == 0 {
		return append(p, 0), has
	}
	return binary.BigEndian.AppendUint32(append(p, 4), asn), has | 1<<ASN
}

// textMax is how many bytes of a text are kept: its length is one byte.
const textMax = 255

func appendText(p []byte, text string) []byte {
	if len(text) > textMax {
		cut := textMax
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return append(append(p, byte(len(text))), text...)
}

// Databases are asked one after another, until one has the field for the address. Immutable; safe for any goroutine.
type Databases []Database

// Database is one of them.
type Database struct {
	*table.Map
	Fields Fields // those that it is asked for
}

// Fields are the fields of all databases together.
func (all Databases) Fields() (has Fields) {
	for i := range all {
		has |= all[i].Fields
	}
	return has
}

// Text returns what finds a field other than ASN for an address; nil: it is missing. A result must not be written.
func (all Databases) Text(f Field) func(a netip.Addr) []byte {
	maps := all.with(f)
	return func(a netip.Addr) []byte {
		for _, m := range maps {
			if value, ok := m.Addr(a); ok {
				if text := Place(value).Text(f); text != nil {
					return text
				}
			}
		}
		return nil
	}
}

// Number returns what finds the number of the autonomous system for an address; 0: it is missing.
func (all Databases) Number() func(a netip.Addr) uint32 {
	maps := all.with(ASN)
	return func(a netip.Addr) uint32 {
		for _, m := range maps {
			if value, ok := m.Addr(a); ok {
				if n := Place(value).Number(); n != 0 {
					return n
				}
			}
		}
		return 0
	}
}

// with returns those that are asked for f.
func (all Databases) with(f Field) (maps []*table.Map) {
	for i := range all {
		if all[i].Fields.Has(f) {
			maps = append(maps, all[i].Map)
		}
	}
	return maps
}
