package docs

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// fileRow matches the row of a key whose values may be paths: its name, its example or the first word of its text says
// so.
var fileRow = regexp.MustCompile("^\\| `(?:[a-z0-9_.]*[._])?(?:path|files?|folder|dir|directory|sock|socket|storage|" +
	"root|roots|cert|certs|key|ca|databases|output|discover)` |`[^`]*\"/(?:run|etc|var|srv|usr|tmp|home|opt)/|" +
	"\\.(?:pem|key|crt|log|html|sock|ocsp|txt|mmdb)\"|\\| (?i:folders?|files?|paths?|unix sockets?|sockets?)\\b")

// pathlessTypes are the types of keys whose values are no path.
var pathlessTypes = map[string]bool{
	"[template](DSL.md)": true, "[template](DSL.md) or list of them": true, "true or table": true,
}

// namesNoFile are the keys that match and take the path of no file, with the values that they take.
var namesNoFile = map[string]string{
	"include":      "a text that is sent includes nothing",
	"path":         "the path of a URL, in routes and health checks",
	"rewrite.path": "the path of a URL",
	"check":        "the path of a URL",
	"except":       "the paths of URLs",
	"metrics":      "the path of a URL",
	"hash_key":     "a part of a request",
	"index":        "a name below the root, which is opened there alone",
	"try":          "names below the root, which are opened there alone",
	"token":        "a secret; a file that a value quotes is refused at each key",
}

var rowExample = regexp.MustCompile("Example: `(.+?)`\\.")

// A client without rights to the files of the process names none of them by any key of any section. A new key that
// takes a path, and does not say by its tag that it does, fails here.
func TestReference_noKeyNamesAFileForHoldersOfATokenAlone(t *testing.T) {
	var b bytes.Buffer
	testutil.Must(t, config.Reference(&b))
	section, variant, tried := "", "", 0
	for line := range strings.Lines(b.String()) {
		if title, found := strings.CutPrefix(line, "## "); found {
			section, variant = strings.Trim(title, "`\n"), ""
		} else if title, found := strings.CutPrefix(line, "### "); found {
			variant = strings.Trim(title, "`\n")
		}
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) < 4 || !fileRow.MatchString(line) || pathlessTypes[cells[1]] {
			continue
		}
		key := strings.Trim(cells[0], "| `")
		if namesNoFile[key] != "" || key == "ca" && section == "[acme]" {
			continue
		}
		value := `"/etc/edge/file"`
		if example := rowExample.FindStringSubmatch(line); example != nil {
			value = example[1]
		}
		text := strings.ReplaceAll(section, "NAME", "x") + "\n" + variant + "\n" + key + " = " + value + "\n"
		tried++
		said := sentByToken(t, strings.TrimPrefix(text, "Top level\n"))
		if !strings.Contains(said, "may not name") {
			t.Errorf("%s %s may name a file: %q", text, cells[1], said)
		}
	}
	if tried < 40 {
		t.Errorf("%d keys were tried", tried)
	}
}

// sentByToken returns the errors of a text that a client sends while nothing is in force.
func sentByToken(t *testing.T, text string) (said string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "body.toml")
	body := schema.Text{Path: name, Real: name, Text: []byte(text)}
	_, report := config.Options{Sent: &config.Sent{Known: config.Namings{}}, Record: &config.Files{},
		Kept: &config.Files{Main: name, Texts: []schema.Text{body}}}.Load(name)
	for i := range report.Errors {
		said += report.Errors[i].Message + "\n"
	}
	return said
}
