// Package trust has the commands about the internal authority of package certs, which a configuration asks for by
// cert = "internal".
//
//	edge trust [--remove]   its root ──► the stores of this machine that other programs trust
//	edge trust issue NAME   its key ──► a certificate in a file, for another server or a client
//
// They open the folder of the authority, and ask no process: the folder of the user who runs them, or the folder in
// --state. Root opens it as the user that it belongs to, so that no file of it becomes root's. The authority has to be
// there: a configuration says for which names it is made.
//
// # Stores
//
// The stores are changed by programs of the machine, update-ca-certificates and certutil for example, which package
// truststore finds. A store that is missing is left alone, and said to be.
//
// # Threads
//
// A command is a goroutine and ends with the process.
package trust
