package issue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/edge-proxy/edge/internal/tls/certs"
)

const (
	lockWait    = time.Minute      // for another replica
	orderTime   = 10 * time.Minute // records of proofs may need some to spread
	windowTime  = 30 * time.Second
	storageTime = 30 * time.Second
)

// looking is one look at an entry: what it changes of the entry at its end.
type looking struct {
	*journal
	set     *Set
	entry   *entry
	state   state
	saved   state // that the Storage has
	failing error // of the Storage

	unwanted bool // its name is not asked for any more
}

// run does whatever is due for the entry, with the lock that other replicas take; without it if the Storage fails. It
// returns false where another replica has the lock for long.
func (l *looking) run(ctx context.Context) bool {
	storage, name := l.set.plan.Storage, lockName(l.entry.folder)
	waiting, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	err := storage.Lock(waiting, name)
	if waiting.Err() != nil && err != nil {
		if ctx.Err() == nil {
			l.within(ctx, l.adopt) // a Storage that hangs looks like a lock that another replica has
		}
		if l.failing == nil {
			return false
		}
	}
	if err != nil {
		l.failing = fmt.Errorf("lock: %w", err)
	} else {
		defer l.within(ctx, func(ctx context.Context) error { return storage.Unlock(ctx, name) })
	}
	l.work(ctx)
	return true
}

// within runs an operation of the Storage in bounded time, to its end even if the Renewer stops meanwhile.
func (l *looking) within(ctx context.Context, f func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTime)
	defer cancel()
	if err := f(ctx); err != nil {
		l.failing = err
	}
}

// work is run, with the lock.
func (l *looking) work(ctx context.Context) {
	l.within(ctx, l.adopt)
	now := l.clock()
	l.state.follow(now)
	h := l.entry.held.Load()
	if ask, asks := asking(h, &l.state, now); asks && !now.Before(ask) {
		l.set.askWindow(ctx, h, &l.state, now)
	}
	if !now.Before(nextOrder(h, &l.state)) {
		wanted, err := l.set.plan.Demand.wants(ctx, l.entry)
		switch {
		case err != nil:
			l.state.failed(now, err)
		case wanted:
			l.order(ctx, h)
		default:
			l.unwanted = true
		}
	}
	if l.entry.unsaved != nil {
		l.within(ctx, l.save)
	}
	// Otherwise a restart finds success without a pair, and orders at once.
	if l.entry.unsaved == nil || l.state.Failures > 0 {
		l.within(ctx, l.saveState)
	}
}

// adopt takes over what the Storage has by now from other replicas, or from a look before that could not save.
func (l *looking) adopt(ctx context.Context) error {
	f, err := l.set.find(ctx, l.entry, l.clock())
	h := l.entry.held.Load()
	if f.held != nil && (h == nil || !(f.held.spare && !h.spare) && f.held.newer(h, l.clock())) {
		l.entry.held.Store(f.held)
		l.entry.unsaved = f.halves
	}
	if err != nil {
		return err
	}
	l.saved = f.state
	switch {
	case f.state.Tried.Before(l.state.Tried):
	case f.foreign:
		l.state.Day, l.state.Tries = f.state.Day, f.state.Tries
	default:
		l.state = f.state
	}
	return nil
}

// errEnded is the error of a try whose process has ended meanwhile: it counts, since a process that fails and starts
// in a loop would ask the authority each time.
var errEnded = errors.New("the process has ended while it waited for the authority")

// order tries to get a certificate. replaced is presented until then; nil: nothing is.
func (l *looking) order(ctx context.Context, replaced *held) {
	i, staging := try(l.state.Failures, len(l.set.plan.Authorities))
	authority := l.set.plan.Authorities[i]
	l.state.count(l.clock())
	before := l.state
	l.state.failed(l.clock(), errEnded)
	l.within(ctx, l.saveState)
	ordering, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if !staging && (replaced != nil || before.Failures > 0 || authority.Staging == nil || l.leads(ordering)) {
		authority.Staging = nil
	}
	t, h, err := l.ask(ordering, authority, replaced)
	if err != nil && ctx.Err() != nil {
		if before.Failures == 0 {
			l.state.Next = l.state.Tried // the next process may try at once, but not in a loop of stops
		}
		return
	}
	l.state = before
	if err != nil {
		h = replaced
		l.state.failed(l.clock(), err)
		if h.good(l.clock()) {
			l.entry.used.Store(true) // as long as it serves, it has its next try
		}
	} else {
		l.state.issued(l.clock(), h.serial, h.life(), authority.Account())
		l.entry.unsaved = t
		l.entry.held.Store(h)
	}
	event := Event{Kind: Ordered, Names: l.entry.names, Authority: authority.Key(), Err: err, Next: l.state.Next}
	if h != nil {
		event.Expires = h.notAfter
	}
	l.tell(event)
}

// leads reports whether the names lead here. A handshake has shown it for a name that it has demanded.
func (l *looking) leads(ctx context.Context) bool {
	ask := l.set.plan.Leads
	return ask == nil || l.entry.demanded != nil || ask(ctx, l.entry.names)
}

// ask orders a certificate from an authority, and from its staging authority before, if it has any.
func (l *looking) ask(ctx context.Context, a Authority, replaced *held) (*texts, *held, error) {
	names := l.entry.names
	csr, key, err := Request(l.set.plan.Key, names)
	if err != nil {
		return nil, nil, err
	}
	o := &Order{Names: names, CSR: csr}
	if a.Staging != nil {
		if _, err := l.issue(ctx, a.Staging, o); err != nil {
			return nil, nil, fmt.Errorf("staging: %w", err)
		}
	}
	if replaced != nil && replaced.authority == Safe(a.Key()) && // no other account may replace it
		l.state.Serial == replaced.serial && l.state.Account == a.Account() {
		o = &Order{Names: names, CSR: csr, Replaces: replaced.leaf()}
	}
	got, err := l.issue(ctx, a.Issuer, o)
	if err != nil {
		return nil, nil, err
	}
	lean, c, err := certs.ParseLean(got.Chain, key)
	if err != nil {
		return nil, nil, fmt.Errorf("the authority has sent no such certificate: %w", err)
	}
	if err := verify(c, names, l.clock()); err != nil {
		return nil, nil, err
	}
	return &texts{siteOf(a.Key(), l.entry.folder), got.Chain, key, got.Meta}, l.set.hold(a.Key(), lean, c), nil
}

// issue asks one Issuer, after the pause between orders of an account.
func (l *looking) issue(ctx context.Context, i Issuer, o *Order) (*Issued, error) {
	if err := l.wait(ctx, i); err != nil {
		return nil, err
	}
	return i.Issue(ctx, o)
}

// save stores the pair. The key comes before its chain, beside the key of the pair before: whenever the process ends,
// a whole pair is there, which find knows.
func (l *looking) save(ctx context.Context) error {
	storage, t := l.set.plan.Storage, l.entry.unsaved
	meta, err := json.Marshal(&struct { // as certmagic has it
		Names []string        `json:"sans"`
		Meta  json.RawMessage `json:"issuer_data,omitempty"`
	}{l.entry.names, t.meta})
	if err != nil {
		return err
	}
	for _, f := range []struct {
		key  string
		text []byte
	}{{t.at.nextKey(), t.key}, {t.at.chain(), t.chain}, {t.at.key(), t.key}, {t.at.meta(), meta}} {
		if err := storage.Store(ctx, f.key, f.text); err != nil {
			return err
		}
	}
	l.entry.unsaved = nil
	return storage.Delete(ctx, t.at.nextKey())
}

// saveState stores the state, if it is another one than the Storage has.
func (l *looking) saveState(ctx context.Context) error {
	if l.state == l.saved {
		return nil
	}
	text, err := json.Marshal(&l.state)
	if err != nil {
		return err
	}
	at := siteOf(l.set.plan.Authorities[0].Key(), l.entry.folder)
	if err := l.set.plan.Storage.Store(ctx, at.state(), text); err != nil {
		return err
	}
	l.saved = l.state
	return nil
}

// askWindow asks the authority of h when it is best renewed.
func (s *Set) askWindow(ctx context.Context, h *held, st *state, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, windowTime)
	defer cancel()
	if st.Serial != h.serial {
		st.Serial, st.Account, st.Start, st.End = h.serial, "", time.Time{}, time.Time{}
	}
	st.Again = now.Add(windowAgain)
	w, err := s.plan.Authorities[s.indexOf(h.authority)].Window(ctx, h.leaf())
	if err != nil {
		return // the window before stays
	}
	if latest := now.Add(windowLatest); w == (Window{}) || w.Again.After(latest) {
		w.Again = latest // RFC 9773 §4.3.3: it could never say that a certificate is revoked
	}
	if w.Again.After(st.Again) {
		st.Again = w.Again.UTC()
	}
	st.Start, st.End = w.Start.UTC(), w.End.UTC()
	if w.End.After(h.latest()) || w.End.Before(w.Start) || w.Start.Year() < 1 { // JSON has no year before 1
		st.Start, st.End = time.Time{}, time.Time{}
	}
}
