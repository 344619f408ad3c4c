package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// machine is a Host made of values. The zero value of a field is good; files are below root.
type machine struct {
	root          string
	env           map[string]string
	hard          uint64
	uid, cpus     int
	release       string
	unsynced      bool
	bytes, inodes float64
	refused       map[string]error
	took          time.Duration
	unknown       bool // no name is
	acl           bool // of all files
	now           time.Time
}

func (m *machine) Path(name string) string                     { return filepath.Join(m.root, name) }
func (m *machine) Getenv(name string) string                   { return m.env[name] }
func (m *machine) Descriptors() (soft, hard uint64, err error) { return m.hard, m.hard, nil }
func (m *machine) UID() int                                    { return m.uid }
func (m *machine) CPUs() int                                   { return m.cpus }
func (m *machine) Release() string                             { return m.release }
func (m *machine) Now() time.Time                              { return m.now }
func (m *machine) Synchronised() (bool, error)                 { return !m.unsynced, nil }
func (m *machine) Probe(call string) error                     { return m.refused[call] }
func (m *machine) Addresses() ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.7")}, nil
}
func (m *machine) HasACL(string) bool                              { return m.acl }
func (m *machine) Space(string) (bytes, inodes float64, err error) { return m.bytes, m.inodes, nil }

func (m *machine) LookUp(string) (time.Duration, error) {
	if m.unknown {
		return 0, errors.New("no such host")
	}
	return m.took, nil
}

func (m *machine) Sum(path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(b), err
}

// good are files of a machine that nothing is wrong with.
var good = map[string]string{
	"/proc/sys/net/core/somaxconn":                                       "16384",
	"/proc/sys/net/core/rmem_max":                                        "4194304",
	"/proc/sys/net/ipv4/tcp_max_syn_backlog":                             "16384",
	"/proc/sys/net/ipv4/tcp_syncookies":                                  "1",
	"/proc/sys/net/ipv4/tcp_abort_on_overflow":                           "0",
	"/proc/sys/net/ipv4/ip_local_port_range":                             "1024\t65535",
	"/proc/sys/net/ipv4/ip_unprivileged_port_start":                      "1024",
	"/proc/sys/net/netfilter/nf_conntrack_count":                         "10",
	"/proc/sys/net/netfilter/nf_conntrack_max":                           "262144",
	"/proc/sys/fs/nr_open":                                               "1048576",
	"/proc/self/cgroup":                                                  "0::/edge\n",
	"/sys/fs/cgroup/edge/cpu.max":                                        "max 100000",
	"/sys/fs/cgroup/edge/cpu.stat":                                       "usage_usec 1\nnr_throttled 0\n",
	"/sys/fs/cgroup/edge/memory.max":                                     "max",
	"/sys/fs/cgroup/edge/memory.events":                                  "low 0\nhigh 0\noom_kill 0\n",
	"/sys/fs/cgroup/edge/pids.max":                                       "4096",
	"/sys/kernel/mm/transparent_hugepage/enabled":                        "always [madvise] never",
	"/sys/devices/system/clocksource/clocksource0/current_clocksource":   "kvm-clock",
	"/sys/devices/system/clocksource/clocksource0/available_clocksource": "kvm-clock tsc acpi_pm",
}

const (
	conntrackHead = "entries  invalid insert_failed drop\n"

	plainFile = "[http]\nlisten = \"192.0.2.7:8080\"\n[[routes]]\npattern = \"/*\"\ndest = \"app.example:3000\"\n"
	http3File = "[https]\nlisten = \"192.0.2.7:8080\"\ncert = \"internal\"\nprotocols = [\"h1\", \"h2\", \"h3\"]\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n"
	listFile = plainFile + "[upstreams.a]\ndiscover = \"file:///a/list\"\n"
	tcpHead  = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	// 192.0.2.7:8080 listens.
	tcpOurs = tcpHead + "   0: 070200C0:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1 0 100\n"
)

// Each row is one thing that is wrong with a machine; what is found is that alone, with a line that mends it.
func TestExamine(t *testing.T) {
	holds := func(name, state string) map[string]string {
		return map[string]string{"/proc/net/tcp": tcpOurs, "/proc/812/comm": name + "\n",
			"/proc/812/fd/3 ->": "socket:[77]", "/proc/812/status": "Name:\t" + name + "\nState:\t" + state + "\n"}
	}
	with := func(files map[string]string, name, text string) map[string]string {
		files[name] = text
		return files
	}
	generation := func(parent, arguments string) map[string]string {
		return map[string]string{"/proc/900/comm": "edge\n", "/proc/900/status": "Name:\tedge\nPPid:\t812\n",
			"/proc/812/comm": parent + "\n", "/proc/812/status": "PPid:\t1\n", "/proc/812/cmdline": arguments}
	}
	file := func(name, text string) map[string]string { return map[string]string{name: text} }
	container := func(files map[string]string) map[string]string {
		all := map[string]string{"/.dockerenv": ""}
		maps.Copy(all, files)
		return all
	}
	quota := map[string]string{"/sys/fs/cgroup/edge/cpu.max": "150000 100000"}
	somaxconn := file("/proc/sys/net/core/somaxconn", "128")
	for _, c := range []struct {
		name    string
		files   map[string]string
		change  func(*machine)
		config  string
		running int
		level   Level // "": nothing is found
		check   string
		what    string
		fix     string
	}{
		{name: "good"},
		{name: "good, serving", files: holds("edge", "S (sleeping)"), running: 812},
		{name: "a supervisor has our socket too", files: with(holds("systemd", "S (sleeping)"),
			"/proc/900/fd/5 ->", "socket:[77]"), running: 900},
		{name: "no /proc at all", change: func(m *machine) { m.root = "/nowhere" }},
		{name: "old kernel", change: func(m *machine) { m.release = "4.4.0-1" },
			level: Warning, check: "kernel", what: "older than 4.18", fix: "5.14"},
		{name: "kernel of a while ago", change: func(m *machine) { m.release = "5.10.0" },
			level: Note, check: "kernel", what: "older than 5.14", fix: "5.14"},
		{name: "strange kernel", change: func(m *machine) { m.release = "unknown" }},
		{name: "seccomp", change: func(m *machine) { m.refused = map[string]error{"splice": unix.EPERM} },
			level: Warning, check: "calls", what: "splice(2)", fix: "SystemCallFilter=@system-service"},
		{name: "few files", change: func(m *machine) { m.hard = 1024 },
			level: Warning, check: "descriptors", what: "1024 files; ", fix: "LimitNOFILE=1048576"},
		{name: "few files in a container", change: func(m *machine) { m.hard = 1024 }, files: container(nil),
			level: Warning, check: "descriptors", what: "1024 files; ", fix: "docker run --ulimit nofile=1048576"},
		{name: "few files of the machine", change: func(m *machine) { m.hard = 1024 },
			files: file("/proc/sys/fs/nr_open", "65536"),
			level: Warning, check: "descriptors", fix: "sysctl -w fs.nr_open=1048576"},
		{name: "a folder that can be watched", config: listFile},
		{name: "no instance of inotify", config: listFile,
			change: func(m *machine) { m.refused = map[string]error{"inotify": unix.EMFILE} },
			level:  Warning, check: "inotify", what: "polled", fix: "sysctl -w fs.inotify.max_user_instances=1024"},
		{name: "no instance of inotify, and none needed",
			change: func(m *machine) { m.refused = map[string]error{"inotify": unix.EMFILE} }},
		{name: "short queue", files: somaxconn,
			level: Warning, check: "backlog", what: "is 128", fix: "sysctl -w net.core.somaxconn=16384"},
		{name: "short queue in docker", files: container(somaxconn),
			level: Warning, check: "backlog", fix: `docker run --sysctl net.core.somaxconn="16384"`},
		{name: "short queue in kubernetes", files: somaxconn,
			change: func(m *machine) { m.env = map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"} },
			level:  Warning, check: "backlog", fix: `sysctls: [{name: net.core.somaxconn, value: "16384"}]`},
		{name: "short queue of SYNs", files: file("/proc/sys/net/ipv4/tcp_max_syn_backlog", "2048"),
			level: Warning, check: "backlog", what: "2048", fix: "tcp_max_syn_backlog=16384"},
		{name: "no cookies", files: file("/proc/sys/net/ipv4/tcp_syncookies", "0"),
			level: Warning, check: "syn", fix: "tcp_syncookies=1"},
		{name: "resets", files: file("/proc/sys/net/ipv4/tcp_abort_on_overflow", "1"),
			level: Warning, check: "syn", fix: "tcp_abort_on_overflow=0"},
		{name: "few ports", files: file("/proc/sys/net/ipv4/ip_local_port_range", "50000 60000"),
			level: Warning, check: "ports", what: "10001 ports", fix: `net.ipv4.ip_local_port_range="1024 65535"`},
		{name: "full table", files: file("/proc/sys/net/netfilter/nf_conntrack_count", "262000"),
			level: Warning, check: "conntrack", what: "262000 connections of 262144", fix: "nf_conntrack_max=1048576"},
		{name: "full table in a container",
			files: container(file("/proc/sys/net/netfilter/nf_conntrack_count", "262000")),
			level: Warning, check: "conntrack", fix: "not in the container: sysctl -w net.netfilter"},
		{name: "port of root", config: strings.Replace(plainFile, ":8080", ":80", 1),
			level: Error, check: "rights", what: "user 1000 may not listen on port 80", fix: "AmbientCapabilities="},
		{name: "port of root, by a capability", config: strings.Replace(plainFile, ":8080", ":80", 1),
			files: file("/proc/self/status", "Name:\tedge\nCapEff:\t0000000000000400\n")},
		{name: "port of root, by root", config: strings.Replace(plainFile, ":8080", ":80", 1),
			change: func(m *machine) { m.uid = 0 }},
		{name: "port for all", config: strings.Replace(plainFile, ":8080", ":80", 1),
			files: file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")},
		{name: "address of another machine", config: strings.Replace(plainFile, "192.0.2.7", "192.0.2.8", 1),
			level: Error, check: "address", what: "192.0.2.8:8080: no interface", fix: "ip address add 192.0.2.8"},
		{name: "address that may come", config: strings.Replace(plainFile, "192.0.2.7", "192.0.2.8", 1),
			files: file("/proc/sys/net/ipv4/ip_nonlocal_bind", "1")},
		{name: "no IPv6", config: strings.Replace(plainFile, "192.0.2.7", "[::]", 1),
			files: file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"),
			level: Error, check: "address", what: "IPv6 is off", fix: "disable_ipv6=0"},
		{name: "HTTP/3", config: http3File},
		{name: "little room for datagrams", config: http3File, files: file("/proc/sys/net/core/rmem_max", "212992"),
			level: Warning, check: "udp", what: "is 212992: ", fix: "sysctl -w net.core.rmem_max=4194304"},
		{name: "little room for datagrams in a container", config: http3File,
			files: container(file("/proc/sys/net/core/rmem_max", "212992")),
			level: Warning, check: "udp", fix: "not in the container: sysctl -w net.core.rmem_max=4194304"},
		{name: "little room for datagrams, not for CAP_NET_ADMIN", config: http3File, files: map[string]string{
			"/proc/sys/net/core/rmem_max": "212992", "/proc/self/status": "CapEff:\t0000000000001000\n"}},
		{name: "little room for datagrams, and none needed", files: file("/proc/sys/net/core/rmem_max", "212992"),
			change: func(m *machine) { m.refused = map[string]error{"UDP_SEGMENT": unix.ENOPROTOOPT} }},
		{name: "no runs of datagrams", config: http3File,
			change: func(m *machine) { m.refused = map[string]error{"UDP_SEGMENT": unix.ENOPROTOOPT} },
			level:  Note, check: "udp", what: "UDP_SEGMENT of UDP sockets is refused (protocol not", fix: "seccomp"},
		{name: "no steering", config: http3File,
			change: func(m *machine) { m.refused = map[string]error{"SO_ATTACH_REUSEPORT_CBPF": unix.EPERM} },
			level:  Note, check: "udp", what: "SO_ATTACH_REUSEPORT_CBPF of UDP sockets is refused", fix: "seccomp"},
		{name: "taken", files: holds("nginx", "S (sleeping)"),
			level: Error, check: "sockets", what: "nginx, process 812, listens there", fix: "kill 812"},
		{name: "taken by a service", files: with(holds("nginx", "S (sleeping)"), "/proc/812/cgroup",
			"1:cpu:/a.service\n0::/system.slice/nginx.service\n"), level: Error, check: "sockets",
			what: "nginx, process 812, listens there: the service nginx.service",
			fix:  "systemctl disable --now nginx.service"},
		{name: "taken by a process of no service", files: with(holds("nginx", "S (sleeping)"), "/proc/812/cgroup",
			"0::/init.scope\n"), level: Error, check: "sockets", what: "nginx, process 812, listens there",
			fix: "kill 812"},
		{name: "taken by a process and its children", files: with(with(with(holds("nginx", "S (sleeping)"),
			"/proc/813/comm", "nginx\n"), "/proc/813/fd/5 ->", "socket:[77]"), "/proc/813/status", "PPid:\t812\n"),
			level: Error, check: "sockets", what: "nginx, process 812, listens there", fix: "kill 812"},
		{name: "stopped", files: holds("edge", "T (stopped)"), running: 900,
			level: Error, check: "sockets", what: "is stopped", fix: "kill -CONT 812"},
		{name: "another edge", files: holds("edge", "S (sleeping)"), running: 900,
			level: Warning, check: "sockets", what: "another edge, process 812", fix: "kill 812"},
		{name: "edge without a pid file", files: holds("edge", "S (sleeping)"),
			level: Note, check: "sockets", what: "listens there already"},
		{name: "a unit of a socket", files: map[string]string{"/proc/net/tcp": tcpOurs, "/proc/1/comm": "systemd\n",
			"/proc/1/fd/40 ->": "socket:[77]"},
			level: Note, check: "sockets", what: "systemd, process 1, has opened it"},
		{name: "another user", files: file("/proc/net/tcp", tcpOurs),
			level: Note, check: "sockets", what: "another user", fix: "sudo ss -ltnp 'sport = :8080'"},
		{name: "dropped", files: file("/proc/net/stat/nf_conntrack", conntrackHead+"0a 00 00 02\n0a 00 00 10\n"),
			level: Note, check: "conntrack", what: "dropped 18 packets", fix: "nf_conntrack_max=1048576"},
		{name: "tracked as others", files: file("/proc/net/stat/nf_conntrack", conntrackHead+"0a 00 03 00\n"),
			level: Note, check: "conntrack", what: "dropped 3 packets of new connections", fix: "notrack"},
		{name: "nothing dropped", files: file("/proc/net/stat/nf_conntrack", conntrackHead+"0a ff 00 00\nx\n")},
		{name: "draining", files: generation("edge", "edge\x00run\x00"), running: 900,
			level: Note, check: "generations", what: "process 812, of before an upgrade, drains", fix: "kill 812"},
		{name: "below --supervise", files: generation("edge", "edge\x00run\x00--supervise\x00"), running: 900},
		{name: "started by a shell", files: generation("bash", "bash\x00"), running: 900},
		{name: "small quota", files: quota, config: "[global]\nworker_threads = 2\n" + plainFile,
			level: Warning, check: "cpu", what: "2 event loops have a quota of 1.5 CPUs", fix: "CPUQuota=200%"},
		{name: "quota, and loops by it", files: quota},
		{name: "throttled", files: file("/sys/fs/cgroup/edge/cpu.stat", "nr_throttled 31\n"),
			level: Note, check: "cpu", what: "31 times", fix: "CPUQuota="},
		{name: "little memory", files: file("/sys/fs/cgroup/edge/memory.max", "67108864"),
			level: Warning, check: "memory", what: "64 MiB; 4 event loops want 128", fix: "MemoryMax=128M"},
		{name: "memory was short", files: file("/sys/fs/cgroup/edge/memory.events", "high 3\n"),
			level: Note, check: "memory", what: "high 3", fix: "memory_limit"},
		{name: "few threads", files: file("/sys/fs/cgroup/edge/pids.max", "20"),
			level: Warning, check: "tasks", what: "20 threads", fix: "TasksMax=256"},
		{name: "huge pages", files: file("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
			level: Note, check: "thp", fix: "echo madvise > /sys/kernel"},
		{name: "slow clock", files: file("/sys/devices/system/clocksource/clocksource0/current_clocksource", "acpi_pm"),
			level: Warning, check: "clock", what: "acpi_pm", fix: "echo tsc > /sys/devices"},
		{name: "clock of its own", change: func(m *machine) { m.unsynced = true },
			level: Note, check: "clock", fix: "timedatectl set-ntp true"},
		{name: "slow resolver", change: func(m *machine) { m.took = 1500 * time.Millisecond },
			level: Warning, check: "resolver", what: "app.example took 1.5s", fix: "resolv.conf"},
		{name: "no resolver", change: func(m *machine) { m.unknown = true },
			level: Warning, check: "resolver", what: "no such host", fix: "getent ahosts app.example"},
		{name: "SELinux", files: file("/sys/fs/selinux/enforce", "1"),
			level: Note, check: "labels", what: "port 8080", fix: "semanage port -a -t http_port_t -p tcp 8080"},
		{name: "AppArmor", files: file("/proc/900/attr/apparmor/current", "usr.bin.edge (enforce)"), running: 900,
			level: Note, check: "labels", what: "usr.bin.edge", fix: "journalctl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, c.files)
			if c.change != nil {
				c.change(m)
			}
			text := c.config
			if text == "" {
				text = plainFile
			}
			r := Examine(m, parse(t, text), c.running)
			if c.level == "" {
				if len(r.Findings) > 0 {
					t.Errorf("%+v", r.Findings)
				}
				return
			}
			if len(r.Findings) != 1 {
				t.Fatalf("%+v", r.Findings)
			}
			f := r.Findings[0]
			if f.Level != c.level || f.Check != c.check || !strings.Contains(f.What, c.what) ||
				!strings.Contains(strings.Join(f.Fix, "\n"), c.fix) {
				t.Errorf("%+v", f)
			}
			if r.OK() != (c.level != Error) {
				t.Errorf("OK is %v", r.OK())
			}
		})
	}
}

// newMachine returns a machine that nothing is wrong with, but for what these files say.
func newMachine(t *testing.T, files map[string]string) *machine {
	t.Helper()
	m := &machine{root: t.TempDir(), hard: 1 << 20, uid: 1000, cpus: 4, release: "6.18.44-1", bytes: 1, inodes: 1,
		now: time.Now()}
	m.lay(t, good)
	m.lay(t, files)
	return m
}

// findings returns what a check finds.
func findings(m *machine, cfg *config.Config, running int, check string) (found []Finding) {
	for _, f := range Examine(m, cfg, running).Findings {
		if f.Check == check {
			found = append(found, f)
		}
	}
	return found
}

// lay makes files. A name that ends with "->" is a link to the text.
func (m *machine) lay(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name, link := strings.CutSuffix(name, " ->")
		path := m.Path(name)
		testutil.Must(t, os.MkdirAll(filepath.Dir(path), 0o755)) //nolint:gosec // of a test
		if link {
			testutil.Must(t, os.Symlink(text, path))
		} else {
			testutil.Must(t, os.WriteFile(path, []byte(text), 0o644)) //nolint:gosec // of a test
		}
	}
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, report := config.Parse("edge.toml", []byte(text))
	if !report.OK() {
		t.Fatalf("%+v", report.Errors)
	}
	return c
}

func TestExamine_cache(t *testing.T) {
	const folder, none = "/var/cache/edge", "there is no folder /var/cache/edge, where [cache] keeps answers"
	for want, lay := range map[string]func(t *testing.T, m *machine) error{
		none: func(*testing.T, *machine) error { return nil },
		folder + ", the folder of the cache, may be written by others": func(t *testing.T, m *machine) error {
			m.lay(t, map[string]string{folder + "/lock": ""})
			return os.Chmod(m.Path(folder), 0o777) //nolint:gosec // that is what is found
		},
		"": func(t *testing.T, m *machine) error {
			m.lay(t, map[string]string{folder + "/lock": ""})
			return os.Chmod(m.Path(folder), 0o700) //nolint:gosec // a folder
		},
	} {
		m := newMachine(t, nil)
		m.uid, m.bytes, m.inodes = 0, 0.5, 0.5
		testutil.Must(t, lay(t, m))
		found := findings(m, parse(t, plainFile+"\n[cache]\ndisk.path = \""+folder+"\"\n"), 0, "cache")
		if len(found) > 1 || (len(found) == 1) != (want != "") || want != "" && found[0].What != want {
			t.Errorf("%+v, want %q", found, want)
		}
	}
}

// What is wrong with files: certificates, keys, folders of logs, disks, the program.
func TestExamine_files(t *testing.T) {
	m := newMachine(t, map[string]string{"/etc/a.key": "k", "/etc/b.pem": "k", "/var/log/mine/x": "",
		"/srv/logs/x": "", "/opt/edge": "v2", "/old": "v1"})
	m.uid, m.bytes, m.inodes = 0, 0.01, 0.02
	testutil.Must(t, os.Chmod(m.Path("/srv/logs"), 0o777))    //nolint:gosec // that is what is found
	testutil.Must(t, os.Chmod(m.Path("/etc/b.pem"), 0o640))   //nolint:gosec // of a test
	testutil.Must(t, os.MkdirAll(m.Path("/proc/900"), 0o755)) //nolint:gosec // of a test
	testutil.Must(t, os.Symlink(m.Path("/old"), m.Path("/proc/900/exe")))
	m.lay(t, map[string]string{m.Path("/old"): "v2"}) // the file that has the name by now
	c := parse(t, plainFile)
	c.Log.Output = []string{"/var/log/mine/access.log", "stdout"}
	c.Global.ErrorLog = "/srv/logs/error.log"
	c.Certificates = []config.Certificate{
		{Pair: config.Pair{Cert: "/etc/a.pem", Key: "/etc/a.key"}, NotAfter: m.now.Add(-50 * time.Hour)},
		{Pair: config.Pair{Cert: "/etc/b.pem"}, NotAfter: m.now.Add(25 * time.Hour)},
		{Pair: config.Pair{Cert: "/etc/b.pem"}, NotAfter: m.now.Add(25 * time.Hour)},
		{Pair: config.Pair{Cert: config.InternalCert}},
	}
	r := Examine(m, c, 900)
	var out bytes.Buffer
	testutil.Must(t, r.Render(&out))
	for _, want := range []string{
		"error    certificate  /etc/a.pem has expired 2 days ago",
		"warning  certificate  /etc/b.pem expires in 1 day",
		"warning  certificate  /etc/a.key has the rights -rw-r--r--: every user can read the key",
		"chmod o= /etc/a.key",
		"warning  logs         /srv/logs, a folder of logs, may be written by every user",
		"warning  disk         1 % of the disk of /var/log/mine is free",
		"warning  disk         2 % of the inodes of /srv/logs are free",
		"warning  disk         1 % of the disk of /var/lib/edge is free",
		"note     binary       process 900 runs the program that ",
		"29 checks: 1 error, 9 warnings, 1 note\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
	if !slices.IsSortedFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(levels, a.Level) - slices.Index(levels, b.Level)
	}) {
		t.Error("the worst is not first")
	}
}

// The real machine can be looked at, whatever is found.
func TestSystem(t *testing.T) {
	r := Examine(System{}, parse(t, strings.Replace(plainFile, "app.example", "127.0.0.1", 1)), os.Getpid())
	known := map[string]bool{}
	for _, c := range checks {
		known[c.name] = true
	}
	for _, f := range r.Findings {
		if f.What == "" || !known[f.Check] {
			t.Errorf("%+v", f)
		}
	}
	if (System{}).Release() == "" || (System{}).CPUs() == 0 {
		t.Error("no kernel, or no CPU")
	}
	if err := (System{}).Probe("splice"); err != nil && !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
	for _, option := range []string{"UDP_SEGMENT", "SO_ATTACH_REUSEPORT_CBPF"} {
		switch err := (System{}).Probe(option); {
		case err == nil, errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOPROTOOPT):
		default:
			t.Errorf("%s: %v", option, err)
		}
	}
	if err := (System{}).Probe("none"); err == nil {
		t.Error("no error for a probe that does not exist")
	}
	if bytes, inodes, err := (System{}).Space("/"); err != nil || bytes < 0 || bytes > 1 || inodes < 0 || inodes > 1 {
		t.Errorf("%v, %v, %v", bytes, inodes, err)
	}
}

// The page says what each check looks for.
func TestChecks_documented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/doctor.md")
	testutil.Must(t, err)
	for _, c := range checks {
		if !bytes.Contains(page, []byte("\n| `"+c.name+"` |")) {
			t.Errorf("docs/doctor.md has no %s", c.name)
		}
	}
}

// Another process that shares an address makes the setting matter that saves the clients of its socket.
func TestExamine_migration(t *testing.T) {
	for value, want := range map[string]int{"0": 1, "1": 0} {
		for running, more := range map[int]int{900: want, 0: 0} {
			m := newMachine(t, map[string]string{"/proc/sys/net/ipv4/tcp_migrate_req": value, "/proc/net/tcp": tcpOurs,
				"/proc/812/comm": "edge\n", "/proc/812/fd/3 ->": "socket:[77]"})
			found := findings(m, parse(t, plainFile), running, "migration")
			if len(found) != more || more == 1 && (found[0].Level != Note ||
				found[0].Fix[0] != "sysctl -w net.ipv4.tcp_migrate_req=1") {
				t.Errorf("%s, running %d: %+v", value, running, found)
			}
		}
	}
}

// A pid file is stale when its process has ended, and not while it runs.
func TestExamine_pidFile(t *testing.T) {
	ended := exec.Command("true")
	testutil.Must(t, ended.Run())
	for text, want := range map[string]string{
		fmt.Sprint(ended.Process.Pid): "which has ended without removing it",
		fmt.Sprint(os.Getppid()):      "is an old file, and process",
		"":                            "",
		"x":                           "",
	} {
		m := newMachine(t, map[string]string{"/run/edge.pid": text})
		c := parse(t, plainFile)
		c.Global.PIDFile = "/run/edge.pid"
		r := Examine(m, c, 0)
		switch {
		case want == "" && len(r.Findings) == 0:
		case want == "", len(r.Findings) != 1, r.Findings[0].Check != "pid_file", r.Findings[0].Level != Note,
			!strings.Contains(r.Findings[0].What, want):
			t.Errorf("%q: %+v, want %q", text, r.Findings, want)
		}
		if r := Examine(m, c, os.Getpid()); len(r.Findings) != 0 {
			t.Errorf("%q, running: %+v", text, r.Findings)
		}
	}
}

// The file of a list is read by the user that the process has become.
func TestExamine_filesOfLists(t *testing.T) {
	m := newMachine(t, map[string]string{"/etc/office.txt": "10.0.0.0/8\n",
		"/proc/900/status": "Name:\tedge\nUid:\t0\t54321\t0\t0\nGid:\t0\t54321\t0\t0\nGroups:\t \n"})
	cfg := parse(t, plainFile+"\n[lists.office]\nfile = \"/etc/office.txt\"\n")
	for mode, want := range map[os.FileMode]int{0o644: 0, 0o600: 1} {
		testutil.Must(t, os.Chmod(m.Path("/etc/office.txt"), mode))
		found := findings(m, cfg, 900, "tables")
		const what = "user 54321 cannot read /etc/office.txt"
		if len(found) != want || want == 1 && !strings.Contains(found[0].What, what) {
			t.Errorf("with the rights %v: %+v", mode, found)
		}
	}
}

// Keys are read by the rights of the user that the process has become, and of the folders above them.
func TestExamine_keysOfTheUser(t *testing.T) {
	me := os.Getgid()
	const stranger, other = 54321, 54322
	for _, c := range []struct {
		name        string
		folder, key os.FileMode
		uid         int
		groups      string
		acl         bool
		want        string // what the finding says; "": there is none
	}{
		{"may read", 0o755, 0o644, stranger, "", false, ""},
		{"of root", 0o755, 0o600, stranger, "", false, "because of the rights of /etc/tls/a.key"},
		{"closed folder", 0o700, 0o644, stranger, "", false, "because of the rights of /etc/tls:"},
		{"by its group", 0o710, 0o640, stranger, fmt.Sprint(other, " ", me), false, ""},
		{"by no group", 0o711, 0o640, stranger, fmt.Sprint(other), false, "user 54321 cannot read /etc/tls/a.key, " +
			"the key of"},
		{"with ACLs", 0o755, 0o600, stranger, "", true, ""},
		{"root", 0o700, 0o600, 0, "", false, ""},
		{"the user of the command", 0o700, 0o600, 1000, "", false, ""},
	} {
		m := newMachine(t, map[string]string{"/etc/tls/a.key": "k", "/proc/900/status": fmt.Sprintf(
			"Name:\tedge\nUid:\t0\t%d\t0\t0\nGid:\t0\t%d\t0\t0\nGroups:\t%s \n", c.uid, other, c.groups)})
		m.acl = c.acl
		for path, mode := range map[string]os.FileMode{"/": 0o755, "/etc": 0o755, "/etc/tls/a.key": c.key,
			"/etc/tls": c.folder} {
			testutil.Must(t, os.Chmod(m.Path(path), mode))
		}
		cfg := parse(t, plainFile)
		cfg.Certificates = []config.Certificate{{Pair: config.Pair{Cert: "/etc/tls/a.pem", Key: "/etc/tls/a.key"}}}
		var got []string
		for _, f := range findings(m, cfg, 900, "certificate") {
			if f.Level == Warning && strings.Contains(f.What, "cannot read") {
				got = append(got, f.What)
			}
		}
		if want := c.want != ""; len(got) > 1 || want != (len(got) == 1) ||
			!strings.Contains(strings.Join(got, ""), c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What is said of the load balancer before a service is a key that services have.
func TestExamine_clientsOfService(t *testing.T) {
	const conn = "   0: 070200C0:1F90 0900000A:C350 01 00000000:00000000 00:00000000 00000000 0 0 78 1 0 100\n"
	m := newMachine(t, map[string]string{"/proc/net/tcp": tcpOurs + strings.Repeat(conn, 25)})
	cfg := parse(t, "[services.db]\ntype = \"tcp\"\nlisten = \"192.0.2.7:8080\"\ndest = \"10.0.0.1:5432\"\n")
	for _, f := range findings(m, cfg, 900, "clients") {
		if len(f.Fix) != 1 || !strings.HasPrefix(f.Fix[0], "proxy_protocol") {
			t.Errorf("%+v", f)
		}
	}
}

// Connections that all come from one address are a load balancer's, unless the listener believes it.
func TestExamine_clients(t *testing.T) {
	conn := func(from string) string {
		return "   0: 070200C0:1F90 " + from + ":C350 01 00000000:00000000 00:00000000 00000000 0 0 78 1 0 100\n"
	}
	one := strings.Repeat(conn("0900000A"), 25) // 10.0.0.9
	listener := "[http]\nlisten = \"192.0.2.7:8080\"\n"
	for _, tt := range []struct {
		table, keys string
		running     int
		found       bool
	}{
		{one, "", 900, true},
		{one, "", 0, false},
		{strings.Repeat(conn("0900000A"), 5), "", 900, false},
		{one + conn("0800000A"), "", 900, false},
		{one + conn("0100007F"), "", 900, true}, // a check of this machine's own
		{strings.Repeat(conn("0100007F"), 25), "", 900, false},
		{one, "trusted_proxies = [\"10.0.0.9\"]\n", 900, false},
		{one, "proxy_protocol = { from = [\"10.0.0.0/8\"] }\n", 900, false},
	} {
		m := newMachine(t, map[string]string{"/proc/net/tcp": tcpOurs + tt.table})
		cfg := parse(t, listener+tt.keys+"[[routes]]\npattern = \"/*\"\ndest = \"app.example:3000\"\n")
		found := findings(m, cfg, tt.running, "clients")
		const what = "all 25 connections come from 10.0.0.9"
		if tt.found != (len(found) == 1) || tt.found && !strings.Contains(found[0].What, what) {
			t.Errorf("%q, process %d: %+v", tt.keys, tt.running, found)
		}
	}
}
