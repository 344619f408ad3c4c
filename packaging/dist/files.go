package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// file is one file of an archive, or a folder that is there for its rights.
type file struct {
	text   []byte
	mode   int64
	folder bool
	owner  int
}

// read adds a file of the sources.
func (r *release) read(to map[string]file, name, from string) error {
	text, err := os.ReadFile(filepath.Join(r.source, filepath.FromSlash(from)))
	to[name] = file{text: text, mode: 0o644}
	return err
}

// readTree returns the files of a folder by their paths in it.
func readTree(dir string) (map[string]file, error) {
	content, tree := map[string]file{}, os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		content[name] = file{text: text, mode: 0o644}
		return err
	})
	return content, err
}

// writeTar returns files as a tar archive below the folder top, or below none. Their order, times and owners do not
// depend on the machine.
func writeTar(top string, content map[string]file, when time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range withFolders(content) {
		f, is := content[name]
		h := tar.Header{Format: tar.FormatUSTAR, ModTime: when, Name: path.Join(top, name), Mode: f.mode,
			Uid: f.owner, Gid: f.owner, Typeflag: tar.TypeReg, Size: int64(len(f.text))}
		if f.folder || !is {
			h.Typeflag, h.Mode, h.Name = tar.TypeDir, 0o755, h.Name+"/"
		}
		if h.Name == "./" {
			continue
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
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

// compressed is gzip without a name or a time.
func compressed(text []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = z.Write(text)
	err = errors.Join(err, z.Close())
	return b.Bytes(), err
}

// pack makes a compressed archive.
func (r *release) pack(name, top string, content map[string]file) error {
	text, err := writeTar(top, content, r.when)
	if err != nil {
		return err
	}
	if text, err = compressed(text); err != nil {
		return err
	}
	return write(filepath.Join(r.out, name), text)
}

const (
	sumsName  = "SHA256SUMS"
	signature = ".minisig"
)

// writeSums writes the sums of all files of a release but for signatures, as sha256sum --check reads them.
func writeSums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == sumsName || path.Ext(e.Name()) == signature {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sumOf(text), e.Name())
	}
	return write(filepath.Join(dir, sumsName), []byte(b.String()))
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
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

// chart packs the Helm chart with the version of the release.
func (r *release) chart(binaries) error {
	dir := filepath.Join(r.source, "packaging", "helm", "edge")
	content, err := readTree(dir)
	if err != nil {
		return err
	}
	head := content["Chart.yaml"]
	before, after, found := bytes.Cut(head.text, []byte("\nversion: "+r.plain()+"\n"))
	if !found {
		return fmt.Errorf("%s/Chart.yaml has no line \"version: %s\"", dir, r.plain())
	}
	head.text = fmt.Appendf(nil, "%s\nversion: %s\n%s", before, r.version, after)
	content["Chart.yaml"] = head
	return r.pack("edge-chart-"+r.version+".tgz", "edge", content)
}
