package edge

import (
	"io"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// What a type uses of package plugin.
type (
	Build   = plugin.Build   // what New may use of the server; nil: there is none
	Report  = plugin.Report  // takes what Check finds wrong
	Counter = plugin.Counter // what Build.Counter returns
	Rate    = plugin.Rate    // 100/s, as a field of a configuration
	Secret  = plugin.Text    // a text that is never shown, as a field of a configuration
	Service = plugin.Service // a protocol that is not HTTP

	DNSProvider = plugin.DNSProvider // writes records into zones
	DNSRecord   = plugin.DNSRecord   // one of them
)

// RegisterFilter adds a type of filters: [filters.NAME] of a configuration file has it as type, and its keys are the
// fields of a C, which have tags. It is for init functions. A mistake in the tags and a name that is taken panic. See
// package plugin.
func RegisterFilter[C any](name, doc string, create func(c *C, b *Build) (*proxy.Filter, error)) {
	plugin.Register(plugin.Filters, name, doc, create)
}

// RegisterDestination adds a type of destinations: [destinations.NAME] makes one, and dest of a route or of a rule
// selects it. See RegisterFilter. A panic of its Open answers the request 500, and is logged.
func RegisterDestination[C any](name, doc string, create func(c *C, b *Build) (proxy.Destination, error)) {
	plugin.Register(plugin.Destinations, name, doc, create)
}

// RegisterBalance adds a type of balancing methods: [balance_methods.NAME] makes one, and load_balancing of an
// upstream or of a route selects it. See RegisterFilter. A method picks backends on each reactor by a Picker of its
// own, which returns at once. A pick that panics, or that is a closed or tried backend, counts as none, and is logged.
// The Name of the method is the name in the table.
func RegisterBalance[C any](name, doc string, create func(c *C, b *Build) (*balance.Method, error)) {
	plugin.Register(plugin.BalanceMethods, name, doc, create)
}

// RegisterConnectionFilter adds a type of filters of connections: [connection_filters.NAME] makes one, and
// connection_filters of a listener names it. See RegisterFilter. Its functions run on reactors and return at once. A
// panic closes the connection, and is logged.
func RegisterConnectionFilter[C any](
	name, doc string, create func(c *C, b *Build) (*session.ConnFilter, error),
) {
	plugin.Register(plugin.ConnectionFilters, name, doc, create)
}

// RegisterDiscoverer adds a type of sources of backends: [discoverers.NAME] makes them, and discover of an upstream
// selects it. See RegisterFilter. Each upstream that names it gets a source of its own, which runs on a goroutine.
// What an error or a panic of Run ends is begun again, later each time; meanwhile the backends that were found stay.
func RegisterDiscoverer[C any](name, doc string, create func(c *C, b *Build) (discovery.Source, error)) {
	plugin.Register(plugin.Discoverers, name, doc, create)
}

// RegisterLogSink adds a type of log outputs: [log_sinks.NAME] makes one, and output of [log], or access_log, selects
// it. See RegisterFilter. The writer gets whole lines, many at once, on a goroutine of its own, so it may block:
// reactors never wait for it, and lines that find no room meanwhile are dropped and counted. It must not keep what it
// gets. An error or a panic loses these lines, and is logged at most once a minute. A writer that has Close is closed
// when nothing logs to it any more.
func RegisterLogSink[C any](name, doc string, create func(c *C, b *Build) (io.Writer, error)) {
	plugin.Register(plugin.LogSinks, name, doc, create)
}

// RegisterService adds a type of services: [services.NAME] serves a protocol that is not HTTP, at its addresses of
// listen, with TLS, limits of connections and connection filters as listeners have them. See RegisterFilter.
// Connections stay with the process that has accepted them: a reload and an upgrade leave them alone, and a drain
// waits for them within grace_period.
func RegisterService[C any](name, doc string, create func(c *C, b *Build) (*Service, error)) {
	plugin.Register(plugin.Services, name, doc, create)
}

// RegisterDNS adds a type of DNS providers: [dns_providers.NAME] makes one, and dns of [acme] selects it. See
// RegisterFilter. It writes the records by which authorities find that a host is ours.
func RegisterDNS[C any](name, doc string, create func(c *C, b *Build) (DNSProvider, error)) {
	plugin.Register(plugin.DNSProviders, name, doc, create)
}

// RegisterStorage adds a type of storages: [storages.NAME] makes one, and storage of [acme] selects it. See
// RegisterFilter. Accounts, certificates and locks are in it, for all processes that use it. Any Storage of certmagic
// is one.
func RegisterStorage[C any](name, doc string, create func(c *C, b *Build) (Storage, error)) {
	plugin.Register(plugin.Storages, name, doc, create)
}

// Completed returns c with the defaults of its fields, checked: what a type's function begins with, so that a program
// may call it with a struct of its own.
func Completed[C any](c *C, b *Build) (*C, error) { return plugin.Completed(c, b) }

// Keep returns what create made for a table of this kind, name and type with this identity: the same over reloads.
func Keep[T any](b *Build, identity string, create func() (T, error)) (T, error) {
	return plugin.Keep(b, identity, create)
}

// Condition compiles a condition for a field of a configuration that a program makes: see docs/DSL.md.
func Condition(text string, in lang.Phases) (*lang.Condition, error) {
	return plugin.Condition(text, in)
}

// Template is Condition for a template.
func Template(text string, in lang.Phases) (*lang.Template, error) { return plugin.Template(text, in) }
