package docs

import (
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Each configuration is right by itself. Without a listener it is a part of one, and edge serves it on port 8080. The
// files that it names are opened where the page is run.
func TestConfigurations(t *testing.T) {
	for _, list := range pages(t) {
		for _, b := range of(list, "toml", "yaml") {
			_, report := config.Parse(b.String()+"."+b.lang, []byte(b.text()))
			report.Warnings = slices.DeleteFunc(report.Warnings,
				func(p config.Problem) bool { return p.Code == "no-listener" })
			if len(report.Errors)+len(report.Warnings) > 0 {
				var text strings.Builder
				testutil.Must(t, report.Render(&text))
				t.Error(text.String())
			}
		}
	}
}
