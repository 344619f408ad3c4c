package table

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sort"

	"github.com/edge-proxy/edge/internal/base/yield"
)

// builder builds one generation. Owned by one goroutine.
type builder struct {
	*handle
	*content
	owner   *memory // of the generation
	scratch *memory // of the build
	pace    yield.Pace
	entries int

	problems Problems
	failed   error
	records  []record
	texts    texts
	values   collector

	decoded Decoded // nil: the file has lines
	taken   int     // entries of decoded
}

// build makes a generation of what was read. The memory of it is estimated first.
func (h *handle) build(c *content, scratch *memory) (*generation, error) {
	b := &builder{handle: h, content: c, owner: &memory{budget: h.opts.Budget, stays: true}, scratch: scratch}
	g, err := b.run()
	if err != nil {
		b.owner.free()
		return nil, err
	}
	g.own(b.owner)
	return g, nil
}

func (b *builder) run() (*generation, error) {
	if err := checkEncoding(b.source.File, b.text); err != nil {
		return nil, err
	}
	size, err := b.measure()
	if err != nil {
		return nil, err
	}
	if b.entries > b.opts.EntriesMax {
		return nil, fmt.Errorf("%d entries: no more than %d are possible", b.entries, b.opts.EntriesMax)
	}
	if need := size.total(b.opts.Keys, b.pairs); need > b.opts.MemoryMax {
		return nil, fmt.Errorf("%d entries need up to %s while they are built: no more than %s are possible",
			b.entries, inUnits(need), inUnits(b.opts.MemoryMax))
	}
	if err := b.reserve(size); err != nil {
		return nil, err
	}
	if b.decoded != nil {
		b.failed = wrongFile(b.source.File, b.decoded.Each(b.takeDecoded))
	} else {
		b.eachEntry(b.take)
	}
	if b.failed != nil {
		return nil, b.failed
	}
	if len(b.problems) > 0 {
		return nil, b.problems
	}
	return b.finish()
}

// checkEncoding refuses UTF-16, of which each line would be wrong.
func checkEncoding(file string, text []byte) error {
	if len(text) >= 2 && (text[0] == 0xfe && text[1] == 0xff || text[0] == 0xff && text[1] == 0xfe) {
		return Problems{{File: file, Line: 1, Column: 1, Text: "the file is in UTF-16", Hint: "save it as UTF-8"}}
	}
	return nil
}

// sizes are what a source has, counted without a look into the entries.
type sizes struct {
	text   int // bytes of the file
	inline int // bytes of the inline entries
	v4, v6 int // entries with a colon are of IPv6
	n      int // all of them
}

// total estimates the bytes that the build takes at most at a time, the file included. Bounds that are distributed
// so that the index has to divide again and again take more: the budget counts what is really taken.
func (s sizes) total(k Keys, pairs bool) int64 {
	const recordSize, nodes, lines = 24, 4, 7
	bytes, v4 := int64(s.text), int64(nodes)
	if 2*s.v4 >= linesLeast {
		v4 = lines
	}
	if k == Addresses {
		bytes += recordSize*int64(s.n) + 2*(4+v4)*int64(s.v4) + 2*(16+nodes)*int64(s.v6)
		if pairs {
			bytes += 2 * 4 * int64(s.n)
		}
	} else {
		bytes += int64(s.text+s.inline) + recordHead*int64(s.n) + 8*int64(slotsFor(s.n))
	}
	if pairs {
		bytes += int64(s.text+s.inline) + 2*int64(s.n) + 8*int64(slotsFor(s.n))
	}
	return bytes
}

// measure returns what the source has, at most.
func (b *builder) measure() (sizes, error) {
	if b.opts.Decode == nil || b.source.File == "" {
		return b.count(), nil
	}
	var err error
	if b.decoded, err = b.opts.Decode(b.text); err != nil {
		return sizes{}, wrongFile(b.source.File, err)
	}
	n := b.decoded.EntriesMax()
	b.entries = n
	return sizes{text: len(b.text), v4: n / 2, v6: n - n/2, n: n}, nil
}

// errMore is why a file is not taken that was measured wrongly.
var errMore = errors.New("it has more entries than it tells of")

// wrongFile adds the path to what is wrong with a file; nil: nothing is.
func wrongFile(path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "read", Path: path, Err: err}
}

// takeDecoded puts an entry of a file without lines into what is built.
func (b *builder) takeDecoded(p netip.Prefix, value []byte) error {
	if b.taken++; b.taken%walkStep == 0 {
		b.pace.Step()
	}
	if b.taken > b.entries {
		return errMore
	}
	r := record{bits: uint8(p.Bits()), ref: b.values.ref(value)}
	if r.ref == 0 {
		return errMemory
	}
	var is4 bool
	r.from, is4 = placeOf(p.Addr())
	r.is6 = !is4
	b.records = append(b.records, r)
	return nil
}

// count goes over the source once.
func (b *builder) count() sizes {
	s := sizes{text: len(b.text), inline: int(inlineBytes(b.source.Inline)), n: len(b.source.Inline)}
	for _, e := range b.source.Inline {
		s.add([]byte(e.Key))
	}
	lines := newScanner(b.opts.Keys, b.pairs, b.text)
	for lines.nextLine() {
		if lines.number%walkStep == 0 {
			b.pace.Step()
		}
		if lines.hasEntry() {
			s.n++
			s.add(lines.line[lines.at:])
		}
	}
	b.entries = s.n
	return s
}

// add counts the kind of an entry by what begins with its key.
func (s *sizes) add(entry []byte) {
	for _, c := range entry {
		switch c {
		case ':':
			s.v6++
			return
		case ' ', '\t', '.':
			s.v4++
			return
		}
	}
	s.v4++
}

// reserve gets the memory whose size is known before the entries are read.
func (b *builder) reserve(s sizes) (err error) {
	if b.pairs {
		text := s.text + s.inline
		if b.decoded != nil {
			text = s.n * textMax // entries may share what the file has once
		}
		if err = b.values.init(b.owner, b.scratch, s.n, text); err != nil {
			return err
		}
	}
	if b.opts.Keys == Texts {
		return b.texts.init(b.owner, s.n, s.text+s.inline+recordHead*s.n)
	}
	b.records, err = slice[record](b.scratch, s.n)
	b.records = b.records[:0]
	return err
}

// eachEntry calls take with all entries, and notes what is wrong with them.
func (b *builder) eachEntry(take func(key, value []byte) *fault) {
	for i, e := range b.source.Inline {
		if f := inlineFault(e); f != nil {
			b.note(Problem{Index: i, Text: f.text, Hint: f.hint})
		} else if f := take([]byte(e.Key), []byte(e.Value)); f != nil {
			b.note(Problem{Index: i, Text: f.text, Hint: f.hint})
		}
		b.pace.Step()
	}
	const entriesStep = 256
	lines := newScanner(b.opts.Keys, b.pairs, b.text)
	for lines.nextLine() {
		if lines.number%entriesStep == 0 {
			b.pace.Step()
		}
		if b.failed != nil || len(b.problems) == problemsMax {
			return
		}
		if !lines.hasEntry() {
			continue
		}
		f := lines.entry()
		if f == nil {
			if f = take(lines.key, lines.value); f != nil {
				f.at += lines.keyAt
			}
		}
		if f != nil {
			b.note(Problem{File: b.source.File, Line: lines.number, Column: lines.column(f.at),
				Text: f.text, Hint: f.hint})
		}
	}
}

func inlineFault(e Entry) *fault {
	if n := max(len(e.Key), len(e.Value)); n > textMax {
		return faultf(0, "", "a text of %d bytes: no more than %d are possible", n, textMax)
	}
	return nil
}

func (b *builder) note(p Problem) {
	if len(b.problems) < problemsMax {
		b.problems = append(b.problems, p)
	}
}

// take puts an entry into what is built. Both texts are borrowed until return.
func (b *builder) take(key, value []byte) *fault {
	ref := uint32(1)
	var r record
	var f *fault
	if b.opts.Keys == Addresses {
		if r, f = parsePrefix(key); f != nil {
			return f
		}
	}
	if b.pairs {
		if ref = b.values.ref(value); ref == 0 {
			b.failed = errMemory
			return nil
		}
	}
	if b.opts.Keys == Texts {
		return b.takeText(key, ref)
	}
	r.ref = ref
	b.records = append(b.records, r)
	return nil
}

// takeText adds a key, unless it is there.
func (b *builder) takeText(key []byte, ref uint32) *fault {
	slot, was := b.texts.find(key)
	if was == 0 {
		b.texts.add(slot, key, ref)
	} else if was != ref {
		return faultf(0, "", "%s has the value %s already", quoted(key), quoted(b.values.get(was)))
	}
	return nil
}

func (b *builder) finish() (*generation, error) {
	g := &generation{texts: b.texts, values: b.values.values}
	sortRecords(b.records, &b.pace)
	if b.pairs && b.decoded == nil {
		b.checkValues()
	}
	if len(b.problems) > 0 {
		return nil, b.problems
	}
	v6 := sort.Search(len(b.records), func(i int) bool { return b.records[i].is6 })
	var err error
	if g.v4, err = newRanges(b.owner, b.records[:v6], b.pairs, &b.pace); err != nil {
		return nil, err
	}
	if g.v6, err = newRanges(b.owner, b.records[v6:], b.pairs, &b.pace); err != nil {
		return nil, err
	}
	g.stats = Stats{Entries: b.entries, Bytes: b.owner.bytes}
	if b.decoded != nil {
		g.stats.Entries, g.stats.Marks = b.taken, b.decoded.Marks()
	}
	return g, nil
}

// checkValues notes the prefixes that have two values, where the second one stands.
func (b *builder) checkValues() {
	var twice []record // the first of each
	for i := 1; i < len(b.records) && len(twice) < problemsMax; i++ {
		if i%walkStep == 0 {
			b.pace.Step()
		}
		first, second := &b.records[i-1], &b.records[i]
		if !first.same(second) || first.ref == second.ref {
			continue
		}
		if n := len(twice); n == 0 || !twice[n-1].same(first) {
			twice = append(twice, *first)
		}
	}
	if len(twice) == 0 {
		return
	}
	for i := range twice {
		twice[i].ref = 0 // not met yet
	}
	b.eachEntry(func(key, value []byte) *fault {
		r, _ := parsePrefix(key)
		i := slices.IndexFunc(twice, func(t record) bool { return t.same(&r) })
		if i < 0 {
			return nil
		}
		ref := b.values.ref(value)
		if was := twice[i].ref; was != 0 && was != ref {
			return faultf(0, "", "%s has the value %s already", quoted(key), quoted(b.values.get(was)))
		}
		twice[i].ref = ref
		return nil
	})
}
