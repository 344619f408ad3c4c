package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// relative is a link to a file of the sources.
var relative = regexp.MustCompile(`\]\(([A-Za-z0-9_./-]+)(#[^)]*)?\)`)

// notes writes what changed: the section of CHANGELOG.md, and each Go package beside the release before.
func (r *release) notes(binaries) error {
	text, _, err := r.section()
	if err != nil {
		return err
	}
	text = relative.ReplaceAllString(text, "]("+home+"/blob/v"+r.version+"/$1$2)")
	api, err := r.api()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# edge %s\n\n%s\n\n%s", r.version, text, api)
	return write(filepath.Join(r.out, "edge-notes-"+r.version+".md"), []byte(b.String()))
}
