package issue

import (
	"context"
	"sync"
	"time"
)

const (
	warnAgain    = time.Hour
	ordersMost   = 10 // of one account in ordersWithin
	ordersWithin = 10 * time.Second
)

// Event is something that an operator wants to know.
type Event struct {
	Kind      EventKind
	Names     []string  // of the certificate; none: it is about the Storage
	Authority string    // its Key; empty: none was asked
	Err       error     // nil: it went well
	Expires   time.Time // of the certificate that is presented now; zero: there is none
	Next      time.Time // of the next try, or of the renewal
}

// EventKind tells events apart.
type EventKind uint8

// The kinds of events.
const (
	Ordered EventKind = iota // an order has ended; Err says how
	Broken                   // files of a certificate are no pair; another one is ordered
	Trouble                  // the Storage fails; certificates are in memory alone
)

// journal tells what happens, knows when, and holds orders back. Safe for any goroutine.
type journal struct {
	now  func() time.Time
	tell func(Event)

	mu     sync.Mutex
	warned time.Time                        // of the Storage; guarded by mu
	orders map[string][ordersMost]time.Time // the last ones of an account, in order; guarded by mu
}

// clock returns the time of the wall clock, as the Storage has it.
func (j *journal) clock() time.Time { return j.now().Round(0).UTC() }

// trouble tells that the Storage fails, once an hour.
func (j *journal) trouble(err error) {
	j.mu.Lock()
	now := j.clock()
	due := now.Sub(j.warned).Abs() >= warnAgain // the clock may be set back
	if due {
		j.warned = now
	}
	j.mu.Unlock()
	if due {
		j.tell(Event{Kind: Trouble, Err: err})
	}
}

// wait waits until one more order of an account is allowed, for as long as ctx.
func (j *journal) wait(ctx context.Context, i Issuer) error {
	account := i.Key() + " " + i.Account()
	j.mu.Lock()
	last := j.orders[account]
	now := time.Now()
	at := last[0].Add(ordersWithin)
	if at.Before(now) {
		at = now
	}
	copy(last[:], last[1:])
	last[ordersMost-1] = at
	j.orders[account] = last
	j.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(at.Sub(now)):
		return nil
	}
}
