package program

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/tracing"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/process/lockdown"
	"github.com/edge-proxy/edge/internal/process/versions"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/logsink"
)

// CheckOptions say how Check tells what it finds. The zero value is good.
type CheckOptions struct {
	JSON     bool      // findings are JSON on Out, see docs/commands.md
	Strict   bool      // warnings count as errors do, with the Code 2
	Connect  bool      // servers of logs, traces and events are tried
	ACME     string    // Staging, or the URL of an ACME directory: certificates are tried there; "": none are
	Out      io.Writer // for a summary; nil: stdout
	Problems io.Writer // for findings; nil: stderr
}

// Staging stands for the staging authority of an authority that a configuration names.
const Staging = "staging"

// Check reads the configuration as Run does and prints what is wrong with it, and a summary where nothing is. It starts
// nothing and opens no address, but for Connect and ACME. Where the configuration has lockdown, it lists what the
// process may reach then. The error is a Code where there are findings.
func (p *Program) Check(o CheckOptions) error {
	if p.err != nil {
		return p.err
	}
	out, problems := o.Out, o.Problems
	if out == nil {
		out = os.Stdout
	}
	if problems == nil {
		problems = stderr
	}
	files := &config.Files{}
	reading := p.reading()
	reading.Record, reading.MakeFilters, reading.Places = files, true, o.Connect || o.ACME != ""
	cfg, report := p.load(reading, p.options.Conf)
	if report.OK() {
		for _, found := range server.CheckState(cfg, p.options.Server.StateDir) {
			found.File = cmp.Or(found.File, files.Main, noFile)
			report.Errors = append(report.Errors, found)
		}
	}
	lines, err := lockdownOf(cfg, report, files)
	if err != nil {
		return err
	}
	if report.OK() {
		lines = append(lines, datagramsOf(cfg)...)
	}
	if o.Connect && report.OK() {
		connect(cfg, report, files.Main)
	}
	if o.ACME != "" && report.OK() {
		lines = append(lines, rehearse(cfg, report, files.Main, o.ACME)...)
	}
	if o.JSON {
		_, err = out.Write(report.JSON())
	} else if err = report.Render(problems); err == nil && report.OK() {
		_, err = fmt.Fprintln(out, cfg.Summary())
		for _, line := range lines {
			fmt.Fprintln(out, line)
		}
	}
	switch {
	case err != nil:
		return err
	case !report.OK():
		return Code(exitError)
	case o.Strict && len(report.Warnings) > 0:
		return Code(exitWarnings)
	}
	return nil
}

// datagramsOf returns the line that reminds of what keeps HTTP/3 from clients and cannot be seen here.
func datagramsOf(cfg *config.Config) []string {
	var open []string
	for _, l := range cfg.Listeners {
		for i := range l.Addresses {
			if l.ServesHTTP3() {
				open = append(open, l.Addresses[i].Text)
			}
		}
	}
	if open == nil {
		return nil
	}
	return []string{"HTTP/3: firewalls, containers and load balancers have to let UDP in, at " +
		strings.Join(open, ", ")}
}

// connect reports servers that get logs, traces or events and cannot be reached. main is the file of cfg.
func connect(cfg *config.Config, report *config.Report, main string) {
	wrong := func(err error, at config.Pos, name string) {
		if err != nil {
			at.File = cmp.Or(at.File, main, noFile)
			report.Errors = append(report.Errors, config.Problem{Pos: at, Severity: config.SeverityError,
				Message: name + " reaches no server: " + strings.TrimPrefix(err.Error(), "otlp: ")})
		}
	}
	if t := tracing.Of(cfg); t != nil {
		at, _ := cfg.Places.Of(t, "endpoint")
		wrong(logsink.Ping(logsink.NewExporter(&t.Collector, otlp.Traces, "", nil)), at, "[tracing]")
	}
	for _, f := range cfg.Features {
		if p, ok := f.(interface {
			Ping() (key string, err error)
		}); ok {
			key, err := p.Ping()
			at, _ := cfg.Places.Of(f, key)
			wrong(err, at, "["+schema.SectionOf(f).Name()+"]")
		}
	}
	for i := range cfg.Defined {
		d := &cfg.Defined[i]
		switch c := d.Config.(type) {
		case *logsink.OTLP:
			wrong(logsink.Ping(logsink.NewOTLP(c, nil)), d.Pos, "[log_sinks."+d.Name+"]")
		case *logsink.Syslog:
			wrong(logsink.Ping(logsink.NewSyslog(c, nil)), d.Pos, "[log_sinks."+d.Name+"]")
		}
	}
	tried := make(map[string]bool)
	for _, f := range cfg.Files("log", "write") { // the second use is the use of error_log
		if value.IsLogTarget(f.Path) && !tried[f.Path] {
			tried[f.Path] = true
			wrong(logsink.Ping(logsink.Target(f.Path)), f.Pos, f.Path)
		}
	}
}

// rehearse tries to get the certificates of cfg at directory, and reports what keeps them from being issued. It returns
// the lines that a person reads when nothing does.
func rehearse(cfg *config.Config, report *config.Report, main, directory string) []string {
	if directory == Staging {
		directory = ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) // proofs are removed
	defer stop()
	r := server.Rehearse(ctx, cfg, directory)
	switch {
	case r == nil:
		return []string{"the configuration orders no certificate: none was tried"}
	case len(r.Names) == 0:
		return []string{"no certificate is ordered before a handshake asks for it: none was tried"}
	}
	p := config.Problem{Pos: acme.PlaceOf(cfg), Severity: config.SeverityWarning, Code: "acme-away"}
	p.File = cmp.Or(p.File, main, noFile)
	for _, p.Message = range r.Doubts {
		report.Warnings = append(report.Warnings, p)
	}
	names := strings.Join(r.Names, ", ")
	if r.Err != nil {
		p.Severity, p.Code, p.Message = config.SeverityError, "", "no certificate for "+names+": "+r.Err.Error()
		report.Errors = append(report.Errors, p)
		return nil
	}
	lines := []string{r.Directory + " has issued a certificate for " + names + ", which was thrown away"}
	if r.Left > 0 {
		lines = append(lines, fmt.Sprintf("%d further names were not tried", r.Left))
	}
	return lines
}

// lockdownOf returns what a process that is locked down could reach; nothing where cfg asks for no lockdown. At an
// upgrade a new program checks the configuration, and that process then inherits the lockdown: a file out of reach is
// an error.
func lockdownOf(cfg *config.Config, report *config.Report, files *config.Files) ([]string, error) {
	lock, err := lockdown.Inherited()
	if err != nil {
		return nil, err
	}
	if lock == nil && (!report.OK() || cfg.Global.Lockdown == config.LockdownOff) {
		return nil, nil
	}
	var needs *lockdown.Needs
	if report.OK() {
		program, _ := os.Executable()             // "": it cannot be started again
		state, _ := server.StateDir(os.Geteuid()) // "": only an internal authority needs one
		needs = lockdown.Of(lockdown.Options{Config: cfg, Files: files, Program: program, StateDir: state,
			Versions: versions.Dir(&cfg.Global)})
	}
	if lock != nil {
		lock.Judge(report, needs, true)
		return nil, nil
	}
	if err := lockdown.Missing(); err != nil && cfg.Global.Lockdown == config.LockdownStrict {
		report.Errors = append(report.Errors, config.Problem{
			Pos:      config.Pos{File: cmp.Or(files.Main, noFile)},
			Severity: config.SeverityError, Message: fmt.Sprintf("lockdown = \"strict\": %v", err)})
	}
	lines := needs.Rules().Lines()
	for i := range lines {
		lines[i] = "locked down it may " + lines[i]
	}
	return lines, nil
}
