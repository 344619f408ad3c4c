// Package value reads the values of keys: addresses, patterns, hosts, fields, conditions, variables. Text goes in,
// values come out.
//
// It is not a configuration: it knows no section, and no value knows which entry it belongs to. Package config has the
// sections, gives the entries a meaning, and offers the types of this package as its own.
//
//	text -- ParseListen, ParseEndpoint, ParsePattern, … --> a value, or what is wrong and a hint
//	node -- TypeListen, TypeHeaders, TypeMethods, …     --> a value, or errors in a Report
//
// The functions of the first kind know no file: they return what is wrong as text, which is empty when nothing is. The
// types of the second kind are for the rows of package schema: they read a node, which may be a list or a table, and
// report at the place of each part.
//
// A text in the language of another program (a modifier of nginx, a rule of Traefik, a variable of HAProxy) is
// recognised where that is possible, and the hint says how the same is written here. A hint that suggests a value
// suggests a value that is taken.
//
// Nothing here opens a file, resolves a name, or looks at the machine. The limits are 32 conditions of a kind for each
// route, regular expressions of 1 KiB, paths of Unix sockets of 107 bytes.
package value
