package basicauth_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// What stands where a hash is to be may be a password: no problem in the file shows it.
func TestCheck_hidesPasswords(t *testing.T) {
	for _, users := range []string{
		`users = { alice = "hunter22", bob = "swordfish" }`,
		"[filters.a.users]\nalice = \"hunter22\"\nbob = 'swordfish'",
		"users.alice = \"\"\"\nhunter22\"\"\"\nusers.bob = \"swordfish\" # x",
		`users = { alice = "hunter22", bob = "swordfish", carol = 1234567 }`,
		`users = ["alice:hunter22", "bob:swordfish"]`,
		`users = "bob:swordfish"`,
	} {
		_, rep := config.Parse("edge.toml", []byte("[filters.a]\ntype = \"basic_auth\"\n"+users+"\n"))
		var text strings.Builder
		if err := rep.Render(&text); err != nil || rep.OK() {
			t.Fatalf("%s: %v, no error", users, err)
		}
		text.Write(rep.JSON())
		for _, secret := range []string{"hunter22", "swordfish", "1234567"} {
			if strings.Contains(text.String(), secret) {
				t.Errorf("%s: shows %s in\n%s", users, secret, text.String())
			}
		}
		if strings.Contains(users, "{ alice") && !strings.Contains(text.String(), `alice = "…"`) {
			t.Errorf("%s: hides too much in\n%s", users, text.String())
		}
	}
}
