package schema

import "strings"

// Spot is a place in a file that the schema knows, for programs that walk over what a file says without decoding it.
type Spot struct {
	at    *place
	named bool // the name of an entry comes next
}

// Top returns the top of a file.
func (s *Schema) Top() Spot { return Spot{at: s.root} }

// Child returns the place of a key or of a table, by its name in the table at sp.
func (sp Spot) Child(name string) (Spot, bool) {
	if sp.named {
		return Spot{at: sp.at}, true
	}
	c := sp.at.children[name]
	if c == nil {
		return Spot{}, false
	}
	return Spot{at: c, named: c.section != nil && c.shape == Named}, true
}

// Key returns the key whose value stands there, or nil.
func (sp Spot) Key() *Key { return sp.at.key }

// Section returns the section whose entries stand there, or nil, and how they stand there.
func (sp Spot) Section() (*Section, Shape) { return sp.at.section, sp.at.shape }

// TakesName reports whether the keys there are names of entries, as in [upstreams].
func (sp Spot) TakesName() bool { return sp.named }

// IsTable reports whether keys may stand below it.
func (sp Spot) IsTable() bool { return sp.at.children != nil }

// Path returns the canonical path of a table, without the names of entries: "listeners" for [http].
func (sp Spot) Path() string { return sp.at.path }

// Home returns the canonical path of the key, as Spot.Path has it: "global.log_level" wherever it stands.
func (k *Key) Home() string { return strings.TrimPrefix(k.Table()+"."+k.Path, ".") }

// Table returns the path of the section of the key, as Spot.Path has it.
func (k *Key) Table() string { return strings.ReplaceAll(k.section.Path, ".NAME", "") }
