package hpack

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the stories of testdata anew")

// storiesFolder names a copy of github.com/http2jp/hpack-test-case.
const storiesFolder = "EDGE_HPACK_STORIES"

// story is what one encoder made of the header lists of a connection, in the format of hpack-test-case.
type story struct {
	Description string      `json:"description,omitempty"`
	Cases       []storyCase `json:"cases"`
}

type storyCase struct {
	Seqno     int                 `json:"seqno"`
	TableSize *int                `json:"header_table_size,omitempty"`
	Wire      string              `json:"wire,omitempty"`
	Headers   []map[string]string `json:"headers"`
}

func readStory(t *testing.T, path string) (s story) {
	t.Helper()
	text, err := os.ReadFile(path)
	testutil.Must(t, err)
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(path, err)
	}
	return s
}

// list is the header list of a case, a line for each field.
func (c *storyCase) list() string {
	var b strings.Builder
	for _, h := range c.Headers {
		for name, value := range h {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	return b.String()
}

// decodeAll decodes a block to its lines.
func decodeAll(d *Decoder, block []byte) (string, error) {
	var b strings.Builder
	d.Begin()
	defer d.check()
	for len(block) > 0 {
		n, f, err := d.Next(block)
		if err != nil {
			checkEnded(d, err)
			return b.String(), err
		}
		b.Write(f.Line)
		block = block[n:]
	}
	return b.String(), nil
}

// checkEnded panics when a Decoder that has returned err, which is none of the list, returns another one later.
func checkEnded(d *Decoder, err error) {
	if err == ErrListSize {
		return
	}
	for _, block := range [][]byte{nil, {0x82}, {0x40, 1, 'a', 1, 'b'}, {0x20}} {
		if n, f, again := d.Next(block); n != 0 || f.Line != nil || again != err {
			panic(fmt.Sprintf("after %v it took %d bytes of %x: %q, %v", err, n, block, f.Line, again))
		}
	}
}

func TestStories_ofOthers(t *testing.T) {
	folder := os.Getenv(storiesFolder)
	if folder == "" {
		t.Skip(storiesFolder + " names no folder with stories")
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*", "*.json"))
	if len(paths) == 0 {
		t.Fatal("no stories there", err)
	}
	for _, path := range paths {
		s := readStory(t, path)
		if filepath.Base(filepath.Dir(path)) != "raw-data" {
			s.decode(t, path)
		}
		s.encode(t)
		s.decode(t, path+", encoded anew")
	}
}

// The stories of testdata are what the encoder makes of ours, byte by byte.
func TestStories_ofOurs(t *testing.T) {
	for name, s := range ours() {
		s.encode(t)
		path := filepath.Join("testdata", "stories", name+".json")
		if *update {
			writeStory(t, path, s)
		}
		golden := readStory(t, path)
		if len(golden.Cases) != len(s.Cases) {
			t.Fatalf("%s has %d cases, want %d; -update?", path, len(golden.Cases), len(s.Cases))
		}
		for i, c := range golden.Cases {
			if c.Wire != s.Cases[i].Wire {
				t.Errorf("%s, case %d: the encoder writes\n%s, not\n%s; -update?", path, i, s.Cases[i].Wire, c.Wire)
			}
		}
		golden.decode(t, path)
		golden.decodeByOther(t, path)
	}
}

// ours are header lists for which testdata holds what is on the wire.
func ours() map[string]*story {
	browsers := &story{Description: "browsers, one after the other"}
	for _, fields := range visitors(12) {
		browsers.add(fields)
	}
	page := &story{Description: "a browser that loads a page"}
	for i := range 12 {
		fields := append([]line(nil), browser...)
		fields[3][1] = fmt.Sprintf("/assets/%d.css?v=%d", i%4, i/9)
		page.add(append(fields, line{"sec-fetch-dest", "style"}, line{"if-none-match", fmt.Sprintf(`"%d"`, i%3)}))
	}
	answers := &story{Description: "an origin: statuses, dates, cookies"}
	for i, status := range []string{"200", "304", "404", "200", "503", "204", "200", "503", "302", "200"} {
		answers.add([]line{
			{":status", status}, {"server", "origin/1.0"},
			{"date", fmt.Sprintf("Fri, 20 Nov 2026 11:00:%02d GMT", i/2)},
			{"content-type", "text/html; charset=utf-8"}, {"content-length", fmt.Sprint(1000 + i%3)},
			{"etag", fmt.Sprintf(`"5f-%d"`, i%4)}, {"set-cookie", fmt.Sprintf("id=%d; Secure; HttpOnly", i)},
			{"cache-control", "max-age=60"}, {"x-cache", "miss"}, {"vary", "accept-encoding"},
		})
	}
	sizes := &story{Description: "the peer changes the size of the table"}
	for i, fields := range visitors(12) {
		sizes.add(fields)
		if i%2 == 1 {
			sizes.Cases[i].TableSize = new([]int{0, 300, 4096, 64, 16384, 1024}[i/2])
		}
	}
	odd := &story{Description: "what is rare: empty values, long ones, credentials, bytes with long codes"}
	for i := range 3 {
		odd.add([]line{
			{":method", "PROPFIND"}, {":scheme", "coap"}, {":path", "*"}, {":protocol", "websocket"},
			{"x-empty", ""}, {"x-blank", "a b\tc"}, {"x-long", strings.Repeat("0123456789", 30*(i+1))},
			{"x-codes", "\x01\x7f{}|~^\\<>"}, {"x-upper", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
			{"authorization", "Bearer 0123456789abcdef"}, {"cookie", "a=b"}, {"from", "a@example.org"},
			{"x-" + strings.Repeat("long-", 20), "name"}, {"host", "example.org"}, {"refresh", "5"},
		})
	}
	return map[string]*story{"browsers": browsers, "page": page, "answers": answers, "sizes": sizes, "odd": odd}
}

func (s *story) add(fields []line) {
	c := storyCase{Seqno: len(s.Cases)}
	for _, f := range fields {
		c.Headers = append(c.Headers, map[string]string{f[0]: f[1]})
	}
	s.Cases = append(s.Cases, c)
}

// encode replaces what is on the wire by what our encoder makes of the lists.
func (s *story) encode(t *testing.T) {
	t.Helper()
	var e Encoder
	e.Init(EncoderOptions{TableMax: 1 << 14})
	for i := range s.Cases {
		c := &s.Cases[i]
		if c.TableSize != nil {
			e.SetMax(*c.TableSize)
		}
		var fields []line
		for _, h := range c.Headers {
			for name, value := range h {
				fields = append(fields, line{name, value})
			}
		}
		c.Wire = hex.EncodeToString(appendFields(&e, nil, fields))
	}
}

// decode wants the lists from what is on the wire.
func (s *story) decode(t *testing.T, path string) {
	t.Helper()
	var d Decoder
	d.Init(DecoderOptions{})
	for i, c := range s.Cases {
		if c.TableSize != nil {
			d.SetMax(*c.TableSize)
		}
		if got, err := decodeAll(&d, unhex(t, c.Wire)); err != nil || got != c.list() {
			t.Errorf("%s, case %d: %v\ngot  %q\nwant %q", path, i, err, got, c.list())
			return
		}
	}
}

// decodeByOther is decode by the reference.
func (s *story) decodeByOther(t *testing.T, path string) {
	t.Helper()
	d := hpack.NewDecoder(defaultTableSize, nil)
	for i, c := range s.Cases {
		if c.TableSize != nil {
			d.SetAllowedMaxDynamicTableSize(uint32(*c.TableSize))
		}
		if got, err := d.DecodeFull(unhex(t, c.Wire)); err != nil || listed(got) != c.list() {
			t.Errorf("%s, case %d, the other decoder: %v\ngot  %q\nwant %q", path, i, err, listed(got), c.list())
			return
		}
	}
}

// writeStory writes a line for each case.
func writeStory(t *testing.T, path string, s *story) {
	t.Helper()
	b := bytes.NewBufferString(fmt.Sprintf("{\"description\": %q, \"cases\": [\n", s.Description))
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	for i := range s.Cases {
		if i > 0 {
			b.WriteByte(',')
		}
		testutil.Must(t, e.Encode(&s.Cases[i]))
	}
	b.WriteString("]}\n")
	testutil.Must(t, os.WriteFile(path, b.Bytes(), 0o644))
}
