package proxybench

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what the numbers were measured on.
type Machine struct {
	Kernel string `json:"kernel"`
	Arch   string `json:"arch"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`
	Load   string `json:"load_generator"`
}

func thisMachine() Machine {
	m := Machine{Arch: runtime.GOARCH, CPUs: len(allowedCPUs()), Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	m.CPU = cpuModel(info)
	return m
}

// cpuModel finds the name in /proc/cpuinfo; on arm64 there are only numbers.
func cpuModel(info []byte) string {
	for _, key := range []string{"model name", "CPU implementer"} {
		for line := range bytes.Lines(info) {
			name, value, ok := bytes.Cut(line, []byte(":"))
			if ok && string(bytes.TrimSpace(name)) == key {
				return string(bytes.TrimSpace(value))
			}
		}
	}
	return "unknown"
}

// allowedCPUs are the CPUs that this process may run on.
func allowedCPUs() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return []int{0}
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// moduleVersion is the version of a dependency as it was built in.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, d := range info.Deps {
		if d.Path == path {
			return path + " " + d.Version
		}
	}
	return ""
}

// wrkVersion is the first line of wrk -v, without its copyright.
func wrkVersion(ctx context.Context, wrk string) string {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, _ := exec.CommandContext(ctx, wrk, "-v").CombinedOutput()
	line, _, _ := strings.Cut(string(out), " Copyright")
	line, _, _ = strings.Cut(line, "\n")
	return strings.TrimSpace(line)
}
