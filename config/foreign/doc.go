// Package foreign knows the configurations of other programs: nginx, HAProxy, Caddy, Traefik, Envoy, Apache and
// Pingora's users bring their words and their files along, and edge says what each is called here.
//
// Hints has the words: where a file has one that is no key of edge, the report says what to write instead, or that edge
// has nothing of the kind. File looks at a whole file that is no configuration of edge, and says whose it is.
//
// It reads nothing and resolves nothing: what it returns is text for a report. It imports syntax alone; package config
// gives both to its schema.
//
// Everything in it is immutable: safe for any goroutine.
//
// What a hint says begins with "is" where edge has the same thing under another name, and with "has nothing" where it
// has none, so that it follows the word in a sentence.
//
// A word that several programs have is explained as the first of them has it. A word with a table before it is meant
// in that table alone.
package foreign
