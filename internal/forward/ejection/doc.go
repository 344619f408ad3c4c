// Package ejection decides which members of a service answer so much worse than the others that they get no requests
// for a while.
//
// It is pure: it knows no member but its number, no connection and no clock. Package backend tells it of outcomes and
// of the time, and does what it returns.
//
//	outcome ─► counts of the reactor ─ each second ─► buckets of ten windows ─► Outlier, against all other members
//	   └─ failures in a row, over all reactors ──────────────────────────────┴─► Action: eject
//	open ─► ejected ─ time is over ─► on trial: 1 request at once, 2, 4, 8, 16 while they go well ─► open
//	            ▲──────────────────────────┘ one fails: ejected for twice as long
//
// A trial is what others call half open. An ejection for a fault ends sooner where the member passes a check.
//
// # What ejects
//
// A member is compared with all others together, never with a fixed rate: where a bad address or a common database
// makes all of them fail, none is ejected. Beside that, a member is ejected after so many faults in a row, which are
// connections that were refused or lost and answers that never came, or after as many failures in a row (502, 503, 504)
// that are of more than one route or last for a second; in more than so many, where the others fail often too or
// had few requests. Members with fewer than 20 requests in the window are not compared, and no more than a part of the
// members is ejected at a time, never the last one.
//
// # Threads and ownership
//
// A Detector is safe for any number of reactors, each with its own index. What a good outcome writes belongs to its
// reactor alone. Once a second a reactor that has something adds it to what all know, under a mutex. Nothing happens
// while there are no requests: there is no timer.
//
// # Limits
//
// 65535 members; the time of an ejection is at most ten times the first one.
package ejection
