package tlsconn

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// crypto/tls keeps, in each connection and for as long as it lives, a buffer as large as the largest record that came,
// and two that are as large as the handshake was: 20 KiB for a connection that received a full record once. None of
// them holds anything between two calls. So each call of Open lends the connection a buffer and takes it back, and the
// others are let go when the handshake is done.
//
// This reaches into fields that crypto/tls does not export. It is done only with a Go that the tests have passed with:
// a Go that keeps a piece of a record after Read, in fields of the same names and types, would put plaintext of one
// connection into another, and nothing at run time could tell. With any other Go nothing is lent, nor where the fields
// are not as expected; then a test fails.

// tested are the releases of Go, each with all its patches, that buffers are lent with.
var tested = []string{"go1.26", "go1.27"}

// loan is where one connection's buffers are; empty where nothing is lent.
type loan struct {
	raw   *bytes.Buffer // records; empty between two calls of Open
	input *bytes.Reader // plaintext, which lies in raw; as empty
}

// lentSize is a record and what bytes.Buffer wants beside it, so that it never grows one.
const lentSize = headerSize + bodyMax + 2*bytes.MinRead

var lent = sync.Pool{New: func() any { return new([lentSize]byte) }}

// Offsets in tls.Conn; the field is not there or is another where ok is false.
var (
	rawAt, rawOK     = fieldAt[bytes.Buffer]("rawInput")
	handAt, handOK   = fieldAt[bytes.Buffer]("hand")
	inputAt, inputOK = fieldAt[bytes.Reader]("input")
)

func fieldAt[T any](name string) (uintptr, bool) {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	return f.Offset, ok && f.Type == reflect.TypeFor[T]()
}

// lends tells whether buffers are lent. Immutable, but for tests.
var lends = testedWith(runtime.Version()) && rawOK && handOK && inputOK

// LendsBuffers tells whether connections borrow the buffers for their records. Where they keep them each connection
// costs up to 20 KiB more: the Go that the program was built with is not the Go that this is tested with.
func LendsBuffers() bool { return lends }

// testedWith tells whether a version, as runtime.Version gives it, is of a release that is tested, and no pre-release.
// Experiments, and what a distributor says after a space, do not count.
func testedWith(version string) bool {
	version, _, _ = strings.Cut(version, " ")
	version, _, _ = strings.Cut(version, "-X:")
	return slices.ContainsFunc(tested, func(release string) bool {
		rest, found := strings.CutPrefix(version, release)
		patch, dotted := strings.CutPrefix(rest, ".")
		return found && (rest == "" || dotted && patch != "" && strings.Trim(patch, "0123456789") == "")
	})
}

// init finds the buffers of c, whose handshake is done.
func (o *loan) init(c secured) {
	conn, ok := c.(*tls.Conn)
	if !ok || !lends {
		return
	}
	// SAFETY: fieldAt has found fields of these names and types at these offsets, and between two calls of conn, all
	// of which its owner makes, they are not used.
	base := unsafe.Pointer(conn)
	raw := (*bytes.Buffer)(unsafe.Add(base, rawAt))
	hand := (*bytes.Buffer)(unsafe.Add(base, handAt))
	input := (*bytes.Reader)(unsafe.Add(base, inputAt))
	if raw.Len() == 0 && input.Len() == 0 {
		o.raw, o.input = raw, input
		*raw, *input = bytes.Buffer{}, bytes.Reader{}
	}
	if hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
}

// take lends a buffer.
func (o *loan) take() (p *[lentSize]byte) {
	if o.raw == nil {
		return nil
	}
	invariant.That(o.raw.Len() == 0 && o.input.Len() == 0, "lent while %d bytes are in use", o.raw.Len()+o.input.Len())
	p = lent.Get().(*[lentSize]byte)
	*o.raw = *bytes.NewBuffer(p[:0])
	return p
}

// give takes p back, unless something of it is still in use: then it stays, and nothing is lent any more.
func (o *loan) give(p *[lentSize]byte) {
	if p == nil {
		return
	}
	if o.raw.Len() > 0 || o.input.Len() > 0 {
		*o = loan{}
		return
	}
	*o.raw, *o.input = bytes.Buffer{}, bytes.Reader{}
	if invariant.On { // code that kept a part of it reads nonsense
		for i := range p {
			p[i] = 0xDB
		}
	}
	lent.Put(p)
}
