package h2

import "github.com/edge-proxy/edge/internal/base/budget"

// kind of abuse that is bounded by a leaky bucket.
type abuse uint8

const (
	rapidReset abuse = iota
	madeYouReset
	settingsFlood
	pingFlood
	priorityFlood
	emptyFlood
	windowFlood
	tinyWindow
	strayFlood

	abuseCount
)

// budgets say what each kind of abuse may cost, and how the connection ends above it.
var budgets = [abuseCount]budget.Rule[Stats, Error]{
	// CVE-2023-44487: a stream is opened and reset at once, and costs us a request each time. The head of an answer
	// pays for one: a proxy that carries the calls of many clients on one connection gives up some at any time.
	rapidReset: budget.NewRule(400, 40, errRapidReset, func(s *Stats) *uint64 { return &s.RapidReset }),
	// CVE-2025-8671: the same attack, with an RST_STREAM that the peer makes us send.
	madeYouReset: budget.NewRule(200, 20, errMadeYouReset, func(s *Stats) *uint64 { return &s.MadeYouReset }),
	// CVE-2019-9515, CVE-2019-9512: each SETTINGS and PING has to be answered.
	settingsFlood: budget.NewRule(50, 5, errSettingsFlood, func(s *Stats) *uint64 { return &s.SettingsFlood }),
	// gRPC measures the round trip by PING while data flows: data that we send pays for them, see earn.
	pingFlood: budget.NewRule(400, 40, errPingFlood, func(s *Stats) *uint64 { return &s.PingFlood }),
	// CVE-2019-9513: frames that are read and ignored.
	priorityFlood: budget.NewRule(1000, 100, errPriorityFlood, func(s *Stats) *uint64 { return &s.PriorityFlood }),
	// CVE-2019-9518: frames without content and without an end.
	emptyFlood: budget.NewRule(100, 10, errEmptyFrameFlood, func(s *Stats) *uint64 { return &s.EmptyFrameFlood }),
	// Data that we send pays for them, by its bytes as well: Go's client opens both windows with every read of 4 KiB,
	// and it may read them long after we sent them.
	windowFlood: budget.NewRule(2000, 400, errWindowUpdateFlood,
		func(s *Stats) *uint64 { return &s.WindowUpdateFlood }),
	// CVE-2019-9511: a window opened byte by byte makes a frame of each byte.
	tinyWindow: budget.NewRule(200, 20, errTinyWindow, func(s *Stats) *uint64 { return &s.TinyWindow }),
	// Frames on closed streams: some are on their way when we reset a stream.
	strayFlood: budget.NewRule(1000, 100, errStrayFlood, func(s *Stats) *uint64 { return &s.StrayFlood }),
}

// What pays for what, in frames.
const (
	updatesPaid  = 4   // WINDOW_UPDATE, by a head or a frame of data that we send
	updateBytes  = 256 // of such data, for one more
	strayPaid    = 32  // frames on closed streams, by a stream that the caller reset
	strayBytes   = 8   // of data in each of them, at least: small messages of gRPC
	priorityPaid = 2   // PRIORITY, by a head that we send
)

// rapidWithin, in ns: a stream that is reset sooner than this after it was opened spends budget.
const rapidWithin = int64(250e6)

// tinyFrame is the size below which a DATA frame that a window has cut short spends budget.
const tinyFrame = 128
