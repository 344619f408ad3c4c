package session

import (
	"cmp"
	"time"

	"github.com/edge-proxy/edge/h1"
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

func (o *ServerOptions) setDefaults() {
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 10*time.Second)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, time.Minute)
	o.SendTimeout = cmp.Or(o.SendTimeout, time.Minute)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.HalfCloseWait = cmp.Or(o.HalfCloseWait, time.Second)
	o.BodyRate = cmp.Or(o.BodyRate, bodyRateDefault)
}

// ServerStats are the counters of a Server on one reactor.
type ServerStats struct {
	Requests   uint64
	Malformed  uint64 // requests refused by the codec
	Timeouts   uint64 // heads and bodies that did not come in time
	SlowBodies uint64 // of Timeouts, bodies below the least rate, or silent
	Unread     uint64 // connections closed because the answer was done before the request
	HalfClosed uint64 // exchanges given up because the client sent FIN and no answer began in time
	Tunnels    uint64 // connections, or streams, that became tunnels
	H2         uint64 // connections that spoke HTTP/2
	Shed       uint64 // HTTP/2 streams refused under memory pressure
	H2Open     int    // connections that speak HTTP/2 now
	GivenUp    uint64 // exchanges given up under memory pressure, since the client kept them waiting

	DrainedIdle    uint64 // idle HTTP/1 connections ended late in a drain
	DrainedH2      uint64 // HTTP/2 connections without an exchange ended late in a drain
	DrainedTunnels uint64 // tunnels ended late in a drain
}
