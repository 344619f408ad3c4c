package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// madeRelease returns the folder of make release, and skips the test without one.
func madeRelease(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("EDGE_RELEASE")
	if dir == "" {
		t.Skip("checks the files of a release: make release-check sets EDGE_RELEASE")
	}
	return dir
}

// theFile returns the one file of a release that a pattern finds.
func theFile(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(madeRelease(t), pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

// All files are there, no larger than a page says, and with the sums and signatures that are beside them.
func TestRelease_files(t *testing.T) {
	dir := madeRelease(t)
	const million = 1000 * 1000
	for pattern, most := range map[string]int64{
		"edge-[0-9]*-linux-*.tar.gz": 12 * million, "edge_*.deb": 12 * million, "edge-[0-9]*.rpm": 12 * million,
		"edge-image-*.tar": 30 * million, "edge-bench-*-linux-*.tar.gz": 12 * million,
		"edge-import-*-linux-*.tar.gz": 12 * million, "edge-chart-*.tgz": million, "edge-notes-*.md": million,
		"edge-[0-9]*.spdx.json": million, "edge-bench-*.spdx.json": million, "edge-import-*.spdx.json": million,
		"edge-bench_*.deb": 12 * million, "edge-import_*.deb": 12 * million,
	} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		want := 2 // processors
		for _, once := range []string{"image", "chart", "notes"} {
			if strings.Contains(pattern, once) {
				want = 1
			}
		}
		if err != nil || len(found) != want {
			t.Errorf("%s: %q, %v", pattern, found, err)
		}
		for _, name := range found {
			if at, err := os.Stat(name); err != nil || at.Size() > most {
				t.Errorf("%s: %d bytes, %v", name, at.Size(), err)
			}
		}
	}
	command(t, dir, "sha256sum", "--quiet", "--strict", "--check", "SHA256SUMS")
	if key := os.Getenv("EDGE_RELEASE_KEY"); key != "" {
		command(t, dir, tool(t, "minisign"), "-V", "-p", key, "-m", "SHA256SUMS")
	}
}

// section returns the blocks of shell commands below a heading of docs/install.md.
func section(t *testing.T, heading string) (blocks []string) {
	t.Helper()
	_, text, found := strings.Cut(read(t, "../docs/install.md"), "\n## "+heading)
	text, _, _ = strings.Cut(text, "\n## ")
	for found {
		_, text, found = strings.Cut(text, "\n```sh\n")
		block, rest, ends := strings.Cut(text, "\n```")
		if found && ends {
			blocks, text = append(blocks, block), rest
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("no commands below %q", heading)
	}
	return blocks
}

// withSystemd makes a systemctl that does with edge what systemd would do by its unit.
func withSystemd(t *testing.T) string {
	t.Helper()
	u := readUnit(t, unitFile)
	return `
mkdir -p /run/systemd/system
rm -f /usr/bin/systemctl
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
` + asEdge + `
case "$*" in
"enable --now edge" | "enable --now edge.service")
	[ ! -e /run/edge/edge.pid ] || exit 0
	install -d -o edge -g edge -m 750 /run/edge
	STATE_DIRECTORY=/var/lib/edge $as --no-new-privs ` + u["Service.ExecStart"][0] + ` >/tmp/edge.log 2>&1 &
	curl -sS --retry 50 --retry-delay 1 --retry-connrefused --max-time 60 http://127.0.0.1/ >/dev/null ;;
"reload edge") $as --no-new-privs ` + u["Service.ExecReload"][0] + ` ;;
"disable --now"*) edge stop -c /etc/edge/edge.toml ;;
"--quiet is-active edge.service") [ -e /run/edge/edge.pid ] ;;
esac
END
chmod 755 /usr/bin/systemctl
cd /pkg
`
}

// The commands of docs/install.md do what the page says, on a copy of this machine.
func TestRelease_install(t *testing.T) {
	tool(t, "rpm")
	dir := madeRelease(t)
	deb := section(t, "Debian")
	rpm := strings.ReplaceAll(section(t, "Fedora")[0], "rpm -U ", "rpm --initdb\nrpm -U --nodeps ")
	archive := section(t, "Archive")[0]
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"deb", withSystemd(t) + deb[0] + "\necho '# mine' >>/etc/edge/edge.toml\n" + deb[1] + `
` + deb[0] + `
tail -n 1 /etc/edge/edge.toml
edge upgrade -c /etc/edge/edge.toml
apt-get install ./edge-bench_*_amd64.deb ./edge-import_*_amd64.deb
edge bench --version
apt-get -y remove edge
test -e /etc/edge/edge.toml && test ! -e /usr/bin/edge
apt-get -y purge edge
test ! -e /etc/edge/edge.toml && test ! -e /var/log/edge && echo gone`,
			[]string{"<html", "configuration OK", "# mine", "edge: upgraded: process ", "edge-bench version", "gone"}},
		{"rpm", withSystemd(t) + rpm + "\nrpm -e --nodeps edge\ntest ! -e /usr/bin/edge && echo gone",
			[]string{"<html", "gone"}},
		{"archive", "cd /pkg\n" + archive + ` >/tmp/proxy.log &
edge serve-demo --listen 127.0.0.1:3000 >/dev/null &
curl -sS --retry 50 --retry-delay 1 --retry-connrefused --max-time 60 http://127.0.0.1:8080/`,
			[]string{"edge serve-demo: an origin"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := onMachine(t, dir, "export DEBIAN_FRONTEND=noninteractive\n"+c.script+"\necho 'all done'\n")
			for _, want := range append(c.want, "all done") {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

// make install of a clone puts edge on the PATH.
func TestRelease_source(t *testing.T) {
	dir, root := madeRelease(t), testutil.Root(t)
	commands := strings.Replace(section(t, "From source")[0], "https://github.com", "file:///tmp", 1)
	out := onMachine(t, dir, "mkdir /tmp/edge-proxy /tmp/fresh\nln -s '"+root+"' /tmp/edge-proxy/edge\ncd /tmp/fresh\n"+
		commands+"\n")
	if !strings.Contains(out, "\nedge ") {
		t.Error(out)
	}
}

// The package takes the place of an older one, of the last tag or else of the commit before, under load: no request is
// lost.
func TestRelease_upgrade(t *testing.T) {
	_, root := madeRelease(t), testutil.Root(t)
	tool(t, "wrk")
	before := t.TempDir()
	command(t, root, "bash", "-euo", "pipefail", "-c", `
tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null || echo HEAD^)
git archive "$tag" | tar -x -C "$1"
go run -C packaging/dist . -source "$1" -version 0.0.1 -arch amd64 -parts archives -out "$1/dist"
go run -C packaging/deb . -archive "$1"/dist/edge-0.0.1-linux-amd64.tar.gz -out "$1/dist"
`, "-", before)
	pkg := t.TempDir()
	older := filepath.Join(before, "dist", "edge_0.0.1_amd64.deb")
	for _, from := range []string{older, theFile(t, "edge_*_amd64.deb")} {
		copyTo(t, from, filepath.Join(pkg, filepath.Base(from)))
	}
	out := onMachine(t, pkg, withSystemd(t)+`
dpkg -i edge_0.0.1_amd64.deb
edge version | sed -n '1s/^/before: /p'
wrk -t 1 -c 32 -d 15s http://127.0.0.1/ >/tmp/load 2>&1 &
until [ "$(wc -l </var/log/edge/access.log)" -gt 1000 ]; do sleep 0.1; done
mv edge_0.0.1_amd64.deb /
dpkg -i edge_*_amd64.deb
edge upgrade -c /etc/edge/edge.toml
edge status -c /etc/edge/edge.toml
wait $!
cat /tmp/load
curl -sS http://127.0.0.1/ | grep -o '<html'
`)
	if !strings.Contains(out, "before: edge 0.0.1") || !strings.Contains(out, "edge: upgraded") ||
		!strings.Contains(out, "requests in") || !strings.Contains(out, "\n<html") {
		t.Error(out)
	}
	for _, lost := range []string{"Socket errors", "Non-2xx"} {
		if strings.Contains(out, lost) {
			t.Errorf("%s:\n%s", lost, out)
		}
	}
}

// layout has the fields by which the files of an OCI layout name each other.
type layout struct {
	Manifests []struct {
		Digest   string
		Platform struct{ Architecture string }
	}
	Layers []struct{ Digest string }
	Config struct{ Digest string }
}

// unpackLayout makes the file system of the image for this machine, by tar alone, and returns its command line and
// environment.
func unpackLayout(t *testing.T, archive string) (root string, line, env []string) {
	t.Helper()
	dir := openDir(t)
	root = filepath.Join(dir, "root")
	testutil.Must(t, os.Mkdir(root, 0o755)) //nolint:gosec // as an engine makes it
	command(t, dir, "tar", "xf", archive)
	at := func(digest string) string { return filepath.Join(dir, "blobs", strings.Replace(digest, ":", "/", 1)) }
	parse := func(file string, to any) {
		t.Helper()
		if err := json.Unmarshal([]byte(read(t, file)), to); err != nil {
			t.Fatal(err)
		}
	}
	var outer, index, manifest layout
	parse(filepath.Join(dir, "index.json"), &outer)
	parse(at(outer.Manifests[0].Digest), &index)
	for _, m := range index.Manifests {
		if m.Platform.Architecture == runtime.GOARCH {
			parse(at(m.Digest), &manifest)
		}
	}
	for _, layer := range manifest.Layers {
		command(t, root, "tar", "xzpf", at(layer.Digest), "--numeric-owner")
	}
	var config struct {
		Config struct{ Entrypoint, Cmd, Env []string }
	}
	parse(at(manifest.Config.Digest), &config)
	return root, slices.Concat(config.Config.Entrypoint, config.Config.Cmd), config.Config.Env
}

// The image answers from its layout as the one of the Dockerfile does.
func TestRelease_image(t *testing.T) {
	root, line, env := unpackLayout(t, theFile(t, "edge-image-*.tar"))
	runImage(t, root, line, env)
}

// The program for the other processor serves, emulated.
func TestRelease_arm64(t *testing.T) {
	qemu, dir := tool(t, "qemu-aarch64-static"), t.TempDir()
	command(t, dir, "tar", "xzf", theFile(t, "edge-[0-9]*-linux-arm64.tar.gz"), "--strip-components=1")
	conf := filepath.Join(dir, "arm.toml")
	testutil.Must(t, os.WriteFile(conf, []byte("[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\n"+
		"dest = \"hello\"\n"), 0o600))
	p := testutil.Start(t, testutil.Command{Path: qemu, Args: []string{filepath.Join(dir, "edge"), "run", "-c", conf}})
	addr := p.WaitLine(`"msg":"listening".*"address":"(127[^"]+)"`)[1]
	out, err := exec.Command(tool(t, "curl"), "-sS", "--noproxy", "*", "http://"+addr+"/").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "<html") {
		t.Errorf("%v\n%s", err, out)
	}
	command(t, dir, qemu, "./edge", "version")
}
