package lang

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A State keeps no more memory for a body than for a head.
func TestState_keepsLittleOfABody(t *testing.T) {
	names := scope(t)
	x := browser()
	x.Body = &Body{Bytes: bytes.Repeat([]byte("&"), 1<<20)}
	c := condition(t, names, `split(body, "&") == "a=b"`, Content)
	c.Holds(x)
	x.Body = &Body{Bytes: []byte("a")}
	c.Holds(x)
	if n := cap(x.State.list) * 24; n > 4<<20 {
		t.Errorf("a state keeps %d bytes for lists", n)
	}
}

// Names with escapes cost no allocation each.
func TestJSON_escapedNamesAllocateNothing(t *testing.T) {
	x := browser()
	x.State.computed = nil
	x.Body = &Body{Bytes: []byte("{" + strings.Repeat(`"\n":1,`, 10_000) + `"a":1}`)}
	c := condition(t, scope(t), `json(body, "model") == "small"`, Content)
	c.Holds(x)
	if n := testutil.Allocs(3, func() { x.Body.member.state = 0; c.Holds(x) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// What json has found in a body it need not look for again, for another rule or another reading of the path.
func TestJSON_remembers(t *testing.T) {
	long := strings.Repeat("p", 40)
	x := &X{State: NewState(), Body: &Body{Bytes: []byte(`{"a":1,"b":"x\n","n":null,"` + long + `":2}`)}}
	for range 2 {
		for _, c := range [][2]string{
			{"a", "1"}, {"a", "1"}, {"b", "x\n"}, {"b", "x\n"}, {"n", ""}, {"c", ""}, {"a", "1"},
			{long, "2"}, {long, "2"},
			{"", string(x.Body.Bytes)},
		} {
			x.State.begin()
			if got := x.json(x.Body.Bytes, []byte(c[0]), jsonCall{ofBody: true}); string(got) != c[1] {
				t.Errorf("%.10s: %q, want %q", c[0], got, c[1])
			}
			if got := x.json(x.Body.Bytes[:6], []byte(c[0]), jsonCall{ofBody: true}); got != nil {
				t.Errorf("%.10s of a part: %q", c[0], got)
			}
		}
	}
}

// A part of a body that ends where it was cut is cut as well, and so is a part before blanks.
func TestJSON_partsOfABody(t *testing.T) {
	for text, want := range map[string]string{
		`  {"model":"m","a`:     "m false",
		`  {"a":"`:              " true",
		`  {"model":null,"a":"`: " true",
		`  {"a":"b",  `:         " true",
		`  {"a":"b"}  `:         " false",
	} {
		x := &X{State: NewState(), Body: &Body{Bytes: []byte(text), Cut: true}}
		got := string(x.json(trim(x.Body.Bytes), []byte("model"), jsonCall{ofBody: true}))
		got += " " + strconv.FormatBool(x.Body.Missed)
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
