package cache

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
)

// record is what the store has under a key: an answer, a list of varying fields, or a marker. Numbers are little
// endian.
//
//	at  0  version, kind                   1 byte each
//	    2  status                          of an answer
//	    4  number of fields                of an answer
//	    6  class                           of a marker; bits of a policy.Freshness, of an answer
//	    7  reason                          of a marker; number of tags, of an answer
//	    8  received                        of an answer; until when it counts, of others: ns since 1970
//	   16  age when received, ns           of an answer; id of a list
//	   24  lifetime, ns                    of an answer
//	   32  bytes of lines                  of an answer; of names, of a list
//	   36  bytes of the body
//	   40  stale while it is renewed, s    of an answer; all bits: it does not say for how long
//	   44  stale on errors, s              likewise
//	   48  when to ask again, ns           of an answer whose backend has failed; else 0
//	   56  stamp of the request for it     see generations
//	   64  of the last one about it        later where a 304 has confirmed it
//	   72  8 bytes a tag                   see appendTag
//	       4 bytes a field: length of the name, its message.Name, length of the value
//	       lines, as they are written to a client, without Age, framing, and what concerns one hop
//	       body, or 8 bytes: the number of the body that has it
type record []byte

const (
	recordVersion = 3
	recordHead    = 72
	fieldHead     = 4
	bodyMax       = 64 << 10
)

type recordKind uint8

const (
	isAnswer recordKind = iota + 1
	isList
	isMarker
)

func (r record) kind() recordKind {
	if len(r) < recordHead || r[0] != recordVersion {
		return 0
	}
	return recordKind(r[1])
}

// edition tells two records under one key apart, by their kind and time. The zero value stands for no record.
type edition struct {
	kind recordKind
	at   int64
}

func (r record) edition() edition {
	if r.kind() == 0 {
		return edition{}
	}
	return edition{r.kind(), r.until()}
}

func (r record) status() uint16        { return binary.LittleEndian.Uint16(r[2:]) }
func (r record) fields() int           { return int(binary.LittleEndian.Uint16(r[4:])) }
func (r record) until() int64          { return int64(binary.LittleEndian.Uint64(r[8:])) }
func (r record) id() uint64            { return binary.LittleEndian.Uint64(r[16:]) }
func (r record) linesLen() int         { return int(binary.LittleEndian.Uint32(r[32:])) }
func (r record) bodyLen() int          { return int(binary.LittleEndian.Uint32(r[36:])) }
func (r record) names() []byte         { return r[recordHead : recordHead+r.linesLen()] }
func (r record) setBodyLen(n int)      { binary.LittleEndian.PutUint32(r[36:], uint32(n)) }
func (r record) reason() policy.Reason { return policy.Reason(r[7]) } // of a marker
func (r record) tags() []byte          { return r[recordHead:r.table()] }
func (r record) table() int            { return recordHead + int(r[7])*tagLen }
func (r record) headLen() int          { return r.table() + r.fields()*fieldHead + r.linesLen() }
func (r record) stamp() uint64         { return binary.LittleEndian.Uint64(r[56:]) }
func (r record) confirmed() uint64     { return binary.LittleEndian.Uint64(r[64:]) }
func (r record) setAsk(at int64)       { binary.LittleEndian.PutUint64(r[48:], uint64(at)) }

// setStamps sets the stamps of the request for r, and of the last one about it.
func (r record) setStamps(stamp, confirmed uint64) {
	binary.LittleEndian.PutUint64(r[56:], stamp)
	binary.LittleEndian.PutUint64(r[64:], confirmed)
}

// file returns the number of the body of r; 0: r has the body itself, or none.
func (r record) file() uint64 {
	if r.kind() != isAnswer || r[6]&freshFile == 0 {
		return 0
	}
	return binary.LittleEndian.Uint64(r[r.headLen():])
}

// setFile sets the number of the body of r, which is in a file.
func (r record) setFile(number uint64) { binary.LittleEndian.PutUint64(r[r.headLen():], number) }

// body returns the body that r has itself.
func (r record) body() []byte {
	if r.file() != 0 {
		return nil
	}
	return r[r.headLen():][:r.bodyLen()]
}

// appendFile appends the number of the body to r, which is a head with n bytes of a body to come.
func (r record) appendFile(number uint64, n int64) record {
	r.setBodyLen(int(n))
	r[6] |= freshFile
	return binary.LittleEndian.AppendUint64(r, number)
}

// expire ends the lifetime of r at a time in ns, or now if that is sooner, unless it ends before. The time may be
// before the answer came.
func (r record) expire(at, now int64) {
	fresh := r.fresh()
	age := int64(fresh.AgeAt(max(min(at, now), fresh.Received))) - max(0, fresh.Received-at)
	binary.LittleEndian.PutUint64(r[24:], uint64(min(fresh.Lifetime, age)))
}

// The bits of a policy.Freshness.
const (
	freshAlways = 1 << iota
	freshStrict
	freshFile // the body is in a file
)

func (r record) fresh() policy.Freshness {
	return policy.Freshness{
		Received:     int64(binary.LittleEndian.Uint64(r[8:])),
		Age:          int64(binary.LittleEndian.Uint64(r[16:])),
		Lifetime:     int64(binary.LittleEndian.Uint64(r[24:])),
		StaleWhile:   windowOf(binary.LittleEndian.Uint32(r[40:])),
		StaleOnError: windowOf(binary.LittleEndian.Uint32(r[44:])),
		Ask:          int64(binary.LittleEndian.Uint64(r[48:])),
		Always:       r[6]&freshAlways != 0,
		Strict:       r[6]&freshStrict != 0,
	}
}

// setFresh writes f into r, an answer.
func (r record) setFresh(f *policy.Freshness) {
	binary.LittleEndian.PutUint64(r[8:], uint64(f.Received))
	binary.LittleEndian.PutUint64(r[16:], uint64(f.Age))
	binary.LittleEndian.PutUint64(r[24:], uint64(f.Lifetime))
	binary.LittleEndian.PutUint32(r[40:], windowBits(f.StaleWhile))
	binary.LittleEndian.PutUint32(r[44:], windowBits(f.StaleOnError))
	r.setAsk(f.Ask)
	if r[6] = 0; f.Always {
		r[6] |= freshAlways
	}
	if f.Strict {
		r[6] |= freshStrict
	}
}

// windowBits returns StaleWhile or StaleOnError of a policy.Freshness as a record has it. windowOf is its inverse.
func windowBits(ns int64) uint32 {
	if ns < 0 {
		return math.MaxUint32
	}
	return uint32(min(ns/int64(time.Second), math.MaxUint32-1))
}

func windowOf(bits uint32) int64 {
	if bits == math.MaxUint32 {
		return -1
	}
	return int64(bits) * int64(time.Second)
}

// writeTo makes h the head of the answer that r is.
func (r record) writeTo(h *message.Head) {
	h.Reset()
	n := r.fields()
	table := r[r.table():]
	lines := table[n*fieldHead:][:r.linesLen()]
	h.Base = append(h.Base, lines...)
	at := uint32(0)
	for i := range n {
		e := table[i*fieldHead:]
		name, value := uint32(e[0]), uint32(binary.LittleEndian.Uint16(e[2:]))
		h.AddLine(message.Name(e[1]), at, int(name), int(value))
		at += name + value + 4
	}
	h.Status, h.Proto = r.status(), message.HTTP11
}

// appendAnswer appends the record of an answer with tags, without its body, and uses lines as memory. It reports false
// for a head that no record holds.
func appendAnswer(dst, lines, tags []byte, h *message.Head, a *policy.Answer) (_, used []byte, ok bool) {
	start, n := len(dst), 0
	dst = append(appendHeader(dst, isAnswer, 0, 0), tags...)
	for i := range h.Fields {
		f := &h.Fields[i]
		if !a.Keeps(h, i) {
			continue
		}
		if n++; f.NameLen > 255 || f.ValueLen > 1<<16-1 || n > 1<<12 {
			return dst[:start], lines, false
		}
		dst = append(dst, byte(f.NameLen), byte(f.ID), byte(f.ValueLen), byte(f.ValueLen>>8))
		lines = append(append(lines, h.Name(i)...), ": "...)
		lines = append(append(lines, h.Value(i)...), "\r\n"...)
	}
	r := record(dst[start:])
	r.setFresh(&a.Fresh)
	r[7] = byte(len(tags) / tagLen)
	binary.LittleEndian.PutUint16(r[2:], h.Status)
	binary.LittleEndian.PutUint16(r[4:], uint16(n))
	binary.LittleEndian.PutUint32(r[32:], uint32(len(lines)))
	return append(dst, lines...), lines, true
}

func appendHeader(dst []byte, kind recordKind, until int64, id uint64) []byte {
	head := [recordHead]byte{recordVersion, byte(kind)}
	binary.LittleEndian.PutUint64(head[8:], uint64(until))
	binary.LittleEndian.PutUint64(head[16:], id)
	return append(dst, head[:]...)
}

// appendList appends the record of a list of varying fields, which counts until a time.
func appendList(dst []byte, until int64, id uint64, names []byte) []byte {
	start := len(dst)
	dst = append(appendHeader(dst, isList, until, id), names...)
	binary.LittleEndian.PutUint32(dst[start+32:], uint32(len(names)))
	return dst
}

// appendMarker appends the record that says that answers to requests of a class are not stored, until a time.
func appendMarker(dst []byte, until int64, c policy.Class, why policy.Reason) []byte {
	start := len(dst)
	dst = appendHeader(dst, isMarker, until, 0)
	dst[start+6], dst[start+7] = byte(c), byte(why)
	return dst
}

// marks reports whether r, a marker, is for the request h.
func (r record) marks(h *message.Head) bool {
	switch policy.Class(r[6]) {
	case policy.Everybody:
		return true
	case policy.Visitors:
		return isVisitor(h)
	}
	return false
}

// lifted reports whether an answer with head h, which policy would have stored, says that r, a marker, holds no more.
// most is how many bytes of a body are stored.
func (r record) lifted(h *message.Head, most int64) bool {
	switch r.reason() {
	case policy.ReasonTooLarge:
		return h.Length >= 0 && h.Length <= most/2 // and so is its head, by far
	case policy.ReasonVary:
		_, why := policy.AppendVary(nil, h)
		return why == policy.ReasonNone
	}
	return true
}

func isVisitor(h *message.Head) bool { return h.Has(message.Cookie) || h.Has(message.Authorization) }
