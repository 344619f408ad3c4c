package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// Facts are what is known of a machine, and of the program that measures on it. A fact that is not known is empty.
type Facts struct {
	CPU         CPU          `json:"cpu"`
	Frequency   Frequency    `json:"frequency,omitzero"`
	Memory      int64        `json:"memory_bytes,omitempty"`
	Product     string       `json:"product,omitempty"`      // of the maker, or of the cloud
	Hypervisor  bool         `json:"hypervisor,omitempty"`   // the processor says that it is virtual
	OS          string       `json:"os,omitempty"`           // the distribution
	Kernel      string       `json:"kernel,omitempty"`       // its release
	HugePages   string       `json:"huge_pages,omitempty"`   // transparent ones: always, madvise, never
	ClockSource string       `json:"clock_source,omitempty"` // what reading the time costs depends on it
	Mitigations []Mitigation `json:"mitigations,omitempty"`  // in the order of their names
	Cgroup      Cgroup       `json:"cgroup,omitzero"`
	Load        float64      `json:"load"` // tasks that ran or wanted to, over the last minute
	Go          Go           `json:"go"`
	Version     string       `json:"version,omitempty"` // of this program: a tag, and the commit
}

// CPU is the processor as this system sees it.
type CPU struct {
	Model   string  `json:"model"`
	Sockets int     `json:"sockets,omitempty"`
	Cores   int     `json:"cores,omitempty"`
	Threads int     `json:"threads"`           // that are online
	Allowed string  `json:"allowed,omitempty"` // which of them this process may run on, like 0-3,8
	Caches  []Cache `json:"caches,omitempty"`
}

// Cache is one cache of the first processor.
type Cache struct {
	Level  string `json:"level"`
	Type   string `json:"type"` // Data, Instruction, Unified
	Size   string `json:"size"` // like 48K
	Shared string `json:"shared,omitempty"`
}

// Frequency is how the clock of the first processor is governed. Frequencies are kHz.
type Frequency struct {
	Governor string `json:"governor,omitempty"`
	Driver   string `json:"driver,omitempty"`
	Min      int64  `json:"min_khz,omitempty"`
	Max      int64  `json:"max_khz,omitempty"`
	Now      int64  `json:"now_khz,omitempty"`
	Turbo    string `json:"turbo,omitempty"` // on or off
}

// Mitigation is what the kernel does about one flaw of the processor.
type Mitigation struct {
	Flaw  string `json:"flaw"`
	State string `json:"state"`
}

// Cgroup is what limits the process.
type Cgroup struct {
	CPUs   float64 `json:"cpus,omitempty"`
	Memory int64   `json:"memory_bytes,omitempty"`
}

// Go is the toolchain and how it was used.
type Go struct {
	Version  string `json:"version"`
	Arch     string `json:"arch"`
	Level    string `json:"level,omitempty"` // GOAMD64, GOARM64
	MaxProcs int    `json:"gomaxprocs"`
}

// String is what one has to know of a machine to make anything of figures.
func (f *Facts) String() string {
	return fmt.Sprintf("%s, %s, Linux %s, %s %s, GOMAXPROCS %d", f.CPU.Model, f.CPU.count(), f.Kernel, f.Go.Version,
		f.Go.Arch, f.Go.MaxProcs)
}

// Rows returns what is known as a table: a name and a value each.
func (f *Facts) Rows() (rows [][]string) {
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("CPU", f.CPU.Model)
	add("CPUs", f.CPU.count())
	add("Caches", f.CPU.cacheText())
	add("Frequency", f.Frequency.String())
	add("Memory", bytesText(f.Memory))
	virtual := ""
	if f.Hypervisor {
		virtual = "virtual"
	}
	add("Machine", join(f.Product, virtual))
	add("System", join(f.OS, "Linux "+f.Kernel))
	add("Huge pages", f.HugePages)
	add("Clock source", f.ClockSource)
	add("cgroup", f.Cgroup.String())
	add("Load at start", fmt.Sprintf("%.2f", f.Load))
	add("Go", fmt.Sprintf("%s, GOMAXPROCS %d", strings.Join(strings.Fields(
		f.Go.Version+" "+f.Go.Arch+" "+f.Go.Level), " "), f.Go.MaxProcs))
	add("edge-bench", f.Version)
	return rows
}

// Mitigated returns the flaws that the kernel does something about, and those that it leaves open, with their states.
func (f *Facts) Mitigated() (mitigated, open [][]string) {
	for _, m := range f.Mitigations {
		switch {
		case strings.HasPrefix(m.State, "Mitigation"):
			mitigated = append(mitigated, []string{m.Flaw, m.State})
		case strings.HasPrefix(m.State, "Vulnerable"):
			open = append(open, []string{m.Flaw, m.State})
		}
	}
	return mitigated, open
}

// Differences are the facts in which other differs from f, and that decide how fast a program runs. Load and version
// are not among them: they are meant to differ, or do from minute to minute.
func (f *Facts) Differences(other *Facts) []string {
	var found []string
	compare := func(name, a, b string) {
		if a != b {
			found = append(found, fmt.Sprintf("not the same machine: %s: %s; there %s", name, cmp.Or(a, "unknown"),
				cmp.Or(b, "unknown")))
		}
	}
	compare("CPU", f.CPU.Model, other.CPU.Model)
	compare("CPUs", f.CPU.count(), other.CPU.count())
	compare("caches", f.CPU.cacheText(), other.CPU.cacheText())
	compare("governor", f.Frequency.Governor, other.Frequency.Governor)
	compare("turbo", f.Frequency.Turbo, other.Frequency.Turbo)
	compare("kernel", f.Kernel, other.Kernel)
	compare("clock source", f.ClockSource, other.ClockSource)
	compare("cgroup", f.Cgroup.String(), other.Cgroup.String())
	compare("Go", f.Go.Version+" "+f.Go.Level, other.Go.Version+" "+other.Go.Level)
	compare("GOMAXPROCS", strconv.Itoa(f.Go.MaxProcs), strconv.Itoa(other.Go.MaxProcs))
	if !slices.Equal(f.Mitigations, other.Mitigations) {
		found = append(found, "not the same machine: mitigations")
	}
	return found
}

func (c *CPU) count() string {
	text := syntax.Plural(c.Threads, "thread")
	if c.Cores > 0 {
		text += ", " + syntax.Plural(c.Cores, "core")
	}
	if c.Sockets > 1 {
		text += ", " + syntax.Plural(c.Sockets, "socket")
	}
	if c.Allowed != "" {
		text += "; this process: " + c.Allowed
	}
	return text
}

func (c *CPU) cacheText() string {
	var parts []string
	for _, k := range c.Caches {
		name := "L" + k.Level
		switch k.Type {
		case "Data":
			name += "d"
		case "Instruction":
			name += "i"
		}
		parts = append(parts, name+" "+k.sizeText())
	}
	return strings.Join(parts, ", ")
}

// sizeText writes 2048K as 2 MiB.
func (k *Cache) sizeText() string {
	kib, ok := strings.CutSuffix(k.Size, "K")
	n, err := strconv.Atoi(kib)
	switch {
	case !ok || err != nil:
		return k.Size
	case n >= 1024 && n%1024 == 0:
		return fmt.Sprintf("%d MiB", n/1024)
	}
	return kib + " KiB"
}

// String is for people.
func (f Frequency) String() string {
	between := ""
	if f.Min > 0 && f.Max > 0 {
		between = fmt.Sprintf("%.2f–%.2f GHz", float64(f.Min)/1e6, float64(f.Max)/1e6)
	}
	return join(known("governor %s", f.Governor), f.Driver, between, known("%.2f GHz at start", float64(f.Now)/1e6),
		known("turbo %s", f.Turbo))
}

// String is for people.
func (c Cgroup) String() string {
	return cmp.Or(join(known("%.4g CPUs", c.CPUs), bytesText(c.Memory)), "no limit")
}

// known is v in words, empty where it is the zero value.
func known[V comparable](format string, v V) string {
	if v == *new(V) {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// join lists what is not empty.
func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}

func bytesText(n int64) string {
	switch {
	case n <= 0:
		return ""
	case n < 1<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
