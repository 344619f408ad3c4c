package reference

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	ours "github.com/edge-proxy/edge/h2/hpack"
	refhpack "github.com/edge-proxy/edge/internal/reference/hpack"
	ref "github.com/edge-proxy/edge/internal/reference/http2"
	"github.com/edge-proxy/edge/message"
)

// The reference that edge is tested with writes the same frames as golang.org/x/net.
func TestReference_writesFramesAsNet(t *testing.T) {
	var a, b bytes.Buffer
	x, y := http2.NewFramer(&a, nil), ref.NewFramer(&b, nil)
	x.AllowIllegalWrites = true
	for name, write := range map[string]func() error{
		"DATA": func() error {
			return errors.Join(x.WriteData(1, true, []byte("a")), y.WriteData(1, true, []byte("a")))
		},
		"padded DATA": func() error {
			return errors.Join(x.WriteDataPadded(3, false, []byte("a"), make([]byte, 5)),
				y.WriteDataPadded(3, false, []byte("a"), make([]byte, 5)))
		},
		"HEADERS": func() error {
			return errors.Join(x.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 5, BlockFragment: []byte("block"), EndStream: true, PadLength: 3,
				Priority: http2.PriorityParam{StreamDep: 3, Exclusive: true, Weight: 7},
			}), y.WriteHeaders(ref.HeadersFrameParam{
				StreamID: 5, BlockFragment: []byte("block"), EndStream: true, PadLength: 3,
				Priority: ref.PriorityParam{StreamDep: 3, Exclusive: true, Weight: 7},
			}))
		},
		"CONTINUATION": func() error {
			return errors.Join(x.WriteContinuation(5, true, []byte("b")), y.WriteContinuation(5, true, []byte("b")))
		},
		"RST_STREAM": func() error {
			return errors.Join(x.WriteRSTStream(7, http2.ErrCodeCancel), y.WriteRSTStream(7, ref.ErrCodeCancel))
		},
		"SETTINGS": func() error {
			return errors.Join(x.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20}),
				y.WriteSettings(ref.Setting{ID: ref.SettingMaxFrameSize, Val: 1 << 20}))
		},
		"acknowledgement": func() error { return errors.Join(x.WriteSettingsAck(), y.WriteSettingsAck()) },
		"PING": func() error {
			return errors.Join(x.WritePing(true, [8]byte{1}), y.WritePing(true, [8]byte{1}))
		},
		"GOAWAY": func() error {
			return errors.Join(x.WriteGoAway(9, http2.ErrCodeEnhanceYourCalm, []byte("calm")),
				y.WriteGoAway(9, ref.ErrCodeEnhanceYourCalm, []byte("calm")))
		},
		"WINDOW_UPDATE": func() error {
			return errors.Join(x.WriteWindowUpdate(1, 1000), y.WriteWindowUpdate(1, 1000))
		},
	} {
		a.Reset()
		b.Reset()
		if err := write(); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: %v\nx/net %x\nhere  %x", name, err, &a, &b)
		}
	}
	for code := range uint32(14) {
		if x, y := http2.ErrCode(code).String(), ref.ErrCode(code).String(); x != y {
			t.Errorf("code %d is %s, here %s", code, x, y)
		}
	}
}

// FuzzReference_frames: any bytes are the same frames to the reference and to golang.org/x/net, up to the first that
// one of them refuses. The reference refuses more: values of settings, which x/net looks at later. Frames of other RFCs
// mean nothing to it.
func FuzzReference_frames(f *testing.F) {
	f.Add([]byte("\x00\x00\x05\x00\x01\x00\x00\x00\x01hello\x00\x00\x00\x04\x01\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x06\x01\x28\x00\x00\x00\x03\x00\x80\x00\x00\x01\x07" +
		"\x00\x00\x01\x09\x04\x00\x00\x00\x03\x82"))
	f.Add([]byte("\x00\x00\x08\x06\x01\x00\x00\x00\x0012345678" +
		"\x00\x00\x09\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02!"))
	f.Add([]byte("\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x04\x03\x00\x00\x00\x01\x00\x00\x00\x08"))
	f.Fuzz(func(t *testing.T, in []byte) {
		x, y := http2.NewFramer(nil, bytes.NewReader(in)), ref.NewFramer(nil, bytes.NewReader(in))
		for {
			want, wantErr := x.ReadFrame()
			got, err := y.ReadFrame()
			if _, other := got.(*ref.UnknownFrame); other {
				return
			}
			if (err != nil) != (wantErr != nil) {
				if s, ok := want.(*http2.SettingsFrame); ok && s.ForeachSetting(http2.Setting.Valid) != nil {
					return
				}
				t.Fatalf("%x: %v, here %v", in, wantErr, err)
			}
			if err != nil {
				return
			}
			w, g := want.Header(), got.Header()
			if uint8(w.Type) != uint8(g.Type) || uint8(w.Flags) != uint8(g.Flags) || w.Length != g.Length ||
				w.StreamID != g.StreamID {
				t.Fatalf("%x: %v, here %+v", in, w, g)
			}
			if w, g := contentOfNet(want), content(got); !bytes.Equal(w, g) {
				t.Fatalf("%x: %v has %x, here %x", in, want.Header(), w, g)
			}
		}
	})
}

func contentOfNet(f http2.Frame) []byte {
	switch f := f.(type) {
	case *http2.DataFrame:
		return f.Data()
	case *http2.HeadersFrame:
		return f.HeaderBlockFragment()
	case *http2.ContinuationFrame:
		return f.HeaderBlockFragment()
	case *http2.GoAwayFrame:
		return append([]byte{byte(f.LastStreamID), byte(f.ErrCode)}, f.DebugData()...)
	case *http2.RSTStreamFrame:
		return []byte{byte(f.ErrCode)}
	case *http2.PingFrame:
		return f.Data[:]
	case *http2.WindowUpdateFrame:
		return []byte{byte(f.Increment)}
	}
	return nil
}

func content(f ref.Frame) []byte {
	switch f := f.(type) {
	case *ref.DataFrame:
		return f.Data()
	case *ref.HeadersFrame:
		return f.HeaderBlockFragment()
	case *ref.ContinuationFrame:
		return f.HeaderBlockFragment()
	case *ref.GoAwayFrame:
		return append([]byte{byte(f.LastStreamID), byte(f.ErrCode)}, f.DebugData()...)
	case *ref.RSTStreamFrame:
		return []byte{byte(f.ErrCode)}
	case *ref.PingFrame:
		return f.Data[:]
	case *ref.WindowUpdateFrame:
		return []byte{byte(f.Increment)}
	}
	return nil
}

// FuzzReference_blocks decodes two header blocks with the decoder of golang.org/x/net, with the reference and with
// edge's: all have the same fields, but where h2/hpack/testdata/README.md says so.
func FuzzReference_blocks(f *testing.F) {
	var e ours.Encoder
	e.Init(ours.EncoderOptions{})
	block := e.Begin(nil)
	for _, field := range [][2]string{{":path", "/a"}, {"accept", "*/*"}, {"x-long", strings.Repeat("edge", 20)}} {
		block = e.AppendField(block, message.Lookup(field[0]), []byte(field[0]), []byte(field[1]), false)
	}
	f.Add(block, []byte("\x82\xbe\xbf\xc0"))
	f.Add([]byte("\x3f\xe1\x1f\x20\x82\x86\x84\xbe"), []byte("\x0f\x11\x81\xff"))
	f.Add(block, []byte("\x3f\xe1\x1f\x20\x82")) // two changes of the size of a table that is not empty
	f.Fuzz(func(t *testing.T, first, second []byte) {
		x, y := hpack.NewDecoder(4096, nil), refhpack.NewDecoder(4096)
		var d ours.Decoder
		d.Init(ours.DecoderOptions{})
		for _, block := range [][]byte{first, second} {
			mine, err := decode(&d, block)
			if err == ours.ErrInteger || err == ours.ErrLateUpdate {
				return
			}
			want, wantErr := x.DecodeFull(block)
			got, gotErr := y.DecodeFull(block)
			if wantErr != nil && gotErr == nil && err == nil && changesOfSize(block) > 1 {
				return
			}
			if (wantErr != nil) != (gotErr != nil) || (wantErr != nil) != (err != nil) {
				t.Fatalf("%x: x/net %v, reference %v, edge %v", block, wantErr, gotErr, err)
			}
			if err != nil {
				return
			}
			var a, b strings.Builder
			for _, f := range want {
				a.WriteString(f.Name + ": " + f.Value + "\r\n")
			}
			for _, f := range got {
				b.WriteString(f.Name + ": " + f.Value + "\r\n")
			}
			if a.String() != b.String() || a.String() != mine {
				t.Fatalf("%x: x/net %q, reference %q, edge %q", block, a.String(), b.String(), mine)
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

func decode(d *ours.Decoder, block []byte) (string, error) {
	var b strings.Builder
	d.Begin()
	for len(block) > 0 {
		n, f, err := d.Next(block)
		if err != nil {
			return "", err
		}
		b.Write(f.Line)
		block = block[n:]
	}
	return b.String(), nil
}

// FuzzReference_strings: the code of Huffman is the same, both ways, and so are the blocks of the reference to x/net.
func FuzzReference_strings(f *testing.F) {
	f.Add("www.example.com", "x-name")
	f.Add("\xff\xff\xff\xff", "accept")
	f.Fuzz(func(t *testing.T, text, name string) {
		code, mine := hpack.AppendHuffmanString(nil, text), refhpack.AppendHuffmanString(nil, text)
		if !bytes.Equal(code, mine) {
			t.Fatalf("%q: %x, here %x", text, code, mine)
		}
		want, wantErr := hpack.HuffmanDecodeToString([]byte(text))
		if got, ok := refhpack.HuffmanDecodeToString([]byte(text)); ok != (wantErr == nil) || ok && got != want {
			t.Fatalf("%x: %q, %v, here %q, %v", text, want, wantErr, got, ok)
		}
		var block bytes.Buffer
		e, d := refhpack.NewEncoder(&block), hpack.NewDecoder(4096, nil)
		for i := range 3 {
			block.Reset()
			if err := e.WriteField(refhpack.HeaderField{Name: name, Value: text, Sensitive: i == 2}); err != nil {
				t.Fatal(err)
			}
			fields, err := d.DecodeFull(block.Bytes())
			if err != nil || len(fields) != 1 || fields[0].Name != name || fields[0].Value != text ||
				fields[0].Sensitive != (i == 2) {
				t.Fatalf("%x: %v, %v", &block, fields, err)
			}
		}
	})
}
