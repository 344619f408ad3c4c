package issue

import (
	"crypto/x509"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/tls/certs"
)

const lookAgain = time.Minute // after a look that could not do its work; and the clock may jump meanwhile

// entry is one certificate that is wanted, over the Sets that want it.
type entry struct {
	names  []string             // sorted
	folder string               // the name of its folder
	held   atomic.Pointer[held] // nil: there is none yet

	// Guarded by Renewer.mu; while busy only the goroutine of that look writes them.
	busy  bool
	state state
	next  time.Time // of the next look
	set   time.Time // when next was set; in the future if the clock was set back since

	demanded *flight     // that has brought it; nil: the Plan has it
	used     atomic.Bool // since the last order, where demanded

	unsaved *texts // of held, which the Storage has not taken yet, for the looks alone; nil: it has
}

// held is a pair that an entry presents. Immutable.
type held struct {
	*certs.Lean
	authority string // the name of its authority's folder
	serial    string
	notBefore time.Time
	notAfter  time.Time
	spare     bool // it is presented until there is a certificate as it is wanted now
}

// texts are a pair in PEM, with what its Issuer keeps of it. Immutable.
type texts struct {
	at         site
	chain, key []byte
	meta       json.RawMessage
}

// flight is a name on its way to a certificate.
type flight struct {
	done    chan struct{}
	waiting int // handshakes; guarded by Renewer.mu
}

// certificate returns what handshakes get; nil: nothing, or there is no entry.
func (e *entry) certificate() *certs.Certificate {
	if e == nil {
		return nil
	}
	if h := e.held.Load(); h != nil {
		return h.Certificate()
	}
	return nil
}

// newer tells whether h began after another pair of the same entry. A pair that has ended is older than any other.
func (h *held) newer(other *held, now time.Time) bool {
	if good := h.good(now); good != other.good(now) {
		return good
	}
	return h.notBefore.After(other.notBefore)
}

// good reports whether h is there and has not ended.
func (h *held) good(now time.Time) bool { return h != nil && now.Before(h.notAfter) }

func (h *held) life() time.Duration { return h.notAfter.Sub(h.notBefore) }

// latest returns when h is renewed at the latest, whatever its authority says: later it could end first.
func (h *held) latest() time.Time { return h.notAfter.Add(-h.life() / 10) }

// partOfLife returns when h is renewed whose authority tells no window.
func (h *held) partOfLife() time.Time {
	switch life := h.life(); {
	case life <= 0:
		return h.notAfter // of a file: an authority's would be refused
	case life < shortLife:
		return h.notBefore.Add(life / 2)
	default:
		return h.notBefore.Add(life / 3 * 2)
	}
}

// leaf returns the certificate of h.
func (h *held) leaf() *x509.Certificate {
	leaf, err := x509.ParseCertificate(h.Chain[0])
	if err != nil {
		panic("issue: " + err.Error()) // it was parsed
	}
	return leaf
}

// renewal returns when another certificate is wanted for an entry that presents h, with a state; zero: now.
func renewal(h *held, st *state) time.Time {
	if h == nil || h.spare {
		return time.Time{}
	}
	if at := st.moment(h.serial); !at.IsZero() && at.Before(h.latest()) {
		return at
	}
	return h.partOfLife()
}

// nextOrder returns when an order is made for an entry that presents h: another certificate is wanted, and a try is
// allowed.
func nextOrder(h *held, st *state) time.Time {
	at := renewal(h, st)
	// Else another certificate is wanted than the last order was about.
	if (st.Failures > 0 || !at.IsZero()) && st.Next.After(at) {
		at = st.Next
	}
	if tomorrow := st.Day.Add(24 * time.Hour); st.Tries >= triesMost && tomorrow.After(at) {
		at = tomorrow
	}
	return at
}

// asking returns when the authority is asked for the window of h; false: no more, since h is to be renewed now.
func asking(h *held, st *state, now time.Time) (at time.Time, asks bool) {
	if !now.Before(renewal(h, st)) {
		return at, false
	}
	if st.Serial == h.serial && st.Again.Sub(now) <= windowLatest { // else the clock was set back
		at = st.Again
	}
	return at, true
}

// schedule sets the time of the next look at e. Renewer.mu is held.
func (e *entry) schedule(now time.Time) {
	h := e.held.Load()
	at := nextOrder(h, &e.state)
	if ask, asks := asking(h, &e.state, now); asks && ask.Before(at) {
		at = ask
	}
	if again := now.Add(lookAgain); e.unsaved != nil && again.Before(at) {
		at = again
	}
	e.next, e.set = at, now
}
