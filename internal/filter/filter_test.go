package filter_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// everything has a field of each kind.
type everything struct {
	Message string            `edge:"message" doc:"What is said." default:"go away" example:"later"`
	Mode    string            `edge:"mode" doc:"How." enum:"soft hard" default:"soft"`
	Count   int               `edge:"count" doc:"How many." min:"1" max:"10" default:"3"`
	Room    int64             `edge:"room" doc:"How large." unit:"size" default:"64k" min:"1" max:"1g"`
	Wait    time.Duration     `edge:"wait" doc:"How long." default:"2s" min:"1ms" max:"1h"`
	Strict  bool              `edge:"strict" doc:"Whether."`
	Fields  *bool             `edge:"fields" doc:"Whether." default:"true"`
	Names   []string          `edge:"names" doc:"Who." default:"a"`
	Words   []string          `edge:"words" doc:"Which." enum:"x y" default:"[\"x\", \"y\"]"`
	Rate    plugin.Rate       `edge:"rate" doc:"How often." min:"1/h" max:"1000/s" required:"true" example:"100/s"`
	From    []netip.Prefix    `edge:"from" doc:"From where." example:"10.0.0.0/8"`
	Secret  plugin.Text       `edge:"secret" doc:"What nobody sees."`
	Add     map[string]string `edge:"add" doc:"What is added." example:"{ x = \"1\" }"`
	Who     *lang.Condition   `edge:"who" doc:"For whom." default:"true"`
	Key     *lang.Template    `edge:"key" doc:"By what." default:"same"`
	Store   struct {
		Address string `edge:"address" doc:"Where." required:"true"`
		Name    string `edge:"name" doc:"What."`
	} `edge:"store"`
}

// Check finds a message that is too long.
func (e *everything) Check(r *plugin.Report) {
	if len(e.Message) > 20 {
		r.At("message").Errorf("say less", "it has %d bytes", len(e.Message))
	}
}

func TestCompleted_fillsZeroFields(t *testing.T) {
	given := &everything{Rate: plugin.Rate{Count: 5, Per: time.Second}, Message: "no"}
	e, err := plugin.Completed(given, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(e.Message, e.Mode, e.Count, e.Room, e.Wait, *e.Fields, e.Names, e.Words, e.Rate, e.Who, e.Key)
	if want := "no soft 3 65536 2s true [a] [x y] 5/s true same\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if given.Mode != "" {
		t.Error("the struct of the caller was changed")
	}
	if s := fmt.Sprintf("%v %#v %s", plugin.Text("x"), plugin.Text("x"), plugin.Text("x")); strings.Contains(s, "x") {
		t.Errorf("a secret is shown: %s", s)
	}
}

func TestCompleted_refusesMistakes(t *testing.T) {
	rate := plugin.Rate{Count: 1, Per: time.Second}
	inStore := everything{Rate: rate}
	inStore.Store.Name = "x"
	for _, c := range []struct {
		name, want string
		given      *everything
	}{
		{"nil", "rate: it is required", nil},
		{"required", "rate: it is required", &everything{}},
		{"required in a table", "store.address: it is required", &inStore},
		{"bounds", "count: it must be between 1 and 10", &everything{Rate: rate, Count: 11}},
		{"word", `mode: it must be "soft" or "hard", not "fast"`, &everything{Rate: rate, Mode: "fast"}},
		{"words", `words: it must be "x" or "y", not "z"`, &everything{Rate: rate, Words: []string{"x", "z"}}},
		{"duration", "wait: it must be between 1ms and 1h", &everything{Rate: rate, Wait: time.Microsecond}},
		{"check", "message: it has 21 bytes (say less)",
			&everything{Rate: rate, Message: strings.Repeat("m", 21)}},
	} {
		if _, err := plugin.Completed(c.given, nil); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestRegister_panicsOnMistakes(t *testing.T) {
	type noDoc struct {
		A string `edge:"a"`
	}
	type badTag struct {
		A string `edge:"a" doc:"A." defalt:"x"`
	}
	type badDefault struct {
		A int `edge:"a" doc:"A." default:"many"`
	}
	type badBound struct {
		A int `edge:"a" doc:"A." default:"9" min:"1" max:"3"`
	}
	type badExample struct {
		A time.Duration `edge:"a" doc:"A." example:"soon"`
	}
	type trueBool struct {
		A bool `edge:"a" doc:"A." default:"true"`
	}
	type unknownKind struct {
		A chan int `edge:"a" doc:"A."`
	}
	type hidden struct {
		a int `edge:"a" doc:"A."` //nolint:unused // it is what is wrong
	}
	type twice struct {
		A string `edge:"a" doc:"A."`
		B string `edge:"a" doc:"B."`
	}
	type reserved struct {
		A string `edge:"when" doc:"A."`
	}
	type badCondition struct {
		A *lang.Condition `edge:"a" doc:"A." default:"pth == 1"`
	}
	type badPhase struct {
		A *lang.Condition `edge:"a" doc:"A." phase:"never"`
	}
	type both struct {
		A string `edge:"a" doc:"A." default:"x" required:"true"`
	}
	for name, register := range map[string]func(name string){
		"no doc":        try[noDoc],
		"bad tag":       try[badTag],
		"bad default":   try[badDefault],
		"out of bounds": try[badBound],
		"bad example":   try[badExample],
		"true bool":     try[trueBool],
		"unknown kind":  try[unknownKind],
		"hidden field":  try[hidden],
		"twice":         try[twice],
		"reserved":      try[reserved],
		"bad condition": try[badCondition],
		"bad phase":     try[badPhase],
		"both":          try[both],
		"no struct":     try[int],
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			register("test " + name)
		}()
	}
}

func try[C any](name string) {
	plugin.Register(plugin.Filters, name, "A type.", func(*C, *plugin.Build) (*proxy.Filter, error) { return nil, nil })
}

func TestStore_keepsOverGenerations(t *testing.T) {
	var s plugin.Store
	made := 0
	keep := func(c *plugin.Claims, name, identity string) *closing {
		b := &plugin.Build{Name: name, Type: "t", Kept: c}
		v, err := plugin.Keep(b, identity, func() (*closing, error) { made++; return &closing{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := s.Claim()
	a, b := keep(first, "a", "1"), keep(first, "b", "1")
	if keep(first, "a", "1") != a || made != 2 {
		t.Fatal("one generation made a thing twice")
	}
	second := s.Claim()
	if keep(second, "a", "1") != a || keep(second, "a", "2") == a {
		t.Error("the second generation has not what the first one kept, or what it did not")
	}
	first.Release()
	first.Release()
	if a.closed != 0 || b.closed != 1 {
		t.Errorf("closed %d and %d times, want 0 and 1", a.closed, b.closed)
	}
	second.Release()
	if a.closed != 1 {
		t.Errorf("closed %d times, want 1", a.closed)
	}
	third := s.Claim()
	if keep(third, "a", "1") == a {
		t.Error("a thing is used that was closed")
	}
	failed := errors.New("no")
	if _, err := plugin.Keep(&plugin.Build{Kept: third}, "x", func() (int, error) { return 0, failed }); err != failed {
		t.Errorf("got %v, want what create said", err)
	}
}

// What a configuration no longer has leaves the metrics with the reload, not with the next garbage collection.
func TestStore_listsWhatIsInForce(t *testing.T) {
	var s plugin.Store
	var r observe.Registry
	s.List(&r)
	listed := func() string {
		var names []string
		r.Each(func(s observe.Sample) { names = append(names, s.Labels[0].Value) })
		slices.Sort(names)
		return strings.Join(names, "")
	}
	for _, c := range []struct {
		has  []string
		want string
	}{{[]string{"a", "b"}, "ab"}, {[]string{"b", "c"}, "bc"}, {nil, ""}} {
		claims := s.Claim() // the one before is not released: requests use it
		for _, name := range c.has {
			(&plugin.Build{Name: name, Type: "t", Kept: claims}).Counter("done")
		}
		claims.TakeEffect()
		if got := listed(); got != c.want {
			t.Errorf("%v: %q are listed", c.has, got)
		}
	}
}

type closing struct{ closed int }

func (c *closing) Close() error { c.closed++; return nil }

func TestParseRate(t *testing.T) {
	for text, want := range map[string]plugin.Rate{
		"100/s": {Count: 100, Per: time.Second}, "5/m": {Count: 5, Per: time.Minute},
		"1000/h": {Count: 1000, Per: time.Hour}, "1/d": {Count: 1, Per: 24 * time.Hour},
	} {
		if r, err := plugin.ParseRate(text); err != nil || r != want || r.String() != text {
			t.Errorf("%s: got %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "100", "0/s", "-1/s", "1/", "/s", "1/w", "1.5/s", "1/s/s", "4294967296/s"} {
		if r, err := plugin.ParseRate(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, r)
		}
	}
}
