package qpack

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/base/huffman"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	testutil.Must(t, err)
	return b
}

// decodeAll returns the lines of a section.
func decodeAll(d *Decoder, block []byte) (string, error) {
	n, err := d.Begin(block)
	var lines strings.Builder
	for block = block[n:]; err == nil && len(block) > 0; block = block[n:] {
		var f section.Field
		n, f, err = d.Next(block)
		lines.Write(f.Line)
	}
	return lines.String(), err
}

// plain decodes a section as RFC 9204 §4.5 says it, without regard to speed, and with the Huffman code of another
// implementation.
type plain struct {
	block []byte
	at    int
	bad   bool
}

func (p *plain) octet() byte {
	if p.at >= len(p.block) {
		p.bad = true
		return 0
	}
	p.at++
	return p.block[p.at-1]
}

func (p *plain) integer(bits int) int {
	v := int(p.octet()) & (1<<bits - 1)
	if v < 1<<bits-1 {
		return v
	}
	for shift := 0; !p.bad; shift += 7 {
		c := p.octet()
		v += int(c&0x7f) << shift
		if p.bad = p.bad || shift > 28 || v >= 1<<28; c < 0x80 {
			break
		}
	}
	return v
}

func (p *plain) text(bits int) string {
	coded := p.at < len(p.block) && p.block[p.at]>>bits&1 == 1
	n := p.integer(bits)
	if p.bad = p.bad || n > len(p.block)-p.at; p.bad {
		return ""
	}
	s := string(p.block[p.at : p.at+n])
	p.at += n
	if coded {
		var err error
		s, err = hpack.HuffmanDecodeToString([]byte(s))
		p.bad = err != nil
	}
	return s
}

func (p *plain) entry(bits int) [2]string {
	if i := p.integer(bits); i < staticLen {
		return staticFields[i]
	}
	p.bad = true
	return [2]string{}
}

func (p *plain) all() (lines string, ok bool) {
	p.bad = p.integer(8) != 0 || p.at < len(p.block) && p.block[p.at] >= 0x80
	if p.octet() == 0x7f {
		for p.octet() >= 0x80 {
		}
	}
	for p.at < len(p.block) && !p.bad {
		var f [2]string
		switch c := p.block[p.at]; {
		case c >= 0xc0: // 11
			f = p.entry(6)
		case c&0xd0 == 0x50: // 01N1
			f = p.entry(4)
			f[1] = p.text(7)
		case c&0xe0 == 0x20: // 001N
			f[0] = p.text(3)
			f[1] = p.text(7)
		default:
			p.bad = true
		}
		lines += f[0] + ": " + f[1] + "\r\n"
	}
	return lines, !p.bad
}

// The example of RFC 9204 appendix B that uses the static table alone, and sections made by hand.
func TestDecoder_sections(t *testing.T) {
	for _, c := range []struct{ name, block, want string }{
		{"B.1", "0000 510b 2f69 6e64 6578 2e68 746d 6c", ":path: /index.html\r\n"},
		{"indexed", "0000 d1 d7 c1", ":method: GET\r\n:scheme: https\r\n:path: /\r\n"},
		{"the last entries", "0000 ff22 ff23", "x-frame-options: deny\r\nx-frame-options: sameorigin\r\n"},
		{"name of entry 15", "0000 5f00 03 505554", ":method: PUT\r\n"},
		{"name in full", "0000 23 612d62 01 63", "a-b: c\r\n"},
		{"name of seven octets", "0000 2700 782d6e616d6573 00", "x-names: \r\n"},
		{"Huffman code", "0000 2f01 25a849e95ba97d7f 89 25a849e95bb8e8b4bf", "custom-key: custom-value\r\n"},
		{"a base that nobody uses", "0005 d1", ":method: GET\r\n"},
		{"a base of 62 bits", "007f 80ffffffffffffff3f d1", ":method: GET\r\n"},
		{"nothing", "0000", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Init(DecoderOptions{})
			block := unhex(t, c.block)
			if got, err := decodeAll(&d, block); got != c.want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
			if got, ok := (&plain{block: block}).all(); got != c.want || !ok {
				t.Errorf("the plain decoder: %q, want %q", got, c.want)
			}
		})
	}
}

func TestDecoder_faults(t *testing.T) {
	for _, c := range []struct {
		name, block string
		want        error
	}{
		{"empty", "", errTruncated},
		{"half a prefix", "00", errTruncated},
		{"entries required", "0100 80", errDynamic},
		{"the base is cut", "007f", errTruncated},
		{"more of the base is cut", "007f ff80", errTruncated},
		{"a base below zero", "0080", errDynamic},
		{"an entry of the dynamic table", "0000 80", errDynamic},
		{"its name", "0000 4000", errDynamic},
		{"after the base", "0000 10", errDynamic},
		{"name after the base", "0000 0000", errDynamic},
		{"entry 99", "0000 ff24", errIndex},
		{"name of entry 99", "0000 5f54 00", errIndex},
		{"a large index", "0000 ffffffffffff7f", huffman.ErrInteger},
		{"index is cut", "0000 ff", errTruncated},
		{"no value", "0000 51", errTruncated},
		{"value is cut", "0000 51 05 61", errTruncated},
		{"name is cut", "0000 25 61", errTruncated},
		{"no code", "0000 51 81 00", huffman.ErrCode},
		{"no code of a name", "0000 29 00 00", huffman.ErrCode},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Init(DecoderOptions{})
			if got, err := decodeAll(&d, unhex(t, c.block)); err != c.want {
				t.Errorf("%q, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestDecoder_traits(t *testing.T) {
	for block, want := range map[string]section.Traits{
		"d1":                    {Pseudo: section.Method},
		"50 01 61":              {Pseudo: section.Authority},
		"70 01 61":              {Pseudo: section.Authority, Never: true},
		"55 01 61":              {ID: message.Cookie},
		"55 01 0a":              {ID: message.Cookie, Bad: section.BadValue},
		"31 61 01 20":           {Never: true, Bad: section.BadValue},
		"21 41 00":              {Bad: section.BadName},
		"20 00":                 {Bad: section.BadName},
		"22 3a61 00":            {Pseudo: section.PseudoUnknown},
		"2700 7265666572657200": {ID: message.Referer},
	} {
		var d Decoder
		d.Init(DecoderOptions{})
		if _, f, err := d.Next(unhex(t, block)); f.Traits != want || err != nil {
			t.Errorf("%s: %+v, %v, want %+v", block, f.Traits, err, want)
		}
	}
}

// A list above the limit is an error of the section: reading goes on to its end.
func TestDecoder_listLimit(t *testing.T) {
	var e Encoder
	long := strings.Repeat("é", 200) // not shorter as code
	for _, c := range []struct {
		name   string
		fields [][2]string
		most   int
		passed int
	}{
		{"fits", [][2]string{{"a", "b"}, {"c", "d"}}, 2 * 34, 2},
		{"second does not", [][2]string{{"a", "b"}, {"c", "d"}, {"", ""}}, 2*34 - 1, 1},
		{"a long value", [][2]string{{"a", "b"}, {"c", long}, {"a", "b"}}, 200, 1},
		{"a long value in code", [][2]string{{"c", strings.Repeat("0", 4000)}, {"a", "b"}}, 200, 0},
		{"a long name", [][2]string{{long, "b"}, {"a", "b"}}, 200, 0},
		{"static", [][2]string{{"vary", "origin"}, {"vary", "origin"}}, 42 + 41, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			block := e.Begin(nil)
			for _, f := range c.fields {
				block = e.AppendField(block, message.Lookup(f[0]), []byte(f[0]), []byte(f[1]), false)
			}
			var d Decoder
			d.Init(DecoderOptions{ListMax: c.most})
			n, err := d.Begin(block)
			testutil.Must(t, err)
			passed, fields := 0, 0
			for block = block[n:]; len(block) > 0; fields++ {
				n, f, err := d.Next(block)
				if err != nil && err != ErrListSize || n == 0 {
					t.Fatal(n, err)
				}
				if f.Line != nil {
					passed++
				}
				block = block[n:]
			}
			if passed != c.passed || fields != len(c.fields) {
				t.Errorf("%d of %d fields came, want %d of %d", passed, fields, c.passed, len(c.fields))
			}
		})
	}
}

// The static table is what the encoder finds: each entry has one octet or two, and comes back.
func TestEncoder_staticTable(t *testing.T) {
	var e Encoder
	var d Decoder
	d.Init(DecoderOptions{})
	for i, f := range staticFields {
		var block []byte
		switch f[0] {
		case ":method":
			block = e.AppendMethod(nil, []byte(f[1]))
		case ":scheme":
			block = e.AppendScheme(nil, []byte(f[1]))
		case ":authority":
			block = e.AppendAuthority(nil, []byte(f[1]))
		case ":path":
			block = e.AppendPath(nil, []byte(f[1]))
		case ":status":
			block = e.AppendStatus(nil, int(f[1][0]-'0')*100+int(f[1][1]-'0')*10+int(f[1][2]-'0'))
		default:
			name := strings.ToUpper(f[0])
			block = e.AppendField(nil, message.Lookup(name), []byte(name), []byte(f[1]), false)
		}
		if message.Lookup(f[0]) == message.Other && f[0][0] != ':' {
			continue // few peers send it: it is written in full
		}
		never := f[0] == "set-cookie" || f[0] == "authorization" || f[0] == "cookie"
		if want := huffman.AppendInteger(nil, 0xc0, 6, i); !never && string(block) != string(want) {
			t.Errorf("%q is %x, want %x", f, block, want)
		}
		_, got, err := d.Next(block)
		if err != nil || string(got.Name()) != f[0] || string(got.Value()) != f[1] || got.Never != never {
			t.Errorf("%q came back as %q, %v, %v", f, got.Line, got.Never, err)
		}
	}
}

func TestEncoder_fields(t *testing.T) {
	for _, c := range []struct {
		name, value string
		forbid      bool
		want        string
	}{
		{"Accept", "a/b", false, "5f0e 03 612f62"},
		{"Vary", "Origin", true, ""},
		{"sec-fetch-mode", "navigate", false, ""},
		{"X-Xss-Protection", "0", false, ""},
		{"priority", "u=1", true, ""},
		{strings.Repeat("N", 80), "v", true, ""},
		{"x-other", "", false, ""},
	} {
		var e Encoder
		var d Decoder
		d.Init(DecoderOptions{})
		block := e.AppendField(nil, message.Lookup(c.name), []byte(c.name), []byte(c.value), c.forbid)
		if want := unhex(t, c.want); c.want != "" && string(block) != string(want) {
			t.Errorf("%s is %x, want %x", c.name, block, want)
		}
		n, f, err := d.Next(block)
		if n != len(block) || err != nil || string(f.Name()) != strings.ToLower(c.name) ||
			string(f.Value()) != c.value || f.Never != c.forbid || f.Bad != 0 {
			t.Errorf("%s came back as %q, %+v, %v", c.name, f.Line, f.Traits, err)
		}
	}
}

func TestDecoder_allocatesNothing(t *testing.T) {
	var e Encoder
	var d Decoder
	d.Init(DecoderOptions{})
	dst := browserSection(&e, nil)
	if n := testutil.Allocs(100, func() {
		dst = browserSection(&e, dst[:0])
		decode(t, &d, dst)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecoder decodes any bytes as the plain decoder does, and within the limit of the list.
func FuzzDecoder(f *testing.F) {
	var e Encoder
	f.Add(browserSection(&e, nil))
	f.Add(unhex(f, "0000 510b 2f69 6e64 6578 2e68 746d 6c"))
	f.Add(unhex(f, "0000 2f01 25a849e95ba97d7f 89 25a849e95bb8e8b4bf ff24"))
	f.Add(e.AppendField([]byte{0, 0}, message.SecFetchMode, nil, []byte("cors"), true))
	f.Fuzz(func(t *testing.T, block []byte) {
		var d, bounded Decoder
		d.Init(DecoderOptions{})
		want, ok := (&plain{block: block}).all()
		got, err := decodeAll(&d, block)
		if (err == nil) != ok || err == nil && got != want {
			t.Fatalf("%x: %q, %v\nwant %q, %v", block, got, err, want, ok)
		}
		const most = 300
		bounded.Init(DecoderOptions{ListMax: most})
		n, err := bounded.Begin(block)
		for sum := 0; err == nil && n < len(block); {
			k, f, e := bounded.Next(block[n:])
			if k > len(block)-n || k == 0 && e == nil {
				t.Fatalf("took %d of %d bytes", k, len(block)-n)
			}
			if n += k; e == nil {
				sum += len(f.Line) + 28
				if good := message.ValidValue(f.Value()); good != (f.Bad&section.BadValue == 0) ||
					f.Pseudo == section.Regular && f.ID != message.LookupBytes(f.Name()) {
					t.Fatalf("%q: %+v", f.Line, f.Traits)
				}
			} else if !errors.Is(e, ErrListSize) {
				err = e
			}
			if sum > most {
				t.Fatalf("%d bytes of fields", sum)
			}
		}
		if (err == nil) != ok {
			t.Fatalf("%v with a limit, %v without", err, ok)
		}
	})
}
