package hpack

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

// The examples of RFC 7541 appendix C: blocks on one connection, and the size of the table after each.
func TestDecoder_examplesOfRFC7541(t *testing.T) {
	request := []string{
		":method: GET\r\n:scheme: http\r\n:path: /\r\n:authority: www.example.com\r\n",
		":method: GET\r\n:scheme: http\r\n:path: /\r\n:authority: www.example.com\r\ncache-control: no-cache\r\n",
		":method: GET\r\n:scheme: https\r\n:path: /index.html\r\n:authority: www.example.com\r\n" +
			"custom-key: custom-value\r\n",
	}
	response := []string{
		":status: 302\r\ncache-control: private\r\ndate: Mon, 21 Oct 2013 20:13:21 GMT\r\n" +
			"location: https://www.example.com\r\n",
		":status: 307\r\ncache-control: private\r\ndate: Mon, 21 Oct 2013 20:13:21 GMT\r\n" +
			"location: https://www.example.com\r\n",
		":status: 200\r\ncache-control: private\r\ndate: Mon, 21 Oct 2013 20:13:22 GMT\r\n" +
			"location: https://www.example.com\r\ncontent-encoding: gzip\r\n" +
			"set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\r\n",
	}
	for _, c := range []struct {
		name   string
		size   int
		blocks []string
		want   []string
		used   []int
	}{
		{"C.3 requests", 4096, []string{
			"8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
			"8286 84be 5808 6e6f 2d63 6163 6865",
			"8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
		}, request, []int{57, 110, 164}},
		{"C.4 requests, Huffman", 4096, []string{
			"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
			"8286 84be 5886 a8eb 1064 9cbf",
			"8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
		}, request, []int{57, 110, 164}},
		{"C.5 responses, with eviction", 256, []string{
			"4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 " +
				"3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
			"4803 3330 37c1 c0bf",
			"88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a " +
				"6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d " +
				"6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
		}, response, []int{222, 222, 215}},
		{"C.6 responses, Huffman", 256, []string{
			"4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d " +
				"29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
			"4883 640e ffc1 c0bf",
			"88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d " +
				"d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 " +
				"3d50 07",
		}, response, []int{222, 222, 215}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Init(DecoderOptions{})
			d.table.resize(c.size)
			for i, block := range c.blocks {
				got, err := decodeAll(&d, unhex(t, block))
				if err != nil || got != c.want[i] || d.table.used != c.used[i] {
					t.Errorf("block %d: %v, %d bytes\ngot  %q\nwant %q", i, err, d.table.used, got, c.want[i])
				}
			}
		})
	}
}

func TestDecoder_refuses(t *testing.T) {
	for _, c := range []struct {
		name, block string
		want        error
	}{
		{"index 0", "80", errIndex},
		{"an index above the static table", "be", errIndex},
		{"an index of several bytes", "ff80 01", errIndex},
		{"a name that no entry has", "7e 00", errIndex},
		{"a name of several bytes that no entry has", "0f 40 00", errIndex},
		{"an integer that is cut off", "ff", errTruncated},
		{"an integer that goes on at the end", "ff80", errTruncated},
		{"an integer of six octets", "ff80 8080 8080 00", huffman.ErrInteger},
		{"an integer of 29 bits", "ffff ffff ff01", huffman.ErrInteger},
		{"a name without a length", "40", errTruncated},
		{"a name that is cut off", "4003 6162", errTruncated},
		{"a value without a length", "4001 61", errTruncated},
		{"a value that is cut off", "4001 6102 62", errTruncated},
		{"a length near the limit of integers", "4001 617f ffff ff7e 62", errTruncated},
		{"a Huffman value that is cut off", "0f 11 84 1c64", errTruncated},
		{"eight bits of padding", "0f 11 82 1fff", huffman.ErrCode},
		{"a byte that is nothing but padding", "0f 11 81 ff", huffman.ErrCode},
		{"padding of zeros", "0f 11 81 18", huffman.ErrCode},
		{"padding that is not all ones", "0f 11 81 1d", huffman.ErrCode},
		{"EOS", "0f 11 84 ffff ffff", huffman.ErrCode},
		{"EOS between symbols", "0f 11 85 1fff ffff ff", huffman.ErrCode},
		{"a table size above the limit", "3fe2 1f", errTableSize},
		{"a table size that is cut off", "3f", errTruncated},
		{"a table size behind a field", "82 20", errLateUpdate},
		{"a table size between fields", "82 20 82", errLateUpdate},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Init(DecoderOptions{})
			if got, err := decodeAll(&d, unhex(t, c.block)); err != c.want {
				t.Errorf("%v, %q, want %v", err, got, c.want)
			}
			d.Begin()
			if _, f, err := d.Next([]byte{0x82}); err != c.want || f.Line != nil {
				t.Errorf("the next block: %v, %q", err, f.Line)
			}
		})
	}
}

func TestDecoder_tellsWhatIsBad(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        section.Traits
	}{
		{"content-type", "text/html", section.Traits{ID: message.ContentType}},
		{"x-custom", "", section.Traits{}},
		{"x-custom", "a\tb \x80\xff", section.Traits{}},
		{"", "empty", section.Traits{Bad: section.BadName}},
		{"Content-Type", "upper", section.Traits{ID: message.ContentType, Bad: section.BadName}},
		{"x-Custom", "upper", section.Traits{Bad: section.BadName}},
		{"x custom", "blank", section.Traits{Bad: section.BadName}},
		{"x-custom:", "colon", section.Traits{Bad: section.BadName}},
		{"x\xff", "high", section.Traits{Bad: section.BadName}},
		{"x\r\ny", "line end", section.Traits{Bad: section.BadName}},
		{"host\x00", "nul", section.Traits{Bad: section.BadName}},
		{strings.Repeat("x", 1<<16), "too long for message.Field", section.Traits{Bad: section.BadName}},
		{"x", "a\r\nb: c", section.Traits{Bad: section.BadValue}},
		{"x", "a\nb", section.Traits{Bad: section.BadValue}},
		{"x", "a\x00", section.Traits{Bad: section.BadValue}},
		{"x", "0123456789\x7f0123456789", section.Traits{Bad: section.BadValue}},
		{"x", "\x80\x80\x80\x80\x80\x80\x80\x1f", section.Traits{Bad: section.BadValue}},
		{"x", " a", section.Traits{Bad: section.BadValue}},
		{"x", "a\t", section.Traits{Bad: section.BadValue}},
		{"x", " ", section.Traits{Bad: section.BadValue}},
		{"X", "a\rb", section.Traits{Bad: section.BadName | section.BadValue}},
		{":method", "GET", section.Traits{Pseudo: section.Method}},
		{":path", "/a b\n", section.Traits{Pseudo: section.Path, Bad: section.BadValue}},
		{":Method", "GET", section.Traits{Pseudo: section.PseudoUnknown}},
		{":protocol", "websocket", section.Traits{Pseudo: section.Protocol}},
		{":", "", section.Traits{Pseudo: section.PseudoUnknown, Bad: section.BadName}},
		{":a\nb", "", section.Traits{Pseudo: section.PseudoUnknown, Bad: section.BadName}},
	} {
		plain := func(s string) []byte { return append(huffman.AppendInteger(nil, 0, 7, len(s)), s...) }
		coded := func(s string) []byte {
			code := hpack.AppendHuffmanString(nil, s)
			return append(huffman.AppendInteger(nil, 0x80, 7, len(code)), code...)
		}
		for _, how := range []func(string) []byte{plain, coded} {
			var d Decoder
			d.Init(DecoderOptions{})
			d.SetMax(1 << 20)
			block := append([]byte{0x3f, 0xe1, 0xff, 0x3f, 0x40}, append(how(c.name), how(c.value)...)...)
			block = append(block, 0x80|62) // the same from the table
			block = append(append(block, 0x40|63), plain("good")...)
			want := []section.Traits{c.want, c.want, c.want}
			want[2].Bad &^= section.BadValue
			d.Begin()
			for i, line := range []string{c.value, c.value, "good"} {
				n, f, err := d.Next(block)
				if err != nil || string(f.Name()) != c.name || string(f.Value()) != line || f.Traits != want[i] {
					t.Fatalf("%.30q %q, time %d: %.60q %+v, %v, want %+v",
						c.name, c.value, i, f.Line, f.Traits, err, want[i])
				}
				block = block[n:]
				if i == 1 {
					block[0] = 0x40 | 62
				}
			}
		}
	}
}

func TestDecoder_countsTheList(t *testing.T) {
	var e Encoder
	e.Init(EncoderOptions{})
	fields := []line{{"a", "0123456789"}, {"b", "0123456789"}, {"user-agent", "0123456789"}}
	first, again := appendFields(&e, nil, fields), appendFields(&e, nil, fields)
	size := 3*32 + 30 + 2 + len("user-agent")
	for limit, want := range map[int]error{0: nil, size: nil, size - 1: ErrListSize, 10: ErrListSize} {
		var d Decoder
		d.Init(DecoderOptions{ListMax: limit})
		for i, block := range [][]byte{first, again} {
			if _, err := decodeAll(&d, block); err != want {
				t.Errorf("limit %d, block %d: %v, want %v", limit, i, err, want)
			}
			drain(t, &d, block)
		}
	}
}

// drain reads a block to its end, beyond ErrListSize.
func drain(t *testing.T, d *Decoder, block []byte) (lines int) {
	t.Helper()
	d.Begin()
	for len(block) > 0 {
		n, f, err := d.Next(block)
		if err != nil && err != ErrListSize || n == 0 || err != nil && f.Line != nil {
			t.Fatal(n, f, err)
		}
		if f.Line != nil {
			lines++
		}
		block = block[n:]
	}
	return lines
}

// HPACK bomb: one entry as large as the table, then as many references to it as fit.
func TestDecoder_handsOutNoMoreThanTheListLimit(t *testing.T) {
	var d Decoder
	d.Init(DecoderOptions{ListMax: 16 << 10})
	block := append([]byte{0x40, 1, 'a'}, huffman.AppendInteger(nil, 0, 7, 4000)...)
	block = append(block, strings.Repeat("x", 4000)...)
	block = append(block, strings.Repeat("\xbe", 16<<10)...)
	if n := drain(t, &d, block); n != 4 {
		t.Errorf("%d fields of 4 KiB within 16 KiB", n)
	}
}

// A field that is too large for the list still changes the table, as it does at the peer.
func TestDecoder_keepsTheTableRightBeyondTheListLimit(t *testing.T) {
	for _, size := range []int{200, 3000, 5000, 70000, 400000} {
		var d, reference Decoder
		d.Init(DecoderOptions{ListMax: 100})
		reference.Init(DecoderOptions{})
		for _, c := range []byte{'a', 'Z', 0x01} { // five bits, eight, 23
			for _, coded := range []bool{false, true} {
				block := []byte{0x41, 1, 'b', 0x40, 1, 'n'}
				value := strings.Repeat(string(c), size)
				if coded {
					code := hpack.AppendHuffmanString(nil, value)
					block = append(huffman.AppendInteger(block, 0x80, 7, len(code)), code...)
				} else {
					block = append(huffman.AppendInteger(block, 0, 7, size), value...)
				}
				block = append(block, 0x41, 1, 'c')
				drain(t, &d, block)
				drain(t, &reference, block)
				if d.table.used != reference.table.used || d.table.len() != reference.table.len() {
					t.Fatalf("%d × %q: %d bytes in %d entries, want %d in %d", size, c, d.table.used, d.table.len(),
						reference.table.used, reference.table.len())
				}
			}
		}
	}
}

func TestDecoder_tableSizes(t *testing.T) {
	field := "4001 6101 62"
	for _, c := range []struct {
		name string
		max  []int
		want error
		list []string
	}{
		{"an update alone", nil, nil, []string{"20"}},
		{"several in a row", nil, nil, []string{"20 3fe1 1f 21 82"}},
		{"down and up empties the table", nil, errIndex, []string{field, "20 3fe1 1f be"}},
		{"the same size empties nothing", nil, nil, []string{field, "3fe1 1f be"}},
		{"a raised limit", []int{8192}, nil, []string{"3fe1 3f 82"}},
		{"above a raised limit", []int{8192}, errTableSize, []string{"3fe2 3f 82"}},
		{"a raised limit needs no update", []int{8192}, nil, []string{"82"}},
		{"a lowered limit needs one", []int{100}, errNoUpdate, []string{"82"}},
		{"a lowered limit is told", []int{100}, nil, []string{"3f45 82", "82"}},
		{"a lowered limit is told too high", []int{100}, errTableSize, []string{"3f46 82"}},
		{"lowered and raised again", []int{0, 4096}, nil, []string{"82"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Init(DecoderOptions{})
			for _, n := range c.max {
				d.SetMax(n)
			}
			var err error
			for _, block := range c.list {
				if _, err = decodeAll(&d, unhex(t, block)); err != nil {
					break
				}
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// A block that was given up leaves nothing behind for the next one.
func TestDecoder_startsAnew(t *testing.T) {
	var e Encoder
	var d Decoder
	e.Init(EncoderOptions{TableMax: -1})
	d.Init(DecoderOptions{})
	block := appendFields(&e, nil, browser)
	for cut := range len(browser) {
		d.Begin()
		for rest, i := block, 0; i < cut; i++ {
			n, _, err := d.Next(rest)
			testutil.Must(t, err)
			rest = rest[n:]
		}
		if got, err := decodeAll(&d, block); err != nil || got != text(browser) {
			t.Fatalf("after %d fields: %v, %q", cut, err, got)
		}
	}
}

// Decoders of one reactor share the scratch: each finds it as the other left it.
func TestDecoder_sharesScratch(t *testing.T) {
	var scratch []byte
	var d, o Decoder
	var e Encoder
	d.Init(DecoderOptions{Scratch: &scratch})
	o.Init(DecoderOptions{Scratch: &scratch})
	for _, fields := range visitors(20) {
		e.Init(EncoderOptions{})
		block := appendFields(&e, nil, fields)
		for _, d := range []*Decoder{&d, &o} {
			if got, err := decodeAll(d, block); err != nil || got != text(fields) {
				t.Fatalf("%v, %q", err, got)
			}
		}
	}
	if d.own != nil || o.own != nil {
		t.Error("a decoder has a scratch of its own")
	}
}

func TestDecoder_allocatesNothingWhenWarm(t *testing.T) {
	var e Encoder
	var d Decoder
	lists := visitors(32)
	blocks := make([][]byte, len(lists))
	e.Init(EncoderOptions{})
	for i := range blocks {
		blocks[i] = appendFields(&e, nil, lists[i])
	}
	all := func() {
		d.Init(DecoderOptions{})
		for _, block := range blocks {
			decodeBlock(t, &d, block)
		}
	}
	all()
	if n := testutil.Allocs(10, all); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEncoder_allocatesNothingWhenWarm(t *testing.T) {
	var e Encoder
	lists := visitors(32)
	all := make([]parts, len(lists))
	for i := range lists {
		all[i] = partsOf(lists[i])
	}
	dst := make([]byte, 0, 4096)
	encode := func() {
		e.Init(EncoderOptions{})
		for i := range all {
			dst = all[i].encode(&e, dst[:0])
			dst = e.AppendField(dst, message.Other, []byte("X-Custom"), all[i].values[3], false)
		}
	}
	encode()
	if n := testutil.Allocs(10, encode); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
