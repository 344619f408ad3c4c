package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/cgroup"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
)

// kernel: edge starts on older ones than these, without what they lack, and is tested with 6.x.
func (e *exam) kernel() {
	var major, minor int
	if n, _ := fmt.Sscanf(e.Release(), "%d.%d", &major, &minor); n != 2 {
		return
	}
	const says = "Linux %s is older than %s, and edge is tested with 6.x"
	fix := []string{"install a kernel of 5.14 or later"}
	switch older := func(a, b int) bool { return major < a || major == a && minor < b }; {
	case older(4, 18):
		e.find(Warning, fix, says, e.Release(), "4.18")
	case older(5, 14):
		e.find(Note, fix, says, e.Release(), "5.14")
	}
}

// calls: a filter of seccomp may refuse what an event loop, or an upgrade, needs. EPERM from splice costs copies.
func (e *exam) calls() {
	for _, call := range []string{"splice", "memfd_create", "pidfd_open"} {
		err := e.Probe(call)
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) {
			continue
		}
		fix := []string{"SystemCallFilter=@system-service in the unit"}
		if e.container() != "" {
			fix = []string{"a seccomp profile that allows " + call + ": Docker's own does since 20.10"}
		}
		e.find(Warning, fix, "%s(2) is refused: %v", call, err)
	}
}

const (
	descriptorsMin     = 1 << 16
	descriptorsAdvised = 1 << 20
)

// descriptors: twice what the configuration asks for, since two processes hold the connections during an upgrade.
func (e *exam) descriptors() {
	_, hard, err := e.Descriptors()
	wanted := max(descriptorsMin, 2*server.Descriptors(e.config))
	if err != nil || hard >= wanted {
		return
	}
	advised := max(descriptorsAdvised, wanted)
	value := strconv.FormatUint(advised, 10)
	fix := []string{"LimitNOFILE=" + value + " in the unit of systemd",
		"ulimit -n " + value + " in the shell that starts it"}
	switch e.container() {
	case "docker":
		fix = []string{"docker run --ulimit nofile=" + value}
	case "kubernetes":
		fix = []string{"LimitNOFILE=" + value + " in the unit of the container runtime, on the node"}
	}
	if most, ok := e.sysctl("fs.nr_open"); ok && most > 0 && uint64(most) < advised {
		fix = append(e.set("fs.nr_open", value), fix...)
	}
	e.find(Warning, fix, "a process of this user may open %d files; %d are wanted for the connections that listeners "+
		"allow, to backends as well, and twice while an upgrade hands them over", hard, wanted)
}

// inotify: where no folder can be watched, lists of backends in files are read every two seconds.
func (e *exam) inotify() {
	inFile := func(source string) bool { return strings.HasPrefix(source, "file://") }
	named := func(u config.Upstream) bool { return slices.ContainsFunc(u.Discovery.Sources, inFile) }
	if !slices.ContainsFunc(e.config.Upstreams, named) {
		return
	}
	if err := e.Probe("inotify"); err != nil {
		e.find(Warning, e.set("fs.inotify.max_user_instances", "1024"), "no folder can be watched (%v), so lists of "+
			"backends in files are polled: all programs of a user share these instances, and max_user_watches", err)
	}
}

const backlogMin = 4096 // connections that wait until they are accepted, as edge asks for

// backlog: the kernel cuts ours to somaxconn without a word.
func (e *exam) backlog() {
	most, ok := e.sysctl("net.core.somaxconn")
	if ok && most < backlogMin {
		e.find(Warning, e.set("net.core.somaxconn", "16384"),
			"net.core.somaxconn is %d: more connections than that, at once, are dropped before edge sees them", most)
	}
	if syn, known := e.sysctl("net.ipv4.tcp_max_syn_backlog"); ok && known && syn < max(most, backlogMin) {
		e.find(Warning, e.set("net.ipv4.tcp_max_syn_backlog", strconv.FormatInt(max(most, 16384), 10)),
			"net.ipv4.tcp_max_syn_backlog is %d, less than the queue of connections", syn)
	}
}

// syn: what a flood of connections does.
func (e *exam) syn() {
	if v, ok := e.sysctl("net.ipv4.tcp_syncookies"); ok && v == 0 {
		e.find(Warning, e.set("net.ipv4.tcp_syncookies", "1"),
			"net.ipv4.tcp_syncookies is 0: a flood of SYNs keeps clients out")
	}
	if v, ok := e.sysctl("net.ipv4.tcp_abort_on_overflow"); ok && v != 0 {
		e.find(Warning, e.set("net.ipv4.tcp_abort_on_overflow", "0"),
			"net.ipv4.tcp_abort_on_overflow is 1: clients get a reset in a moment of load, instead of waiting")
	}
}

const portsMin = 28000 // for connections to one address of a backend

// ports: each connection to one backend needs a port of its own, which stays taken for 60 s after its end.
func (e *exam) ports() {
	f := strings.Fields(e.text("/proc/sys/net/ipv4/ip_local_port_range"))
	if len(f) != 2 || len(e.config.Upstreams) == 0 {
		return
	}
	first, err1 := strconv.Atoi(f[0])
	last, err2 := strconv.Atoi(f[1])
	if n := last - first + 1; err1 == nil && err2 == nil && n < portsMin {
		fix := e.set("net.ipv4.ip_local_port_range", "1024 65535")
		e.find(Warning, append(fix, "or more idle connections: pool = { idle = 1024 } of the upstream"),
			"connections to an address of a backend have %d ports, and each is taken for 60 s after its connection", n)
	}
}

const conntrackFull = 0.7

// conntrack: a full table drops packets of connections that it does not know.
func (e *exam) conntrack() {
	count, ok1 := e.sysctl("net.netfilter.nf_conntrack_count")
	most, ok2 := e.sysctl("net.netfilter.nf_conntrack_max")
	if ok1 && ok2 && most > 0 && float64(count) > conntrackFull*float64(most) {
		fix := e.set("net.netfilter.nf_conntrack_max", strconv.FormatInt(4*most, 10))
		e.find(Warning, append(fix, noTracking),
			"the firewall tracks %d connections of %d at most; above that it drops packets", count, most)
	}
	lost := e.trackingLosses()
	if lost["drop"] > 0 {
		fix := e.set("net.netfilter.nf_conntrack_max", strconv.FormatInt(max(4*most, conntrackAdvised), 10))
		e.find(Note, append(fix, noTracking), "the firewall has dropped %d packets since the machine started, because "+
			"it could not track their connections: conntrack -S shows whether they become more", lost["drop"])
	}
	if lost["insert_failed"] > 0 {
		e.find(Note, []string{noTracking}, "the firewall has dropped %d packets of new connections since the machine "+
			"started, because others were tracked as the same: conntrack -S shows whether they become more",
			lost["insert_failed"])
	}
}

const (
	noTracking       = "or no tracking: nft add rule inet raw prerouting tcp dport { 80, 443 } notrack"
	conntrackAdvised = 1 << 20
)

// trackingLosses adds up the counters of the firewall by their names. The kernel has a line of them for each processor.
func (e *exam) trackingLosses() map[string]uint64 {
	all := map[string]uint64{}
	var names []string
	for line := range strings.Lines(e.text("/proc/net/stat/nf_conntrack")) {
		fields := strings.Fields(line)
		if names == nil {
			names = fields
			continue
		}
		for i, text := range fields {
			if n, err := strconv.ParseUint(text, 16, 64); err == nil && i < len(names) {
				all[names[i]] += n
			}
		}
	}
	return all
}

const (
	memoryBase       = 64 << 20
	memoryPerReactor = 16 << 20
)

// reactors returns how many event loops there will be, for as many CPUs as there are.
func (e *exam) reactors() int {
	if n := e.config.Global.WorkerThreads; n > 0 {
		return n
	}
	n := e.CPUs()
	if quota := cgroup.CPUsIn(e.root()); quota > 0 {
		n = min(n, max(1, int(quota)))
	}
	return n
}

// cpu: a quota that is used up stops all event loops until the next period.
func (e *exam) cpu() {
	quota, reactors := cgroup.CPUsIn(e.root()), e.reactors()
	fix := []string{fmt.Sprintf("worker_threads = %d in [global], or a larger quota: CPUQuota=%d%% in the unit, "+
		"docker run --cpus %d", max(1, int(quota)), 100*reactors, reactors)}
	if quota > 0 && quota < float64(reactors) {
		e.find(Warning, fix, "%d event loops have a quota of %g CPUs: they are stopped when it is used up", reactors,
			quota)
	}
	for line := range strings.Lines(cgroup.Text(e.root(), "cpu", "cpu.stat")) {
		if n, found := strings.CutPrefix(strings.TrimSpace(line), "nr_throttled "); found && n != "0" {
			e.find(Note, fix, "the cgroup of this shell was stopped %s times by its quota", n)
		}
	}
}

func (e *exam) memory() {
	limit, wanted := cgroup.MemoryIn(e.root()), int64(memoryBase+memoryPerReactor*e.reactors())
	if limit > 0 && limit < wanted {
		e.find(Warning, []string{fmt.Sprintf("MemoryMax=%dM in the unit, docker run --memory %[1]dm", wanted>>20)},
			"the memory limit is %d MiB; %d event loops want %d", limit>>20, e.reactors(), wanted>>20)
	}
	for line := range strings.Lines(cgroup.Text(e.root(), "memory", "memory.events")) {
		name, n, _ := strings.Cut(strings.TrimSpace(line), " ")
		if (name == "high" || name == "oom_kill") && n != "0" && n != "" {
			e.find(Note, []string{"a larger limit, or memory_limit in [global]"},
				"the cgroup of this shell has reached its limit of memory: %s %s", name, n)
		}
	}
}

const tasksMin = 64

func (e *exam) tasks() {
	most, err := strconv.Atoi(strings.TrimSpace(cgroup.Text(e.root(), "pids", "pids.max")))
	if err == nil && most < tasksMin {
		e.find(Warning, []string{fmt.Sprintf("TasksMax=%d in the unit, docker run --pids-limit %[1]d", 4*tasksMin)},
			"%d threads are allowed; look-ups of names and handshakes want %d", most, tasksMin)
	}
}

func (e *exam) hugePages() {
	const file = "/sys/kernel/mm/transparent_hugepage/enabled"
	if strings.Contains(e.text(file), "[always]") {
		e.find(Note, e.outside("echo madvise > "+file),
			"transparent huge pages are on for all memory: the process may look larger than it is, and pauses at times")
	}
}

// clock: a clock that needs a system call costs as much as a read of a socket; a clock that goes wrong spoils
// certificates.
func (e *exam) clock() {
	const dir = "/sys/devices/system/clocksource/clocksource0/"
	switch source := e.text(dir + "current_clocksource"); source {
	case "", "tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page":
	default:
		fix := []string{"none of those that are fast is there: " + e.text(dir+"available_clocksource")}
		for _, fast := range []string{"tsc", "kvm-clock", "arch_sys_counter"} {
			if strings.Contains(" "+e.text(dir+"available_clocksource")+" ", " "+fast+" ") {
				fix = e.outside("echo " + fast + " > " + dir + "current_clocksource")
				break
			}
		}
		e.find(Warning, fix, "the clock is %s: to read it is a system call", source)
	}
	if synchronised, err := e.Synchronised(); err == nil && !synchronised {
		e.find(Note, e.outside("timedatectl set-ntp true"),
			"nothing keeps the clock right: certificates and tickets are valid by it")
	}
}
