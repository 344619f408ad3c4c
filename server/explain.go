package server

import (
	"log/slog"

	"github.com/edge-proxy/edge/observe"
)

// explainer is an access log that logs an event for each request that failed, with a hint.
type explainer struct{}

// Append logs r if the proxy or a backend failed.
func (explainer) Append(r *observe.Record) {
	if r.Status < 500 || r.Reason == "" {
		return
	}
	slog.Warn("request failed", "path", quoted(string(r.Path)), "status", r.Status, "reason", r.Reason,
		"backend", r.Backend, "hint", hints[r.Reason])
}

// hints say what to check first, by the reason of a record.
var hints = map[string]string{
	"backend:connect":     "does it listen there? In a container, localhost is the container itself",
	"edge:no_backend":     "the name does not resolve, or no backend could be reached",
	"backend:malformed":   "it does not speak plain HTTP/1 there; if the port is for TLS, write https:// before it",
	"backend:lost":        "it closed without an answer; if the port is for TLS, write https:// before it",
	"backend:certificate": "its authority is not known here (ca, ca_file), or it has another name (sni)",
	"backend:tls":         "it does not speak TLS there, or no version that both know",
	"backend:tls_alert":   "it refused the connection; does it want a client certificate?",
	"backend:first_byte":  "it accepted the request and did not answer in time",
}
