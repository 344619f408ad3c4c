package syntax

import (
	"strings"
	"testing"
)

func TestReport_capsErrors(t *testing.T) {
	rep := parsed("edge.toml", strings.Repeat("x = 1\n", 1000))
	if len(rep.Errors) != errorsShown || rep.More == 0 {
		t.Errorf("%d errors and %d more", len(rep.Errors), rep.More)
	}
}
