package polite

import (
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// The type of filters of the page works from a file, and in a program.
func TestPolite(t *testing.T) {
	cfg, rep := config.Parse("edge.toml", []byte("[filters.a]\ntype = \"polite\"\nfield = \"Host\"\nfree = \"10/m\"\n"))
	if cfg != nil || len(rep.Errors) != 1 || rep.Errors[0].Message != "every request has it" {
		t.Errorf("got %v", rep.Errors)
	}
	if f, err := New(&Config{Field: "X-Magic"}, nil); err != nil || f.Request == nil {
		t.Error(err)
	}
	if _, err := New(&Config{Field: "Host"}, nil); err == nil {
		t.Error("Check does not run for a program")
	}
}
