package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"aead.dev/minisign"
)

// release is what is made. immutable after parse, but for commit and when, which ready takes from git, and secret.
type release struct {
	source  string // the root of edge's module
	out     string // the folder that the files go to
	version string // without a "v" before it
	commit  string
	when    time.Time // the time of each file in an archive, and of the SBOM
	archs   []string  // as GOARCH
	parts   []string  // the ones to make, of parts below
	key     string    // the file of a secret key of minisign; "" signs nothing
	final   bool      // refuse a tree that is no release: see ready
	told    io.Writer // progress

	secret *minisign.PrivateKey // that readKey has read; nil: nothing is signed
}

// parts are the words of -parts. Packages are made of the archives.
var parts = []string{"archives", "packages", "image", "chart", "notes"}

func main() {
	r, err := parse(os.Args[1:])
	if err == nil {
		err = r.make()
	}
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

var (
	// versionForm is a semantic version without metadata of a build, since "+" is not for tags of images.
	versionForm = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$`)
	archForm    = regexp.MustCompile(`^[0-9a-z]+$`)
)

func parse(args []string) (release, error) {
	f := flag.NewFlagSet("dist", flag.ContinueOnError)
	r := release{told: os.Stderr}
	f.StringVar(&r.source, "source", "../..", "the root of edge's module")
	f.StringVar(&r.out, "out", "../../dist", "the folder that the files go to")
	f.StringVar(&r.version, "version", "", "the version, such as 1.2.3 or v1.2.3-rc.1")
	f.StringVar(&r.commit, "commit", "", "the commit of git")
	epoch := f.Int64("epoch", 0, "seconds since 1970: the time of all files")
	archs := f.String("arch", "amd64,arm64", "architectures, as GOARCH")
	only := f.String("parts", strings.Join(parts, ","), "what is made")
	f.StringVar(&r.key, "key", "", "sign with the secret key of minisign in this file; MINISIGN_PASSWORD decrypts it")
	f.BoolVar(&r.final, "release", false, "a release: refuse a tree with changes, a version that CHANGELOG.md "+
		"has not, and a tag at another commit; -commit and -epoch are HEAD's")
	if err := f.Parse(args); err != nil {
		return r, err
	}
	list := func(s string) []string {
		return strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ' ' })
	}
	r.version = strings.TrimPrefix(r.version, "v")
	r.when, r.archs, r.parts = time.Unix(*epoch, 0).UTC(), list(*archs), list(*only)
	unknown := slices.IndexFunc(r.parts, func(p string) bool { return !slices.Contains(parts, p) })
	switch {
	case !versionForm.MatchString(r.version):
		return r, fmt.Errorf("-version %q is no semantic version such as 1.2.3 or 1.2.3-rc.1", r.version)
	case len(r.archs) == 0 || slices.ContainsFunc(r.archs, func(a string) bool { return !archForm.MatchString(a) }):
		return r, fmt.Errorf("-arch %q is not a list such as amd64,arm64", *archs)
	case unknown >= 0:
		return r, fmt.Errorf("-parts: %q is none of %q", r.parts[unknown], parts)
	case r.has("packages") && !r.has("archives"):
		return r, errors.New("-parts: packages are made of the archives: name both")
	case r.final && (r.key == "" || strings.HasSuffix(r.version, "-dev")):
		return r, errors.New("a release has a version and is signed: VERSION=1.2.3 KEY=secret.key")
	}
	return r, nil
}

// plain returns the version without what comes after a hyphen: 1.2.3 for 1.2.3-rc.1.
func (r *release) plain() string {
	plain, _, _ := strings.Cut(r.version, "-")
	return plain
}

// has reports whether a part is to be made.
func (r *release) has(part string) bool { return slices.Contains(r.parts, part) }

// make makes all files.
func (r *release) make() error {
	if r.final {
		if err := r.ready(); err != nil {
			return err
		}
	}
	if err := r.readKey(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil { //nolint:gosec // what is in it is for all
		return err
	}
	work, err := os.MkdirTemp("", "edge-dist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // nothing is lost with it
	b, err := r.link(work)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		part string
		make func(binaries) error
	}{{"archives", r.archives}, {"packages", r.packages}, {"image", r.image}, {"chart", r.chart}, {"notes", r.notes}} {
		if !r.has(step.part) {
			continue
		}
		fmt.Fprintln(r.told, "dist:", step.part)
		if err := step.make(b); err != nil {
			return err
		}
	}
	if err := writeSums(r.out); err != nil {
		return err
	}
	return r.sign()
}

// programs are the binaries of a release. Each has archives and packages of its own, so that a server fetches edge
// alone.
var programs = []string{"edge", "edge-import", "edge-bench"}

// binaries are the paths of linked programs, by architecture and name.
type binaries map[string]map[string]string

// link links what the parts need: of edge a binary for this machine too, which prints completions.
func (r *release) link(work string) (binaries, error) {
	b := binaries{}
	need := programs
	switch {
	case r.has("archives"):
	case r.has("image"):
		need = programs[:1]
	default:
		return b, nil
	}
	for _, arch := range r.archs {
		b[arch] = map[string]string{}
		for _, name := range need {
			b[arch][name] = filepath.Join(work, name+"-"+arch)
		}
	}
	if b[runtime.GOARCH] == nil {
		b[runtime.GOARCH] = map[string]string{"edge": filepath.Join(work, "edge-here")}
	}
	for arch, named := range b {
		for name, to := range named {
			fmt.Fprintln(r.told, "dist: linking", name, "for", arch)
			if err := r.build(name, arch, to); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

const (
	module = "github.com/edge-proxy/edge"
	linked = module + "/internal/base/build."
)

// build links the program of a folder below cmd for an architecture, with nothing of this machine or its user in it.
func (r *release) build(name, arch, to string) error {
	flags := fmt.Sprintf("-s -w -buildid= -X %sversion=%s -X %[1]scommit=%[3]s", linked, r.version, r.commit)
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", to, ".")
	cmd.Dir = filepath.Join(r.source, "cmd", name)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off",
		"GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "GOFIPS140=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s for %s: %w\n%s", name, arch, err, out)
	}
	return nil
}
