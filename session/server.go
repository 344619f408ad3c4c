package session

import (
	"cmp"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/message"
)

// ServerOptions bound what clients may do. The zero value is good. Immutable after NewServer.
type ServerOptions struct {
	Limits        h1.Limits
	HeaderTimeout time.Duration // for a whole head, from its first byte or from the connection's start; 0: 10 s
	BodyTimeout   time.Duration // between two reads of a request body; 0: 60 s
	SendTimeout   time.Duration // for a client to take what is queued for it, see BodyRate; 0: 60 s
	IdleTimeout   time.Duration // between two requests; 0: 60 s
	RequestsMax   int           // on one connection; 0: no limit
	BodyRate      int64         // bytes a second of a request body, or of an answer that waits; 0: 240; below 0: any
	// HalfCloseWait is how long the answer to a client that sent FIN after a whole request may take to begin. Such
	// a client has half closed its connection, or it has left. 0: 1 s; HalfCloseLeaves and HalfCloseStays decide at
	// once.
	HalfCloseWait time.Duration

	H2   H2Options
	H2C  bool // HTTP/2 without TLS, for clients that begin with it (prior knowledge)
	NoH1 bool // HTTP/2 only
}

// Values of HalfCloseWait.
const (
	HalfCloseLeaves time.Duration = 1  // FIN means that the client has left, as nginx takes it
	HalfCloseStays  time.Duration = -1 // FIN means nothing, as HAProxy takes it
)

// H2Options bound HTTP/2 connections of clients, in addition to the times of ServerOptions. The zero value is good.
type H2Options struct {
	MaxStreams   int           // exchanges at one time; 0: 128
	IdleTimeout  time.Duration // without an exchange; 0: ServerOptions.IdleTimeout
	MaxAge       time.Duration // after which a connection takes no new exchanges; 0: none
	StreamWindow int           // bytes of one request body that may wait; 0: 64 KiB - 1, growing to 512 KiB
	Budget       int           // bytes of all request bodies that may wait; 0: 2 MiB, more while there is memory
	HeaderTable  int           // bytes of the table for the compression of heads; 0: 4096; below 0: none
	PingInterval time.Duration // silence of a client after which a PING is sent; 0: never
	Connectless  bool          // do not offer extended CONNECT, by which WebSockets come
}

func (o *ServerOptions) setDefaults() {
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 10*time.Second)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, time.Minute)
	o.SendTimeout = cmp.Or(o.SendTimeout, time.Minute)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.HalfCloseWait = cmp.Or(o.HalfCloseWait, time.Second)
	o.BodyRate = cmp.Or(o.BodyRate, bodyRateDefault)
}

// bodyRateDefault is the default of ServerOptions.BodyRate, as in Kestrel: no person types slower, and 1000 connections
// that keep to it are 240 kB/s of traffic that shows.
const bodyRateDefault = 240

// perByte is the time that one byte is worth, in ns; 0 without a least rate.
func (o *ServerOptions) perByte() int64 {
	if o.BodyRate < 0 {
		return 0
	}
	return int64(time.Second) / o.BodyRate
}

// codec returns the options of the codec for the connections of one reactor.
func (o *ServerOptions) codec(a *h2.Arena) h2.Options {
	return h2.Options{
		Arena: a, MaxStreams: o.H2.MaxStreams, HeaderTable: o.H2.HeaderTable,
		HeadBytes: o.Limits.HeadBytes, RequestLine: o.Limits.RequestLine,
		FieldCount: o.Limits.FieldCount, FieldBytes: o.Limits.FieldBytes,
		StreamWindow: o.H2.StreamWindow, StreamWindowMax: o.H2.StreamWindow, Budget: o.H2.Budget,
		HeadTimeout: o.HeaderTimeout, StallTimeout: o.SendTimeout, PingInterval: o.H2.PingInterval,
		LingerTime:        min(o.BodyTimeout, stream.BodyGrace),
		NoExtendedConnect: o.H2.Connectless,
	}
}

// ServerStats are the counters of a Server on one reactor.
type ServerStats = shared.ServerStats

// Server speaks HTTP/1 and HTTP/2 with the clients of a listener.
// Immutable after NewServer, but for local.
type Server struct {
	opts    ServerOptions
	service Service
	refuser Refuser       // service, if it is one
	terms   shared.Terms  // of connections of HTTP/2
	local   []serverLocal // by Reactor.Index
}

// serverLocal is what the connections of one reactor share.
// Owned by its reactor.
type serverLocal struct {
	head    message.Head // lent to the decoder
	repeats h1.Repeats
	stats   ServerStats
	streams shared.Pool
	arena   h2.Arena
	codec   h2.Options
	scarce  h2.Options // for connections that come while memory is short
	_       [64]byte   // reactors count at the same time: each needs cache lines of its own
}

// NewServer makes a Server for the connections of e. service is asked for a Receiver for each request.
func NewServer(e *engine.Engine, service Service, o ServerOptions) *Server {
	o.setDefaults()
	s := &Server{opts: o, service: service, local: make([]serverLocal, len(e.Reactors()))}
	s.refuser, _ = service.(Refuser)
	s.terms = shared.Terms{
		Service: service, HeaderTimeout: o.HeaderTimeout, IdleTimeout: cmp.Or(o.H2.IdleTimeout, o.IdleTimeout),
		MaxAge: o.H2.MaxAge, BodyTimeout: o.BodyTimeout, SendTimeout: o.SendTimeout, PerByte: o.perByte(),
	}
	for i := range s.local {
		l := &s.local[i]
		l.codec = o.codec(&l.arena)
		l.scarce = l.codec
		l.scarce.MaxStreams = shared.StreamsScarce
		if n := l.codec.MaxStreams; n > 0 {
			l.scarce.MaxStreams = min(n, shared.StreamsScarce)
		}
	}
	return s
}

// Terms returns the terms on which s serves connections of HTTP/2, for a server of another version to start from.
func (s *Server) Terms() shared.Terms { return s.terms }

// Options returns the options of s, with defaults in place of zeros.
func (s *Server) Options() *ServerOptions { return &s.opts }

// Counters returns the counters on r, for connections of other versions to count in. On r only.
func (s *Server) Counters(r *engine.Reactor) *ServerStats { return &s.local[r.Index()].stats }

// Stats returns the counters on r. On r only.
func (s *Server) Stats(r *engine.Reactor) ServerStats { return s.local[r.Index()].stats }

// H2Stats returns the counters of the codec of HTTP/2 on r, abuse among them. On r only.
func (s *Server) H2Stats(r *engine.Reactor) h2.Stats { return s.local[r.Index()].arena.Stats }
