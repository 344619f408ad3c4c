package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Rights say what a client may do. Each includes those before it.
type Rights uint8

// The rights.
const (
	MayNothing Rights = iota
	MayProbe          // ask whether the process lives and is ready, and for its metrics
	MayRead           // see what runs
	MayChange         // everything
)

// String returns the word for the rights in the documentation.
func (r Rights) String() string { return [...]string{"nothing", "probe", "read", "change"}[r] }

// Param is a parameter of a query.
type Param struct{ Name, Doc string }

// Endpoint is one operation: a row of the table that routes, documentation and commands are made from.
// Immutable.
type Endpoint struct {
	Method  string
	Pattern string // as http.ServeMux has it, without the method
	Command string // the command of edge that asks for it; "": none
	Doc     string // Markdown; the first sentence is the help of the command
	Needs   Rights
	Heavy   bool // few at a time
	Slow    bool // the answer may take longer than others
	Profile bool // with [admin] pprof alone
	Query   []Param
	Fields  []Param  // header fields
	Types   []string // of the body, as Content-Type has them; none: application/json
	In      any      // a value of the type of the body; nil: it has none
	Out     any      // a value of the type of the answer; nil: it is text

	answer func(c *call) (any, error)                                // nil: serve writes the answer
	serve  func(s *Surfaces, w http.ResponseWriter, r *http.Request) // nil: answer does
}

func (e *Endpoint) takes(name string) bool {
	return slices.ContainsFunc(e.Query, func(p Param) bool { return p.Name == name })
}

// types returns the media types that the body may have. A form of a web page can send none of them (Fetch,
// "CORS-safelisted").
func (e *Endpoint) types() []string {
	if len(e.Types) > 0 {
		return e.Types
	}
	return []string{"application/json"}
}

// ID names the endpoint in the OpenAPI document: "getStatus".
func (e *Endpoint) ID() string { return operationID(e.Method, e.Pattern) }

const (
	pageMost    = 1000             // connections in one answer
	logTime     = 10 * time.Minute // of a level without a time
	logTimeMost = 24 * time.Hour
)

var endpoints struct {
	once sync.Once
	all  []Endpoint
}

// Endpoints returns all operations of the API, in the order of the documentation. The caller changes none.
func Endpoints() []Endpoint {
	endpoints.once.Do(func() {
		endpoints.all = slices.Concat(probes(), reads(), requestEndpoints(), writes(), reloadEndpoints(),
			configurationEndpoints(), upgradeEndpoints(), cacheEndpoints())
	})
	return endpoints.all
}

// probes are the endpoints for programs that watch over the process.
func probes() []Endpoint {
	return []Endpoint{
		{Method: "GET", Pattern: "/livez", Needs: MayProbe, Command: "status --live",
			Doc:   "Say that the process lives: 200 and `ok`.",
			serve: func(_ *Surfaces, w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") }},
		{Method: "GET", Pattern: "/readyz", Needs: MayProbe,
			Doc: "Say whether the process takes requests: 200 and `ok`, or 503 and the reason while it starts or " +
				"drains.",
			serve: (*Surfaces).serveReady},
		{Method: "GET", Pattern: "/metrics", Needs: MayProbe,
			Doc:   "Counters for Prometheus. The path is `metrics` of `[admin]`.",
			serve: func(s *Surfaces, w http.ResponseWriter, r *http.Request) { s.process.Metrics().ServeHTTP(w, r) }},
	}
}

// reads are the endpoints that show what runs.
func reads() []Endpoint {
	return []Endpoint{
		{Method: "GET", Pattern: "/v1/status", Needs: MayRead, Command: "status", Out: Status{},
			Doc: "Say how the process does: version, configuration, connections, listeners, upstreams, and sockets " +
				"of other processes at its addresses.",
			answer: func(c *call) (any, error) { return c.process.Status(), nil }},
		{Method: "GET", Pattern: "/v1/config", Needs: MayRead, Heavy: true, Out: Configuration{},
			Doc: "The configuration in force, all files merged. Secrets are hidden; `${NAME}` and `${file:…}` are " +
				"shown as they are written.",
			answer: showConfiguration},
		{Method: "GET", Pattern: "/v1/routes", Needs: MayRead, Heavy: true, Command: "routes", Out: List[Route]{},
			Doc:    "List the routes, in the order of the files. `edge explain` says which one takes a request.",
			answer: func(c *call) (any, error) { return &List[Route]{Items: c.process.Inspect().Routes()}, nil }},
		{Method: "GET", Pattern: "/v1/upstreams", Needs: MayRead, Heavy: true, Command: "upstreams",
			Out: List[Upstream]{},
			Doc: "List the upstreams with their backends: which serve, why others do not, what is under way.",
			answer: func(c *call) (any, error) {
				return &List[Upstream]{Items: c.process.Inspect().Upstreams()}, nil
			}},
		{Method: "GET", Pattern: "/v1/connections", Needs: MayRead, Heavy: true, Command: "conns",
			Out: List[Connection]{},
			Query: []Param{
				{"filter", "Which ones, as in `host == \"example.com\" && requests > 10`."},
				{"limit", "How many, 1000 at most; none: 1000."},
				{"cursor", "`next` of the page before."}},
			Doc:    "List the connections of clients, a page at a time.",
			answer: listConnections},
		{Method: "GET", Pattern: "/v1/certificates", Needs: MayRead, Command: "certs", Out: List[Certificate]{},
			Doc: "List the certificates that handshakes present, and when they expire.",
			answer: func(c *call) (any, error) {
				return &List[Certificate]{Items: c.process.Inspect().Certificates()}, nil
			}},
		{Method: "GET", Pattern: "/v1/openapi.json", Needs: MayRead, Doc: "This API as an OpenAPI 3.1 document.",
			serve: func(_ *Surfaces, w http.ResponseWriter, _ *http.Request) { writeDocument(w) }},
		{Method: "GET", Pattern: "/debug/pprof/{profile}", Needs: MayChange, Heavy: true, Profile: true,
			Query: []Param{
				{"seconds", "How long to measure, for `profile` and `trace`, 60 at most; none: 30."},
				{"debug", "1 or 2: text, where the profile has a form for people."}},
			Doc: "Profiles of the Go runtime for `go tool pprof`: `profile`, `heap`, `allocs`, `goroutine`, " +
				"`block`, `mutex`, `trace`. With `pprof = true` alone.",
			serve: serveProfile},
	}
}

// writes are the endpoints that change what runs.
func writes() []Endpoint {
	return []Endpoint{
		{Method: "PATCH", Pattern: "/v1/upstreams/{upstream}/backends/{backend}", Needs: MayChange, Command: "drain",
			In: BackendChange{}, Out: Backend{},
			Doc: "Drain a backend, take it out, have it serve again, or change the part of its weight, for a time. " +
				"`draining` ends what is under way and keeps clients that a sticky cookie holds; `down` takes no " +
				"request at all. 409 `last-backend`: no other backend of the upstream serves, and `force` is not " +
				"true. A `/` in a name is written `%2F`. What was asked for holds until it is taken back, " +
				"the backend leaves the configuration, or the process ends.",
			answer: asked(changeBackend)},
		{Method: "POST", Pattern: "/v1/reload", Needs: MayChange, Heavy: true, Slow: true, Command: "reload",
			Out: Reloaded{},
			Doc: "Read the configuration again and apply it. With errors nothing changes: the answer says what is " +
				"wrong, with status 422.",
			answer: asked(reload)},
		{Method: "POST", Pattern: "/v1/stop", Needs: MayChange, Command: "stop", In: Stop{}, Out: Stopping{},
			Doc: "End the process: requests may take `grace_period`, or are cut with `now`. The answer comes at " +
				"once, with status 202.",
			answer: asked(stop)},
		{Method: "PUT", Pattern: "/v1/log", Needs: MayChange, Command: "log", In: LogChange{}, Out: LogLevel{},
			Doc: "Have the error log say more or less for a time, 10 minutes unless `for` says otherwise, 24 " +
				"hours at most.",
			answer: asked(changeLog)},
	}
}

// Find returns the endpoint of a command, or nil.
func Find(command string) *Endpoint {
	all := Endpoints()
	for i := range all {
		if e := &all[i]; e.Command == command {
			return e
		}
	}
	return nil
}

func changeBackend(c *call, change *BackendChange) (any, error) {
	switch change.State {
	case "", BackendServing, BackendDraining, BackendDown:
	default:
		return nil, fmt.Errorf("%w: state is serving, draining or down, not %q", ErrInvalid, change.State)
	}
	if share := change.Share; share != nil && !(*share >= 0 && *share <= 1) {
		return nil, fmt.Errorf("%w: share is a number from 0 to 1", ErrInvalid)
	}
	if change.State == "" && change.Share == nil {
		return nil, fmt.Errorf("%w: give state or share", ErrInvalid)
	}
	return c.process.Inspect().ChangeBackend(c.request.PathValue("upstream"), c.request.PathValue("backend"), change)
}

func listConnections(c *call) (any, error) {
	q := c.request.URL.Query()
	keep, err := ParseFilter(q.Get("filter"))
	if err != nil {
		return nil, err
	}
	n, err := numberOf(c.request, "limit", pageMost, 1, pageMost)
	if err != nil {
		return nil, err
	}
	list, next, err := c.process.Inspect().Connections(c.request.Context(), q.Get("cursor"), n, keep)
	return &List[Connection]{list, next}, err
}

func reload(c *call, _ *struct{}) (any, error) { return c.process.Reload(c.request.Context()) }

// stop answers before the process ends.
func stop(c *call, ask *Stop) (any, error) {
	c.status = http.StatusAccepted
	return c.process.Stop(ask.Now)
}

func changeLog(c *call, ask *LogChange) (any, error) {
	d := time.Duration(ask.For)
	switch ask.Level {
	case "debug", "info", "warn", "error":
	default:
		return nil, fmt.Errorf("%w: level is debug, info, warn or error, not %q", ErrInvalid, ask.Level)
	}
	if d < 0 || d > logTimeMost {
		return nil, fmt.Errorf("%w: for is 24h at most", ErrInvalid)
	}
	return c.process.SetLogLevel(ask.Level, cmp.Or(d, logTime))
}

func (s *Surfaces) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := s.process.Ready(); err != nil {
		writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	writeText(w, http.StatusOK, "ok\n")
}
