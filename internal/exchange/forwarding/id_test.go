package forwarding

import (
	"strings"
	"testing"
)

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"": false, "a": true, "0189f7ea-ae2f-7f2c-9a1b-0123456789ab": true, "1-5759e988-bd862e3fe1be46a994272793": true,
		"a b": false, "a\tb": false, "<script>": false, `a"b`: false, "ä": false, "a,b": false,
		strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
	} {
		if ValidID([]byte(id)) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}
