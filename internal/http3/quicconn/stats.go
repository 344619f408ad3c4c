package quicconn

import "github.com/edge-proxy/edge/internal/base/tally"

// Stats are the counters of a Server on one reactor.
type Stats struct {
	Received  uint64 // datagrams
	Sent      uint64
	Unknown   uint64 // datagrams that belong to no connection and begin none, or could not be read
	Versions  uint64 // Version Negotiation that was sent
	Resets    uint64 // stateless resets that were sent
	Refused   uint64 // first packets of connections that were not taken
	Retries   uint64 // Retry packets that were sent
	BadTokens uint64 // first packets that were refused, since their tokens were too old or of another client
	Mailed    uint64 // datagrams that came to another reactor
	MailLost  uint64 // datagrams that did not get there, since too many were on their way
	Passed    uint64 // datagrams that went to the process before
	PassLost  uint64 // datagrams that did not go there, since too many were on their way
	Unsent    uint64 // datagrams, or runs of them, that the kernel refused to send: engine.Port.Lost
}

// Add adds the counters of o.
func (s *Stats) Add(o *Stats) { tally.Add(s, o) }
