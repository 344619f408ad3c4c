package table

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// words is a file whose words are prefix, value, prefix, value: a form other than lines.
type words struct {
	list  []string
	marks uint64
	most  int
}

func (w *words) EntriesMax() int { return w.most }
func (w *words) Marks() uint64   { return w.marks }
func (w *words) Each(add func(p netip.Prefix, value []byte) error) error {
	for i := 0; i+1 < len(w.list); i += 2 {
		p, err := netip.ParsePrefix(w.list[i])
		if err != nil {
			return err
		}
		if err := add(p, []byte(w.list[i+1])); err != nil {
			return err
		}
		w.marks |= 1 << (w.list[i+1][0] - 'a')
	}
	return nil
}

func TestMap_decodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words")
	write := func(text string) {
		t.Helper()
		err := os.WriteFile(path+".new", []byte(text), 0o600)
		if err = errors.Join(err, os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	write("10.0.0.0/8 a 10.1.0.0/16 b 2001:db8::/32 a")
	m := NewMap("words", Options{
		Decode: func(file []byte) (Decoded, error) {
			if len(file) == 0 {
				return nil, errors.New("it is empty")
			}
			return &words{list: strings.Fields(string(file)), most: 3}, nil
		},
		Lost: func(uint64) error { return errors.New("it has lost something") },
	})
	u, err := m.Prepare(Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	u.Commit()
	wantValues := func(of map[string]string) {
		t.Helper()
		for address, want := range of {
			if got, _ := m.Addr(netip.MustParseAddr(address)); string(got) != want {
				t.Errorf("%s leads to %q, want %q", address, got, want)
			}
		}
	}
	first := map[string]string{
		"10.2.0.1": "a", "10.1.0.1": "b", "2001:db8::1": "a", "11.0.0.1": "", "::ffff:10.1.0.1": "b",
	}
	wantValues(first)
	if s := m.Stats(); s.Entries != 3 || s.Marks != 3 {
		t.Errorf("%+v", s)
	}
	for text, want := range map[string]string{
		"":                      "it is empty",
		"10.0.0.0/8 a":          "it has lost something",
		"10.0.0.0/8 a nonsense": "it has lost something",
		"10.0.0.0/8 a x b":      "no '/'",
		"10.0.0.0/9 a 10.128.0.0/9 b 11.0.0.0/8 a 12.0.0.0/8 b": "more entries than it tells of",
	} {
		write(text)
		_, err := m.Refresh()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	wantValues(first)
	write("11.0.0.0/8 b 12.0.0.0/8 a")
	if u, err := m.Refresh(); err != nil || !u.Changed {
		t.Fatal(u, err)
	}
	wantValues(map[string]string{"11.0.0.1": "b", "10.0.0.1": ""})
}
