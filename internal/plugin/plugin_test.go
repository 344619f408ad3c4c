package plugin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

type greet struct{}

func newGreet(*greet, *plugin.Build) (proxy.Destination, error) { return nil, nil }

func init() { plugin.Register(plugin.Destinations, "greet", "Greets.", newGreet) }

// Two kinds may have types of one name, a kind may not.
func TestRegister_namesOfKinds(t *testing.T) {
	if plugin.TypeNamed(plugin.Filters, "greet") != nil || plugin.TypeNamed(plugin.Destinations, "greet") == nil {
		t.Error("a type is not of its kind alone")
	}
	defer func() {
		want := `plugin: two packages register a type of destinations named "greet": `
		if said, _ := recover().(string); !strings.HasPrefix(said, want) {
			t.Errorf("it says %q, want %q", said, want)
		}
	}()
	plugin.Register(plugin.Destinations, "greet", "Takes a name that is taken.", newGreet)
}

// ending is what a module keeps, and cannot close.
type ending struct{}

func (ending) Close() { panic("it does not end") }

// What a module keeps may panic when it is closed: that is told, and ends nothing else.
func TestClaims_panicOfClose(t *testing.T) {
	var store plugin.Store
	c := store.Claim()
	b := &plugin.Build{Kind: plugin.LogSinks, Name: "a", Kept: c}
	for _, identity := range []string{"x", "y"} {
		if _, err := plugin.Keep(b, identity, func() (ending, error) { return ending{}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if errs := c.Release(); len(errs) != 2 || errs[0].Error() != "log sink a: panic: it does not end" {
		t.Errorf("got %v", errs)
	}
}

// stuck is what a module keeps, and does not close.
type stuck struct{ end chan struct{} }

func (s stuck) Close() { <-s.end }

// A Close that hangs holds nobody up for longer than it says.
func TestClose_hangs(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s, begun := stuck{make(chan struct{})}, time.Now()
		if err := plugin.Close(s); err == nil || time.Since(begun) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		close(s.end)
	})
}
