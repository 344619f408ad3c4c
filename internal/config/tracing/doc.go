// Package tracing has the keys of traces in edge.toml: the section [tracing], and the key tracing of listeners and
// routes, as rows of the schema. It records nothing: package server makes a proxy.Tracing of them.
//
//	[tracing]                Of          where spans go, and what holds for all requests
//	tracing of [[listeners]] OfListener  goes before it, key by key; false turns traces off
//	tracing of [[routes]]    OfRoute     goes before [tracing], key by key; false records nothing of its requests
//
// # Life cycle
//
// The sections are registered with package config, which reads them with the rest of a file. When routes and the
// language of texts are known, check completes the entries: listeners and routes take over the keys that they leave to
// [tracing], texts are compiled, and mistakes are reported at their places.
//
// # Collectors
//
// Collector has the keys of the way to a collector, for [tracing] and for log sinks. What a file leaves out, the
// variables of the environment may have that OpenTelemetry gives a name, as they are when the file is read.
package tracing
