package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

// of returns a release of this tree, for this machine alone.
func of(t *testing.T) release {
	t.Helper()
	return release{source: testutil.Root(t), out: t.TempDir(), version: "1.2.3", commit: "0123abc", told: io.Discard,
		when: time.Unix(1767225600, 0).UTC(), archs: []string{runtime.GOARCH}}
}

// linkedBy returns programs to make a release of: edge itself, and three bytes for each of the other two.
func linkedBy(t *testing.T) binaries {
	t.Helper()
	other := filepath.Join(t.TempDir(), "program")
	testutil.Must(t, os.WriteFile(other, []byte("abc"), 0o600))
	edge := testutil.Binary(t, "./cmd/edge")
	return binaries{runtime.GOARCH: {"edge": edge, "edge-import": other, "edge-bench": other}}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args, want string // want: the version, or a part of the error
		ok         bool
	}{
		{"-version v1.2.3", "1.2.3", true},
		{"-version 1.2.3-rc.1", "1.2.3-rc.1", true},
		{"-version 0.1.0-dev -arch arm64 -parts archives,chart", "0.1.0-dev", true},
		{"", "semantic version", false},
		{"-version ../x", "semantic version", false},
		{"-version 1.2", "semantic version", false},
		{"-version 1.2.3+build", "semantic version", false},
		{"-version 1.2.3 -arch amd64,../x", "not a list", false},
		{"-version 1.2.3 -arch ,", "not a list", false},
		{"-version 1.2.3 -parts archive", "none of [\"archives\"", false},
		{"-version 1.2.3 -parts packages", "packages are made of the archives", false},
		{"-version 1.2.3 -release", "KEY=secret.key", false},
		{"-version 1.2.3-dev -release -key k", "VERSION=1.2.3", false},
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
	archive := func(binary string) []byte {
		content, err := r.content("edge", "other", binaries{"other": {"edge": binary}, runtime.GOARCH: {"edge": edge}})
		testutil.Must(t, err)
		testutil.Must(t, r.pack("a.tar.gz", "edge-1.2.3", content))
		return read(t, filepath.Join(r.out, "a.tar.gz"))
	}
	first := archive(program)
	if !bytes.Equal(first, archive(other)) {
		t.Error("the same files make another archive")
	}
	z, err := gzip.NewReader(bytes.NewReader(first))
	testutil.Must(t, err)
	if z.Name != "" || !z.ModTime.IsZero() {
		t.Errorf("%+v", z.Header)
	}
	var names []string
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err == io.EOF {
			break
		}
		testutil.Must(t, err)
		names = append(names, strings.TrimSuffix(h.Name, "/"))
		want := int64(0o644)
		if h.Typeflag == tar.TypeDir || h.Name == "edge-1.2.3/edge" {
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
		"edge", "edge.toml", "edge.1", "LICENSE", "systemd/edge.service", "systemd/edge.socket", "completions/_edge",
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

// A server that fetches edge fetches neither of the other programs: they have archives of their own.
func TestArchive_programs(t *testing.T) {
	r, b := of(t), linkedBy(t)
	for _, program := range []string{"edge-bench", "edge-import"} {
		content, err := r.content(program, runtime.GOARCH, b)
		if err != nil || len(content) != 2 || content[program].mode != 0o755 || len(content["LICENSE"].text) == 0 {
			t.Errorf("%s: %d files, %v", program, len(content), err)
		}
	}
	content, err := r.content("edge", runtime.GOARCH, b)
	if err != nil || content["edge-bench"].text != nil || content["edge-import"].text != nil {
		t.Error(err)
	}
}

// A page in the archive leads to its neighbours there, and to the repository for all else.
func TestArchive_links(t *testing.T) {
	r := of(t)
	content, err := r.content("edge", runtime.GOARCH, linkedBy(t))
	testutil.Must(t, err)
	there := map[string]int{}
	for page, f := range content {
		if path.Ext(page) != ".md" {
			continue
		}
		for _, m := range localLink.FindAllSubmatch(f.text, -1) {
			to := path.Join(path.Dir(page), string(m[1]))
			if _, is := content[to]; !is {
				t.Errorf("%s leads to %s, which is not in the archive", page, to)
			}
			there[to]++
		}
	}
	for _, want := range []string{"docs/configuration.md", "docs/config/routes.md", "docs/img/hit-ratio.svg"} {
		if there[want] == 0 {
			t.Errorf("nothing leads to %s", want)
		}
	}
	const (
		page = "[x](config/b.md#c), [y](../cmd/edge/main.go), [z](z.md#top), [u](https://example.com/a.md), [s](#here)"
		base = "https://github.com/edge-proxy/edge/blob/0123abc/"
		want = "[x](config/b.md#c), [y](" + base + "cmd/edge/main.go), [z](" + base + "docs/z.md#top), " +
			"[u](https://example.com/a.md), [s](#here)"
	)
	pages := map[string]file{"docs/a.md": {text: []byte(page)}, "docs/config/b.md": {}}
	r.relink(pages)
	if got := string(pages["docs/a.md"].text); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// The list names each module that go version -m shows, and nothing twice; a reader of SPDX 2.3 finds in it what the
// standard demands.
func TestSPDX(t *testing.T) {
	r, program := of(t), testutil.Binary(t, "./cmd/edge")
	text, err := r.spdx("edge", "amd64", program)
	testutil.Must(t, err)
	again, err := r.spdx("edge", "amd64", program)
	if err != nil || !bytes.Equal(text, again) {
		t.Error("another list of the same binary", err)
	}
	doc, err := spdxjson.Read(bytes.NewReader(text))
	testutil.Must(t, err)
	if doc.SPDXVersion != "SPDX-2.3" || doc.DataLicense != "CC0-1.0" || doc.SPDXIdentifier != "DOCUMENT" ||
		doc.CreationInfo.Created != "2026-01-01T00:00:00Z" || len(doc.CreationInfo.Creators) != 1 ||
		!strings.HasSuffix(doc.DocumentNamespace, sumOf(read(t, program))) {
		t.Errorf("%+v", doc)
	}
	ids, purls := map[string]bool{}, map[string]bool{}
	for _, p := range doc.Packages {
		if ids[string(p.PackageSPDXIdentifier)] || p.PackageVersion == "" || p.PackageDownloadLocation == "" ||
			p.FilesAnalyzed {
			t.Errorf("%+v", p)
		}
		ids[string(p.PackageSPDXIdentifier)] = true
		purls[p.PackageExternalReferences[0].Locator] = true
	}
	info, err := buildinfo.ReadFile(program)
	testutil.Must(t, err)
	for _, m := range info.Deps {
		if !purls["pkg:golang/"+strings.ToLower(m.Path)+"@"+m.Version] {
			t.Errorf("no package for %s %s", m.Path, m.Version)
		}
	}
	if len(doc.Packages) != len(info.Deps)+2 || len(doc.Relationships) != len(doc.Packages) {
		t.Errorf("%d packages and %d relationships for %d modules", len(doc.Packages), len(doc.Relationships),
			len(info.Deps))
	}
}

// A module of edge that a folder stands for, as in edge-bench, has the version of the release.
func TestSPDX_modulesInFolders(t *testing.T) {
	r := of(t)
	m := &debug.Module{Path: "example.com/a", Version: "v0.0.0", Replace: &debug.Module{Path: "../.."}}
	if p := r.moduleOf(3, m); p.PackageExternalReferences[0].Locator != "pkg:golang/example.com/a@1.2.3" {
		t.Errorf("%+v", p)
	}
}

// Helm takes the version of a chart from the chart.
func TestChart(t *testing.T) {
	r := of(t)
	r.version = "0.1.0-rc.1"
	testutil.Must(t, r.chart(nil))
	show := exec.Command("tar", "xzOf", filepath.Join(r.out, "edge-chart-0.1.0-rc.1.tgz"), "edge/Chart.yaml")
	out, err := show.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nversion: 0.1.0-rc.1\n") {
		t.Errorf("%v\n%s", err, out)
	}
	r.version = "9.9.9"
	if err := r.chart(nil); err == nil || !strings.Contains(err.Error(), "no line") {
		t.Error(err)
	}
}

// sha256sum reads what writeSums writes.
func TestSums(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.tar.gz", "a.deb", sumsName, sumsName + ".minisig"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Must(t, writeSums(dir))
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
	if err := writeSums(filepath.Join(t.TempDir(), "none")); err == nil {
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
		make := exec.Command("bash", "-euc", "umask "+[]string{"022", "077"}[i]+"\n"+everything)
		make.Dir, make.Env = dir, append(os.Environ(), settings...)
		if out, err := make.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		sums[i] = read(t, filepath.Join(dir, "dist", sumsName))
	}
	t.Logf("%s", sums[0])
	if bytes.Count(sums[0], []byte("\n")) != 27 || !bytes.Equal(sums[0], sums[1]) {
		t.Errorf("not the same as\n%s", sums[1])
	}
}

// everything is how make dist makes them. No tree of git is there: the notes are of the first release.
const everything = `go run -C packaging/dist . -version v0.1.0 -commit abc -epoch 1767225600`

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
