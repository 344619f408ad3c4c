// Command edge-import turns the configuration of another program into one of edge: "edge import" runs it. It is a
// program of its own, since edge needs nothing of it while it serves. docs/migrating.md says what becomes of a file.
//
//	edge import nginx /etc/nginx/nginx.conf -o edge.toml
//
// Exit codes: 0 all is carried, 1 a file cannot be read or written, 2 something is not carried, or the command line is
// wrong.
package main
