package filter_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/filter/basicauth"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/proxy"
)

// A type knows the package that registered it, also where its struct has no name or is one of another package, and two
// packages with one name are both named.
func TestRegister_namesPackages(t *testing.T) {
	const own = "github.com/edge-proxy/edge/internal/filter_test"
	const basic = "github.com/edge-proxy/edge/internal/filter/basicauth"
	if plugin.TypeNamed(plugin.Filters, "nameless_struct") == nil { // the test runs for the first time
		plugin.Register(plugin.Filters, "nameless_struct", "Has a struct without a name.",
			func(*struct{}, *plugin.Build) (*proxy.Filter, error) { return &proxy.Filter{}, nil })
		plugin.Register(plugin.Filters, "foreign_struct", "Has a struct of another package.", newForeign)
	}
	for name, want := range map[string]string{
		"nameless_struct": own, "foreign_struct": own, "basic_auth": basic,
	} {
		if got := plugin.TypeNamed(plugin.Filters, name).Package; got != want {
			t.Errorf("%s is of %s, want %s", name, got, want)
		}
	}
	defer func() {
		said := fmt.Sprint(recover())
		for _, want := range []string{`"basic_auth"`, basic + " and " + own} {
			if !strings.Contains(said, want) {
				t.Errorf("it says %s, want %s", said, want)
			}
		}
	}()
	plugin.Register(plugin.Filters, "basic_auth", "Takes a name that is taken.", newForeign)
}

func newForeign(*basicauth.Config, *plugin.Build) (*proxy.Filter, error) { return &proxy.Filter{}, nil }
