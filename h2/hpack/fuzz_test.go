package hpack

import (
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/base/huffman"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// FuzzDecoder decodes two blocks of any bytes: nothing panics, what comes out is bounded, and the reference agrees
// but for what testdata/README.md lists.
func FuzzDecoder(f *testing.F) {
	var e Encoder
	e.Init(EncoderOptions{})
	f.Add(appendFields(&e, nil, browser), appendFields(&e, nil, browser))
	f.Add(unhex(f, "3fe11f 20 828684be"), unhex(f, "0f1181ff"))
	f.Add(unhex(f, "4088 25a849e95ba97d7f 89 25a849e95bb8e8b4bf"), unhex(f, "be 7f00 00"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		const listMax = 1 << 12
		var d, bounded Decoder
		d.Init(DecoderOptions{})
		bounded.Init(DecoderOptions{ListMax: listMax})
		other := hpack.NewDecoder(defaultTableSize, nil)
		for _, block := range [][]byte{first, second} {
			fields, wantErr := other.DecodeFull(block)
			want := listed(fields)
			got, err := decodeAll(&d, block)
			checkBounded(t, &bounded, block, listMax)
			if err == huffman.ErrInteger || err == errLateUpdate {
				return // testdata/README.md
			}
			if err == nil && wantErr != nil && changesOfSize(block) > 1 {
				return // the same
			}
			if (err == nil) != (wantErr == nil) || err == nil && got != want {
				t.Fatalf("%x: %q, %v\nwant %q, %v", block, got, err, want, wantErr)
			}
			if err != nil {
				return
			}
			if bounded.table.used != d.table.used || bounded.table.next-bounded.table.oldest != uint32(d.table.len()) {
				t.Fatalf("%x: the list limit has changed the table", block)
			}
		}
	})
}

// changesOfSize returns how many changes of the table's size the block begins with.
func changesOfSize(block []byte) (n int) {
	for len(block) > 0 && block[0]&0xe0 == 0x20 {
		long := block[0]&0x1f == 0x1f
		for block = block[1:]; long && len(block) > 0; block = block[1:] {
			long = block[0]&0x80 != 0
		}
		n++
	}
	return n
}

// listed returns the lines of fields.
func listed(fields []hpack.HeaderField) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	return b.String()
}

func checkBounded(t *testing.T, d *Decoder, block []byte, listMax int) {
	d.Begin()
	for sum := 0; len(block) > 0; {
		n, f, err := d.Next(block)
		if n > len(block) || n == 0 && err == nil {
			t.Fatalf("took %d of %d bytes, %v", n, len(block), err)
		}
		if err != nil && err != ErrListSize {
			return
		}
		if f.Line != nil {
			sum += len(f.Name()) + len(f.Value()) + entryOverhead
			if good := message.ValidValue(f.Value()); good != (f.Bad&section.BadValue == 0) {
				t.Fatalf("%q: %+v", f.Line, f.Traits)
			}
			if f.Pseudo == section.Regular && f.ID != message.LookupBytes(f.Name()) {
				t.Fatalf("%q: %+v", f.Line, f.Traits)
			}
		}
		if sum > listMax || len(d.table.lines) > 4*defaultTableSize {
			t.Fatalf("%d bytes of fields, %d of lines", sum, len(d.table.lines))
		}
		block = block[n:]
	}
}

// FuzzEncoder encodes fields twice: both our decoder and that of the reference give them back.
func FuzzEncoder(f *testing.F) {
	f.Add("x-name", "value", "cookie", "a=b; c=d; e=f; g=h; i=j", uint16(4096))
	f.Add("From", "", "CONTENT-LENGTH", "\x00\xff", uint16(0))
	f.Add(":path", "/a?b", ":status", "200", uint16(100))
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string, size uint16) {
		var e Encoder
		var d Decoder
		e.Init(EncoderOptions{TableMax: int(size)})
		d.Init(DecoderOptions{})
		d.SetMax(1 << 16)
		other := hpack.NewDecoder(1<<16, nil)
		fields := []line{{name1, value1}, {name2, value2}, {name1, value2}, {name1, value1}}
		want := ""
		for _, f := range fields {
			want += string(message.AppendLower(nil, []byte(f[0]))) + ": " + f[1] + "\r\n"
		}
		for range 3 {
			block := e.Begin(nil)
			for _, f := range fields {
				block = e.AppendField(block, message.Lookup(f[0]), []byte(f[0]), []byte(f[1]), false)
			}
			if ours, err := decodeAll(&d, block); err != nil || ours != want {
				t.Fatalf("%x: %q, %v\nwant %q", block, ours, err, want)
			}
			if got, err := other.DecodeFull(block); err != nil || listed(got) != want {
				t.Fatalf("%x: the other decoder has %q, %v\nwant %q", block, listed(got), err, want)
			}
			if e.table.used != d.table.used && int(size) != 0 {
				t.Fatalf("%d bytes here, %d there", e.table.used, d.table.used)
			}
		}
	})
}
