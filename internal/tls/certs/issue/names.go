package issue

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
)

// Names of keys of a Storage, as certmagic has them. Files of edge beside them begin with "edge".
const (
	certificatesKey = "certificates"
	stateFile       = "edge.json"

	folderBytesMax = 190 // a file is named for its folder, and has 255 with its endings, also of private.Folder
)

var safeWords = strings.NewReplacer(" ", "_", "+", "_plus_", "*", "wildcard_", ":", "-", "..", "")

// Safe returns a text as one part of a key of a Storage, as certmagic writes it.
func Safe(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("_@.-", r) {
			return r
		}
		return -1
	}, safeWords.Replace(strings.TrimSpace(strings.ToLower(text))))
}

// folderName returns the name of the folder for a certificate of sorted names. With one name it is certmagic's; with
// more, or a name that is too long or has odd characters, it ends in a part that differs for each set of names.
func folderName(sorted []string) string {
	first := Safe(sorted[0])
	odd := first != strings.NewReplacer("*", "wildcard_", ":", "-").Replace(sorted[0])
	if len(sorted) == 1 && !odd && len(first) <= folderBytesMax {
		return first
	}
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\n")))
	return first[:min(len(first), folderBytesMax)] + "_and_" + hex.EncodeToString(sum[:8])
}

// lockName returns the name of the lock for a certificate, which certmagic takes for one name too.
func lockName(folder string) string { return "issue_cert_" + folder }

// site is where a certificate of one authority is kept.
type site struct{ prefix, name string }

func siteOf(authority, name string) site {
	return site{path.Join(certificatesKey, Safe(authority), name), name}
}

func (s site) chain() string   { return path.Join(s.prefix, s.name+".crt") }
func (s site) key() string     { return path.Join(s.prefix, s.name+".key") }
func (s site) nextKey() string { return path.Join(s.prefix, s.name+".key.next") }
func (s site) meta() string    { return path.Join(s.prefix, s.name+".json") }
func (s site) state() string   { return path.Join(s.prefix, stateFile) }
