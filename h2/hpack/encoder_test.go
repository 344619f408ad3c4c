package hpack

import (
	"bytes"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

// line is a field of a test: name, value.
type line [2]string

// appendFields encodes a block as a session would.
func appendFields(e *Encoder, dst []byte, fields []line) []byte {
	dst = e.Begin(dst)
	for _, f := range fields {
		dst = appendOne(e, dst, f)
	}
	e.check()
	return dst
}

func appendOne(e *Encoder, dst []byte, f line) []byte {
	value := []byte(f[1])
	switch f[0] {
	case ":method":
		return e.AppendMethod(dst, value)
	case ":scheme":
		return e.AppendScheme(dst, value)
	case ":authority":
		return e.AppendAuthority(dst, value)
	case ":path":
		return e.AppendPath(dst, value)
	case ":protocol":
		return e.AppendProtocol(dst, value)
	case ":status":
		if len(f[1]) == 3 {
			return e.AppendStatus(dst, int(f[1][0]-'0')*100+int(f[1][1]-'0')*10+int(f[1][2]-'0'))
		}
	}
	return e.AppendField(dst, message.Lookup(f[0]), []byte(f[0]), value, false)
}

func TestEncoder_fieldsThatComeAgainAreOneByte(t *testing.T) {
	var e Encoder
	e.Init(EncoderOptions{})
	var block []byte
	for range 3 { // volatile fields enter the table the second time
		block = appendFields(&e, nil, browser)
	}
	if len(block) != len(browser) {
		t.Errorf("%d bytes for %d fields: %x", len(block), len(browser), block)
	}
}

// TestEncoder_policy tells the first byte of the first three times that a field is sent: 0x00 is a literal, 0x10 one
// that nobody may index, 0x40 one that enters the table, and 0x80 an index.
func TestEncoder_policy(t *testing.T) {
	long := "id=6f1ed002ab5595859014ebf0951522d9"
	for _, c := range []struct {
		field line
		want  [3]byte
	}{
		{line{":method", "GET"}, [3]byte{0x82, 0x82, 0x82}},
		{line{":method", "PATCH"}, [3]byte{0x40, 0x80, 0x80}},
		{line{":path", "/"}, [3]byte{0x84, 0x84, 0x84}},
		{line{":path", "/a"}, [3]byte{0x00, 0x40, 0x80}},
		{line{":path", "/a?b=c"}, [3]byte{0x00, 0x00, 0x00}},
		{line{":scheme", "https"}, [3]byte{0x87, 0x87, 0x87}},
		{line{":authority", "example.com"}, [3]byte{0x40, 0x80, 0x80}},
		{line{":status", "200"}, [3]byte{0x88, 0x88, 0x88}},
		{line{":status", "503"}, [3]byte{0x40, 0x80, 0x80}},
		{line{":protocol", "websocket"}, [3]byte{0x40, 0x80, 0x80}},
		{line{"accept-encoding", "gzip, deflate"}, [3]byte{0x90, 0x90, 0x90}},
		{line{"user-agent", "curl/8"}, [3]byte{0x40, 0x80, 0x80}},
		{line{"x-custom", "yes"}, [3]byte{0x40, 0x80, 0x80}},
		{line{"from", "a@b"}, [3]byte{0x40, 0x80, 0x80}},
		{line{"content-length", "17"}, [3]byte{0x00, 0x40, 0x80}},
		{line{"etag", `"abc"`}, [3]byte{0x00, 0x40, 0x80}},
		{line{"x-request-id", "1"}, [3]byte{0x00, 0x00, 0x00}},
		{line{"authorization", "Basic YTpi"}, [3]byte{0x10, 0x10, 0x10}},
		{line{"proxy-authorization", "Basic YTpi"}, [3]byte{0x10, 0x10, 0x10}},
		{line{"set-cookie", long}, [3]byte{0x10, 0x10, 0x10}},
		{line{"cookie", "a=b"}, [3]byte{0x10, 0x10, 0x10}},
		{line{"cookie", long}, [3]byte{0x00, 0x40, 0x80}},
		{line{"x-large", strings.Repeat("x", defaultTableSize)}, [3]byte{0x00, 0x00, 0x00}},
	} {
		var e Encoder
		e.Init(EncoderOptions{})
		for i, want := range c.want {
			b := appendOne(&e, nil, c.field)[0]
			switch {
			case b&0x80 != 0 && want&0x7f == 0:
				b = 0x80
			case b&0xc0 == 0x40:
				b = 0x40
			case b&0x80 == 0:
				b &= 0xf0
			}
			if b != want {
				t.Errorf("%.40q, time %d: %#x, want %#x", c.field, i+1, b, want)
			}
		}
	}
}

func TestEncoder_forbidsOnDemand(t *testing.T) {
	var e Encoder
	var d Decoder
	e.Init(EncoderOptions{})
	d.Init(DecoderOptions{})
	for range 2 {
		block := e.AppendField(nil, message.AcceptEncoding, nil, []byte("gzip, deflate"), true)
		d.Begin()
		if _, f, err := d.Next(block); err != nil || !f.Never {
			t.Errorf("%x: %+v, %v", block, f, err)
		}
	}
}

func TestEncoder_lowersNames(t *testing.T) {
	long := strings.Repeat("X-Long-", 12)
	var e Encoder
	var d Decoder
	e.Init(EncoderOptions{})
	d.Init(DecoderOptions{})
	for range 2 {
		var block []byte
		want := ""
		for _, name := range []string{"X-Custom-Name", "Content-Type", "FROM", "Refresh", long} {
			block = e.AppendField(block, message.Lookup(name), []byte(name), []byte("A"), false)
			want += strings.ToLower(name) + ": A\r\n"
		}
		if got, err := decodeAll(&d, block); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

// A name is found in the table also when it was spelled in another case, and beside another value.
func TestEncoder_takesNamesFromTheTable(t *testing.T) {
	var e Encoder
	e.Init(EncoderOptions{})
	e.AppendField(nil, message.Other, []byte("X-Custom"), []byte("one"), false)
	if block := e.AppendField(nil, message.Other, []byte("x-custom"), []byte("two"), false); block[0] != 0x40|62 {
		t.Errorf("%x", block)
	}
	if block := e.AppendField(nil, message.Other, []byte("x-CUSTOM"), []byte("one"), false); block[0] != 0x80|63 {
		t.Errorf("%x", block)
	}
}

func TestEncoder_tellsTableSizes(t *testing.T) {
	for _, c := range []struct {
		name  string
		max   int
		peer  []int
		begin []byte
	}{
		{"nothing", 0, nil, nil},
		{"no larger than ours", 0, []int{65536}, nil},
		{"none", -1, nil, []byte{0x20}},
		{"smaller", 0, []int{100}, []byte{0x3f, 69}},
		{"down and up", 0, []int{0, 4096}, []byte{0x20, 0x3f, 0xe1, 0x1f}},
		{"down and half up", 0, []int{0, 30}, []byte{0x20, 0x3e}},
		{"larger", 65536, []int{65536}, []byte{0x3f, 0xe1, 0xff, 0x03}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e Encoder
			e.Init(EncoderOptions{TableMax: c.max})
			for _, n := range c.peer {
				e.SetMax(n)
			}
			if got := e.Begin(nil); !bytes.Equal(got, c.begin) {
				t.Errorf("%x, want %x", got, c.begin)
			}
			if got := e.Begin(nil); len(got) != 0 {
				t.Errorf("the next block: %x", got)
			}
		})
	}
}

// The tables of both sides stay alike over many blocks with changes of the size between them.
func TestEncoder_tablesStayAlike(t *testing.T) {
	var e Encoder
	var d Decoder
	e.Init(EncoderOptions{TableMax: 1 << 14})
	d.Init(DecoderOptions{})
	lists := visitors(400)
	for i, fields := range lists {
		if i%37 == 5 {
			size := []int{0, 200, 4096, 16384, 1000}[i/37%5]
			e.SetMax(size)
			d.SetMax(size)
		}
		block := appendFields(&e, nil, fields)
		if got, err := decodeAll(&d, block); got != text(fields) || err != nil {
			t.Fatalf("block %d: %v\ngot  %q\nwant %q", i, err, got, text(fields))
		}
		if e.table.used != d.table.used || e.table.len() != d.table.len() {
			t.Fatalf("block %d: %d bytes in %d entries here, %d in %d there", i,
				e.table.used, e.table.len(), d.table.used, d.table.len())
		}
	}
}

// A second connection finds nothing of the first.
func TestEncoder_initForgets(t *testing.T) {
	var e Encoder
	e.Init(EncoderOptions{})
	first := appendFields(&e, nil, browser)
	e.Init(EncoderOptions{})
	if again := appendFields(&e, nil, browser); !bytes.Equal(first, again) {
		t.Errorf("%x\n%x", first, again)
	}
}
