// Package all has the types of filters that edge itself has: a program that imports it knows all of them in the
// configurations that it loads, as the binary edge does.
//
//	import _ "github.com/edge-proxy/edge/filter/all"
//
// A program that wants some of them imports their packages, such as filter/cors. One whose filters are made in Go alone
// needs neither: it calls their New.
//
// Each import below is one package with one or a few types, which register themselves. The types of others' modules
// come with their packages in the same way; edge build writes the imports for a binary with such modules.
//
// There is nothing here to call, and nothing that runs: types are registered when the program starts, and work when a
// configuration names them.
//
// A package that is added below filter with a type of its own gets its line in all.go: a test looks for those that have
// none.
package all
