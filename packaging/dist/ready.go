package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ready takes commit and time from git, and returns why this tree is no release of the version.
func (r *release) ready() error {
	changed, err := r.git("status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("a release is made of a commit, and these files differ from it:\n%s", changed)
	}
	if r.commit, err = r.git("rev-parse", "HEAD"); err != nil {
		return err
	}
	at, err := r.git("log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return err
	}
	r.when = time.Unix(seconds, 0).UTC()
	tag := "v" + r.version
	if there, err := r.git("rev-parse", "--quiet", "--verify", "refs/tags/"+tag+"^{commit}"); err == nil &&
		there != r.commit {
		return fmt.Errorf("the tag %s is there, at commit %s: a version is released once. Check that commit out to "+
			"make its files again", tag, there)
	}
	_, day, err := r.section()
	if err == nil && day == "unreleased" && !strings.Contains(r.version, "-") {
		err = fmt.Errorf("CHANGELOG.md calls %s unreleased: write the day there, or make %[1]s-rc.1", r.version)
	}
	return err
}

// git returns what a command of git prints.
func (r *release) git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.source
	var b strings.Builder
	cmd.Stderr = &b
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, b.String())
	}
	return strings.TrimSpace(string(out)), nil
}

var heading = regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\] - (\S+)$`)

// section returns what CHANGELOG.md says of the version, and its day. A version before the release, 1.2.3-rc.1, has the
// text of 1.2.3.
func (r *release) section() (text, day string, err error) {
	all, err := os.ReadFile(filepath.Join(r.source, "CHANGELOG.md"))
	if err != nil {
		return "", "", err
	}
	found := heading.FindAllSubmatchIndex(all, -1)
	for i, at := range found {
		if string(all[at[2]:at[3]]) != r.plain() {
			continue
		}
		end := len(all)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		return strings.TrimSpace(string(all[at[1]:end])), string(all[at[4]:at[5]]), nil
	}
	return "", "", fmt.Errorf("CHANGELOG.md has no heading \"## [%s] - DAY\"", r.plain())
}
