// Package retry decides which failures of an attempt are worth another one, and how many attempts an upstream can
// bear.
//
// It is pure: it knows no connection, no member and no clock. Package proxy tells it what happened, and when.
//
//	good answer ─► Budget.Good      pays a share of a retry in
//	failure     ─► Conditions.Has, Status or Call ─► Budget.Take ─► another attempt, after Pause if need be
//	                    │ no                             │ no
//	                    └── the failure is the answer ◄──┘
//
// # The budget
//
// Retries multiply the load on a service that fails: with three retries a service that answers 503 to everything gets
// four times its load, and stays down. The budget bounds that. Only good answers pay in, a fifth of a retry each by
// default, and no more is kept than the good answers of the last second have paid, and three retries. A service that
// fails as a whole is asked 1.2 times as often in the first second and hardly more often after it; where one of many
// members fails, all its requests are tried again.
//
// Good answers are counted by each reactor for itself and added to the sum every ten milliseconds, so that an answer
// costs no write that other processors see. A retry looks at the sum.
//
// # Hedges
//
// A request that waits for the answer of one member may be sent to another one as well: no earlier than Hedge.Delay,
// which is longer than 95 of 100 answers took. Heads keeps their times of the last ten seconds in a histogram whose
// buckets are an eighth wide; each reactor adds what it has counted every 100 ms, and looks as often.
//
// # Threads and ownership
//
// Conditions, Policy and Hedge are values, immutable once used. A Budget and Heads are safe for any number of reactors;
// each calls their methods with its own index.
package retry
