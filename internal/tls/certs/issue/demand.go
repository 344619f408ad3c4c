package issue

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/tls/certs"
)

// Demand orders certificates for names that a Plan does not have, once a handshake asks for one.
type Demand struct {
	// Allow says whether there may be a certificate for a name, before each order. An error is a failed try. Safe for
	// any goroutine.
	Allow func(ctx context.Context, name string) (bool, error)

	Every time.Duration // between new names, on average
	Burst int           // new names at once
}

const (
	demandMost  = 10000 // names
	waitersMost = 64    // handshakes that wait
	waitersEach = 10    // for one name
)

// demanded are the names that handshakes have asked for. Guarded by Renewer.mu, but for entries.
type demanded struct {
	entries sync.Map // name → *entry
	n       int      // of entries
}

// flights are the names on their way, over the Sets. Guarded by Renewer.mu.
type flights struct {
	of      map[string]*flight
	asking  int       // flights without an entry: handshakes that leave do not end them
	waiting int       // handshakes
	next    time.Time // when the budget for new names is whole again
}

// find returns the certificate of a name, and notes that it is used.
func (d *demanded) find(name string) *certs.Certificate {
	e := d.entry(name)
	if e != nil && !e.used.Load() {
		e.used.Store(true)
	}
	return e.certificate()
}

// entry returns the entry of a name; nil: there is none, or d is nil.
func (d *demanded) entry(name string) *entry {
	if d == nil {
		return nil
	}
	found, _ := d.entries.Load(name)
	e, _ := found.(*entry)
	return e
}

// isHost reports whether a name may be a host on the Internet.
func isHost(name string) bool {
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return len(labels) > 1 && len(name) <= 253 && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// take takes one of the budget for new names. Renewer.mu is held.
func (a *flights) take(o *Demand, now time.Time) bool {
	next := a.next
	if next.Before(now) || next.Sub(now) > time.Duration(o.Burst)*o.Every { // else the clock was set back
		next = now
	}
	if next = next.Add(o.Every); next.Sub(now) > time.Duration(o.Burst)*o.Every {
		return false
	}
	a.next = next
	return true
}

// land ends a flight. Renewer.mu is held.
func (a *flights) land(name string, f *flight) {
	if a.of[name] == f {
		delete(a.of, name)
		close(f.done)
	}
}

// without ends the care for a name that is not asked for any more, and returns entries without it. Renewer.mu is held.
func (d *demanded) without(e *entry, entries []*entry) []*entry {
	i := slices.Index(entries, e)
	if i < 0 {
		return entries
	}
	d.entries.Delete(e.names[0])
	d.n--
	return slices.Concat(entries[:i], entries[i+1:]) // the list before may be read just now
}

// wants reports whether an order is to be made for e: for a demanded name if it was used since the last one, and is
// allowed. An error says that this is unknown.
func (d *Demand) wants(ctx context.Context, e *entry) (bool, error) {
	if e.demanded == nil {
		return true, nil
	}
	if !e.used.Swap(false) {
		return false, nil
	}
	allowed, err := d.Allow(ctx, e.names[0])
	if err != nil {
		e.used.Store(true)
	}
	return allowed, err
}
