package tags

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// texts has a field for each way in which tags write a value.
type texts struct {
	Quoted  string         `edge:"quoted" doc:"d" default:"\"a \\\"b\\\"\""`
	Single  string         `edge:"single" doc:"d" default:"'a'"`
	One     []string       `edge:"one" doc:"d" default:"a"`
	List    []string       `edge:"list" doc:"d" default:"[\"a\", \"b\"]" enum:"a b"`
	From    []netip.Prefix `edge:"from" doc:"d" default:"[\"::ffff:10.0.0.1\", \"10.1.2.3/8\"]"`
	Never   time.Duration  `edge:"never" doc:"d" default:"off" words:"off" min:"1s" max:"1m"`
	Hex     int            `edge:"hex" doc:"d" default:"0x10"`
	Rate    int64          `edge:"rate" unit:"rate" doc:"d" default:"1k/s"`
	Pointer *bool          `edge:"pointer" doc:"d" default:"true"`
	Inside  struct {
		Name string `edge:"name" kind:"name" doc:"d"`
	} `edge:"inside" after:"one"`
}

// A default is a value of the type of its field, in a program that reads no file.
func TestHeld_readsDefaults(t *testing.T) {
	rows, err := Held(reflect.TypeFor[texts](), func(reflect.StructField) any { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var v texts
	var paths []string
	for _, r := range rows {
		paths = append(paths, r.Path)
		if r.Preset != nil {
			Set(r.In(&v), r.Preset)
		}
	}
	if want := "quoted single one inside.name list from never hex rate pointer"; strings.Join(paths, " ") != want {
		t.Errorf("got %q, want %s", paths, want)
	}
	got := fmt.Sprint(v.Quoted, " ", v.Single, " ", v.One, v.List, v.From, v.Never, v.Hex, v.Rate, *v.Pointer)
	if want := `a "b" a [a] [a b] [10.0.0.1/32 10.0.0.0/8] -1ns 16 1024 true`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// held returns what Held says of the tags of C.
func held[C any]() string {
	_, err := Held(reflect.TypeFor[C](), func(reflect.StructField) any { return nil })
	return fmt.Sprint(err)
}

// A mistake in the tags names the field, and is found without a file.
func TestHeld_findsMistakes(t *testing.T) {
	type (
		word struct {
			A []string `edge:"a" doc:"d" enum:"x y" default:"z"`
		}
		list struct {
			A []string `edge:"a" doc:"d" example:"[a]"`
		}
		prefix struct {
			A []netip.Prefix `edge:"a" doc:"d" example:"[\"10.0.0.0/8\", \"ten\"]"`
		}
		bound struct {
			A int64 `edge:"a" doc:"d" unit:"size" min:"1k" max:"1m" default:"2m"`
		}
		half struct {
			A int `edge:"a" doc:"d" min:"1"`
		}
		text struct {
			A string `edge:"a" doc:"d" min:"1" max:"2"`
		}
		soon struct {
			A time.Duration `edge:"a" doc:"d" example:"soon"`
		}
		table struct {
			A map[string]string `edge:"a" doc:"d" default:"{ x = 1 }"`
		}
		truth struct {
			A bool `edge:"a" doc:"d" default:"true"`
		}
		unit struct {
			A string `edge:"a" doc:"d" unit:"size"`
		}
	)
	for want, said := range map[string]string{
		`word.A: default: it must be "x" or "y", not "z"`:           held[word](),
		`list.A: example: invalid character`:                        held[list](),
		`prefix.A: example: netip.ParsePrefix("ten")`:               held[prefix](),
		`bound.A: default: it must be between 1k and 1m`:            held[bound](),
		`half.A: one bound without the other`:                       held[half](),
		`text.A: it has no bounds: it is no number`:                 held[text](),
		`soon.A: example: "soon" is not one of its values`:          held[soon](),
		`table.A: a table has no default`:                           held[table](),
		`truth.A: a bool cannot be true by default`:                 held[truth](),
		`unit.A: there are no values of kind "size" of type string`: held[unit](),
		`int is no struct`:                                          held[int](),
	} {
		if !strings.HasPrefix(said, want) {
			t.Errorf("got %s, want %s", said, want)
		}
	}
}
