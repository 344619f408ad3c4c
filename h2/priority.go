package h2

import "github.com/edge-proxy/edge/internal/stream/section"

// urgencyDefault is the urgency of a stream that says none.
const urgencyDefault = 3

// prioritise applies a Priority field. A client that sends none at all says neither, and its answers take turns.
func (s *Stream) prioritise(v []byte) { s.urgency, s.serial = section.ReadPriority(v) }
