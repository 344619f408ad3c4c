package plugin

import (
	"context"

	"github.com/edge-proxy/edge/engine"
)

// Kind is what the values of some types are for. Immutable.
type Kind struct {
	Name    string // of one value, for messages
	Section string // of a configuration whose tables have the types, and the word for several values
	When    bool   // the tables have the key when
}

// Kinds are all of them, in the order of the reference page.
var Kinds = []*Kind{Filters, Destinations, BalanceMethods, Discoverers, LogSinks, ConnectionFilters, Services,
	DNSProviders, Storages}

// Each kind has a section of a configuration: see internal/config/plugins.
var (
	Filters           = &Kind{Name: "filter", Section: "filters", When: true}
	Destinations      = &Kind{Name: "destination", Section: "destinations"}
	BalanceMethods    = &Kind{Name: "balance method", Section: "balance_methods"}
	Discoverers       = &Kind{Name: "discoverer", Section: "discoverers"}
	LogSinks          = &Kind{Name: "log sink", Section: "log_sinks"}
	ConnectionFilters = &Kind{Name: "connection filter", Section: "connection_filters"}
	Services          = &Kind{Name: "service", Section: "services"}
	DNSProviders      = &Kind{Name: "DNS provider", Section: "dns_providers"}
	Storages          = &Kind{Name: "storage", Section: "storages"}
)

// Service is the value of a service: a protocol that is not HTTP, at addresses of its own.
type Service struct {
	// Accept is called for each connection, after TLS where the service has it, and returns its handler; nil closes the
	// connection. Runs on the connection's reactor, and returns at once. A panic closes the connection, and is logged.
	Accept func(c *engine.Conn) engine.Handler
	// ClientFirst says that clients speak first: a connection is then accepted with its first bytes, and an idle one
	// costs nothing. With TLS it is always so.
	ClientFirst bool
}

// DNSProvider is the value of a DNS provider: it writes the records of proofs by dns-01 (RFC 8555 §8.4) into zones. Its
// methods are called on any goroutine, several at a time, and may block until ctx ends. A panic is an error.
type DNSProvider interface {
	// Present adds r to the records of its name, of which others stay. After an error CleanUp is called as well.
	Present(ctx context.Context, r DNSRecord) error
	// CleanUp removes r alone. It is no error that there is no such record.
	CleanUp(ctx context.Context, r DNSRecord) error
}

// DNSRecord is a TXT record. Names are full, in lower case, with the last dot.
type DNSRecord struct {
	Zone string // "example.org."
	Name string // "_acme-challenge.www.example.org.", or where its aliases lead
	Text string
}

// MarshalText makes the kind readable in JSON.
func (k *Kind) MarshalText() ([]byte, error) { return []byte(k.Name), nil }

// reserves reports whether tables of every type of k have a key, or a table, of that name.
func (k *Kind) reserves(key string) bool { return key == "type" || key == "when" && k.When }

// Table is one table of a kind: what a value is made of.
type Table struct {
	Kind   *Kind
	Name   string
	Type   string `edge:"type" kind:"name" required:"true" example:"polite"`
	Config any    `json:"-"` // what New of the type has made, completed and checked
}
