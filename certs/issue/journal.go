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

// journal tells what happens, and knows when. Safe for any goroutine.
type journal struct {
	now  func() time.Time
	tell func(Event)

	mu     sync.Mutex
	warned time.Time // of the Storage; guarded by mu
}

// clock returns the time of the wall clock, as the Storage has it.
func (j *journal) clock() time.Time { return j.now().Round(0).UTC() }

// trouble tells that the Storage fails, once an hour.
func (j *journal) trouble(err error) {
	j.mu.Lock()
	now := j.clock()
	again := now.Sub(j.warned) < warnAgain && !j.warned.After(now)
	if !again {
		j.warned = now
	}
	j.mu.Unlock()
	if !again {
		j.tell(Event{Kind: Trouble, Err: err})
	}
}

// paces holds orders back. Safe for any goroutine.
type paces struct {
	mu     sync.Mutex
	orders map[string]*[ordersMost]time.Time // the last ones of an account, in a ring; guarded by mu
}

// wait waits until one more order of an account is allowed, for as long as ctx.
func (p *paces) wait(ctx context.Context, i Issuer) error {
	account := i.Key() + " " + i.Account()
	p.mu.Lock()
	last := p.orders[account]
	if last == nil {
		last = new([ordersMost]time.Time)
		p.orders[account] = last
	}
	now := time.Now()
	at := last[0].Add(ordersWithin)
	if at.Before(now) {
		at = now
	}
	copy(last[:], last[1:])
	last[ordersMost-1] = at
	p.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(at.Sub(now)):
		return nil
	}
}
