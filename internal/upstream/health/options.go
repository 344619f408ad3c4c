package health

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
)

// Kind is what a check asks.
type Kind uint8

// The kinds, in the order of the words of a configuration.
const (
	HTTP  Kind = iota // a request, whose status and body are looked at
	TCP               // a connection; with Options.Expect, bytes on it
	GRPC              // grpc.health.v1.Health/Check
	Agent             // a line of an agent, which says what the member is to get; it passes and fails no check
)

// Options say how the members of one set are checked. A zero field takes its default.
// Immutable once used.
type Options struct {
	Name     string // of the upstream, for the log
	Instance uint64 // of this process, so that several spread their checks
	Rules    Rules
	Timeout  time.Duration // of one check, from the connection to the whole answer; 0: 1 s, or Rules.Interval
	Kind     Kind
	Port     int // of the checks; 0: the member's port
	// Passive lets requests take the place of checks: a member that serves, has answered some within the interval and
	// failed none is not checked.
	Passive bool

	Protocol   upstream.Protocol // HTTP alone; GRPC is HTTP/2
	TLS        upstream.TLS
	Handshaker *tlsconn.Handshaker // for TLS; nil: one of its own
	Limits     h1.Limits           // of the head of an answer

	Method   string // HTTP; "": GET
	Path     string // HTTP; "": /
	Host     string // HTTP and GRPC; "": what Member.Host says
	Fields   []Field
	Statuses []Statuses // that pass; none: 200 to 299
	Body     string     // that the answer has to have in its first 64 KiB; "": any

	// Preamble is sent before all else on each connection, and before TLS: see engine.DialOptions.
	Preamble string

	Send   string // TCP and Agent: what is sent first
	Expect string // TCP: what has to come, anywhere in the first 64 KiB; "": nothing
	// Service is the name that GRPC asks for; "": the server as a whole.
	Service string
}

// Field is a field of the request of a check.
type Field struct{ Name, Value string }

// Statuses is a range of statuses, From and To included.
type Statuses struct{ From, To int }

// defaultStatuses are those that pass where none are named.
var defaultStatuses = []Statuses{{200, 299}}

// bodyMax is how many bytes of an answer are read.
const bodyMax = 64 << 10

// withDefaults returns o with what it leaves out.
func (o Options) withDefaults() *Options {
	r := &o.Rules
	r.Interval, r.Rise, r.Fall = cmp.Or(r.Interval, 5*time.Second), cmp.Or(r.Rise, 2), cmp.Or(r.Fall, 3)
	r.Fast, r.Down = cmp.Or(r.Fast, min(r.Interval, time.Second)), cmp.Or(r.Down, r.Interval)
	o.Timeout = cmp.Or(o.Timeout, min(r.Interval, time.Second))
	o.Method, o.Path = cmp.Or(o.Method, "GET"), cmp.Or(o.Path, "/")
	if len(o.Statuses) == 0 {
		o.Statuses = defaultStatuses
	}
	if o.Kind == GRPC {
		o.Protocol = upstream.H2
	}
	if o.Kind == Agent {
		o.TLS = upstream.TLS{}
	}
	if o.Protocol == upstream.Auto && !o.TLS.On {
		o.Protocol = upstream.H1
	}
	return &o
}

// equal reports whether two checks ask the same at the same times.
func (o *Options) equal(other *Options) bool { return reflect.DeepEqual(o, other) }

// passes reports whether an answer of that status passes.
func (o *Options) passes(status int) bool {
	return slices.ContainsFunc(o.Statuses, func(s Statuses) bool { return s.From <= status && status <= s.To })
}

// expected returns the statuses that pass as the log has them: "200-299,404".
func (o *Options) expected() string {
	var b strings.Builder
	for i, s := range o.Statuses {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(s.From))
		if s.To != s.From {
			b.WriteString("-" + strconv.Itoa(s.To))
		}
	}
	return b.String()
}

// protocols returns what the handshake offers.
func (o *Options) protocols() []string {
	switch {
	case o.Kind == TCP || o.Kind == Agent:
		return nil
	case o.Protocol == upstream.H2:
		return []string{"h2"}
	case o.Protocol == upstream.Auto:
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}
