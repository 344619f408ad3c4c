package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// edge hash-password makes a hash of what its standard input begins with.
func TestHashPassword(t *testing.T) {
	for _, c := range []struct {
		input string
		args  []string
		code  int
		want  string
	}{
		{"secret\nmore\n", nil, 0, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[^$]{22}\$[^$]{43}\n$`},
		{"secret", []string{"--type", "bcrypt", "--user", "ann"}, 0, `^ann:\$2a\$10\$.{53}\n$`},
		{"", nil, 1, "no password was given"},
		{"a\x01b", nil, 1, "control character"},
		{strings.Repeat("x", 73), []string{"--type", "bcrypt"}, 1, "use argon2id"},
		{"secret", []string{"--type", "md5"}, 1, "argon2id and bcrypt"},
		{"secret", []string{"--user", "a:b"}, 1, "no colon"},
		{"secret", []string{"secret"}, 2, "takes no argument"},
	} {
		cmd := exec.Command(testutil.Binary(t, "./cmd/edge"), append([]string{"hash-password"}, c.args...)...)
		cmd.Stdin = strings.NewReader(c.input)
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != c.code || !regexp.MustCompile(c.want).Match(out) {
			t.Errorf("%q %q: exit %d\n%s", c.input, c.args, code, out)
		}
	}
}
