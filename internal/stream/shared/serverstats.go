package shared

// ServerStats are the counters of a server on one reactor.
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
	H3         uint64 // connections that spoke HTTP/3
	H3Shed     uint64 // HTTP/3 streams refused under memory pressure
	H3Open     int    // connections that speak HTTP/3 now
	GivenUp    uint64 // exchanges given up under memory pressure, since the client kept them waiting

	DrainedIdle    uint64 // idle HTTP/1 connections ended late in a drain
	DrainedH2      uint64 // HTTP/2 connections without an exchange ended late in a drain
	DrainedH3      uint64 // HTTP/3 connections without an exchange ended late in a drain
	DrainedTunnels uint64 // tunnels ended late in a drain
}
