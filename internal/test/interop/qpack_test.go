package interop

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	goqpack "github.com/quic-go/qpack"

	"github.com/edge-proxy/edge/h3/qpack"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

var qpackSections = [][]goqpack.HeaderField{
	{},
	{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/"},
		{Name: ":authority", Value: "example.org"}},
	{{Name: ":status", Value: "200"}, {Name: "content-type", Value: "text/html; charset=utf-8"},
		{Name: "content-length", Value: "0"}, {Name: "content-length", Value: "12345"}},
	{{Name: ":status", Value: "599"}, {Name: "set-cookie", Value: "a=b; Secure"},
		{Name: "x-frame-options", Value: "deny"}},
	{{Name: "x-of-nobody", Value: ""}, {Name: "x", Value: strings.Repeat("0123456789", 30)}},
	{{Name: strings.Repeat("long-name", 40), Value: "\x80\xff é \t~"}},
}

// theirQPACK encodes fields as quic-go does.
func theirQPACK(t testing.TB, fields []goqpack.HeaderField) []byte {
	var b bytes.Buffer
	e := goqpack.NewEncoder(&b)
	for _, f := range fields {
		testutil.Must(t, e.WriteField(f))
	}
	if b.Len() == 0 {
		b.Write([]byte{0, 0}) // they write the prefix with the first field
	}
	return b.Bytes()
}

func readTheirs(block []byte) (fields []goqpack.HeaderField, err error) {
	next := goqpack.NewDecoder().Decode(block)
	for {
		f, err := next()
		switch err {
		case nil:
			fields = append(fields, f)
		case io.EOF:
			return fields, nil
		default:
			return nil, err
		}
	}
}

func readOurs(block []byte) (fields []goqpack.HeaderField, err error) {
	var d qpack.Decoder
	d.Init(qpack.DecoderOptions{})
	n, err := d.Begin(block)
	for err == nil && n < len(block) {
		k, f, e := d.Next(block[n:])
		if n, err = n+k, e; err == nil {
			fields = append(fields, goqpack.HeaderField{Name: string(f.Name()), Value: string(f.Value())})
		}
	}
	if err != nil {
		return nil, err
	}
	return fields, nil
}

// What either end encodes the other one decodes, and what is encoded anew is the same.
func TestQPACK_sections(t *testing.T) {
	for _, fields := range qpackSections {
		if got, err := readOurs(theirQPACK(t, fields)); err != nil || !slices.Equal(got, fields) {
			t.Errorf("we read %q, %v, want %q", got, err, fields)
		}
		var e qpack.Encoder
		block := e.Begin(nil)
		for _, f := range fields {
			block = e.AppendField(block, message.Lookup(f.Name), []byte(f.Name), []byte(f.Value), false)
		}
		if got, err := readTheirs(block); err != nil || !slices.Equal(got, fields) {
			t.Errorf("they read %q, %v, want %q", got, err, fields)
		}
	}
}

// All entries of the static table are the same at both ends, and there are no more.
func TestQPACK_staticTable(t *testing.T) {
	for i := range 110 {
		block := []byte{0, 0, 0xff, byte(i - 63)}
		if i < 63 {
			block = []byte{0, 0, 0xc0 | byte(i)}
		}
		ours, err1 := readOurs(block)
		theirs, err2 := readTheirs(block)
		if !slices.Equal(ours, theirs) || (err1 == nil) != (i < 99) || (err2 == nil) != (i < 99) {
			t.Errorf("entry %d: %q, %v; theirs %q, %v", i, ours, err1, theirs, err2)
		}
	}
}

// FuzzQPACK has both decoders read the same bytes. What ours takes theirs does too, with the same fields, unless the
// base is not 0, which RFC 9204 §4.5.1.2 allows. Ours alone refuses integers above 1<<28-1.
func FuzzQPACK(f *testing.F) {
	for _, fields := range qpackSections {
		f.Add(theirQPACK(f, fields))
	}
	f.Add([]byte{0, 0x7f, 1, 0xc1})
	f.Fuzz(func(t *testing.T, block []byte) {
		ours, err1 := readOurs(block)
		theirs, err2 := readTheirs(block)
		switch {
		case err1 == nil && err2 == nil:
			if !slices.Equal(ours, theirs) {
				t.Fatalf("%q, theirs %q", ours, theirs)
			}
			if again, err := readOurs(theirQPACK(t, ours)); err != nil || !slices.Equal(again, ours) {
				t.Fatalf("%q, %v, want %q", again, err, ours)
			}
		case err1 == nil && block[1] == 0:
			t.Fatalf("only they refuse %x: %v", block, err2)
		}
	})
}
