package plan

import (
	"fmt"
	"strings"
)

// bcryptHash is a hash of a password that filters of the type basic_auth read.
var bcryptHash = Expr(`^\$2[aby]\$(?:0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}$`)

// HashWrong says why a filter of the type basic_auth has no use for the hash of a password, or "".
func HashWrong(hash string) string {
	if bcryptHash().MatchString(hash) {
		return ""
	}
	return "edge reads passwords hashed by bcrypt: make new ones with edge hash-password"
}

// UsersWrong says why a filter of the type basic_auth has no use for a file of users as htpasswd writes it, or "".
func UsersWrong(text string) string {
	names := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		if why := HashWrong(hash); why != "" {
			return fmt.Sprintf("user %s: %s", name, why)
		}
		if names[name] {
			return fmt.Sprintf("user %s: there are two of that name", name)
		}
		names[name] = true
	}
	if len(names) == 0 {
		return "the file has no user"
	}
	return ""
}
