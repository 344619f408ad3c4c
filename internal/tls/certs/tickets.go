package certs

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"slices"
	"sync"
	"time"
)

// ticketKeys is how many keys are known: the newest makes tickets, all open them. So a ticket lives two to three
// rotations, or the seven days that crypto/tls allows.
const ticketKeys = 3

// Tickets are the keys of session tickets, for all listeners of a process: they rotate at once, and outlive the
// configurations that they are used in. Safe for any goroutine.
type Tickets struct {
	mu      sync.Mutex
	keys    [][32]byte    // newest first; guarded by mu
	users   []TicketUser  // guarded by mu
	every   time.Duration // guarded by mu
	timer   *time.Timer   // guarded by mu; nil: no rotation
	rotated func()
}

// TicketUser is a tls.Config with the words that its tickets are bound to: a Config with the same words alone opens
// them. Those without words are bound to nothing.
type TicketUser struct {
	Config *tls.Config
	Bound  string
}

// NewTickets begins with keys, newest first, as Keys returned them, or with a new one where there are none. rotated,
// which may be nil, is told of each rotation.
func NewTickets(keys [][32]byte, rotated func()) *Tickets {
	t := &Tickets{keys: slices.Clone(keys), rotated: rotated}
	if len(t.keys) == 0 {
		t.keys = append(t.keys, newTicketKey())
	}
	return t
}

func newTicketKey() (key [32]byte) {
	_, _ = rand.Read(key[:]) // it never fails: it would end the process
	return key
}

// Use sets the keys of users, and no longer the keys of earlier users.
func (t *Tickets) Use(users []TicketUser) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users = slices.Clone(users)
	t.spread()
}

// Begin sets the keys of a user that serves before Use is called with it.
func (t *Tickets) Begin(u TicketUser) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.take(t.keys)
}

func (t *Tickets) spread() {
	for _, u := range t.users {
		u.take(t.keys)
	}
}

// take makes u use keys, or what its words make of each.
func (u TicketUser) take(keys [][32]byte) {
	if u.Bound == "" {
		u.Config.SetSessionTicketKeys(keys)
		return
	}
	own := make([][32]byte, len(keys))
	for i := range keys {
		mac := hmac.New(sha256.New, keys[i][:])
		mac.Write([]byte(u.Bound))
		mac.Sum(own[i][:0])
	}
	u.Config.SetSessionTicketKeys(own)
}

// Rotate puts a new key before the others.
func (t *Tickets) Rotate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rotate()
}

func (t *Tickets) rotate() {
	t.keys = append([][32]byte{newTicketKey()}, t.keys[:min(len(t.keys), ticketKeys-1)]...)
	t.spread()
	if t.rotated != nil {
		t.rotated()
	}
}

// Every sets the time after which the keys rotate; 0: never.
func (t *Tickets) Every(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d == t.every {
		return
	}
	t.every = d
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if d > 0 {
		t.timer = time.AfterFunc(d, t.turn)
	}
}

// turn is one timed rotation.
func (t *Tickets) turn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil {
		return
	}
	t.rotate()
	t.timer.Reset(t.every)
}

// Keys returns the keys, newest first, to begin with in another process. They open the sessions of clients: a secret.
func (t *Tickets) Keys() [][32]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.keys)
}

// Stop ends the rotation.
func (t *Tickets) Stop() { t.Every(0) }
