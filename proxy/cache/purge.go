package cache

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Purge says which stored answers count no more. Name is what Kind says, "" for PurgeAll. The scheme and the port of a
// URL do not count; its path counts as routes see it, and as it is written, its query as each Route leaves it.
type Purge struct {
	Kind PurgeKind
	Name string
	Soft bool // they are expired, and not gone: they may still be sent while the backend does not answer
}

// Purge ends stored answers, and answers on their way to the store: a request that begins after the return is not given
// one of them. seq grows with each purge. The error says what is wrong with p.
func (z *Zone) Purge(p *Purge) (seq uint64, err error) {
	g := &z.generations
	var names []purgeName
	switch {
	case z.elsewhere():
		return 0, ErrElsewhere
	case p.Kind > PurgeAll || p.Kind == PurgeAll && p.Name != "":
		return 0, errKind
	case p.Kind == PurgeAll:
		names = append(names, everything)
	case p.Name == "":
		return 0, fmt.Errorf("cache: the %v to purge is empty", p.Kind)
	case p.Kind == PurgeTag:
		if strings.ContainsAny(p.Name, " \t,\n") {
			return 0, fmt.Errorf("cache: the tag %q has a blank or a comma, which are between two tags", p.Name)
		}
		names = append(names, tagName(appendTag(nil, []byte(p.Name))))
	case p.Kind == PurgeHost:
		if !isHost([]byte(p.Name)) {
			return 0, fmt.Errorf("cache: %q is no host, and stands for no others", p.Name)
		}
		names = append(names, g.name(p.Kind, &place{authority: []byte(p.Name)}))
	default:
		authority, target, err := splitURL(p)
		if err != nil {
			return 0, err
		}
		names = z.namesOf(p.Kind, authority, target)
	}
	g.kinds[p.Kind].count.Add(1)
	written := make(chan error, 1)
	seq = z.end(p.Kind, p.Soft, z.wallNow(), func(err error) { written <- err }, names...)
	if err := <-written; err != nil {
		return seq, ErrDisk
	}
	return seq, nil
}

// ErrElsewhere is the error of a purge that another process has to do.
var ErrElsewhere = errors.New("cache: another process has taken over, and has a cache of its own: purge again")

var errKind = errors.New("cache: the purge is of no kind that there is, or of all and has a name")

// end purges names of a kind, and returns the stamp of that. done is told, maybe on another goroutine, when that is on
// disk, too; nil: no caller waits.
func (z *Zone) end(k PurgeKind, soft bool, now int64, done func(error), names ...purgeName) uint64 {
	if soft {
		for i := range names {
			names[i] |= softly
		}
	}
	stamp := z.generations.end(k, now, names...)
	all := make([]disk.Purged, 0, len(names))
	for _, n := range names {
		all = append(all, disk.Purged{Name: uint64(n), Stamp: stamp, Kind: uint32(k)})
	}
	z.generations.tell(all)
	z.disk.note(all, done)
	return stamp
}

// Hear ends what the processes of Options.From and of Offers have purged since it was called last. Each request does
// so, too.
func (z *Zone) Hear() {
	z.generations.hear(func(p disk.Purged) {
		all := []disk.Purged{p}
		z.generations.replay(all, 0)
		z.disk.note(all, nil)
	})
}

// readings are the ways in which routes may read paths, beside as they are written.
var readings = [...]route.Reading{{}, {Parameters: route.ParametersStripped}}

// namesOf returns the names of a URL, or of a prefix: as it is written and as routes read it, and what any route leaves
// of the query.
func (z *Zone) namesOf(k PurgeKind, authority, target []byte) (all []purgeName) {
	for _, q := range z.queries.all() {
		at := placeOf(authority, q.apply(&local{}, new([]byte), target))
		all = append(all, z.generations.name(k, &at))
		for _, how := range readings {
			read := at
			read.path = route.AppendPath(nil, at.path, how)
			all = append(all, z.generations.name(k, &read))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// splitURL returns the authority and the target of a URL, or of a prefix.
func splitURL(p *Purge) (authority, target []byte, err error) {
	scheme, rest, _ := strings.Cut(p.Name, "://")
	if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return nil, nil, fmt.Errorf(`cache: %q is no URL with a host: write it as "http://example.com/a"`, p.Name)
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if authority = []byte(rest[:end]); rest[end:] == "" || rest[end] != '/' {
		rest = rest[:end] + "/" + rest[end:]
	}
	target = []byte(rest[end:])
	if !isHost(authority) {
		return nil, nil, fmt.Errorf("cache: the URL %q has no valid host", p.Name)
	}
	switch path := rest[end:]; {
	case !message.ValidTarget(target):
		return nil, nil, fmt.Errorf("cache: the URL %q has a fragment, or a byte to be written as %%XX", p.Name)
	case p.Kind == PurgeURL:
	case strings.Contains(path, "?"):
		return nil, nil, fmt.Errorf("cache: %q is no prefix: it has a query", p.Name)
	case !strings.HasSuffix(path, "/"):
		return nil, nil, fmt.Errorf(`cache: the prefix %q ends inside a segment: write "/" at its end`, p.Name)
	case strings.Count(path, "/") > prefixLevels:
		return nil, nil, fmt.Errorf("cache: the prefix %q has more than %d segments", p.Name, prefixLevels-1)
	}
	return authority, target, nil
}

// isHost reports whether a request could have the authority. A pattern is none.
func isHost(authority []byte) bool {
	_, _, ok := message.SplitAuthority(authority)
	return ok && bytes.IndexByte(authority, '*') < 0
}

// Purging reports whether the method of x is PURGE, which no backend is sent: the cache purges the URL, or answers with
// refusal.
func (r *Route) Purging(x *proxy.Exchange) (asked bool, refusal *proxy.Verdict) {
	if string(x.Request.MethodBytes()) != "PURGE" {
		return false, nil
	}
	ip, how := x.ClientIP(), x.Request.Get(softPurge)
	switch {
	case !slices.ContainsFunc(r.PurgeFrom, func(p netip.Prefix) bool { return p.Contains(ip) }):
		return true, new(proxy.Respond(405, "PURGE is not for this client.\n").With("Allow", "GET, HEAD"))
	case how != "" && how != "1":
		return true, new(proxy.Respond(400, softPurge+" is 1, or is left out.\n"))
	}
	return true, nil
}

// softPurge is the field of a PURGE after which answers are expired, and not gone.
const softPurge = "Soft-Purge"

// purge answers a PURGE: it ends what is stored for the URL of x, as invalidate does. Where the disk has to know, the
// stream asks for the answer then.
func (f *front) purge(x *proxy.Exchange, l *local, to session.Receiver, refusal *proxy.Verdict) proxy.Opening {
	v := visits.Of(x)
	if p := v.purging; p != nil {
		return p.answer()
	}
	if refusal == nil && f.zone.elsewhere() {
		refusal = new(proxy.Respond(503, "Another process has taken over: purge again.\n").With("Retry-After", "1"))
	}
	if refusal != nil {
		f.zone.refused.Add(1)
		return proxy.Opening{Verdict: refusal}
	}
	f.zone.generations.kinds[PurgeURL].count.Add(1)
	p, soft, now := &purging{r: x.Reactor(), to: to}, x.Request.Get(softPurge) != "", f.zone.now(x.Reactor())
	if p.task.Run = p.run; f.zone.disk.options.Path == "" {
		p.seq = f.zone.end(PurgeURL, soft, now, nil, f.names(x, l)...)
		return p.answer()
	}
	v.purging = p
	p.seq = f.zone.end(PurgeURL, soft, now, p.written, f.names(x, l)...)
	return proxy.Opening{Stream: p}
}

// answer returns the answer to the PURGE.
func (p *purging) answer() proxy.Opening {
	answer := proxy.Respond(200, fmt.Sprintf("{\"seq\":%d}\n", p.seq)).Type("application/json").
		With("Cache-Control", "no-store")
	if p.err != nil {
		answer = proxy.Respond(503, "The purge could not be written to disk: purge again.\n").With("Retry-After", "1")
	}
	return proxy.Opening{Verdict: &answer}
}

// invalidate ends what is stored for the target of the request of x, which is not safe, and for the URLs of this origin
// that its answer names: RFC 9111 §4.4. It ends the groups that the answer names, too: RFC 9875 §3.
func (f *front) invalidate(x *proxy.Exchange, l *local) {
	z, now := f.zone, f.zone.now(x.Reactor())
	asked, sent := x.AskedAuthority(), x.Request.Bytes(x.Request.Authority)
	z.change(now, f.names(x, l))
	for _, id := range []message.Name{message.Location, message.ContentLocation} {
		reference := x.Response.Peek(id)
		if len(reference) == 0 {
			continue
		}
		if f.endNamed(x, l, reference, asked); !bytes.Equal(asked, sent) {
			f.endNamed(x, l, reference, sent)
		}
	}
	for group := range groups(&x.Response, "Cache-Group-Invalidation", x.Scheme(), asked) {
		z.end(PurgeTag, false, now, nil, tagName(appendTag(nil, group)))
	}
}

// change ends what is stored for URLs that an unsafe request has changed.
func (z *Zone) change(now int64, names []purgeName) {
	g := &z.generations
	stamp := g.next(now)
	names = slices.DeleteFunc(names, func(n purgeName) bool { return !g.urls.change(uint64(n), stamp) })
	if len(names) > 0 {
		z.end(PurgeURL, false, now, nil, names...)
	}
}

// names returns the names of the target of the request of x, whatever any route leaves of the query.
func (f *front) names(x *proxy.Exchange, l *local) (names []purgeName) {
	z := f.zone
	for _, q := range z.queries.all() {
		l.locate(x, q, q.apply(l, &l.target, x.Request.Bytes(x.Request.Target)))
		for i := range l.subject.places() {
			names = append(names, z.generations.name(PurgeURL, &l.subject.at[i]))
		}
	}
	return names
}

// endNamed ends what is stored for the URL that a reference of the answer of x names, where that is of the origin by an
// authority of the request.
func (f *front) endNamed(x *proxy.Exchange, l *local, reference, authority []byte) {
	target := x.Request.Bytes(x.Request.Target)
	named, ok := policy.AppendReference(l.text[:0], reference, []byte(x.Scheme()), authority, target)
	if l.text = named; ok {
		f.zone.change(f.zone.now(x.Reactor()), f.zone.namesOf(PurgeURL, authority, named))
	}
}

// purging is the exchange of a PURGE that waits until it is on disk; then it asks the cache for its answer.
// Owned by the reactor of the exchange.
type purging struct {
	session.NopStream
	r    *engine.Reactor
	to   session.Receiver
	task engine.Task
	seq  uint64
	err  error
	over bool
}

// written is told that the purge is on disk. On any goroutine.
func (p *purging) written(err error) {
	p.err = err
	p.r.Post(&p.task)
}

func (p *purging) run(*engine.Reactor) {
	if !p.over {
		p.over = true
		p.to.OnReset(p, session.Cancelled, proxy.ErrAgain)
	}
}

// Congested makes the exchange keep the content of its request.
func (p *purging) Congested() bool { return true }

// Reset is the end of the exchange.
func (p *purging) Reset(session.Code) { p.over = true }
