package machine

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/base/cgroup"
)

// Read returns the facts of this machine and process. version is what the linker was told; when it is empty, the commit
// that the toolchain has noted, if any, takes its place.
func Read(version string) Facts {
	f := read(os.DirFS("/"))
	f.Cgroup = Cgroup{CPUs: math.Round(cgroup.CPUsIn(os.DirFS("/"))*1000) / 1000, Memory: cgroup.Memory()}
	f.Go = Go{Version: runtime.Version(), Arch: runtime.GOARCH, MaxProcs: runtime.GOMAXPROCS(0)}
	f.Version = version
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return f
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "GOAMD64", "GOARM64":
			f.Go.Level = s.Value
		case "vcs.revision":
			if f.Version == "" {
				f.Version = s.Value
			}
		}
	}
	return f
}

// read is Read of a system whose files are root.
func read(root fs.FS) Facts {
	const cpus = "sys/devices/system/cpu/"
	info := text(root, "proc/cpuinfo")
	f := Facts{
		CPU:         processors(info),
		Frequency:   frequency(root, cpus+"cpu0/cpufreq"),
		Product:     product(root),
		Hypervisor:  strings.Contains(" "+field(info, "flags")+" ", " hypervisor "),
		OS:          strings.Trim(valueOf(text(root, "etc/os-release"), "PRETTY_NAME", "="), `"`),
		Kernel:      text(root, "proc/sys/kernel/osrelease"),
		HugePages:   chosen(text(root, "sys/kernel/mm/transparent_hugepage/enabled")),
		ClockSource: text(root, "sys/devices/system/clocksource/clocksource0/current_clocksource"),
	}
	f.CPU.Allowed = field(text(root, "proc/self/status"), "Cpus_allowed_list")
	f.CPU.Caches = caches(root, cpus+"cpu0/cache")
	if kib, _, ok := strings.Cut(field(text(root, "proc/meminfo"), "MemTotal"), " "); ok {
		f.Memory = number(kib) << 10
	}
	if average, _, ok := strings.Cut(text(root, "proc/loadavg"), " "); ok {
		f.Load, _ = strconv.ParseFloat(average, 64)
	}
	flaws, _ := fs.ReadDir(root, cpus+"vulnerabilities")
	for _, flaw := range flaws {
		f.Mitigations = append(f.Mitigations,
			Mitigation{flaw.Name(), text(root, path.Join(cpus, "vulnerabilities", flaw.Name()))})
	}
	return f
}

// processors reads /proc/cpuinfo. On arm64 there are only numbers, and neither sockets nor cores.
func processors(info string) CPU {
	c := CPU{Model: field(info, "model name")}
	if c.Model == "" {
		if maker := field(info, "CPU implementer"); maker != "" {
			c.Model = "implementer " + maker + ", part " + field(info, "CPU part")
		}
	}
	sockets, cores := make(map[string]bool), make(map[string]bool)
	for block := range strings.SplitSeq(info, "\n\n") {
		if field(block, "processor") == "" {
			continue
		}
		c.Threads++
		if socket := field(block, "physical id"); socket != "" {
			sockets[socket] = true
			cores[socket+"/"+field(block, "core id")] = true
		}
	}
	c.Sockets, c.Cores = len(sockets), len(cores)
	return c
}

func caches(root fs.FS, dir string) []Cache {
	var found []Cache
	entries, _ := fs.ReadDir(root, dir)
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		if level := text(root, at+"/level"); level != "" {
			found = append(found, Cache{
				Level: level, Type: text(root, at+"/type"), Size: text(root, at+"/size"),
				Shared: text(root, at+"/shared_cpu_list"),
			})
		}
	}
	return found
}

func frequency(root fs.FS, dir string) Frequency {
	f := Frequency{
		Governor: text(root, dir+"/scaling_governor"),
		Driver:   text(root, dir+"/scaling_driver"),
		Min:      number(text(root, dir+"/cpuinfo_min_freq")),
		Max:      number(text(root, dir+"/cpuinfo_max_freq")),
		Now:      number(text(root, dir+"/scaling_cur_freq")),
	}
	for _, s := range []struct{ file, on, off string }{
		{"sys/devices/system/cpu/intel_pstate/no_turbo", "0", "1"},
		{"sys/devices/system/cpu/cpufreq/boost", "1", "0"},
	} {
		switch text(root, s.file) {
		case s.on:
			f.Turbo = "on"
		case s.off:
			f.Turbo = "off"
		}
	}
	return f
}

// product is the name of the machine's model, which in a cloud is the type of the instance.
func product(root fs.FS) string {
	const dmi = "sys/class/dmi/id/"
	return strings.TrimSpace(text(root, dmi+"sys_vendor") + " " + text(root, dmi+"product_name"))
}

// text is a file without the white space around it; empty when there is none.
func text(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// field is the first value of "name : value" lines.
func field(lines, name string) string { return valueOf(lines, name, ":") }

// valueOf returns the value in the first line that has a name; between stands between the two.
func valueOf(lines, name, between string) string {
	for line := range strings.Lines(lines) {
		if key, value, ok := strings.Cut(line, between); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// chosen is the word in brackets.
func chosen(words string) string {
	_, rest, _ := strings.Cut(words, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
