// Package tags reads the tags of structs whose fields are keys of a configuration. It reads no file: package
// internal/config/schema makes keys of a file from the rows, and package plugin fills in and checks structs of programs
// by them.
//
// A field with the tag "edge" is a key, of that name in a file. Keys of a struct inside the struct are a table of that
// name; one with the name "", and an embedded one, has no table of its own. A key of the name "" is what may stand in
// place of the table.
//
// Other tags of a field:
//
//	doc, example         what the reference page has
//	default              what holds without the key
//	required:"true"      it has to be given; it has no default then
//	min, max             bounds of a number, both or none
//	enum:"a b"           the only words that are allowed
//	words:"off"          words that stand for 0 beside numbers, for -1 beside times
//	unit, kind           what the Go type does not tell: unit:"size" of an int64, unit:"lines" of a string
//	phase                when a condition or a template is evaluated: see package plugin
//	secret:"true"        the value is hidden
//	local:"true"         the value names something of this machine
//	file:"read"          the value names a file, by what is done with it: read, write, log or page
//	restart:"true"       a new value waits until the process starts again
//	pool:"true"          a new value replaces connections to backends; of a struct, for each of its keys
//	show:".a"            when edge explain tells the key though no file gives it: see schema.Section.Told
//	later:"h3"           words of later versions
//	also:"..a.b .c"      other places of the key: see schema.Key
//	after:"a"            the keys of the field stand after the one of a field above it
//
// A default and an example stand as a file has them, but a text without its quotes, and a list as JSON has it. A map
// has none, and the default of a bool is not true: nothing tells a false one from an unset one. A *bool may have one.
package tags
