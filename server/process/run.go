package process

import (
	"crypto/fips140"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/tlsconn"
)

// Options are what Run needs in addition to the configuration. The zero value is good.
type Options struct {
	// Server is for server.New. Run sets Owner and Prepare.
	Server server.Options
	// Load reads the configuration again, for SIGHUP; nil: there is no file to read.
	Load func() (*config.Config, *config.Report)
	// Started is called when s serves.
	Started func(s *server.Server)
	// Signals are those that the caller has heard since before it had a configuration. Run takes them over; nil: it
	// makes its own.
	Signals *Signals
}

// Run serves cfg until a signal ends it: it is the whole life of the process. The error says why it could not
// start, or what it could not finish. With fips = true the process begins again, unless it began with that mode
// on. With daemon = true it starts the program once more and returns when that process serves; when that process
// ended instead, the error is an *exec.ExitError.
//
//	SIGHUP             read the configuration again and apply it
//	SIGUSR1            open the log files again
//	SIGTERM, SIGQUIT   accept nothing new, let requests end within grace_period, end; a second one ends at once
//	SIGINT             end at once
func Run(cfg *config.Config, o Options) error {
	if cfg.Global.FIPS {
		if err := enterFIPS(); err != nil {
			return err
		}
	}
	parent, err := waitingParent()
	if err != nil {
		return err
	}
	if cfg.Global.Daemon && parent == nil {
		return detach()
	}
	id, err := enter(&cfg.Global)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // when the reader of a log goes away, the write fails and the process goes on
	if o.Signals == nil {
		o.Signals = NewSignals()
	}
	o.Signals.hearEnds()
	defer o.Signals.stop()
	id.ownLogs(cfg)
	events, err := openEventLog(cfg.Global.ErrorLog, cfg.Global.LogLevel)
	if err != nil {
		return err
	}
	defer events.close()
	slog.SetDefault(events.logger())
	limitMemory(cfg.Global.MemoryLimit)
	o.Server.Owner, o.Server.Prepare = id.owner(), events.prepare
	s, err := server.New(cfg, o.Server)
	if err != nil {
		return err
	}
	events.register(s.Registry())
	defer removePID(cfg.Global.PIDFile)
	p := running{server: s, events: events, signals: o.Signals, load: o.Load, cfg: cfg}
	if err := p.start(id, parent, o.Started); err != nil {
		_ = s.Stop() // the first error is the one to report
		return err
	}
	p.serve()
	err = s.Stop()
	slog.Info("stopped", "counters", totals{s.Registry()})
	return err
}

// start makes the server serve, calls started and tells parent. Either may be nil.
func (p *running) start(id *identity, parent *os.File, started func(s *server.Server)) error {
	s, g := p.server, &p.cfg.Global
	spareProcessor(s.Reactors(), g.Park == "syscall" || g.Pin)
	if err := s.Listen(); err != nil {
		return err
	}
	if err := writePID(g.PIDFile); err != nil {
		return err
	}
	if err := id.become(s.Addresses(), s.AuthorityPath()); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	if fips140.Enabled() {
		slog.Info("cryptography by FIPS 140-3", "module", tlsconn.ProviderName())
	}
	p.tellAddresses()
	if started != nil {
		p.events.sync() // it may print
		started(s)
	}
	return release(parent, p.events)
}

// totals logs a registry in one line.
type totals struct{ *observe.Registry }

// LogValue lists the series that are not zero.
func (t totals) LogValue() slog.Value {
	var attrs []slog.Attr
	t.Each(func(s observe.Sample) {
		if s.Value == 0 || strings.HasSuffix(s.Name, "_timestamp_seconds") {
			return
		}
		name := strings.TrimPrefix(s.Name, "edge_")
		for _, l := range s.Labels {
			name += " " + l.Value
		}
		attrs = append(attrs, slog.Float64(name, s.Value))
	})
	return slog.GroupValue(attrs...)
}
