package cache

import (
	"bytes"
	"crypto/sha256"
	"iter"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
)

// subject is what a stored answer may be purged by, beside by all.
type subject struct {
	at   [2]place // as the client asked, the path as routes read it; and as the backend is sent it
	one  bool     // both are equal
	tags []byte   // of the record
}

// place is a URL without its scheme. Borrowed.
type place struct{ authority, path, query []byte }

func placeOf(authority, target []byte) (p place) {
	p.authority = authority
	p.path, p.query, _ = bytes.Cut(target, []byte{'?'})
	return p
}

// places returns the places of s that differ.
func (s *subject) places() []place {
	if s.one {
		return s.at[:1]
	}
	return s.at[:]
}

// keep copies what s borrows of a request into memory, so that s owns it.
func (s *subject) keep(memory []byte) (used []byte) {
	a, b := &s.at[0], &s.at[1]
	parts := [...]*[]byte{&a.authority, &a.path, &a.query, &b.authority, &b.path, &b.query}
	memory = memory[:0]
	for _, p := range parts {
		memory = append(memory, *p...)
	}
	rest := memory
	for _, p := range parts {
		n := len(*p)
		*p, rest = rest[:n:n], rest[n:]
	}
	return memory
}

// A tag is the beginning of its SHA-256, so that no backend makes a tag that meets the tag of another one.
const (
	tagLen = 8
	tagMax = 64 // tags of an answer
)

// appendTag appends a tag to a list that does not have it.
func appendTag(list, text []byte) []byte {
	sum := sha256.Sum256(text)
	for at := 0; at < len(list); at += tagLen {
		if bytes.Equal(list[at:at+tagLen], sum[:tagLen]) {
			return list
		}
	}
	return append(list, sum[:tagLen]...)
}

// appendTags appends the tags of the answer h: the members of the fields called names, and its groups. It reports false
// where there are more than an answer may have.
func appendTags(list []byte, h *message.Head, names []string, scheme string, authority []byte) (_ []byte, ok bool) {
	for i := range h.Fields {
		if h.Fields[i].Dropped() || !slices.ContainsFunc(names, func(n string) bool {
			return message.EqualFold(h.Name(i), n)
		}) {
			continue
		}
		for tag := range policy.Tags(h.Value(i)) {
			if list = appendTag(list, tag); len(list) > tagMax*tagLen {
				return list, false
			}
		}
	}
	for group := range groups(h, "Cache-Groups", scheme, authority) {
		if list = appendTag(list, group); len(list) > tagMax*tagLen {
			return list, false
		}
	}
	return list, true
}

// groups goes over the groups that a field of the answer h names (RFC 9875), each with the origin of the request in
// front. A line feed is in no other tag.
func groups(h *message.Head, field, scheme string, authority []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var text []byte
		origin := 0
		for _, group := range policy.Groups(h, field) {
			if origin == 0 {
				text = append(policy.AppendOrigin(nil, []byte(scheme), authority), '\n')
				origin = len(text)
			}
			if text = append(text[:origin], group...); !yield(text) {
				return
			}
		}
	}
}

// queries are the different Query of all Routes that a Zone has had: they stay, since few configurations have others.
// Safe for any goroutine.
type queries struct {
	mu   sync.Mutex // for adding
	list atomic.Pointer[[]*Query]
}

// add adds q, which does not change.
func (l *queries) add(q *Query) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if all := l.all(); !slices.ContainsFunc(all, func(o *Query) bool { return reflect.DeepEqual(o, q) }) {
		l.list.Store(new(append(slices.Clip(all), q)))
	}
}

func (l *queries) all() []*Query {
	if list := l.list.Load(); list != nil {
		return *list
	}
	return nil
}
