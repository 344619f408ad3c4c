package schema

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/plugin/tags"
)

type told struct {
	Given
	On    bool   `edge:"on" doc:"d"`
	First int    `edge:"first" show:"always" doc:"d"`
	Kind  string `edge:"a.kind" doc:"d"`
	Set   int    `edge:"a.set" show:"..on" doc:"d"`
	Equal int    `edge:"a.equal" show:".kind=x" doc:"d"`
	Table int    `edge:"a.table" show:". ..b." doc:"d"`
	Other int    `edge:"b.other" doc:"d"`
}

// People are told of the keys that the file gives, and of those whose tag says so.
func TestTold(t *testing.T) {
	for _, c := range []struct {
		of    told
		given string
		want  string
	}{
		{told{}, "", "first"},
		{told{}, "on", "on first"},
		{told{On: true}, "", "first a.set"},
		{told{Kind: "y"}, "", "first"},
		{told{Kind: "x"}, "", "first a.equal"},
		{told{}, "a.equal", "first a.equal a.table"},
		{told{}, "b.other", "first a.table b.other"},
	} {
		s := Table[told](nil, Section{})
		var got []string
		for _, k := range s.Told(&c.of, func(k *Key) bool { return k.Path == c.given }) {
			got = append(got, k.Path)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v, given %s: got %s, want %s", c.of, c.given, got, c.want)
		}
	}
}

func TestKey_Text(t *testing.T) {
	share := Type{Name: "percentage", Unit: "%"}
	for _, c := range []struct {
		key  Key
		v    any
		want string
	}{
		{Key{Type: Duration}, 90 * time.Minute, "1h30m"},
		{Key{Type: Duration}, 720 * time.Hour, "720h"},
		{Key{Type: Duration}, 10 * time.Second, "10s"},
		{Key{Type: Duration}, 250 * time.Millisecond, "250ms"},
		{Key{Type: Duration, Row: tags.Row{Words: []string{"forever"}}}, time.Duration(-1), "forever"},
		{Key{Type: Duration, Row: tags.Row{Words: []string{"never"}}}, time.Duration(0), "0s"},
		{Key{Type: Size}, int64(3 << 20), "3m"},
		{Key{Type: Size}, int64(1500), "1500"},
		{Key{Type: Size, Row: tags.Row{Words: []string{"off"}}}, int64(0), "off"},
		{Key{Type: Rate}, int64(1 << 10), "1k/s"},
		{Key{Type: Int}, int64(1 << 10), "1024"},
		{Key{Type: Int, Row: tags.Row{Words: []string{"auto"}}}, 0, "auto"},
		{Key{Type: share}, 20, "20%"},
		{Key{Type: Strings}, []string{"a", "b"}, "a b"},
		{Key{Type: Strings}, []string(nil), ""},
		{Key{Type: Bool}, false, "false"},
		{Key{Type: String}, "etcd://me:pw@h:1/p", "etcd://(hidden)@h:1/p"},
		{Key{Type: String, Row: tags.Row{Secret: true}}, "pw", tags.Hidden},
	} {
		if got := c.key.Text(c.v); got != c.want {
			t.Errorf("%s %v: got %q, want %q", c.key.Type.Name, c.v, got, c.want)
		}
	}
}

func TestKey_Gist(t *testing.T) {
	k := Key{Row: tags.Row{Doc: "How many [may wait](a.md#b), of all. More are answered 503. 0: any number. From 1."}}
	for v, want := range map[int]string{
		1: "How many may wait, of all", 0: "How many may wait, of all. 0: any number",
	} {
		if got := k.Gist(v); got != want {
			t.Errorf("%d: got %q, want %q", v, got, want)
		}
	}
}
