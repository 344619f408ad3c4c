package schema

import (
	"embed"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// mistaken returns what New or Of says of the keys of E in a section.
func mistaken[E any, T interface {
	*E
	Target
}]() (said string) {
	defer func() { said = fmt.Sprint(recover()) }()
	s := Table[E, T](nil, Section{Path: "s", Doc: "Of a test."})
	New(append(example().Sections, s), nil, Reserved{})
	return ""
}

type (
	misspelt struct {
		Given
		Size int `edge:"size" defualt:"1" doc:"d"`
	}
	twice struct {
		Given
		Size int `edge:"size" doc:"d"`
		Room int `edge:"size" doc:"d"`
	}
	refused struct {
		Given
		Size int `edge:"size" default:"10" min:"1" max:"9" doc:"d"`
	}
	textless struct {
		Given
		Size int `edge:"size"`
	}
	hidden struct {
		Given
		size int `edge:"size" doc:"d"`
	}
	switched struct {
		Given
		Size int `edge:"size" pool:"yes" doc:"d"`
	}
	kindless struct {
		Given
		Size int `edge:"size" kind:"percent" doc:"d"`
	}
	unordered struct {
		Given
		Size int `edge:"size" after:"room" doc:"d"`
	}
	sized struct {
		Given
		Size []string `edge:"size" unit:"size" doc:"d"`
	}
	worded struct {
		Given
		Size int `edge:"size" enum:"1 2" doc:"d"`
	}
	unused struct {
		Given
		Path string `edge:"path" file:"reed" doc:"d"`
	}
	tabled struct {
		Given
		Room struct {
			Size int `edge:"size" doc:"d"`
		} `edge:"room" pol:"true"`
	}
)

// A mistake in the tags is found by the first test that makes the schema, and names the field.
func TestOf_panicsOnMistakes(t *testing.T) {
	_ = hidden{}.size
	for want, said := range map[string]string{
		`misspelt.Size: tag "defualt": known are after,`: mistaken[misspelt](),
		`twice.Room: there are two keys "size"`:          mistaken[twice](),
		`field refused.Size: default: "size" must be`:    mistaken[refused](),
		`field textless.Size: no doc`:                    mistaken[textless](),
		`hidden.size: a key is an exported field`:        mistaken[hidden](),
		`switched.Size: tag "pool": it is "true"`:        mistaken[switched](),
		`kindless.Size: there are no values of kind`:     mistaken[kindless](),
		`unordered.Size: there is no key "room"`:         mistaken[unordered](),
		`sized.Size: there are no values of kind "size"`: mistaken[sized](),
		`worded.Size: an enum has strings, not values`:   mistaken[worded](),
		`unused.Path: tag "file": it is read, write`:     mistaken[unused](),
		`tabled.Room: tag "pol": known are`:              mistaken[tabled](),
	} {
		if !strings.Contains(said, want) {
			t.Errorf("got %s, want %s", said, want)
		}
	}
}

type written struct {
	Given
	// How much
	// may be used.
	// Example: "2m"
	// Also: .memory ..room.size
	Size int64 `edge:"size" unit:"size" default:"1m"`

	// This is about something else.

	Name string `edge:"name" doc:"Its name."`
	Room struct {
		On   bool   `edge:"" default:""`
		Path string `edge:"path" doc:"Where."`
	} `edge:"room" after:"size"`
}

//go:embed structs_test.go
var source embed.FS

// The comment above a field is what users read of its key.
func TestOf_readsComments(t *testing.T) {
	s := Table[written](&Tags{Comments: Comments(source)}, Section{
		Keep: func(k *Key) bool { return k.Path != "room" },
	})
	var paths []string
	for _, k := range s.Keys {
		paths = append(paths, k.Path)
	}
	if want := "size room.path name"; strings.Join(paths, " ") != want {
		t.Errorf("got %v, want %s", paths, want)
	}
	k := s.Keys[0]
	if k.Doc != "How much may be used." || k.Example != `"2m"` ||
		!reflect.DeepEqual(k.Aliases, []string{".memory", "..room.size"}) || k.Default != `"1m"` {
		t.Errorf("got %+v", k)
	}
	if s.Keys[2].Doc != "Its name." {
		t.Errorf("got %+v", s.Keys[2])
	}
}

// A tag of a table is one of all its keys.
func TestOf_tagsTables(t *testing.T) {
	var got []string
	for _, k := range Of[struct {
		Room struct {
			Size int `edge:"size" doc:"d"`
			Form int `edge:"form" doc:"d"`
		} `edge:"room" pool:"true"`
		Door int `edge:"door" doc:"d"`
		Lock int `edge:"lock" doc:"d" pool:"true"`
	}](nil) {
		if k.Pool {
			got = append(got, k.Path)
		}
	}
	if want := "room.size room.form lock"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
