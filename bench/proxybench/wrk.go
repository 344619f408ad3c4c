package proxybench

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/bench/load"
	"github.com/edge-proxy/edge/bench/loadreport"
)

// Load generators.
const (
	loadAuto = "auto"
	loadWrk  = "wrk"
	loadGo   = "go"
)

// The load is told to run for longer than any window and is interrupted when the window is over:
// wrk counts in whole seconds.
const loadSeconds = 600

// loadResult is what a load generator saw. Requests are counted by the origin, not here.
type loadResult struct {
	requests uint64
	p50, p99 time.Duration
	p999     time.Duration // 0: the generator does not tell
	errors   uint64
	detail   string // which errors, in the generator's words
}

// add makes r the result of both loads, which ran at the same time. Quantiles are the worse ones of the two.
func (r *loadResult) add(other loadResult) {
	r.requests += other.requests
	r.p50, r.p99, r.p999 = max(r.p50, other.p50), max(r.p99, other.p99), max(r.p999, other.p999)
	if r.errors += other.errors; other.detail != "" {
		r.detail = other.detail
	}
}

// wrkCommand is the command line of wrk for s against addr; its script is written into dir.
func wrkCommand(wrk string, s Scenario, addr, dir string) ([]string, error) {
	argv := []string{
		wrk, "-t1", fmt.Sprintf("-c%d", s.Connections), fmt.Sprintf("-d%ds", loadSeconds),
		"--latency", "--timeout", "5s",
	}
	for _, f := range s.fields() {
		argv = append(argv, "-H", f)
	}
	if script := s.script(); script != "" {
		path := filepath.Join(dir, s.Name+".lua")
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			return nil, fmt.Errorf("script of wrk: %w", err)
		}
		argv = append(argv, "-s", path)
	}
	return append(argv, s.url(addr)), nil
}

var (
	wrkPercentile = regexp.MustCompile(`^\s+(50|99)(?:\.0+)?%\s+(\S+)\s*$`)
	wrkRequests   = regexp.MustCompile(`^\s*(\d+) requests in `)
	wrkSockets    = regexp.MustCompile(`^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus     = regexp.MustCompile(`^\s*Non-2xx or 3xx responses: (\d+)`)

	errNoSummary = errors.New("wrk printed no summary")
)

func parseWrk(out string) (loadResult, error) {
	var r loadResult
	seen := false
	scan := bufio.NewScanner(strings.NewReader(out))
	for scan.Scan() {
		line := scan.Text()
		if m := wrkPercentile.FindStringSubmatch(line); m != nil {
			d, err := time.ParseDuration(m[2]) // 12.34us, 1.20ms, 3.00s, 1.50m, 1.00h
			if err != nil {
				return r, fmt.Errorf("time printed by wrk: %w", err)
			}
			if m[1] == "50" {
				r.p50 = d
			} else {
				r.p99 = d
			}
		}
		if m := wrkRequests.FindStringSubmatch(line); m != nil {
			r.requests, seen = parseCount(m[1]), true
		}
		for _, re := range []*regexp.Regexp{wrkSockets, wrkStatus} {
			m := re.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			for _, n := range m[1:] {
				r.errors += parseCount(n)
			}
			r.detail = strings.Trim(r.detail+"; "+strings.TrimSpace(line), "; ")
		}
	}
	if !seen {
		return r, fmt.Errorf("%w: %.200q", errNoSummary, out)
	}
	return r, nil
}

func parseCount(digits string) uint64 {
	n, _ := strconv.ParseUint(digits, 10, 64)
	return n
}

// goLoadCommand is the command line of our own generator.
func goLoadCommand(self string, s Scenario, addr string) []string {
	argv := []string{
		self, s.url(addr), "-t1", "-c", strconv.Itoa(s.Connections), "-d", fmt.Sprintf("%ds", loadSeconds),
		"--pipeline", strconv.Itoa(max(s.Pipeline, 1)), "--json",
	}
	if s.Body > 0 {
		argv = append(argv, "--body-size", strconv.Itoa(s.Body))
	}
	if s.Rate > 0 {
		argv = append(argv, "--rate", strconv.Itoa(s.Rate))
	}
	if s.Reconnect {
		argv = append(argv, "--reconnect")
	}
	if s.Numbered {
		argv = append(argv, "--numbered")
	}
	if s.Hosts > 0 {
		argv = append(argv, "--hosts", strconv.Itoa(s.Hosts))
	}
	if s.Proto.h2() {
		argv = append(argv, "--h2", "-m", strconv.Itoa(s.Streams))
	} else if s.Proto == H3 {
		argv = append(argv, "--h3", "-m", strconv.Itoa(s.Streams))
	}
	if s.Group != "" {
		argv = append(argv, "--group", s.Group)
	}
	for _, f := range s.fields() {
		argv = append(argv, "-H", f)
	}
	return argv
}

// goLoadResult reads what our own generator prints.
func goLoadResult(out string) (*load.Result, error) {
	r, err := loadreport.Read(strings.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("result of the load: %w: %.200q", err, out)
	}
	return r.Rows[0].Result, nil
}

func parseGoLoad(out string) (loadResult, error) {
	r, err := goLoadResult(out)
	if err != nil {
		return loadResult{}, err
	}
	return loadResult{
		requests: r.Requests, p50: r.Latency.P50, p99: r.Latency.P99, p999: r.Latency.P999, errors: r.Failed(),
		detail: r.Failure,
	}, nil
}
