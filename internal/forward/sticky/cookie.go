package sticky

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend"
)

// Bounds of Options.TTL, and what it is where nothing is said.
const (
	TTLMin     = time.Minute
	TTLMax     = 365 * 24 * time.Hour
	TTLDefault = time.Hour
)

// NameDefault is the name of a cookie where nothing is said.
const NameDefault = "edge_sid"

// Options say how clients are kept at members. The zero value is good, for one process until it ends.
type Options struct {
	Service string        // a name that other sets do not have: a token of one of them says nothing here
	Name    string        // of the cookie, in the characters of a token of RFC 9110; "": NameDefault
	TTL     time.Duration // of a cookie; 0: TTLDefault. It is renewed when less than half of it is left
	Secrets []string      // the first signs, all verify; none: one is drawn
}

// Cookie says which member of a Set a client belongs to.
// Safe for any goroutine.
type Cookie struct {
	name    string
	ttl     time.Duration
	end     string // of the field's value, after the token
	keys    *Keys
	set     *backend.Set
	members sync.Map // Tag to *backend.Member
	tags    sync.Map // *backend.Member to Tag: that which is signed

	mu      sync.Mutex
	stopped bool // guarded by mu
}

// New makes the Cookie of the members of set, those to come too.
func New(set *backend.Set, o Options) (*Cookie, error) {
	if len(o.Secrets) == 0 {
		o.Secrets = []string{rand.Text()}
	}
	c := &Cookie{name: o.Name, ttl: o.TTL, set: set}
	c.name = cmp.Or(c.name, NameDefault)
	c.ttl = cmp.Or(c.ttl, TTLDefault)
	if c.ttl < TTLMin || c.ttl > TTLMax {
		return nil, fmt.Errorf("sticky: a cookie cannot live for %v: from %v to %v", c.ttl, TTLMin, TTLMax)
	}
	if !validName(c.name) {
		return nil, fmt.Errorf("sticky: a cookie cannot be called %q", c.name)
	}
	c.end = "; Path=/; Max-Age=" + strconv.Itoa(int(c.ttl/time.Second)) + "; HttpOnly; SameSite=Lax"
	var err error
	if c.keys, err = NewKeys(o.Service, o.Secrets...); err != nil {
		return nil, err
	}
	set.Follow((*cookieFollower)(c))
	return c, nil
}

// validName accepts a token of RFC 9110 §5.6.2, which is what RFC 6265 §4.1.1 has for names.
func validName(name string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for _, b := range []byte(name) {
		alnum := '0' <= b && b <= '9' || 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z'
		if !alnum && strings.IndexByte(marks, b) < 0 {
			return false
		}
	}
	return name != ""
}

// Stop makes c forget its members: Find finds none, and Append appends nothing. Requests that are under way may
// still ask.
func (c *Cookie) Stop() {
	c.set.Unfollow((*cookieFollower)(c))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.members.Clear()
	c.tags.Clear()
}

// Name returns the name of the cookie.
func (c *Cookie) Name() string { return c.name }

// Set returns the set whose members c knows.
func (c *Cookie) Set() *backend.Set { return c.set }

// Find returns the member that the value of a client's cookie names, if it may have the requests of its clients: it
// serves, or nothing but Draining or AgentDrain is against it. renew says that the client is to get another cookie of
// it soon; cookies of a member that is draining are not renewed, so that it has no clients left when they end. value is
// borrowed until return.
func (c *Cookie) Find(value []byte, now time.Time) (m *backend.Member, renew bool) {
	tag, left, ok := c.keys.Verify(value, now)
	if !ok {
		return nil, false
	}
	found, ok := c.members.Load(tag)
	if !ok {
		return nil, false
	}
	m = found.(*backend.Member)
	switch {
	case m.Reasons() == 0:
		// More is left than a new one has where the time to live was shortened.
		return m, left < c.ttl/2 || left > c.ttl+time.Minute
	case !m.IsDown(): // it drains
		return m, false
	}
	return nil, false
}

// Append appends the value of a Set-Cookie (RFC 6265 §4.1) that keeps a client at m from now on: nothing where m is no
// member any more. secure says that the client's connection is secured: the cookie is never sent in the clear then.
func (c *Cookie) Append(dst []byte, m *backend.Member, secure bool, now time.Time) []byte {
	tag, ok := c.tags.Load(m)
	if !ok {
		return dst
	}
	dst = append(append(dst, c.name...), '=')
	dst = c.keys.Append(dst, tag.(Tag), now.Add(c.ttl))
	dst = append(dst, c.end...)
	if secure {
		dst = append(dst, "; Secure"...)
	}
	return dst
}

// cookieFollower is a Cookie as its Set sees it.
type cookieFollower Cookie

// Joined gives m its tags.
func (f *cookieFollower) Joined(m *backend.Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	for i, tag := range f.keys.Tags(identity(m)) {
		if i == 0 {
			f.tags.Store(m, tag)
		}
		f.members.Store(tag, m)
	}
}

// Left forgets m.
func (f *cookieFollower) Left(m *backend.Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tags.Delete(m)
	for _, tag := range f.keys.Tags(identity(m)) {
		f.members.Delete(tag)
	}
}

// identity returns what is the same for a member in all processes that have it.
func identity(m *backend.Member) string {
	id := m.ID()
	text := id.Name
	if !id.Resolves() {
		text = id.Addr.String() + "\x00" + id.Name
	}
	return text + "\x00" + strconv.Itoa(id.Copy)
}
