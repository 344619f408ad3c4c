package geo

import (
	"net/netip"

	"github.com/edge-proxy/edge/lang/table"
)

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
