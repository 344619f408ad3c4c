package proxybench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"time"
)

// generator makes the load of a scenario: wrk, h2load, or edge-bench itself. Immutable.
type generator struct {
	ends    bool // by itself, some time after the window; else it is interrupted
	command func(s Scenario, addr string) ([]string, error)
	parse   func(out string) (loadResult, error)
}

// result ends a load, or waits for its end, and reads what it printed.
func (g *generator) result(ctx context.Context, load *process) (loadResult, error) {
	if !g.ends {
		_ = load.cmd.Process.Signal(os.Interrupt) // it prints then
	}
	if err := load.wait(ctx, readyTimeout); err != nil {
		return loadResult{}, err
	}
	return g.parse(load.printed())
}

func (r *runner) generator(s Scenario, window time.Duration) (generator, error) {
	switch {
	case s.Proto.h2() && !s.Counted && r.h2load != "":
		return generator{true, func(s Scenario, addr string) ([]string, error) {
			return h2loadCommand(r.h2load, s, addr, s.settle()+window), nil
		}, parseH2Load}, nil
	case r.wrk == "" || s.Ours || s.Group != "" || s.Proto.h2() || s.Counted || s.Numbered:
		return generator{false, func(s Scenario, addr string) ([]string, error) {
			argv := goLoadCommand(r.options.Self, s, addr)
			if s.Counted {
				argv = append(argv, "--counter", r.answeredPath())
			}
			return argv, nil
		}, parseGoLoad}, nil
	}
	return generator{false, func(s Scenario, addr string) ([]string, error) {
		return wrkCommand(r.wrk, s, addr, r.dir)
	}, parseWrk}, nil
}

// h2loadCommand is the command line of h2load for s against addr. It prints only when its time is over, which is at
// least a while from now.
func h2loadCommand(h2load string, s Scenario, addr string, least time.Duration) []string {
	argv := []string{
		h2load, "-t1", fmt.Sprintf("-c%d", s.Connections), fmt.Sprintf("-m%d", s.Streams),
		fmt.Sprintf("-D%d", int(math.Ceil((least + h2loadSpare).Seconds()))),
	}
	for _, f := range s.fields() {
		argv = append(argv, "-H", f)
	}
	return append(argv, s.url(addr))
}

// h2loadSpare is what h2load needs beside its measured time.
const h2loadSpare = 200 * time.Millisecond

var (
	h2loadRequests = regexp.MustCompile(`(?m)^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadStatus   = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)

	errNoH2Summary = errors.New("h2load printed no summary")
)

// parseH2Load reads what h2load prints. It has no percentiles.
func parseH2Load(out string) (loadResult, error) {
	m := h2loadRequests.FindStringSubmatch(out)
	status := h2loadStatus.FindStringSubmatch(out)
	if m == nil || status == nil {
		return loadResult{}, fmt.Errorf("%w: %.200q", errNoH2Summary, out)
	}
	r := loadResult{requests: parseCount(m[1])}
	for _, n := range append(m[2:], status[3:]...) {
		r.errors += parseCount(n)
	}
	if r.errors > 0 {
		r.detail = strings.TrimSpace(m[0] + "; " + status[0])
	}
	return r, nil
}

// url is where a load generator is sent.
func (s Scenario) url(addr string) string {
	scheme := "http"
	if s.Proto.secure() {
		scheme = "https"
	}
	return scheme + "://" + addr + cmp.Or(s.Path, "/small")
}
