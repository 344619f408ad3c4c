package l4

import (
	"errors"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// Service relays the connections of listeners to the members of Backends. Immutable once used; Accept is for all
// reactors, and Ended runs on the reactor of the connection.
type Service struct {
	Name string
	To   *Backends
	// Choose returns where a connection leads, in place of To; nil: nowhere. hello is its ClientHello, nil where none
	// was read; borrowed. It runs on the reactor of the connection. nil: all connections lead to To.
	Choose func(c *engine.Conn, hello *tlsconn.Hello) *Backends
	// Peek makes the Service read the first bytes of a client before Choose. A ClientHello goes on to the backend as
	// it came; what is no TLS goes on without a hello.
	Peek bool
	// Postgres expects clients to ask for TLS as clients of PostgreSQL do, before their ClientHello: with Peek. The
	// backend is asked in the same way.
	Postgres bool
	// Idle ends a pair on which no byte has moved for so long. 0: never.
	Idle time.Duration
	// Ended hears of each connection at its end. The Record is borrowed until return. nil: not called.
	Ended func(r *Record)
}

// Backends are where a Service leads. Immutable, but for Tag.
type Backends struct {
	Name string
	Tag  observe.Tag   // of Name, for Service.Ended
	View *backend.View // what is picked from
	// Connect bounds one connection to a member, handshake included. Twice as long bounds all that are tried. 0: 5 s.
	Connect time.Duration
	Socket  poller.ConnectOptions
	// Secure dials a connection with TLS to a member. nil: connections are plain.
	Secure func(m *backend.Member, r *engine.Reactor, to poller.Addr, h engine.Handler, o *engine.DialOptions) (
		*engine.Conn, error)
	// Key is what balancing by keys goes by; nil: there is none. asked is Record.Asked.
	Key      func(c *engine.Conn, asked string) (key uint64, ok bool)
	Outliers *backend.Outliers  // nil: outcomes are not counted
	Limits   *admission.Limiter // bounds the connections at a member; nil: nothing does
	// Failover takes the connections that no member of these can have; nil: nothing does.
	Failover *Backends
	// Preamble returns what a backend is sent before all else, and before TLS, such as a header of the PROXY protocol.
	// It is borrowed until the next call on the same reactor. asked is Record.Asked. nil: nothing.
	Preamble func(client *engine.Conn, asked string) []byte
}

// Record is the account of one connection at its end.
type Record struct {
	Service *Service
	To      *Backends       // that were tried last; nil: it leads nowhere
	Client  *engine.Conn    // closed by now: it tells its addresses
	Asked   string          // the host name in the ClientHello, where that was read; not lower case
	Backend *backend.Member // nil: none was chosen
	At      poller.Addr     // of the backend, that was connected to or tried last
	Began   int64           // Reactor.Now when the connection was taken
	Connect int64           // ns from the first bytes, with Peek, until there was a backend; 0: there was none
	Ended   int64           // Reactor.Now
	Tries   int             // members that were dialled
	First   Failure         // of the first of them
	In, Out int64           // bytes that came from the client and from the backend
	By      Side            // that ended it
	Why     error           // nil: both sides have said their ends
}

// Failure is a member that could not be connected to. Its zero value is none.
type Failure struct {
	Backend *backend.Member
	Why     error
	At      int64 // Reactor.Now
}

// Side is a party of a connection.
type Side uint8

// The sides.
const (
	ByClient Side = iota
	ByBackend
	ByEdge
)

// String returns the side as logs have it.
func (s Side) String() string { return [...]string{"client", "backend", "edge"}[s] }

// The reasons for which a Service ends a connection, beside errors of the network.
var (
	ErrIdle       = errors.New("no byte has moved for too long")
	ErrNoBackend  = errors.New("no backend can be connected to")
	ErrMaxConns   = errors.New("all backends have as many connections as they may")
	ErrTruncated  = errors.New("TLS has ended without close_notify")
	ErrClientLeft = errors.New("the client left before there was a connection to a backend")
	ErrNoRoute    = errors.New("the connection leads nowhere")
	ErrHello      = errors.New("the ClientHello is wrong")
	ErrHelloSlow  = errors.New("the first bytes of the client did not come in time")
	ErrNoTLS      = errors.New("the backend does not speak TLS")
)

// helloTime is how long a client has for its first bytes, with Peek.
const helloTime = 5 * time.Second

// connectDefault is the default of Backends.Connect.
const connectDefault = 5 * time.Second
