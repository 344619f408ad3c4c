package packaging

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// onMachine runs a script as root on a copy of this machine: an overlay of its root, of which nothing is kept, with
// processes and a network of its own, and without what edge has left on this one. The files of the folder pkg are in
// /pkg. It returns the output.
func onMachine(t *testing.T, pkg, script string) string {
	t.Helper()
	for _, name := range []string{"unshare", "chroot", "ip", "setpriv", "curl"} {
		tool(t, name)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a copy of this machine")
	}
	const begin = `mount -t tmpfs none "$1"; cd "$1"; mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc; mount --bind /dev root/dev; mkdir -p root/pkg; cp -a "$2"/. root/pkg/
ip link set lo up; rm -rf root/run/systemd root/run/edge root/etc/edge root/var/lib/edge root/var/log/edge
exec chroot root /bin/sh -eu -c "$3"`
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "/bin/sh", "-eu",
		"-c", begin, "sh", t.TempDir(), pkg, script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// packages makes packages of two versions of this tree, 1.2.3 and 1.2.4, by the commands of make, and returns their
// folder. of makes the package of an archive. Made again, the one called same has to have the same bytes.
func packages(t *testing.T, same string, of func(archive, out string)) string {
	t.Helper()
	if os.Getenv("EDGE_PACKAGES") == "" {
		t.Skip("links edge twice and copies the machine: EDGE_PACKAGES=1, or make packages-check")
	}
	dir, root := t.TempDir(), testutil.Root(t)
	for _, version := range []string{"1.2.3", "1.2.4"} {
		command(t, root, "go", "run", "-C", "packaging/dist", ".", "-parts", "archives", "-version", version, "-arch",
			"amd64", "-epoch", "1767225600", "-out", dir)
	}
	again := t.TempDir()
	for _, out := range []string{dir, again} {
		for _, version := range []string{"1.2.3", "1.2.4"} {
			for _, program := range []string{"edge", "edge-bench", "edge-import"} {
				of(filepath.Join(dir, program+"-"+version+"-linux-amd64.tar.gz"), out)
			}
		}
	}
	one, err := os.ReadFile(filepath.Join(dir, same))
	two, err2 := os.ReadFile(filepath.Join(again, same))
	if err != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Errorf("%s is not the same when it is made again: %v, %v", same, err, err2)
	}
	return dir
}

func command(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// asEdge sets $as to the words that run a command as the unit does: as its user, with its one right of root.
const asEdge = `as="setpriv --reuid edge --regid edge --init-groups ` +
	`--inh-caps=+net_bind_service --ambient-caps=+net_bind_service"`

// served starts edge as the unit does, asks it, and ends it. The lines are those of the unit: systemd is not there.
func served(t *testing.T) string {
	t.Helper()
	u := readUnit(t, unitFile)
	start, reload := u["Service.ExecStart"][0], u["Service.ExecReload"][0]
	return `
install -d -o edge -g edge -m 750 /run/edge
export STATE_DIRECTORY=/var/lib/edge
` + asEdge + `
$as --no-new-privs ` + start + ` >/tmp/edge.log 2>&1 &
ask() {
	curl -sSk --noproxy '*' --retry 50 --retry-delay 1 --retry-connrefused --max-time 60 "$1" | grep -o '<html' ||
		{ cat /tmp/edge.log; exit 1; }
}
ask http://127.0.0.1/
ask https://127.0.0.1/
edge status -c /etc/edge/edge.toml
$as --no-new-privs ` + reload + `
edge stop -c /etc/edge/edge.toml
wait $!
grep -q '"status":200' /var/log/edge/access.log
rm /tmp/edge.log
`
}

// rights prints the owners and rights of what a package has installed.
const rights = `stat -c '%n %U:%G %a' /etc/edge /etc/edge/edge.toml /etc/edge/tls /var/lib/edge /var/log/edge \
	/usr/bin/edge /usr/lib/systemd/system/edge.socket`

var wantRights = []string{
	"/etc/edge root:edge 750", "/etc/edge/edge.toml root:edge 640", "/etc/edge/tls root:edge 750",
	"/var/lib/edge edge:edge 750", "/var/log/edge edge:edge 750", "/usr/bin/edge root:root 755",
	"/usr/lib/systemd/system/edge.socket root:root 644",
}

// asSystemd notes what a package asks of systemd, in the place of it, and whether the unit of the socket is there.
const asSystemd = `
mkdir -p /run/systemd/system
rm -f /usr/bin/systemctl
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
socket=$(ls /usr/lib/systemd/system/edge.socket 2>/dev/null)
echo "systemctl $* ${socket:-no socket}" >>/tmp/asked
END
chmod 755 /usr/bin/systemctl
`

// What a package asks, in its order: at the first installation, an update and the removal.
var (
	withSocket = " /usr/lib/systemd/system/edge.socket\n"
	atFirst    = "systemctl daemon-reload" + withSocket + "systemctl enable --now edge.service" + withSocket
	atUpdate   = "systemctl daemon-reload" + withSocket + "systemctl --quiet is-active edge.service" + withSocket
	reloaded   = "systemctl daemon-reload" + withSocket
	atRemoval  = "systemctl disable --now edge.socket edge.service" + withSocket +
		"systemctl daemon-reload no socket\n"
)

// A package for Debian is installed, serves as the user that it makes, is updated without touching a changed
// configuration, removed, and purged.
func TestDeb(t *testing.T) {
	tool(t, "dpkg")
	dir := packages(t, "edge_1.2.3_amd64.deb", func(archive, out string) {
		command(t, "deb", "go", "run", ".", "-archive", archive, "-out", out)
	})
	out := onMachine(t, dir, `
dpkg -i /pkg/edge_1.2.3_amd64.deb
`+rights+`
getent passwd edge
edge version
zcat /usr/share/man/man1/edge.1.gz | grep -c 'edge run'
dpkg --verify edge
`+served(t)+`
echo '# mine' >>/etc/edge/edge.toml
dpkg -i /pkg/edge_1.2.4_amd64.deb
edge version
dpkg -i /pkg/edge-bench_1.2.4_amd64.deb /pkg/edge-import_1.2.4_amd64.deb
dpkg --verify edge-bench edge-import
edge bench --version
edge import --help | grep -c nginx
dpkg -P edge-bench edge-import
test ! -e /usr/bin/edge-bench && test ! -e /usr/bin/edge-import && test -e /usr/bin/edge
tail -n 1 /etc/edge/edge.toml
stat -c 'updated %U:%G %a' /etc/edge/edge.toml
dpkg -r edge
test ! -e /usr/bin/edge && test ! -e /usr/lib/systemd/system/edge.service && test -s /etc/edge/edge.toml
dpkg -P edge
test ! -e /etc/edge && test ! -e /var/lib/edge && test ! -e /var/log/edge && test ! -e /run/edge
`+asSystemd+`
dpkg -i /pkg/edge_1.2.3_amd64.deb
dpkg -i /pkg/edge_1.2.4_amd64.deb
dpkg -r edge
dpkg -i /pkg/edge_1.2.4_amd64.deb
test ! -e /var/lib/edge/.removed
dpkg -i /pkg/edge_1.2.4_amd64.deb
cat /tmp/asked
echo "all done"
`)
	hasLines(t, out, slices.Concat(wantRights, []string{"edge 1.2.3 (", "edge 1.2.4 (", "# mine",
		"updated root:edge 640",
		atFirst + reloaded + atUpdate + atRemoval + atFirst + reloaded + atUpdate + "all done"}))
}

// The same for the package of rpm, which is installed without its dependencies: those of a Debian machine are not
// rpm's.
func TestRPM(t *testing.T) {
	tool(t, "rpmbuild")
	tool(t, "rpm")
	dir := packages(t, "edge-1.2.3-1.x86_64.rpm", func(archive, out string) {
		command(t, "rpm", "./build.sh", archive, out)
	})
	out := onMachine(t, dir, `
rpm --initdb
rpm -i --nodeps /pkg/edge-1.2.3-1.x86_64.rpm
`+rights+`
edge version
rpm -q --configfiles edge
rpm -V --nodeps edge
`+served(t)+`
rpm -V --nodeps edge
echo '# mine' >>/etc/edge/edge.toml
rpm -U --nodeps /pkg/edge-1.2.4-1.x86_64.rpm
edge version
rpm -i --nodeps /pkg/edge-bench-1.2.4-1.x86_64.rpm /pkg/edge-import-1.2.4-1.x86_64.rpm
edge bench --version
edge import --help | grep -c nginx
rpm -e --nodeps edge-bench edge-import
test ! -e /usr/bin/edge-bench && test ! -e /usr/bin/edge-import && test -e /usr/bin/edge
tail -n 1 /etc/edge/edge.toml
stat -c 'updated %U:%G %a' /etc/edge/edge.toml
rm -r /var/lib/edge/* /var/log/edge/*
rpm -e --nodeps edge
test ! -e /usr/bin/edge && test ! -e /usr/lib/systemd/system/edge.service && test ! -e /usr/share/licenses/edge
test ! -e /var/lib/edge && test ! -e /var/log/edge
ls /etc/edge
`+asSystemd+`
rpm -i --nodeps /pkg/edge-1.2.3-1.x86_64.rpm
rpm -U --nodeps /pkg/edge-1.2.4-1.x86_64.rpm
rpm -e --nodeps edge
rpm -i --nodeps /pkg/edge-1.2.4-1.x86_64.rpm
cat /tmp/asked
echo "all done"
`)
	hasLines(t, out, slices.Concat(wantRights, []string{"edge 1.2.3 (", "edge 1.2.4 (", "# mine",
		"updated root:edge 640", "edge.toml.rpmsave",
		atFirst + atUpdate + reloaded + atRemoval + atFirst + "all done"}))
}

// hasLines fails unless out has a line that begins with each of want, in any order.
func hasLines(t *testing.T, out string, want []string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains("\n"+out, "\n"+w) {
			t.Errorf("no line %q", w)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// The scripts of packages are what a shell of POSIX takes.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*.sh")
	if err != nil || len(scripts) != 3 {
		t.Fatal(scripts, err)
	}
	for _, s := range scripts {
		if out, err := exec.Command("sh", "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s, err, out)
		}
	}
	if out, err := exec.Command("bash", "-n", "rpm/build.sh").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
