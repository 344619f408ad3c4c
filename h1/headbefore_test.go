package h1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// parsed is what comes of a head with that line when the table of fields holds what a head with the line before left.
func parsed(before, line string) (got string) {
	var d Decoder
	var h message.Head
	for _, l := range []string{before, line} {
		d.InitRequests(nil)
		n, ev, _, err := d.Next([]byte("GET / HTTP/1.1\r\n"+l+"\r\nHost: a\r\nAccept: */*\r\n\r\n"), &h)
		got = fmt.Sprint(n, ev, err, h.Fields)
	}
	return got
}

// The names that lie in the table from the head before are a guess: they never decide what a line is.
func TestDecoder_headBeforeChangesNothing(t *testing.T) {
	testutil.OnlyPlain(t)
	var lines []string
	for n := message.Host + 1; n < message.NameCount; n++ {
		name := n.String()
		lines = append(lines, name+": v", strings.ToLower(name)+": v", name+"\xba v", name[1:]+": v", name+"s: v",
			name[:len(name)/2]+"\x01"+name[len(name)/2+1:]+": v")
	}
	for _, line := range lines {
		want := parsed("X: v", line)
		for n := message.Host; n < message.NameCount; n++ {
			if got := parsed(n.String()+": v", line); got != want {
				t.Fatalf("%q behind %v: %s, want %s", line, n, got, want)
			}
		}
	}
}
