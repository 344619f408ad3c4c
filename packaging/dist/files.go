package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const linked = "github.com/edge-proxy/edge/internal/base/build."

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

// file is one file of an archive.
type file struct {
	text []byte
	mode int64
}

// taken are files of the sources, by their places in an archive. The pages of docs are taken too, and are found there.
var taken = map[string]string{
	"LICENSE":                    "LICENSE",
	"edge.toml":                  "packaging/edge.toml",
	"edge.1":                     "packaging/man/edge.1",
	"systemd/edge.service":       "packaging/systemd/edge.service",
	"systemd/edge.socket":        "packaging/systemd/edge.socket",
	"systemd/notify-reload.conf": "packaging/systemd/notify-reload.conf",
	"docs/CHANGELOG.md":          "CHANGELOG.md",
}

// completions are the files that shells look for, by the words of edge completion.
var completions = map[string]string{"bash": "edge", "zsh": "_edge", "fish": "edge.fish"}

// content returns the files of an archive by their names in it. binaries are the binaries of programs.
func (r *release) content(binaries []string, runs string) (map[string]file, error) {
	all := map[string]file{}
	for i, name := range programs {
		text, err := os.ReadFile(binaries[i])
		if err != nil {
			return nil, err
		}
		all[name] = file{text, 0o755}
	}
	sources := maps.Clone(taken)
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		pages, err := fs.Glob(os.DirFS(r.source), pattern)
		if err != nil {
			return nil, err
		}
		for _, page := range pages {
			sources[page] = page
		}
	}
	for to, from := range sources {
		text, err := os.ReadFile(filepath.Join(r.source, filepath.FromSlash(from)))
		if err != nil {
			return nil, err
		}
		all[to] = file{text, 0o644}
	}
	for shell, name := range completions {
		text, err := exec.Command(runs, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("edge completion %s: %w", shell, err)
		}
		all["completions/"+name] = file{text, 0o644}
	}
	return all, nil
}

// archive returns files as a compressed tar archive. Their order, times and owners do not depend on the machine.
func (r *release) archive(content map[string]file) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	top := "edge-" + r.version
	head := tar.Header{Format: tar.FormatUSTAR, ModTime: r.when}
	for _, name := range withFolders(content) {
		h := head
		h.Name = path.Join(top, name)
		f, isFile := content[name]
		if isFile {
			h.Typeflag, h.Mode, h.Size = tar.TypeReg, f.mode, int64(len(f.text))
		} else {
			h.Typeflag, h.Mode, h.Name = tar.TypeDir, 0o755, h.Name+"/"
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// withFolders returns the names of files and of their folders, a folder before what is in it.
func withFolders(content map[string]file) []string {
	names := map[string]bool{}
	for name := range content {
		for ; !names[name]; name = path.Dir(name) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

const sumsName = "SHA256SUMS"

// writeSums writes the sums of all files of a release, as sha256sum --check reads them.
func writeSums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == sumsName {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		fmt.Fprintf(&b, "%s  %s\n", hex.EncodeToString(sum[:]), e.Name())
	}
	return write(filepath.Join(dir, sumsName), []byte(b.String()))
}
