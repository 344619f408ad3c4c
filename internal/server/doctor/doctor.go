package doctor

import (
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config"
)

// Host is the machine that is looked at. System is the real one; tests have their own.
type Host interface {
	// Path returns where a path of the machine is to be read.
	Path(name string) string
	// Getenv returns a variable of the environment.
	Getenv(name string) string
	// Descriptors returns the limits of open files.
	Descriptors() (soft, hard uint64, err error)
	// UID returns the effective user.
	UID() int
	// CPUs returns how many the process may run on.
	CPUs() int
	// Release returns the release of the kernel, such as "6.18.44-1".
	Release() string
	// Now returns the time.
	Now() time.Time
	// Addresses returns the addresses of all interfaces.
	Addresses() ([]netip.Addr, error)
	// Space returns which parts of bytes and of inodes are free where path is, from 0 to 1.
	Space(path string) (bytes, inodes float64, err error)
	// Synchronised reports whether the clock follows others.
	Synchronised() (bool, error)
	// Probe makes a system call and returns how it fails.
	Probe(call string) error
	// LookUp returns how long the look-up of a name took.
	LookUp(name string) (time.Duration, error)
	// HasACL reports whether a file has more rights than its mode shows.
	HasACL(path string) bool
	// Sum returns what tells two program files apart.
	Sum(path string) (string, error)
}

// Level says how bad a Finding is.
type Level string

// The levels, the worst one first.
const (
	Error   Level = "error"
	Warning Level = "warning"
	Note    Level = "note"
)

var levels = []Level{Error, Warning, Note}

// Finding is one thing that is not as it should be.
type Finding struct {
	Check string   `json:"check"` // stable, such as "descriptors": docs/doctor.md has them all
	Level Level    `json:"level"`
	What  string   `json:"what"`
	Fix   []string `json:"fix"` // each line mends it alone, or is the next step; may be empty
}

// Report is what was found, the worst first.
type Report struct {
	Checks   int       `json:"checks"` // that were made
	Findings []Finding `json:"findings"`
}

var plural = map[bool]string{true: "s"}

// OK reports whether nothing has the level Error.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Level == Error })
}

// Render writes the report for people.
func (r *Report) Render(w io.Writer) error {
	var b strings.Builder
	count := map[Level]int{}
	for _, f := range r.Findings {
		count[f.Level]++
		fmt.Fprintf(&b, "%-8s %-12s %s\n", f.Level, f.Check, f.What)
		for _, line := range f.Fix {
			fmt.Fprintf(&b, "%-21s %s\n", "", line)
		}
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(&b, "%d checks, nothing found\n", r.Checks)
	} else {
		fmt.Fprintf(&b, "%d checks", r.Checks)
		for i, l := range levels {
			fmt.Fprintf(&b, "%s %d %s%s", []string{":", ",", ","}[i], count[l], l, plural[count[l] != 1])
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// exam is one look at a machine. owned by the goroutine of Examine.
type exam struct {
	Host
	config  *config.Config
	running int  // the process that serves config; 0: none is known
	shared  bool // sockets has found a process that shares an address of config
	check   string
	report  *Report
}

// checks are made in this order.
var checks = []struct {
	name string
	make func(*exam)
}{
	{"kernel", (*exam).kernel},
	{"calls", (*exam).calls},
	{"descriptors", (*exam).descriptors},
	{"inotify", (*exam).inotify},
	{"backlog", (*exam).backlog},
	{"syn", (*exam).syn},
	{"ports", (*exam).ports},
	{"conntrack", (*exam).conntrack},
	{"rights", (*exam).rights},
	{"address", (*exam).addresses},
	{"udp", (*exam).udp},
	{"sockets", (*exam).sockets},
	{"migration", (*exam).migration},
	{"clients", (*exam).clients},
	{"cpu", (*exam).cpu},
	{"memory", (*exam).memory},
	{"tasks", (*exam).tasks},
	{"thp", (*exam).hugePages},
	{"clock", (*exam).clock},
	{"certificate", (*exam).certificates},
	{"tables", (*exam).tables},
	{"logs", (*exam).logs},
	{"cache", (*exam).cache},
	{"disk", (*exam).disk},
	{"labels", (*exam).labels},
	{"binary", (*exam).binary},
	{"generations", (*exam).generations},
	{"pid_file", (*exam).pidFile},
	{"resolver", (*exam).resolver},
}

// Examine looks at a host for what c needs. running is the process that serves c, or 0.
func Examine(h Host, c *config.Config, running int) *Report {
	e := &exam{Host: h, config: c, running: running, report: &Report{Checks: len(checks), Findings: []Finding{}}}
	for _, c := range checks {
		e.check = c.name
		c.make(e)
	}
	slices.SortStableFunc(e.report.Findings, func(a, b Finding) int {
		return slices.Index(levels, a.Level) - slices.Index(levels, b.Level)
	})
	return e.report
}

func (e *exam) find(l Level, fix []string, format string, args ...any) {
	if fix == nil {
		fix = []string{}
	}
	e.report.Findings = append(e.report.Findings, Finding{e.check, l, fmt.Sprintf(format, args...), fix})
}

// text returns a file without the space around it; "" where it cannot be read.
func (e *exam) text(name string) string {
	b, err := os.ReadFile(e.Path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (e *exam) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(e.text(name), 10, 64)
	return n, err == nil
}

// sysctl returns a setting of the kernel by its name with dots.
func (e *exam) sysctl(name string) (int64, bool) {
	return e.number("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
}

// container is the engine that has made the container of this process; "" outside of one.
func (e *exam) container() string {
	for _, file := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(e.Path(file)); err == nil && e.Getenv("KUBERNETES_SERVICE_HOST") == "" {
			return "docker"
		}
	}
	if e.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return "kubernetes"
	}
	return ""
}

// set returns the line that changes a sysctl. Sysctls of "net." are a container's own, others are the machine's.
func (e *exam) set(name, value string) []string {
	switch engine := e.container(); {
	case engine == "":
		if strings.Contains(value, " ") {
			value = `"` + value + `"`
		}
		return []string{"sysctl -w " + name + "=" + value}
	case !strings.HasPrefix(name, "net.") || strings.HasPrefix(name, "net.netfilter.") || name == "net.core.rmem_max":
		return e.outside("sysctl -w " + name + "=" + value)
	case engine == "kubernetes":
		return []string{fmt.Sprintf("securityContext of the pod: sysctls: [{name: %s, value: %q}]", name, value)}
	}
	return []string{fmt.Sprintf("docker run --sysctl %s=%q", name, value)}
}

// outside returns a line for the machine, which is refused in a container.
func (e *exam) outside(line string) []string {
	if e.container() != "" {
		line = "on the machine, not in the container: " + line
	}
	return []string{line}
}

// root returns the machine's files for fs functions.
func (e *exam) root() fs.FS { return os.DirFS(e.Path("/")) }
