package edge

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
)

// What is written about requests, and where to. See docs/logging.md.
type (
	Record       = observe.Record       // what the access log says of an exchange
	Field        = observe.Field        // a member that a program adds to a Record
	RecordWriter = observe.RecordWriter // an output that takes records in place of lines
	OTLPOptions  = otlp.Options         // where an exporter sends to, and as what
)

// Signals of OTLPOptions.
const (
	OTLPTraces = otlp.Traces // spans, of records that have one
	OTLPLogs   = otlp.Logs   // log records
)

// NewOTLP makes an exporter to an OpenTelemetry collector: a RecordWriter that connects when it has something to send.
// Its Close ends it.
func NewOTLP(o OTLPOptions) *otlp.Exporter { return otlp.New(o) }

// ReadRecord fills r from the first frame of p, as a RecordWriter gets frames, and returns the rest of p. Texts are
// borrowed from p.
func ReadRecord(p []byte, r *Record) (rest []byte, err error) { return observe.ReadRecord(p, r) }

// How backends are connected and checked. See docs/balancing.md and docs/health.md.
type (
	Upstream        = upstream.Upstream // connections to the backends of a service, on one engine
	UpstreamOptions = upstream.Options
	HealthOptions   = health.Options // how backends are checked: see Server.Check
	HealthRules     = health.Rules   // when they are, and how many results decide
)

// The versions of HTTP that UpstreamOptions.Protocol chooses from.
const (
	UpstreamHTTP1 = upstream.H1
	UpstreamHTTP2 = upstream.H2   // without TLS by prior knowledge
	UpstreamAuto  = upstream.Auto // what ALPN yields; without TLS HTTP/1.1
)

// Kinds of checks, for HealthOptions.Kind.
const (
	HealthHTTP  = health.HTTP  // a request, whose status and body are looked at
	HealthTCP   = health.TCP   // a connection; with HealthOptions.Expect, bytes on it
	HealthGRPC  = health.GRPC  // grpc.health.v1.Health/Check
	HealthAgent = health.Agent // a line of an agent beside the backend, which says what the backend is to get
)

// The state of a backend before its first check, for HealthRules.Start.
const (
	HealthStartUp      = health.StartUp
	HealthStartDown    = health.StartDown
	HealthStartChecked = health.StartChecked // it serves once a check has passed; the first one comes at once
)

// NewUpstream makes an Upstream on an engine of the program's own, for proxy.To. Routes of a Server need none: they
// have To and Backends.
func NewUpstream(e *engine.Engine, o UpstreamOptions) *Upstream { return upstream.New(e, o) }

// Storage keeps accounts, certificates and locks for ACME. Its methods have the signatures of certmagic's Storage.
type Storage = issue.Storage

// NewFolder returns the Storage at a folder, in the layout of certmagic and Caddy; processes that share the folder
// share its locks. It is made where there is none. Of a process that is root and becomes another user, uid and gid are
// that user's; below 0 they change nothing. A folder of another user, or that others may write, is an error.
func NewFolder(dir string, uid, gid int) (Storage, error) { return issue.NewFolder(dir, uid, gid) }
