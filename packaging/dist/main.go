package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// release is what is made. immutable after parse.
type release struct {
	source  string // the root of edge's module
	out     string // the folder that the files go to
	version string // without a "v" before it
	commit  string
	when    time.Time // the time of each file in an archive, and of the SBOM
	archs   []string  // as GOARCH
	sums    bool      // only write SHA256SUMS
}

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
	versionForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~-]*$`)
	archForm    = regexp.MustCompile(`^[0-9a-z]+$`)
)

func parse(args []string) (release, error) {
	f := flag.NewFlagSet("dist", flag.ContinueOnError)
	var r release
	f.StringVar(&r.source, "source", ".", "the root of edge's module")
	f.StringVar(&r.out, "out", "dist", "the folder that the files go to")
	f.StringVar(&r.version, "version", "", "the version, such as 1.2.3 or v1.2.3")
	f.StringVar(&r.commit, "commit", "", "the commit of git")
	epoch := f.Int64("epoch", 0, "seconds since 1970: the time of all files")
	archs := f.String("arch", "amd64,arm64", "architectures, as GOARCH")
	f.BoolVar(&r.sums, "sums", false, "only write SHA256SUMS over what is in -out")
	if err := f.Parse(args); err != nil {
		return r, err
	}
	r.version = strings.TrimPrefix(r.version, "v")
	r.when, r.archs = time.Unix(*epoch, 0).UTC(), strings.Split(*archs, ",")
	switch {
	case r.sums:
	case !versionForm.MatchString(r.version):
		return r, fmt.Errorf("-version %q: letters, digits and . + ~ - are what file names may have", r.version)
	case slices.ContainsFunc(r.archs, func(a string) bool { return !archForm.MatchString(a) }):
		return r, fmt.Errorf("-arch %q is not a list such as amd64,arm64", *archs)
	}
	return r, nil
}

func (r *release) make() error {
	if r.sums {
		return writeSums(r.out)
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil { //nolint:gosec // all users read it
		return err
	}
	work, err := os.MkdirTemp("", "edge-dist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // nothing is lost with it
	binaries := map[string][]string{}
	for _, arch := range append(slices.Clone(r.archs), runtime.GOARCH) {
		if binaries[arch] != nil {
			continue
		}
		for _, name := range programs {
			to := filepath.Join(work, name+"-"+arch)
			if err := r.build(name, arch, to); err != nil {
				return err
			}
			binaries[arch] = append(binaries[arch], to)
		}
	}
	for _, arch := range r.archs {
		if err := r.pack(arch, binaries[arch], binaries[runtime.GOARCH][0]); err != nil {
			return err
		}
	}
	return writeSums(r.out)
}

// programs are the binaries of an archive.
var programs = []string{"edge", "edge-import", "edge-bench"}

// pack makes the archive of the programs, and an SBOM for each. runs is edge for this machine: it prints completions.
func (r *release) pack(arch string, binaries []string, runs string) error {
	content, err := r.content(binaries, runs)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("-%s-linux-%s", r.version, arch)
	archive, err := r.archive(content)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(r.out, "edge"+name+".tar.gz"), archive); err != nil {
		return err
	}
	for i, program := range programs {
		bom, err := r.bom(program, arch, binaries[i])
		if err == nil {
			err = write(filepath.Join(r.out, program+name+".cdx.json"), bom)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write makes a file whole or not at all: one of that name stays as it is until the new one is complete.
func write(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".dist-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
