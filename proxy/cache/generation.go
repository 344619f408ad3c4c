package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/message"
)

// PurgeKind is by what stored answers are purged.
type PurgeKind uint8

// The kinds.
const (
	PurgeURL    PurgeKind = iota // http://example.com/a?b=1
	PurgePrefix                  // http://example.com/a/: all paths that begin so
	PurgeHost                    // example.com
	PurgeTag                     // an answer names its tags: see Route.Tags
	PurgeAll                     // of the Zone
)

// String returns the word for k.
func (k PurgeKind) String() string { return [...]string{"url", "prefix", "host", "tag", "all"}[k] }

// everything is the name by which all answers are purged.
const everything purgeName = 2

// generations says which stored answers count no more. The store is not searched for them: a table has the names that
// were purged, and a hit looks into it. Requests to backends and purges are numbered in one order, by stamps; an answer
// that was asked for before the purge of one of its names is dead. Soft purges, after which answers are expired and not
// dead, have names of their own. Safe for any goroutine.
//
// A stamp is a time in microseconds since 1970, or one more than the last stamp: the stamp of a soft purge says when
// answers expired.
type generations struct {
	*notices
	seed    uint64   // of hashes; a disk keeps it
	buckets []bucket // a power of two

	ended  atomic.Uint64            // stamp of the last purge
	places atomic.Uint64            // of the last hard one of a URL, a prefix or a host
	kinds  [PurgeAll + 1]kindPurged // by PurgeKind
}

// kindPurged is what is known of the purges of a kind.
type kindPurged struct {
	ended atomic.Uint64 // stamp of the last one, also of unsafe requests
	count atomic.Uint64 // of those that an operator has asked for
}

// bucket has purged names, of which a part of the hash is equal. When it is full, the name that was purged before the
// others gives way, and all names of the bucket count as purged then: that ends answers too soon, and never too late.
//
// The names and floor are one cache line: most look-ups read no other.
type bucket struct {
	names  [bucketNames]atomic.Uint64 // in the order in which they came; 0: there are no more
	floor  atomic.Uint64              // of the names that gave way, the last stamp
	stamps [bucketNames]atomic.Uint64
	mu     sync.Mutex // for writing: purges of names that share a bucket are rare
}

const (
	bucketNames = 7
	bucketShare = 8 << 10 // bytes of the store for which there is a bucket: buckets take a 64th of it
	bucketsMin  = 1 << 8
	bucketsMax  = 1 << 17
)

// purgeName is a hash of something that can be purged. Its lowest bit says that it stands for soft purges.
type purgeName uint64

const softly purgeName = 1

// purgeNameOf returns the name that a hash makes. No name is 0.
func purgeNameOf(hash uint64) purgeName { return purgeName(hash)&^softly | 2 }

// tagName returns the name of the first tag of a list.
func tagName(tags []byte) purgeName { return purgeNameOf(binary.LittleEndian.Uint64(tags)) }

func (g *generations) init(memory int64, seed uint64, of *notices) {
	n := bucketsMin
	for n < bucketsMax && int64(n)*bucketShare < memory {
		n *= 2
	}
	g.notices, g.seed, g.buckets = of, seed, make([]bucket, n)
}

func (g *generations) bucket(n purgeName) *bucket {
	return &g.buckets[n>>40&purgeName(len(g.buckets)-1)]
}

// next returns the stamp of an answer that is asked for now, in ns since 1970.
func (g *generations) next(now int64) uint64 {
	for at := uint64(max(now, 0)) / 1000; ; {
		last := g.last.Load()
		if n := max(at, last+1); g.last.CompareAndSwap(last, n) {
			return n
		}
	}
}

// end purges names of a kind, and returns the stamp of that. What they name has changed when end is called, so answers
// that are asked for while it runs may count or not.
func (g *generations) end(k PurgeKind, now int64, names ...purgeName) uint64 {
	stamp := g.next(now)
	g.note(k, stamp, names...)
	return stamp
}

// note notes that names of a kind were purged.
func (g *generations) note(k PurgeKind, stamp uint64, names ...purgeName) {
	for _, n := range names {
		g.bucket(n).raise(n, stamp)
	}
	raise(&g.kinds[k].ended, stamp)
	if k <= PurgeHost && len(names) > 0 && names[0]&softly == 0 {
		raise(&g.places, stamp)
	}
	raise(&g.ended, stamp)
}

// purgedName returns the name that p has, and its kind.
func purgedName(p disk.Purged) (PurgeKind, purgeName) {
	if p.Kind > uint32(PurgeAll) { // disk.Everything
		return PurgeAll, everything
	}
	return PurgeKind(p.Kind), purgeName(p.Name)
}

// replay notes what was purged before this process. Records may have stamps up to last.
func (g *generations) replay(all []disk.Purged, last uint64) {
	if last > 0 && g.first {
		g.urls.any.Store(1)
	}
	for _, p := range all {
		last = max(last, p.Stamp)
		k, name := purgedName(p)
		g.note(k, p.Stamp, name)
	}
	if last > g.last.Load() && last > uint64(time.Now().UnixMicro()) { // the clock was set back
		last += uint64(time.Hour / time.Microsecond)
	}
	raise(&g.last, last)
}

// A table is handed over as numbers of 64 bits: the stamps of the last purge of each kind; how many buckets there are;
// and of each bucket in use its index, names, floor, stamps.
const (
	word      = 8 // bytes
	tableHead = (len(generations{}.kinds) + 1) * word
	tableRow  = (1 + bucketNames + 1 + bucketNames) * word
)

func appendWords(dst []byte, words ...uint64) []byte {
	for _, n := range words {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return dst
}

func wordOf(p []byte, i int) uint64 { return binary.LittleEndian.Uint64(p[i*word:]) }

// appendTo appends the table to messages, which begin with begin, and sends each once it has that many bytes.
func (g *generations) appendTo(begin []byte, full int, send func(message []byte)) {
	p := begin
	for k := range g.kinds {
		p = appendWords(p, g.kinds[k].ended.Load())
	}
	p = appendWords(p, uint64(len(g.buckets)))
	head := len(p)
	for i := range g.buckets {
		if g.buckets[i].names[0].Load() == 0 {
			continue
		}
		if p = g.buckets[i].appendTo(appendWords(p, uint64(i))); len(p) >= full {
			send(p)
			p = p[:head]
		}
	}
	send(p)
}

func (b *bucket) appendTo(dst []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.names {
		dst = appendWords(dst, b.names[i].Load())
	}
	dst = appendWords(dst, b.floor.Load())
	for i := range b.stamps {
		dst = appendWords(dst, b.stamps[i].Load())
	}
	return dst
}

// take notes what a part of another table has.
func (g *generations) take(p []byte) {
	if len(p) < tableHead {
		return
	}
	for k := range g.kinds {
		g.note(PurgeKind(k), wordOf(p, k))
		if PurgeKind(k) <= PurgeHost {
			raise(&g.places, wordOf(p, k))
		}
	}
	buckets := wordOf(p, len(g.kinds))
	for p = p[tableHead:]; len(p) >= tableRow; p = p[tableRow:] {
		for i := range bucketNames {
			if n := purgeName(wordOf(p, 1+i)); n != 0 {
				g.bucket(n).raise(n, wordOf(p, 2+bucketNames+i))
			}
		}
		switch i, floor := wordOf(p, 0), wordOf(p, 1+bucketNames); {
		case floor == 0:
		case buckets == uint64(len(g.buckets)) && i < buckets:
			raise(&g.buckets[i].floor, floor)
		default: // here its names are in several buckets
			g.note(PurgeAll, floor, everything)
		}
	}
}

// raise notes the purge of n.
func (b *bucket) raise(n purgeName, stamp uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, there := 0, uint64(0)
	for i := range b.names {
		if there = b.names[i].Load(); there == 0 || there == uint64(n) {
			at = i
			break
		}
		if b.stamps[i].Load() < b.stamps[at].Load() {
			at = i
		}
	}
	if there == uint64(n) {
		raise(&b.stamps[at], stamp)
		return
	}
	if there != 0 { // in this order: a look-up that does not find the old name any more reads floor after that
		raise(&b.floor, b.stamps[at].Load())
	}
	b.names[at].Store(uint64(n))
	b.stamps[at].Store(stamp)
}

// verdict is what purges mean for an answer with these stamps: hard ones that came after the request for it, and soft
// ones that came after the last request about it.
type verdict struct {
	stamp, confirmed uint64
	dead             bool
	soft             uint64 // stamp of the last of these; 0: there is none
}

// judge returns what purges mean for an answer of a subject with these stamps.
func (g *generations) judge(stamp, confirmed uint64, of *subject) verdict {
	v := verdict{stamp: stamp, confirmed: confirmed}
	for k := PurgeURL; k <= PurgeAll; k++ {
		switch {
		case g.kinds[k].ended.Load() <= stamp:
		case k == PurgeAll:
			g.look(&v, everything)
		case k == PurgeTag:
			for tags := of.tags; len(tags) > 0; tags = tags[tagLen:] {
				g.look(&v, tagName(tags))
			}
		default:
			for i := range of.places() {
				for n := range g.names(k, &of.at[i]) {
					g.look(&v, n)
				}
			}
		}
	}
	return v
}

// look adds the purges of n to v.
func (g *generations) look(v *verdict, n purgeName) {
	b := g.bucket(n)
	for i := range b.names {
		there := purgeName(b.names[i].Load())
		if there == 0 {
			break
		}
		if there&^softly != n {
			continue
		}
		if stamp := b.stamps[i].Load(); stamp > v.stamp && there == n {
			v.dead = true
		} else if stamp > v.confirmed && there != n {
			v.soft = max(v.soft, stamp)
		}
	}
	v.dead = v.dead || b.floor.Load() > v.stamp
}

// names goes over the names of a kind that a place has: its URL, its host, or the prefixes of its path, the longest
// last. Neither the scheme nor the port counts.
func (g *generations) names(k PurgeKind, of *place) iter.Seq[purgeName] {
	return func(yield func(purgeName) bool) {
		var room [512]byte
		text := binary.LittleEndian.AppendUint64(room[:0], g.seed+uint64(k))
		text = message.AppendLower(text, message.HostOf(of.authority))
		switch path := of.path; k {
		case PurgePrefix:
			for range prefixLevels {
				end := 1 + bytes.IndexByte(path, '/')
				text = append(text, path[:end]...)
				if path = path[end:]; end == 0 || !yield(sumName(text)) {
					return
				}
			}
			return
		case PurgeURL:
			text = append(append(append(text, path...), '?'), of.query...)
		}
		yield(sumName(text))
	}
}

// sumName returns the name of a text with the seed. XXH64 has texts whose hashes are the same for each second seed: by
// such a text a client would end the answer for a URL to which it may send no unsafe request.
func sumName(text []byte) purgeName {
	sum := sha256.Sum256(text)
	return purgeNameOf(binary.LittleEndian.Uint64(sum[:]))
}

// name returns the name by which a place is purged: of a path that is a prefix, the longest.
func (g *generations) name(k PurgeKind, of *place) (last purgeName) {
	for n := range g.names(k, of) {
		last = n
	}
	return last
}

// know adds the URLs of a request to the known ones.
func (g *generations) know(of *subject) {
	for i := range of.places() {
		g.urls.add(uint64(g.name(PurgeURL, &of.at[i])))
	}
}

// changedSince reports whether an unsafe request to a URL of a request may have come since stamp.
func (g *generations) changedSince(stamp uint64, of *subject) bool {
	if g.urls.last.Load() <= stamp {
		return false
	}
	for i := range of.places() {
		if g.urls.endedAt(uint64(g.name(PurgeURL, &of.at[i]))).Load() > stamp {
			return true
		}
	}
	return false
}

// prefixLevels is how many prefixes of a path can be purged: "/", "/a/" and so on.
const prefixLevels = 16
