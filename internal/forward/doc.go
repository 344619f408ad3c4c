// Package forward makes one stream out of many attempts: a Request goes to a backend of an upstream, and to another one
// where that may be and is worth it, until one of them answers.
//
// It knows no filters, routes or answers of a proxy. Its Owner, an exchange, sends the request to the stream of each
// attempt and receives the answer; it asks a Request what a head or a failure means for the next attempt, and names the
// failures. Package proxy has that owner.
//
//	owner: Open ─► choose a backend ─► take a connection ─► Stream ─► owner: SendHead … ─► owner: OnHead ─► Judge
//	                 ▲    └ all are full: a place in the line         owner: OnReset ─► Failed ─┐      └ replaced ─┐
//	                 └───────────────────── after a pause, or at once ◄─────────────────────────┴──────────────────┘
//
// Streams come from package upstream, the choice of a backend from package backend. All of a Request is on one reactor,
// so nothing here takes a lock.
//
// A hedge is a second attempt beside the first one. The time of an attempt is bounded by Retry.PerTry; how many there
// may be by the retries of the upstream, by budgets (package retry) and by limits (package admission). The body of a
// request is kept as long as it may be sent again, up to the retry buffer of its upstream: see Body.
package forward
