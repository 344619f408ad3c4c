package inspect

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// copiedAt is how many records of requests one task on a reactor copies.
const copiedAt = 512

// remembered is a record with what its Page says.
type remembered struct {
	recent.Record
	prefix uint64
	wall   int64
}

// identity tells requests apart. Those that were refused before they had a number differ in their beginning.
type identity struct {
	prefix, id uint64
	began      int64
}

// Requests returns the requests that q asks for, the last one to end first. version returns the version of the
// configuration for the last bits of the number of a proxy.Snapshot, 0 where it is not known.
func (v *Inspector) Requests(
	ctx context.Context, q *admin.RequestQuery, version func(snapshot uint16) int,
) ([]admin.Request, error) {
	parts := v.server.Parts()
	s := search{ctx: ctx, proxy: parts.Proxy, most: q.Most, known: make(map[identity]bool)}
	if q.ID != "" {
		s.wants, s.most = matching(q.ID), copiedAt
	}
	for _, r := range parts.Engine.Reactors() {
		if err := s.look(r, true); err != nil {
			return nil, err
		}
		if q.All || q.ID != "" {
			if err := s.look(r, false); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case s.room == 0:
		return nil, fmt.Errorf("%w: no request is remembered, since why = 0 in [admin]", admin.ErrUnknown)
	case q.ID != "" && len(s.found) == 0:
		return nil, fmt.Errorf("%w: no request %s is remembered: it has not ended yet, was another process's, came "+
			"before [admin], or was longer ago than the last %d of its event loop. The access log may have it",
			admin.ErrUnknown, strconv.QuoteToASCII(q.ID), s.room)
	}
	list := s.sorted()
	all := make([]admin.Request, len(list))
	for i := range list {
		all[i] = describeRequest(&list[i], version(list[i].Generation))
		if q.ID != "" && list[i].Given != 0 && list[i].Given == recent.HashOf([]byte(q.ID)) {
			all[i].ID = q.ID
		}
	}
	return all, nil
}

// matching returns a function that reports whether a record is of a request with that number: edge's own, or the number
// that the request came with.
func matching(id string) func(r *remembered) bool {
	given, number := recent.HashOf([]byte(id)), [16]byte{}
	own, err := hex.DecodeString(id)
	isOwn := err == nil && copy(number[:], own) == len(number) && len(own) == len(number)
	prefix, last := binary.BigEndian.Uint64(number[:8]), binary.BigEndian.Uint64(number[8:])
	return func(r *remembered) bool {
		return r.Given == given || isOwn && r.ID == last && r.prefix == prefix
	}
}

// search collects records.
type search struct {
	ctx   context.Context
	proxy *proxy.Proxy
	wants func(r *remembered) bool // nil: any
	most  int                      // of each ring
	room  int                      // of a ring; 0: there is none
	found []remembered
	known map[identity]bool // that were found: bad ones are in both rings
}

// look looks through a ring of r, a few records at a time.
func (s *search) look(r *engine.Reactor, bad bool) error {
	for before, n := uint64(recent.Newest), 0; n < s.most; {
		size := copiedAt
		if s.wants == nil {
			size = min(copiedAt, s.most-n)
		}
		page, err := ask(s.ctx, r, func(r *engine.Reactor) recent.Page {
			page, _ := s.proxy.Recent(r, bad, before, size)
			return page
		})
		if err != nil {
			return err
		}
		s.room = max(s.room, page.Room)
		for i := range page.Records {
			one := remembered{page.Records[i], page.Prefix, page.Wall}
			if s.wants != nil && !s.wants(&one) {
				continue
			}
			if n++; !s.known[one.identity()] {
				s.known[one.identity()] = true
				s.found = append(s.found, one)
			}
		}
		if before = page.Next; before == 0 {
			break
		}
	}
	return nil
}

func (r *remembered) identity() identity { return identity{r.prefix, r.ID, r.Began} }

// sorted returns what was found, the last one to end first.
func (s *search) sorted() []remembered {
	slices.SortStableFunc(s.found, func(a, b remembered) int {
		return cmp.Or(cmp.Compare(endOf(&b), endOf(&a)), cmp.Compare(b.prefix, a.prefix), cmp.Compare(b.ID, a.ID))
	})
	return s.found[:min(len(s.found), s.most)]
}

func endOf(r *remembered) int64 { return r.wall + r.Began + int64(r.Took()) }

// describeRequest says in words what a record has in numbers.
func describeRequest(r *remembered, version int) admin.Request {
	failure, cached := r.reasons()
	one := admin.Request{
		Began: time.Unix(0, r.wall+r.Began).UTC().Round(time.Microsecond), Took: rounded(r.Took()), Client: clientOf(r),
		Protocol: protocols[message.Proto(r.Proto)], TLS: r.Flags&recent.Secured != 0,
		Listener: nameOf(r.Listener, "listener", version), Route: nameOf(r.Route, "route", version),
		Upstream: nameOf(r.Upstream, "upstream", version), Version: version, Status: int(r.Status),
		Own: r.Flags&recent.Own != 0, Tunnel: r.Flags&recent.Tunnel != 0, Reused: r.Flags&recent.Reused != 0,
		EndedBy: endedBy(failure.Word), Reason: failure.Word, Attempts: int(r.Attempts),
		BytesIn: r.BytesIn, BytesOut: r.BytesOut, Phases: phasesOf(r),
		Cache: r.Flags.Cache(), CacheReason: cached.Word, CacheExplained: explainCache(r, cached),
	}
	if r.ID != 0 || r.Flags&recent.Refused == 0 {
		one.ID = idOf(r)
	}
	if r.Call > 0 {
		status := int(r.Call) - 1
		one.Call = &status
	}
	switch {
	case r.Flags&recent.HedgeWon != 0:
		one.Hedge = "won"
	case r.Flags&recent.Hedged != 0:
		one.Hedge = "lost"
	}
	one.Tries = triesOf(r, version)
	one.Explained, one.Try = explain(r, &one)
	return one
}

// reasons returns why the request of r failed, or what the cache says of it: one of them, or none, has a word.
func (r *remembered) reasons() (failure, cached recent.Reason) {
	reason := recent.ReasonOf(r.Reason)
	if r.Flags&recent.OfCache != 0 {
		return failure, reason
	}
	return reason, cached
}

var protocols = map[message.Proto]string{
	message.HTTP10: "HTTP/1.0", message.HTTP11: "HTTP/1.1", message.HTTP20: "HTTP/2",
	message.HTTP30:                  "HTTP/3",
	message.Proto(observe.ProtoTCP): "TCP",
}

func idOf(r *remembered) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], r.prefix)
	binary.BigEndian.PutUint64(id[8:], r.ID)
	return hex.EncodeToString(id[:])
}

func rounded(d time.Duration) admin.Duration { return admin.Duration(d.Round(time.Microsecond)) }

// clientOf returns the address of the client, "unix:@" on a Unix socket.
func clientOf(r *remembered) string {
	switch at := r.ClientAddr(); {
	case !at.IsValid():
		return "unix:@"
	case at.Port() == 0:
		return at.Addr().String()
	default:
		return at.String()
	}
}

// nameOf returns the name of a number; "": it is 0.
func nameOf(n uint32, kind string, version int) string {
	if n == 0 {
		return ""
	}
	if name, known := observe.Tagged(n); known {
		return name
	}
	if version > 0 {
		return fmt.Sprintf("%s of version %d", kind, version)
	}
	return kind + " that is gone"
}

// endedBy returns the side that a reason names.
func endedBy(word string) string {
	for _, side := range []string{"client", "backend", "edge"} {
		if len(word) > len(side) && word[:len(side)] == side {
			return side
		}
	}
	return ""
}

// phasesOf lists the parts that a request had.
func phasesOf(r *remembered) []admin.Phase {
	all := []admin.Phase{}
	for _, p := range []struct {
		name string
		took recent.Span
	}{{"queue", r.Queue}, {"dns", r.Lookup}, {"connect", r.Connect}, {"tls", r.TLS}} {
		if p.took > 0 {
			all = append(all, admin.Phase{Name: p.name, Took: rounded(p.took.Duration())})
		}
	}
	var before time.Duration
	for _, p := range []struct {
		name string
		at   time.Duration
	}{{"sent", r.Sent.Duration()}, {"first_byte", r.FirstByte.Duration()}, {"last_byte", r.LastByte.Duration()},
		{"end", r.Took()}} {
		if p.at > 0 || p.name == "end" {
			all = append(all, admin.Phase{Name: p.name, At: rounded(p.at), Took: rounded(p.at - min(before, p.at))})
			before = p.at
		}
	}
	return all
}

// triesOf lists the first attempt and the last one.
func triesOf(r *remembered, version int) (all []admin.Try) {
	if first := r.Tries[0]; r.Attempts > 1 && first.Backend != 0 {
		all = append(all, admin.Try{Attempt: 1, Backend: nameOf(first.Backend, "backend", version),
			Outcome: outcomeOf(first), After: admin.Duration(first.After())})
	}
	last := r.Tries[1]
	if last.Backend == 0 {
		return all
	}
	one := admin.Try{Attempt: int(r.Attempts), Backend: nameOf(last.Backend, "backend", version),
		After: rounded(r.Took())}
	switch failure, _ := r.reasons(); {
	case endedBy(failure.Word) == "backend":
		one.Outcome = failure.Word
	case r.FirstByte > 0:
		one.Outcome, one.After = "answered", rounded(r.FirstByte.Duration())
	case r.Proto == observe.ProtoTCP && r.Connect > 0:
		one.Outcome, one.After = "connected", rounded(r.Connect.Duration())
	default:
		one.Outcome = "no answer"
	}
	return append(all, one)
}

// outcomeOf says what became of an attempt after which there was another one.
func outcomeOf(t recent.Try) string {
	if status := t.Status(); status > 0 {
		return fmt.Sprintf("status %d", status)
	}
	return recent.ReasonOf(t.Reason()).Word
}
