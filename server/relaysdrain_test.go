package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

// In a drain a pair on which nothing moves ends in an orderly way, before the process does.
func TestRelays_drain(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, "%s", relaying("'"+log+"'", "", named(t, "one")))
	w := testutil.Dial(t, addressOf(t, s, "db"))
	w.Want("one\n")
	done := make(chan bool)
	go func() { done <- s.engine.Drain(6 * time.Second) }()
	w.WantEnd()
	w.Close()
	if !<-done {
		t.Error("a connection is left")
	}
	try(t, s.Stop())
	if text, _ := os.ReadFile(log); !strings.Contains(string(text), `"reason":"edge:drain"`) {
		t.Error(string(text))
	}
}
