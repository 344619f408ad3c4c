package http3

import (
	"cmp"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// ServerOptions bound connections of HTTP/3, in addition to session.ServerOptions. The zero value is good.
type ServerOptions struct {
	MaxStreams  int           // exchanges at one time; 0: 128
	IdleTimeout time.Duration // without an exchange; 0: as in session.ServerOptions
}

// StreamsScarce is ServerOptions.MaxStreams of connections that come while memory is short.
const StreamsScarce = shared.StreamsScarce

// Server speaks HTTP/3 with the clients of a listener.
// Immutable after NewServer, but for local.
type Server struct {
	sessions *session.Server
	opts     ServerOptions
	terms    shared.Terms
	local    []serverLocal // by Reactor.Index
}

// serverLocal is what the connections of one reactor share.
// Owned by its reactor.
type serverLocal struct {
	head    message.Head // lent to the codec
	streams shared.Pool
	arena   h3.Arena
	codec   h3.Options
	_       [64]byte // reactors count at the same time: each needs cache lines of its own
}

// NewServer makes a Server for the connections of e, with the service, the options and the counters of s.
func NewServer(e *engine.Engine, s *session.Server, o ServerOptions) *Server {
	base := s.Options()
	srv := &Server{sessions: s, opts: o, terms: s.Terms(), local: make([]serverLocal, len(e.Reactors()))}
	srv.terms.MaxAge, srv.terms.IdleTimeout = 0, cmp.Or(o.IdleTimeout, base.IdleTimeout)
	for i := range srv.local {
		l := &srv.local[i]
		l.codec = h3.Options{
			Arena: &l.arena, HeadBytes: base.Limits.HeadBytes, RequestLine: base.Limits.RequestLine,
			FieldCount: base.Limits.FieldCount, FieldBytes: base.Limits.FieldBytes, HeadTimeout: base.HeaderTimeout,
		}
	}
	return srv
}

// QUIC returns what the codec of a connection has to be made with. QUIC itself waits for a minute at least until it
// takes a client for lost, which may be silent while it waits for an answer.
func (s *Server) QUIC() quic.Options {
	return quic.Options{Streams: s.opts.MaxStreams, IdleTimeout: max(s.terms.IdleTimeout, time.Minute)}
}

// Accept makes the session of a connection whose handshake is done. A batch has to follow, at whose first event
// SETTINGS is sent, and at whose end times are set. Where the listener closes by now, GOAWAY follows.
func (s *Server) Accept(c *quicconn.Conn, closes bool) quicconn.Session {
	session := s.newConn(c)
	if closes {
		session.Leave()
	}
	return session
}

func (s *Server) newConn(by carrier) *conn {
	ec, q := by.Conn(), by.QUIC()
	local := &s.local[ec.Reactor().Index()]
	c := &conn{by: by, q: q, head: &local.head, stats: s.sessions.Counters(ec.Reactor())}
	c.codec.Init(h3.Server, q, &local.codec)
	c.Link.Start(ec, c, c, &local.streams, true)
	c.ServerEnd.Start(&c.Link, c, &s.terms, c.stats)
	c.stats.H3++
	c.stats.H3Open++
	return c
}

// H3Stats returns the counters of the codec of HTTP/3 on r, abuse among them. On r only.
func (s *Server) H3Stats(r *engine.Reactor) h3.Stats { return s.local[r.Index()].arena.Stats }
