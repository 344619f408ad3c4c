package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

// of returns a release of this tree.
func of(t *testing.T) release {
	t.Helper()
	return release{source: testutil.Root(t), out: t.TempDir(), version: "1.2.3", commit: "0123abc",
		when: time.Unix(1767225600, 0).UTC(), archs: []string{runtime.GOARCH}}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args, want string // want: the version, or a part of the error
		ok         bool
	}{
		{"-version v1.2.3", "1.2.3", true},
		{"-version 1.2.3-rc.1+build~4", "1.2.3-rc.1+build~4", true},
		{"-version 0123abc-dirty -arch arm64", "0123abc-dirty", true},
		{"-sums", "", true},
		{"", "file names", false},
		{"-version ../x", "file names", false},
		{"-version 1.2.3 -arch amd64,../x", "not a list", false},
		{"-version 1.2.3 -epoch soon", "invalid value", false},
	} {
		r, err := parse(strings.Fields(c.args))
		if c.ok && (err != nil || r.version != c.want) {
			t.Errorf("%s: %q, %v", c.args, r.version, err)
		}
		if !c.ok && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
	if _, err := parse([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
}

// The archive of the same files is the same, whatever their times and rights on the disk are; tar reads it, and each
// file has the owner, the time and the rights that it is to have.
func TestArchive(t *testing.T) {
	r, edge := of(t), testutil.Binary(t, "./cmd/edge")
	program, other := filepath.Join(t.TempDir(), "program"), filepath.Join(t.TempDir(), "other")
	testutil.Must(t, os.WriteFile(program, []byte("a program"), 0o600)) // edge itself would take seconds
	testutil.Must(t, os.WriteFile(other, []byte("a program"), 0o400))
	archive := func(binaries ...string) []byte {
		content, err := r.content(binaries, edge)
		testutil.Must(t, err)
		text, err := r.archive(content)
		testutil.Must(t, err)
		return text
	}
	first := archive(program, program, program)
	if !bytes.Equal(first, archive(other, program, program)) {
		t.Error("the same files make another archive")
	}
	z, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if z.Name != "" || !z.ModTime.IsZero() {
		t.Errorf("%+v", z.Header)
	}
	var names []string
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimSuffix(h.Name, "/"))
		want := int64(0o644)
		if h.Typeflag == tar.TypeDir || slices.Contains(programs, strings.TrimPrefix(h.Name, "edge-1.2.3/")) {
			want = 0o755
		}
		if h.Mode != want || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || !h.ModTime.Equal(r.when) {
			t.Errorf("%+v", h)
		}
		text, err := io.ReadAll(files)
		if err != nil || h.Typeflag == tar.TypeReg && len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", h.Name, len(text), err)
		}
	}
	for _, want := range []string{
		"edge", "edge-bench", "edge-import", "edge.toml",
		"edge.1", "LICENSE", "systemd/edge.service", "systemd/edge.socket", "completions/_edge",
		"docs/README.md", "docs/why.md", "docs/configuration.md", "docs/config/routes.md",
	} {
		if !slices.Contains(names, "edge-1.2.3/"+want) {
			t.Errorf("no %s in %q", want, names)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("%q", names)
	}
}

// The bill names each module that go version -m shows, and nothing twice; what it must have by the schema of CycloneDX
// 1.6 is there, in the forms that the schema asks for.
func TestBill(t *testing.T) {
	r, program := of(t), testutil.Binary(t, "./cmd/edge")
	text, err := r.bom("edge", "amd64", program)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.bom("edge", "amd64", program)
	if err != nil || !bytes.Equal(text, again) {
		t.Error("another bill of the same binary", err)
	}
	var b bill
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.SpecVersion != "1.6" || b.Version != 1 ||
		b.Metadata.Timestamp != "2026-01-01T00:00:00Z" {
		t.Errorf("%+v", b)
	}
	const uuid = `^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
	if !regexp.MustCompile(uuid).MatchString(b.SerialNumber) {
		t.Error(b.SerialNumber)
	}
	refs := map[string]bool{}
	for _, c := range append(slices.Clone(b.Components), b.Metadata.Component) {
		if refs[c.Ref] || slices.Contains([]string{c.Ref, c.Name, c.Version, c.Type}, "") ||
			!strings.HasPrefix(c.PURL, "pkg:golang/") {
			t.Errorf("%+v", c)
		}
		refs[c.Ref] = true
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		if !refs["pkg:golang/"+strings.ToLower(m.Path)+"@"+m.Version] {
			t.Errorf("no component for %s %s", m.Path, m.Version)
		}
	}
	if len(b.Components) != len(info.Deps)+1 || len(b.Dependencies[0].DependsOn) != len(b.Components) {
		t.Errorf("%d components for %d modules", len(b.Components), len(info.Deps))
	}
}

// A module of edge that a folder stands for, as in edge-bench, has the version of the release.
func TestBill_modulesInFolders(t *testing.T) {
	r := of(t)
	m := &debug.Module{Path: "example.com/a", Version: "v0.0.0", Replace: &debug.Module{Path: "../.."}}
	if c := r.moduleOf(m); c.PURL != "pkg:golang/example.com/a@1.2.3" {
		t.Errorf("%+v", c)
	}
}

// sha256sum reads what writeSums writes.
func TestSums(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.tar.gz", "a.deb", sumsName} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := release{out: dir, sums: true}
	if err := r.make(); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(read(t, filepath.Join(dir, sumsName))), "\n"); lines != 2 {
		t.Errorf("%d lines", lines)
	}
	check := exec.Command("sha256sum", "--check", "--strict", sumsName)
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What cannot be written whole leaves the file of that name as it was, and nothing beside it.
func TestWrite_fails(t *testing.T) {
	r := release{out: filepath.Join(t.TempDir(), "none"), sums: true}
	if err := r.make(); err == nil {
		t.Error("no error")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, sumsName, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeSums(dir); err == nil {
		t.Error("a file has taken the place of a folder that is not empty")
	}
	if left, err := os.ReadDir(dir); len(left) != 1 {
		t.Error(left, err)
	}
}

// Two folders, two caches and two users' settings make the same files, packages too: make dist-check.
func TestRelease_reproducible(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("compiles edge and the standard library four times: EDGE_SOAK=1, or make dist-check")
	}
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skip("rpmbuild is not installed: make packages-deps")
	}
	root := testutil.Root(t)
	list := exec.Command("git", "ls-files", "-co", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var sums [2][]byte
	for i, dir := range []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "other", "deeper", "b")} {
		for name := range strings.Lines(string(names)) {
			name = strings.TrimSpace(name)
			to := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // of a test
				t.Fatal(err)
			}
			text := read(t, filepath.Join(root, name))
			if err := os.WriteFile(to, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		settings := []string{"GOCACHE=" + t.TempDir(), "TZ=Asia/Tokyo", "GOFLAGS=" + []string{"", "-p=1"}[i]}
		make := exec.Command("bash", "-euc", "umask "+[]string{"022", "077"}[i]+everything)
		make.Dir, make.Env = dir, append(os.Environ(), settings...)
		if out, err := make.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		sums[i] = read(t, filepath.Join(dir, "dist", sumsName))
	}
	t.Logf("%s", sums[0])
	if bytes.Count(sums[0], []byte("\n")) != 10 || !bytes.Equal(sums[0], sums[1]) {
		t.Errorf("not the same as\n%s", sums[1])
	}
}

// everything makes what make packages does.
const everything = `
go run ./packaging/dist -version v1.2.3 -commit abc -epoch 1767225600
for archive in "$PWD"/dist/*.tar.gz; do
	go run -C packaging/deb . -archive "$archive" -out "$PWD/dist"
	bash packaging/rpm/build.sh "$archive" dist
done
go run ./packaging/dist -sums
`

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
