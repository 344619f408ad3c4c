package machine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

const intelInfo = `processor	: 0
model name	: Intel(R) Xeon(R) Gold
physical id	: 0
core id		: 0
flags		: fpu vme hypervisor avx2

processor	: 1
model name	: Intel(R) Xeon(R) Gold
physical id	: 0
core id		: 0
flags		: fpu vme hypervisor avx2

processor	: 2
model name	: Intel(R) Xeon(R) Gold
physical id	: 1
core id		: 0
flags		: fpu vme hypervisor avx2
`

func files(of map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range of {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func TestRead_everything(t *testing.T) {
	const cpu = "sys/devices/system/cpu/"
	got := read(files(map[string]string{
		"proc/cpuinfo":                               intelInfo,
		"proc/self/status":                           "Name:\tedge-bench\nCpus_allowed_list:\t0,2\n",
		"proc/meminfo":                               "MemTotal:       16384 kB\nMemFree: 1 kB\n",
		"proc/loadavg":                               "0.25 0.50 0.75 1/100 12345\n",
		"proc/sys/kernel/osrelease":                  "6.18.0\n",
		"etc/os-release":                             "NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
		"sys/class/dmi/id/sys_vendor":                "Amazon EC2\n",
		"sys/class/dmi/id/product_name":              "c7i.large\n",
		"sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
		cpu + "cpu0/cache/index0/level":                                   "1\n",
		cpu + "cpu0/cache/index0/type":                                    "Data\n",
		cpu + "cpu0/cache/index0/size":                                    "48K\n",
		cpu + "cpu0/cache/index0/shared_cpu_list":                         "0-1\n",
		cpu + "cpu0/cache/index2/level":                                   "2\n",
		cpu + "cpu0/cache/index2/type":                                    "Unified\n",
		cpu + "cpu0/cache/index2/size":                                    "2048K\n",
		cpu + "cpu0/cache/uevent":                                         "",
		cpu + "cpu0/cpufreq/scaling_governor":                             "powersave\n",
		cpu + "cpu0/cpufreq/scaling_driver":                               "intel_pstate\n",
		cpu + "cpu0/cpufreq/cpuinfo_min_freq":                             "800000\n",
		cpu + "cpu0/cpufreq/cpuinfo_max_freq":                             "3500000\n",
		cpu + "cpu0/cpufreq/scaling_cur_freq":                             "2100000\n",
		cpu + "intel_pstate/no_turbo":                                     "1\n",
		cpu + "vulnerabilities/meltdown":                                  "Not affected\n",
		cpu + "vulnerabilities/spectre_v1":                                "Mitigation: barriers\n",
		cpu + "vulnerabilities/spec_store_bypass":                         "Vulnerable\n",
	}))
	want := Facts{
		CPU: CPU{Model: "Intel(R) Xeon(R) Gold", Sockets: 2, Cores: 2, Threads: 3, Allowed: "0,2",
			Caches: []Cache{{"1", "Data", "48K", "0-1"}, {"2", "Unified", "2048K", ""}}},
		Frequency: Frequency{"powersave", "intel_pstate", 800000, 3500000, 2100000, "off"},
		Memory:    16 << 20, Product: "Amazon EC2 c7i.large", Hypervisor: true, OS: "Debian GNU/Linux 12",
		Kernel: "6.18.0", HugePages: "madvise", ClockSource: "tsc", Load: 0.25,
		Mitigations: []Mitigation{{"meltdown", "Not affected"}, {"spec_store_bypass", "Vulnerable"},
			{"spectre_v1", "Mitigation: barriers"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	mitigated, open := got.Mitigated()
	if len(mitigated) != 1 || len(open) != 1 || open[0][0] != "spec_store_bypass" {
		t.Errorf("mitigated %v, open %v", mitigated, open)
	}
	var text strings.Builder
	for _, r := range got.Rows() {
		text.WriteString(strings.Join(r, ": ") + "\n")
	}
	for _, line := range []string{
		"CPUs: 3 threads, 2 cores, 2 sockets; this process: 0,2", "Caches: L1d 48 KiB, L2 2 MiB",
		"Frequency: governor powersave, intel_pstate, 0.80–3.50 GHz, 2.10 GHz at start, turbo off",
		"Memory: 16 MiB", "Machine: Amazon EC2 c7i.large, virtual", "System: Debian GNU/Linux 12, Linux 6.18.0",
		"cgroup: no limit", "Load at start: 0.25",
	} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("%q is not in\n%s", line, text.String())
		}
	}
}

func TestRead_nothing(t *testing.T) {
	f := read(files(nil))
	if !reflect.DeepEqual(f, Facts{}) || len(f.Rows()) == 0 {
		t.Errorf("%+v", f)
	}
}

func TestRead_arm(t *testing.T) {
	f := read(files(map[string]string{
		"proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n\nprocessor\t: 1\n" +
			"CPU implementer\t: 0x41\nCPU part\t: 0xd40\n",
		"sys/devices/system/cpu/cpufreq/boost": "1\n",
	}))
	if f.CPU.Model != "implementer 0x41, part 0xd40" || f.CPU.Threads != 2 || f.Frequency.Turbo != "on" {
		t.Errorf("%+v", f.CPU)
	}
}

func TestRead_thisMachine(t *testing.T) {
	f := Read("v1.2.3")
	if f.CPU.Threads == 0 || f.Kernel == "" || f.Go.Version != runtime.Version() || f.Version != "v1.2.3" {
		t.Errorf("%+v", f)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back Facts
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(f, back) {
		t.Errorf("%v: %+v", err, back)
	}
	// A report is to be shown to others.
	if host, err := os.Hostname(); err == nil && len(host) > 3 && strings.Contains(string(b), host) {
		t.Errorf("the name of the host is in %s", b)
	}
	if dir, err := os.Getwd(); err == nil && strings.Contains(string(b), filepath.Base(filepath.Dir(dir))+"/") {
		t.Errorf("a path is in %s", b)
	}
}

func TestDifferences(t *testing.T) {
	a := Facts{Kernel: "6.1", Load: 1, Go: Go{Version: "go1.26", MaxProcs: 2}}
	b := a
	b.Load, b.Version = 9, "v2"
	if found := a.Differences(&b); len(found) != 0 {
		t.Errorf("load and version differ, that is said: %q", found)
	}
	b.Kernel, b.Cgroup.CPUs, b.Frequency.Turbo = "6.18", 1.5, "on"
	b.Mitigations = []Mitigation{{"meltdown", "Mitigation: PTI"}}
	want := []string{"turbo: unknown; there on", "kernel: 6.1; there 6.18", "cgroup: no limit; there 1.5 CPUs",
		"mitigations"}
	for i := range want {
		want[i] = "not the same machine: " + want[i]
	}
	if found := a.Differences(&b); !reflect.DeepEqual(found, want) {
		t.Errorf("got %q", found)
	}
}
