// Package importer knows the programs whose files edge import reads, and the reader of each.
//
// It is not one of them: the packages below it that are called as the programs are read the files, and
// package plan writes edge.toml.
//
//	cmd/edge-import ──► importer ──► caddy, haproxy, ──► plan ──► the text of edge.toml
//	                                 nginx, pingora,      └─────► findings, by file and line
//	                                 traefik
//
// What words of a program become that have no code of their own stands in words.go of its package, as a table: a
// feature that edge gets changes rows there.
//
// It starts nothing and opens no socket. Files are read through a plan.Reader, which tests give a file system of their
// own; what the result names, certificates for instance, is looked at by the Check of the caller alone.
//
// The life of an import is one call: Import reads, Plan.Text writes. Nothing is kept.
//
// Safe for any goroutine; a Plan belongs to one.
//
// Limits: the limits of package plan.
package importer
