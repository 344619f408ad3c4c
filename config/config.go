package config

import (
	"crypto/tls"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/rules"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/route"
	"github.com/edge-proxy/edge/route/target"
)

// Files are the texts that a configuration was read from.
type Files = schema.Files

// What a client that sends a configuration may write.
type (
	Sent    = schema.Sent
	Naming  = schema.Naming
	Namings = schema.Namings
)

// What Load and Parse return of package syntax.
type (
	Report  = syntax.Report
	Problem = syntax.Problem
	Pos     = syntax.Pos
)

// The kinds of values that package value reads.
type (
	Address   = value.Address
	Trusted   = value.Trusted
	AccessLog = value.AccessLog
	Logging   = value.Logging
	Header    = value.Header
	Rule      = rules.Rule
)

// Definition is a table of a registered type, such as one of [filters].
type Definition = plugins.Definition

// Config is a checked configuration: every name resolved, every default filled in. Not changed after Load or Parse
// returned it, so safe for any goroutine to read.
type Config struct {
	Global       Global
	Log          Log
	TLS          TLS
	Certificates []Certificate // of all listeners with TLS
	Listeners    []Listener
	Upstreams    []Upstream
	Routes       []Route     // in file order; which one wins is decided by how specific they are
	ErrorPages   []ErrorPage `json:",omitempty"` // where neither the route nor the listener has one
	Fallback     Dest        // where a request goes that no route takes: the upstream "default", the hello page, or 404

	Registrations []Registration `json:",omitempty"` // of [register]

	Lists    []language.List    `json:",omitempty"`
	Maps     []language.Map     `json:",omitempty"`
	Secrets  map[string][]byte  `json:"-"` // of [secrets]
	Geo      language.Geo       `json:",omitzero"`
	Language *language.Language `json:"-"` // what conditions and templates may name

	Rules    []Rule          `json:",omitempty"` // for all requests, after those of the listener
	Filters  []string        `json:",omitempty"` // for all requests, by their names: see filters.Lists
	Defined  []Definition    `json:",omitempty"` // of [filters], [destinations] and the like, by their kinds
	Features []schema.Target `json:",omitempty"` // see Register

	Places  *Places `json:"-"` // where its values stand; nil: nobody asked
	Namings Namings `json:"-"` // files and other things of this machine that it names
	Written []byte  `json:"-"` // what the files say, as schema.Document.Written has it; nil: nobody asked
}

// Global holds what concerns the process as a whole.
type Global struct {
	LogLevel      string // debug, info, warn or error
	WorkerThreads int    // 0: as many as the CPU limit allows
	Park          string // auto, runtime, syscall or spin
	Pin           bool
	PIDFile       string // empty: none
	Via           string // its name in Via; "unique": one that no other process has
	ErrorLog      string // "stdout", "stderr" or a path
	GracePeriod   time.Duration

	ShutdownTimeout time.Duration // added to GracePeriod
	MemoryLimit     int64         // bytes; 0: derived from the memory limit of the cgroup
	Splice          int64         // bytes to come of a body from which they are spliced; 0: never
	CAFile          string        // the authorities of backends; empty: those of the system
	FIPS            bool
	Zone            string `json:",omitzero"` // where the process runs; "": nobody knows

	UpgradeSock     string        `json:",omitzero"` // where a new process finds this one; "": nowhere
	UpgradeTimeout  time.Duration `json:"-"`         // until a new process is ready
	UpgradeOnReload bool          `json:",omitzero"` // a reload upgrades when the binary has changed

	WorkingDirectory string   // absolute; empty: where the process was started
	User, Group      string   // names or numbers; empty: those that started it
	Daemon           bool     // serve in the background
	Lockdown         Lockdown `json:",omitzero"`

	Watch       bool   `json:"-"` // reload when the files change
	Versions    int    `json:"-"` // of the configuration that are kept for a rollback
	VersionsDir string `json:"-"` // where; "": see the process

	Rollback Rollback `json:"-"`
}

// Rollback says when a reload is taken back.
type Rollback struct {
	Errors   int           // more of 100 requests of a route fail; 0: never
	Within   time.Duration // after the reload
	Requests int           // of the route at least
}

// FromWorkingDirectory returns where the process finds the file at path: a relative path begins at WorkingDirectory.
func (g *Global) FromWorkingDirectory(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(g.WorkingDirectory, path)
}

// Listener is one named set of addresses that are served alike.
type Listener struct {
	Name      string
	Addresses []Address
	Limits    Limits
	AccessLog AccessLog
	Trusted   Trusted
	Forwarded bool   // write Forwarded too
	Paths     string // matched, forwarded or raw

	Via         bool // clients are told of edge
	RequestID   RequestID
	Traceparent bool // requests that name no trace begin one

	PathParameters string // keep, strip or refuse
	Underscores    string // in names of fields: drop, pass or refuse

	TLS         TLSMode
	Certificate *Certificate // its own; nil: none
	TLSOptions  TLSOptions
	Protocols   []string // h1, h2
	H2          H2Options
	GRPC        bool // what routes do that do not say it themselves
	WebSocket   bool // what routes do that do not say it themselves

	RedirectToHTTPS bool
	HTTPSPort       int             // where to
	UserTimeout     time.Duration   // of sent bytes; below 0: the kernel's
	ErrorPages      []ErrorPage     `json:",omitempty"` // where the route has none
	FastOpen        int             // connections that may wait with data in their SYN; 0: none
	SocketMode      fs.FileMode     `json:",omitempty"` // of Unix sockets; 0: what the umask leaves
	SocketOwner     Account         `json:",omitzero"`  // of Unix sockets
	Rules           []Rule          `json:",omitempty"` // for its requests
	TLSRules        []TLSRule       `json:",omitempty"` // on its handshakes
	Filters         []string        `json:",omitempty"` // for its requests, before Config.Filters
	ConnFilters     []string        `json:",omitempty"` // for its connections, by their names
	Features        []schema.Target `json:",omitempty"` // see Register
	Pos             Pos
}

// RequestID says which field has the number of a request.
type RequestID struct {
	On     bool
	Field  string
	Accept string // trusted, all or none
	Answer bool   // clients are told too
}

// Account is the owner of a file. The zero value is that of the process.
type Account struct {
	Text     string // as written: user, user:group or :group
	UID, GID int    // below 0: unchanged
}

// Limits bound what one client can cost.
type Limits struct {
	HeaderSize        int64 // bytes of a request head
	HeaderCount       int   // fields of a request head
	HeaderTimeout     time.Duration
	BodySize          int64         // bytes of a request body; 0: no limit
	Connections       int           // open at once on the listener; 0: no limit
	IdleTimeout       time.Duration // of a connection between two requests
	KeepaliveRequests int           // on one connection; 0: no limit
	MinRate           int64         // bytes a second of a request body; 0: any
	MaxAge            time.Duration // of a connection of HTTP/2 that takes requests; 0: any
	HalfCloseWait     time.Duration // for an answer to begin after the client's FIN; 0: none; below 0: for ever
}

// Upstream is a named pool of backends.
type Upstream struct {
	Name     string // for one that a dest spells out: that text
	Inline   bool   // spelled out by a dest, without a table of its own
	Backends []Backend
	Template string `json:",omitempty"` // of a dest with variables: see Named; no Backends

	Named *target.Template `json:"-"` // of Template

	Allow         []string      `json:",omitempty"` // where that may lead (target.ParseList)
	LoadBalancing string        // the name of a balance.Method
	HashKey       value.HashKey `json:",omitzero"` // of a method that hashes
	Spill         bool          `json:",omitzero"` // tiers share the requests while not enough of the first one is up
	Zones         string        `json:",omitzero"` // off, prefer or only; "": off
	ZoneShare     int           `json:",omitzero"` // of 100 requests that processes in Global.Zone get; 0: as any zone
	Subset        Subset        `json:",omitzero"`
	Panic         int           `json:",omitzero"` // of 100: fewer that are up have all get requests; 0: never
	SlowStart     time.Duration `json:",omitzero"` // of a backend that serves again; 0: it gets its requests at once
	Sticky        Sticky        `json:",omitzero"`
	Failover      string        `json:",omitempty"` // the name of the upstream that takes what no backend here can
	Host          string        // "keep" what the client sent, "backend", or a host
	Protocol      string        // h1, h2 or auto
	Via           bool          // backends are told of edge
	TLS           UpstreamTLS
	Pool          Pool
	Timeouts      Timeouts
	Retry         Retry
	Outlier       Outlier
	Breaker       Breaker
	Discovery     Discovery
	UserTimeout   time.Duration   // of sent bytes; below 0: the kernel's
	FastOpen      bool            // the first bytes leave with the SYN
	HealthCheck   *HealthCheck    `json:",omitempty"` // nil: there is none
	Features      []schema.Target `json:",omitempty"` // see Register
	Pos           Pos
}

// Sticky says how clients are kept at the backends of an upstream.
type Sticky struct {
	Cookie  string        // its name; empty: they are not kept
	TTL     time.Duration // of the cookie
	Secrets []string      `json:"-"` // the first signs, all verify; none: the process draws one
}

// Upstream returns the upstream of that name, or nil. No upstream has the name "".
func (c *Config) Upstream(name string) *Upstream {
	if name == "" {
		return nil
	}
	for i := range c.Upstreams {
		if u := &c.Upstreams[i]; u.Name == name {
			return u
		}
	}
	return nil
}

// Backend is one address of an upstream. A host name stands for all its addresses and is not resolved here.
type Backend struct {
	Host   string // an IP address or a host name; empty for a Unix socket
	Port   int
	Unix   string // path of a Unix socket
	Weight int
	Backup bool   // it gets requests where no other backend can: it is of tier 1
	Tier   int    `json:",omitzero"` // one of the next tier gets requests where none of this one can
	Zone   string `json:",omitzero"` // where it runs; "": nobody knows
	Pos    Pos
}

// Subset says that a process uses some of the backends alone. The zero value: all.
type Subset struct {
	Size      int // how many of each tier; 0: all
	Index, Of int // the number of the process among so many; Of 0: it has none
}

// FirstTier returns the least tier of a backend of u.
func (u *Upstream) FirstTier() int {
	first := tierMost
	for i := range u.Backends {
		first = min(first, u.Backends[i].Tier)
	}
	return first
}

// String returns host:port, with brackets around an IPv6 address, or unix:path.
func (b Backend) String() string {
	return value.Endpoint{Host: b.Host, Port: b.Port, Unix: b.Unix}.String()
}

// Pool bounds the connections of an upstream. 0 of what has no default: no limit.
type Pool struct {
	Idle          int // kept for the whole process
	IdleTimeout   time.Duration
	MaxLifetime   time.Duration
	MaxRequests   int
	MaxPerBackend int
	Queue         int // for each backend
	QueueTimeout  time.Duration
}

// Timeouts of an exchange with a backend.
type Timeouts struct {
	Connect   time.Duration
	FirstByte time.Duration // from the request sent to the first byte of the answer
	Read      time.Duration // between two reads of the answer
	Total     time.Duration // from the request's head to the end of the answer; 0: no limit
}

// Retry says how a request is tried again.
type Retry struct {
	Attempts int           // further attempts after the first
	On       []string      // conditions, as retry.Parse reads them; nil: the default
	Budget   int           // retries for 100 good answers; below 0: no limit
	PerTry   time.Duration // of an attempt that another may follow; 0: no limit
	Hedge    time.Duration // after which a request without an answer goes to another backend too; 0: it does not
	Buffer   int64         // bytes of a body that are kept for them
}

// Outlier says when backends are ejected that answer worse than the others.
type Outlier struct {
	On         bool
	Errors     int           // the least failures in a row
	Window     time.Duration // that is compared
	Eject      time.Duration // the first ejection
	MaxEjected int           // of 100 backends
}

// Breaker bounds what is under way at backends. 0: no limit. Those of connections and of the line are in Pool.
type Breaker struct {
	MaxRequests int  // at one backend
	MaxRetries  int  // at all of them
	Adaptive    bool // a limit of requests at all of them is found by their latency
}

// PathKind says how a route's path is compared.
type PathKind uint8

// The kinds of path. PathPrefix compares by segments: /api takes /api and /api/x, not /apix; / takes everything.
const (
	PathPrefix PathKind = iota
	PathExact
)

// String returns "prefix" or "exact".
func (k PathKind) String() string {
	if k == PathExact {
		return "exact"
	}
	return "prefix"
}

// MarshalText makes the kind readable in JSON.
func (k PathKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Route sends the requests of one host and path to a destination. An entry of the file that names several hosts becomes
// as many routes, all with the same Entry.
type Route struct {
	Name            string
	Host            string // lower case; empty: any host
	Path            string // without a trailing slash or star, except "/" itself
	PathKind        PathKind
	Methods         []string          // empty: all but CONNECT and TRACE
	Header          []route.Condition // all have to hold
	Query           []route.Condition // all have to hold
	Listeners       []string          // names of those that the request may have come by; empty: all
	ClientCert      *route.ClientCert // what the client has to have shown; nil: anything or nothing
	When            *lang.Condition   `json:",omitempty"` // that has to hold; nil: there is none
	Weight          int               // among equal routes; 0: none was given
	Priority        int               // 0 goes first, 3 last; 1 is usual
	Off             bool              // its weight was given as 0: it takes no request
	Shadowed        bool              // an equal one comes first: it can never match
	Dest            Dest
	Rewrite         Rewrite
	RewriteLocation bool          // name edge where the backend names itself
	BufferRequest   int64         // bytes of a request body that are received before the backend is asked; 0: none
	LoadBalancing   string        // empty: as the upstream says
	HashKey         value.HashKey `json:",omitzero"` // nothing: as the upstream says
	RequestHeaders  []Header
	ResponseHeaders []Header
	WebSocket       Switch   // whether a connection may become one
	GRPC            Switch   // whether backends speak gRPC
	Upgrades        []string // further protocols that it may become
	Rules           []Rule   `json:",omitempty"` // once it is chosen
	Filters         []string `json:",omitempty"` // as Config.Filters
	AccessLog       AccessLog
	ErrorPages      []ErrorPage     `json:",omitempty"`
	InterceptErrors bool            `json:",omitempty"` // pages take the place of what backends answer too
	FirstByte       time.Duration   // 0: as the upstream says
	Read            time.Duration   // 0: as the upstream says
	Total           time.Duration   // 0: as the upstream says
	TunnelIdle      time.Duration   // without a byte of a tunnel; 0: 1 h
	Features        []schema.Target `json:",omitempty"` // see Register
	Entry           int             // number of the entry in the file, from 0
	Pos             Pos
}

// Rule returns which requests the route takes.
func (r *Route) Rule() route.Rule {
	return route.Rule{
		Host: r.Host, Path: r.Path, Exact: r.PathKind == PathExact, Methods: r.Methods,
		Header: r.Header, Query: r.Query, Listeners: r.Listeners, ClientCert: r.ClientCert, When: r.When,
		Weight: r.Weight,
	}
}

// TakesAll reports whether the route takes every request that no other one does.
func (r Route) TakesAll() bool {
	return !r.Off && r.Host == "" && r.Path == "/" && r.PathKind == PathPrefix && r.ClientCert == nil &&
		r.When == nil && len(r.Listeners)+len(r.Methods)+len(r.Header)+len(r.Query) == 0
}

// Rest returns the route of the requests that no other one takes; false when another one takes all, or when they are
// answered 404 anyway.
func (c *Config) Rest() (rest Route, needed bool) {
	f := c.Fallback
	if f.Kind == DestStatus && f.Status == 404 || slices.ContainsFunc(c.Routes, Route.TakesAll) {
		return Route{}, false
	}
	idle := edge().Section("routes").Default("timeouts.idle").(time.Duration)
	return Route{Name: "default", Path: "/", Dest: f, Priority: 1, TunnelIdle: idle}, true
}

// DestKind says what kind of destination a Dest is.
type DestKind uint8

// The kinds of destination.
const (
	DestUpstream DestKind = iota // Config.Upstreams[Dest.Upstream]
	DestStatus                   // answer with Dest.Status
	DestHello                    // answer with the hello page
	DestRedirect                 // answer with Dest.Status and Dest.Location
	DestDefined                  // the one of [destinations] that Dest.Name names
)

// String returns "upstream", "status", "hello", "redirect" or "destination".
func (k DestKind) String() string {
	return [...]string{"upstream", "status", "hello", "redirect", "destination"}[k]
}

// MarshalText makes the kind readable in JSON.
func (k DestKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Dest is where a request goes.
type Dest struct {
	Kind     DestKind
	Upstream int // index into Config.Upstreams
	Status   int
	Location *lang.Template `json:",omitempty"` // see location.Location
	Name     string         `json:",omitempty"` // of one of [destinations]
}

// Summary returns the line a successful check prints: "configuration OK: 2 listeners, 6 routes, 3 upstreams".
func (c *Config) Summary() string {
	entries := 0
	for i, r := range c.Routes {
		if i == 0 || r.Entry != c.Routes[i-1].Entry {
			entries++
		}
	}
	return "configuration OK: " + syntax.Plural(len(c.Listeners), "listener") + ", " +
		syntax.Plural(entries, "route") + ", " +
		syntax.Plural(len(c.Upstreams), "upstream") + c.certificateSummary(time.Now())
}

// TLSMode says what a listener takes.
type TLSMode uint8

// The modes of a listener.
const (
	TLSOff  TLSMode = iota // plain HTTP
	TLSOn                  // TLS
	TLSAuto                // both: the first byte of a connection decides
)

// String returns "off", "on" or "auto".
func (m TLSMode) String() string { return [...]string{"off", "on", "auto"}[m] }

// MarshalText makes the mode readable in JSON.
func (m TLSMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Switch is a key that may be given or not.
type Switch uint8

// The values of a Switch.
const (
	Unset Switch = iota // as the listener says
	On
	Off
)

// String returns "unset", "on" or "off".
func (s Switch) String() string { return [...]string{"unset", "on", "off"}[s] }

// MarshalText makes the switch readable in JSON.
func (s Switch) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// InternalCert in place of a path stands for a certificate of the authority on this machine, made at the first start.
const InternalCert = "internal"

// Certificate is a certificate with its key.
type Certificate struct {
	Name     string          `json:",omitempty"` // for rules; "": it has none
	Hosts    []string        // names it is for; none: those that it says itself
	Cert     string          // a path, or InternalCert
	Key      string          // a path; empty: in the same file
	OCSP     string          // path of a response to staple; empty: none
	When     *lang.Condition `json:",omitempty"` // on the handshakes that it is for; nil: all
	NotAfter time.Time
	Pos      Pos
}

// TLS holds what concerns the TLS of all listeners.
type TLS struct {
	TicketRotation   time.Duration // how often the keys of session tickets change
	HandshakeTimeout time.Duration
	Handshakes       int       // in progress at once; 0: what the memory is enough for
	Rules            []TLSRule `json:",omitempty"` // on handshakes, after those of the listener
}

// TLSOptions say how a listener secures its connections.
type TLSOptions struct {
	MinVersion     uint16        // of crypto/tls
	Curves         []tls.CurveID // the key exchanges that are offered
	Ciphers        []uint16      // of TLS 1.2; none: those of crypto/tls
	ClientAuth     ClientAuth
	ClientCA       string // path of the authorities of client certificates; empty: none is verified
	StrictSNI      bool   // 421 for another host than the handshake named
	SessionTickets bool
	HSTS           HSTS
}

// ClientAuth says whether clients show a certificate.
type ClientAuth string

// The values of ClientAuth.
const (
	ClientAuthNone    ClientAuth = "none"
	ClientAuthRequest ClientAuth = "request" // asked for; one that comes is verified where there are authorities
	ClientAuthRequire ClientAuth = "require"
)

// HSTS is Strict-Transport-Security.
type HSTS struct {
	MaxAge     time.Duration // below 0: there is none
	Subdomains bool
	Preload    bool
}

// H2Options bound a connection of HTTP/2.
type H2Options struct {
	MaxStreams  int
	IdleTimeout time.Duration
}

// UpstreamTLS says how connections to backends are secured. Paths are of PEM files.
type UpstreamTLS struct {
	On     bool
	SNI    string // the name that is asked for and verified; empty: the host of the backend
	CA     string // authorities; empty: those of the system
	Verify bool
	Cert   string // what backends are shown when they ask; empty: nothing
	Key    string // empty: in the same file
}

// certificateSummary returns the part of the summary about certificates.
func (c *Config) certificateSummary(now time.Time) string {
	seen := make(map[string]bool)
	var first time.Time
	count := func(p *Certificate) {
		id := p.Cert + "\x00" + p.Key
		if seen[id] {
			return
		}
		seen[id] = true
		if !p.NotAfter.IsZero() && (first.IsZero() || p.NotAfter.Before(first)) {
			first = p.NotAfter
		}
	}
	for i := range c.Certificates {
		count(&c.Certificates[i])
	}
	for i := range c.Listeners {
		if p := c.Listeners[i].Certificate; p != nil {
			count(p)
		}
	}
	if len(seen) == 0 {
		return ""
	}
	text := ", " + syntax.Plural(len(seen), "certificate")
	left := days(first.Sub(now))
	switch {
	case first.IsZero():
	case now.After(first):
		text += " (first expired " + syntax.Plural(-left, "day") + " ago)"
	default:
		text += " (first expires in " + syntax.Plural(left, "day") + ")"
	}
	return text
}
