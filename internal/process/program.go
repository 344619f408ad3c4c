package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/process/upgrade"
)

// program is how this process was started, which is how an upgrade starts the next one.
// Immutable after startedAs.
type program struct {
	path    string // absolute; links in it are followed anew by each start
	args    []string
	env     []string
	dir     string
	version string
	present func() (string, error) // sum of the file that runs, computed once
	locked  bool                   // lockdown says which programs can be started; written before serving
	err     error                  // why it cannot be started again; nil: it can
}

// upgradeVariable gives a new process the descriptor of its channel to the running one. It is removed before another
// process could inherit it.
const upgradeVariable = "EDGE_UPGRADE_FD"

// ownVariables are those that were meant for this process alone.
var ownVariables = []string{
	upgradeVariable, daemonVariable, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID",
}

// startedAs returns how this process was started. It is called before the process changes its folder.
func startedAs(version string) *program {
	dir, errDir := os.Getwd()
	path, errPath := os.Executable()
	// The name by which it was started leads to the next version when that is put in its place, also where it is a
	// link.
	if named, err := exec.LookPath(os.Args[0]); err == nil {
		if named, err = filepath.Abs(named); err == nil && sameFile(named, "/proc/self/exe") {
			path = named
		}
	}
	return &program{
		err:  errors.Join(errDir, errPath),
		path: path, args: os.Args[1:], dir: dir, version: version,
		env: slices.DeleteFunc(os.Environ(), func(variable string) bool {
			name, _, _ := strings.Cut(variable, "=")
			return slices.Contains(ownVariables, name)
		}),
		present: sync.OnceValues(func() (string, error) { return build.Sum("/proc/self/exe") }),
	}
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// command returns a command of the file bin in the environment of the start.
func (p *program) command(ctx context.Context, bin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir, cmd.Env = p.dir, slices.Clone(p.env)
	return cmd
}

// build describes the file that runs.
func (p *program) build() upgrade.Build {
	sum, _ := p.present() // without /proc nothing can be said of it
	return upgrade.Build{Version: p.version, ID: sum}
}

// changed reports whether the file of the program is not the running one any more, by its content.
func (p *program) changed() (bool, error) {
	if sameFile(p.path, "/proc/self/exe") {
		return false, nil
	}
	now, err := build.Sum(p.path)
	if err != nil {
		return false, err
	}
	present, err := p.present()
	return now != present, err
}

const (
	checkTime   = 30 * time.Second // a new program that cannot read its configuration by then hangs
	checkOutput = 1 << 20          // bytes of its findings that are looked at
)

var errCheckHangs = fmt.Errorf("it does not answer within %v", checkTime)

// check runs the program bin with args to look at the configuration, and returns what it finds wrong. No args: the
// program has no command for it.
func (p *program) check(ctx context.Context, bin string, args []string) error {
	if err := errors.Join(p.err, startable(bin)); err != nil {
		return err
	}
	if len(args) == 0 {
		return nil
	}
	limited, done := context.WithTimeoutCause(ctx, checkTime, errCheckHangs)
	defer done()
	cmd := p.command(limited, bin, args...)
	out, problems := &head{max: checkOutput}, &head{max: lastWords}
	cmd.Stdout, cmd.Stderr = out, problems
	cmd.WaitDelay = time.Second // for what it has started itself
	err := cmd.Run()
	if cause := context.Cause(limited); cause != nil {
		err = cause
	}
	if err == nil {
		return nil
	}
	what := fmt.Errorf("%s %s: %w", bin, strings.Join(args, " "), p.explainStart(err))
	var report struct{ Errors []checkFinding }
	if json.Unmarshal(out.Bytes(), &report) == nil && len(report.Errors) > 0 {
		return fmt.Errorf("%w: %s", what, &report.Errors[0])
	}
	if line, _, _ := strings.Cut(strings.TrimSpace(problems.String()), "\n"); line != "" {
		return fmt.Errorf("%w: %s", what, line)
	}
	return what
}

// checkFinding is an error in the output of edge check --json.
type checkFinding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// String returns it as the command prints it.
func (f *checkFinding) String() string {
	if f.File == "" {
		return f.Message
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
}

// startable returns why bin cannot be started, as far as its file says it.
func startable(bin string) error {
	at, err := os.Stat(bin)
	switch {
	case err != nil:
		return err
	case at.IsDir():
		return fmt.Errorf("%s is a folder", bin)
	case !at.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", bin)
	case at.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable: chmod +x %[1]s", bin)
	}
	return nil
}

// explainStart adds to an error of a start what it usually means.
func (p *program) explainStart(err error) error {
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		// The kernel starts half of a file that is linked statically, and ends it where a page is missing.
		if by := ended.Sys().(syscall.WaitStatus).Signal(); by == syscall.SIGSEGV || by == syscall.SIGBUS {
			return fmt.Errorf("%w: it crashes, or its file is not whole", err)
		}
	case errors.Is(err, syscall.EACCES) && p.locked:
		return fmt.Errorf("%w: lockdown does not let the process start it: edge run --upgrade is not limited", err)
	case errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w: it is for another processor, or not whole", err)
	case errors.Is(err, syscall.ETXTBSY):
		return fmt.Errorf("%w: it is being written", err)
	}
	return err
}

// lastWords is how much of what a program prints is looked at.
const lastWords = 4096

// head is a writer that keeps the first max bytes. Owned by its writer, until that has ended.
type head struct {
	bytes.Buffer
	max int
}

// Write is for io.Writer: it takes everything.
func (h *head) Write(b []byte) (int, error) {
	if room := h.max - h.Len(); room > 0 {
		_, _ = h.Buffer.Write(b[:min(room, len(b))]) // never fails
	}
	return len(b), nil
}
