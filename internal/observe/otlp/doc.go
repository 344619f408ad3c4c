// Package otlp sends records of the access log to an OpenTelemetry collector: as spans, or as log records.
//
// It is no SDK. Nothing is begun while a request runs: a span is made of a Record when the request is over, on the
// goroutine of a Sink. It has no metrics, no queue of its own and no sampling.
//
//	reactors ── rings ── Sink ── Exporter.WriteRecords ── HTTP or gRPC ── collector
//
// # Form
//
// The messages of OTLP are written by hand, field by field, without a struct between a Record and its bytes. Names
// come from the stable conventions for HTTP; a name that they do not have begins with "edge.". Attributes that a
// configuration names have the name that it gives them. A text that is not UTF-8 has U+FFFD for each bad byte.
//
// # Life cycle
//
// At the end Sink.Close comes first, which waits Options.CloseWait for what is under way, and then Exporter.Close,
// which loses the rest.
//
// # Failures
//
// A batch is sent again after an answer that allows it, or without one, for a minute in all. Meanwhile the rings of the
// Sink fill, and it drops and counts what comes. A batch may then arrive twice: OTLP has no way to prevent that.
//
// # Ownership
//
// An Exporter is safe for any goroutine. Frames and lines are borrowed until the call that has them returns.
//
// # Limits
//
// A batch has 512 records, or ends with the record that reaches 1 MiB. An answer counts up to 64 KiB. A request takes
// Options.Timeout (10 s), a call that sends a minute.
package otlp
