package micro

import (
	"bytes"
	"testing"

	xhpack "golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2/hpack"
	"github.com/edge-proxy/edge/message"
)

const (
	hpackFirst = "the first block of a connection, the browser's head as HTTP/2 carries it; by turns 64 browsers " +
		"with other paths and cookies, so that no branch predictor knows them by heart"
	hpackAgain = "the same head again on the same connection: indexes of one byte"
	hpackFresh = "; with a decoder or an encoder of its own, as there is no way to use one again"
	hpackWarm  = "; with a used one, whose table is full of other blocks"
)

var hpackEntries = []Entry{
	{"hpack-decode/first/edge", "decode a header block", hpackFirst, decodeFirst},
	{"hpack-decode/first/xnet", "decode a header block", hpackFirst + hpackFresh, decodeFirstXNet},
	{"hpack-decode/first/xnet-warm", "decode a header block", hpackFirst + hpackWarm, decodeWarmXNet},
	{"hpack-decode/indexed/edge", "decode a header block", hpackAgain, decodeIndexed},
	{"hpack-decode/indexed/xnet", "decode a header block", hpackAgain, decodeIndexedXNet},

	{"hpack-encode/first/edge", "encode a header block", hpackFirst, encodeFirst},
	{"hpack-encode/first/xnet", "encode a header block", hpackFirst + hpackFresh, encodeFirstXNet},
	{"hpack-encode/indexed/edge", "encode a header block", hpackAgain, encodeIndexed},
	{"hpack-encode/indexed/xnet", "encode a header block", hpackAgain, encodeIndexedXNet},
}

const browsers = 64

// hpackHead is the browser's head as browser i sends it: pseudo-fields, then the rest but for Connection.
func hpackHead(i int) (list []xhpack.HeaderField) {
	var d h1.Decoder
	var h message.Head
	d.InitRequests(nil)
	if _, _, _, err := d.Next(browserHead, &h); err != nil {
		panic(err)
	}
	add := func(name string, value []byte) {
		list = append(list, xhpack.HeaderField{Name: name, Value: string(value)})
	}
	// A change of the case of a few letters and digits, the length as it was.
	own := func(b []byte) []byte {
		b = bytes.Clone(b)
		for k := len(b) / 4; k < len(b)*3/4; k++ {
			if b[k] >= 'a' && b[k] < 'z' {
				b[k] += byte(i * k % 2)
			}
		}
		return b
	}
	add(":method", h.MethodBytes())
	add(":scheme", []byte("https"))
	add(":authority", own(h.Bytes(h.Authority)))
	add(":path", own(h.Bytes(h.Target)))
	for k := range h.Fields {
		switch id := h.Fields[k].ID; id {
		case message.Host, message.Connection:
		case message.Cookie, message.Referer, message.UserAgent:
			add(string(bytes.ToLower(h.Name(k))), own(h.Value(k)))
		default:
			add(string(bytes.ToLower(h.Name(k))), h.Value(k))
		}
	}
	return list
}

// hpackBlocks are the first blocks of all browsers, and the block with which the first one repeats its request.
func hpackBlocks() (first [browsers][]byte, again []byte) {
	for i := range first {
		var b bytes.Buffer
		e := xhpack.NewEncoder(&b)
		for range 2 {
			first[i], again = again, nil
			b.Reset()
			for _, f := range hpackHead(i) {
				if err := e.WriteField(f); err != nil {
					panic(err)
				}
			}
			again = bytes.Clone(b.Bytes())
		}
	}
	return first, again
}

// hpackWant is how many fields a block has.
var hpackWant = len(hpackHead(0))

func decode(b *testing.B, d *hpack.Decoder, block []byte) {
	d.Begin()
	fields := 0
	for ; len(block) > 0; fields++ {
		n, f, err := d.Next(block)
		if err != nil || f.Bad != 0 {
			b.Fatal(f.Bad, err)
		}
		block = block[n:]
	}
	if fields != hpackWant {
		b.Fatal(fields)
	}
}

func decodeFirst(b *testing.B) {
	blocks, _ := hpackBlocks()
	var d hpack.Decoder
	for i := 0; b.Loop(); i++ {
		d.Init(hpack.DecoderOptions{})
		decode(b, &d, blocks[i%browsers])
	}
}

func decodeIndexed(b *testing.B) {
	first, again := hpackBlocks()
	var d hpack.Decoder
	d.Init(hpack.DecoderOptions{})
	decode(b, &d, first[browsers-1])
	for b.Loop() {
		decode(b, &d, again)
	}
}

func decodeXNet(b *testing.B, d *xhpack.Decoder, fields *int, block []byte) {
	*fields = 0
	if _, err := d.Write(block); err != nil || *fields != hpackWant {
		b.Fatal(*fields, err)
	}
}

// decodeBlocksXNet decodes blocks, whose number is a power of two, by turns after another one, with a decoder that is
// used again unless it is to be fresh.
func decodeBlocksXNet(b *testing.B, fresh bool, before []byte, blocks ...[]byte) {
	fields := 0
	newDecoder := func() *xhpack.Decoder { return xhpack.NewDecoder(4096, func(xhpack.HeaderField) { fields++ }) }
	d := newDecoder()
	decodeXNet(b, d, &fields, before)
	for i := 0; b.Loop(); i++ {
		if fresh {
			d = newDecoder()
		}
		decodeXNet(b, d, &fields, blocks[i&(len(blocks)-1)])
	}
}

func decodeFirstXNet(b *testing.B) {
	blocks, _ := hpackBlocks()
	decodeBlocksXNet(b, true, blocks[0], blocks[:]...)
}

func decodeWarmXNet(b *testing.B) {
	blocks, _ := hpackBlocks()
	decodeBlocksXNet(b, false, blocks[0], blocks[:]...)
}

func decodeIndexedXNet(b *testing.B) {
	first, again := hpackBlocks()
	decodeBlocksXNet(b, false, first[browsers-1], again)
}

// hpackParts is a head as a session hands it to the encoder.
type hpackParts struct {
	ids    []message.Name
	values [][]byte
}

func hpackPartsOf(i int) (p hpackParts) {
	for _, f := range hpackHead(i) {
		p.ids, p.values = append(p.ids, message.Lookup(f.Name)), append(p.values, []byte(f.Value))
	}
	return p
}

func (p *hpackParts) encode(e *hpack.Encoder, dst []byte) []byte {
	dst = e.Begin(dst)
	dst = e.AppendMethod(dst, p.values[0])
	dst = e.AppendScheme(dst, p.values[1])
	dst = e.AppendAuthority(dst, p.values[2])
	dst = e.AppendPath(dst, p.values[3])
	for i := 4; i < len(p.ids); i++ {
		dst = e.AppendField(dst, p.ids[i], nil, p.values[i], false)
	}
	return dst
}

func encodeFirst(b *testing.B) {
	var heads [browsers]hpackParts
	for i := range heads {
		heads[i] = hpackPartsOf(i)
	}
	var e hpack.Encoder
	dst := make([]byte, 0, 1024)
	for i := 0; b.Loop(); i++ {
		e.Init(hpack.EncoderOptions{})
		dst = heads[i%browsers].encode(&e, dst[:0])
	}
}

// encodeIndexed lets the path be, which has a query: it never enters our table, but it enters the table of the other
// encoder.
func encodeIndexed(b *testing.B) {
	p := hpackPartsOf(0)
	p.values[3], _, _ = bytes.Cut(p.values[3], []byte("?"))
	var e hpack.Encoder
	e.Init(hpack.EncoderOptions{})
	dst := make([]byte, 0, 1024)
	for range 2 {
		dst = p.encode(&e, dst[:0])
	}
	for b.Loop() {
		if dst = p.encode(&e, dst[:0]); len(dst) != len(p.ids) {
			b.Fatal(len(dst))
		}
	}
}

func encodeXNet(b *testing.B, e *xhpack.Encoder, list []xhpack.HeaderField) {
	for _, f := range list {
		if err := e.WriteField(f); err != nil {
			b.Fatal(err)
		}
	}
}

func encodeFirstXNet(b *testing.B) {
	var heads [browsers][]xhpack.HeaderField
	for i := range heads {
		heads[i] = hpackHead(i)
	}
	var dst bytes.Buffer
	for i := 0; b.Loop(); i++ {
		dst.Reset()
		encodeXNet(b, xhpack.NewEncoder(&dst), heads[i%browsers])
	}
}

func encodeIndexedXNet(b *testing.B) {
	list := hpackHead(0)
	var dst bytes.Buffer
	e := xhpack.NewEncoder(&dst)
	encodeXNet(b, e, list)
	for b.Loop() {
		dst.Reset()
		if encodeXNet(b, e, list); dst.Len() != len(list) {
			b.Fatal(dst.Len())
		}
	}
}
