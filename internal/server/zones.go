package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/printable"
	wanted "github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

const (
	hookMax    = 2 * time.Minute  // of one call of a program
	recordMax  = 3 * time.Minute  // until all servers of a zone have a record
	recordPace = 10 * time.Second // the longest pause between two looks at them
	undoMax    = 30 * time.Second
	outputMax  = 300 // bytes of a program's output in an error
)

// zones presents the records of proofs by DNS: acme.DNS. Safe for any goroutine.
type zones struct {
	provider plugin.DNSProvider
	client   *dns.Client
}

// makeZones makes the zones of a configuration; nil: there are no proofs by DNS. provide makes the one of
// [dns_providers] that it names.
func makeZones(of *wanted.ACME, provide func() (plugin.DNSProvider, error)) (acme.DNS, error) {
	if of.DNS == "" {
		return nil, nil
	}
	z := &zones{hook(of.DNS), dns.New(dns.Options{Servers: of.Resolver})}
	if of.Program() != "" {
		return z, nil
	}
	var err error
	z.provider, err = provide()
	return z, err
}

// dnsProvider returns the one of [dns_providers] with that name. It goes on over a reload.
func (p *definitions) dnsProvider(name string) (plugin.DNSProvider, error) {
	return lasting(p, plugin.DNSProviders, name,
		func(made plugin.DNSProvider, h *keeper) (plugin.DNSProvider, error) {
			return &heldProvider{made, h}, nil
		})
}

// heldProvider is a DNS provider of a module: what that keeps is released when nothing has the provider any more.
type heldProvider struct {
	plugin.DNSProvider
	*keeper
}

func (z *zones) Present(ctx context.Context, name, text string) (acme.Record, error) {
	zone, err := z.client.Zone(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("the zone of %s: %w", name, err)
	}
	r := &record{z, zone, plugin.DNSRecord{Zone: zone.Name, Name: zone.Record, Text: text}}
	if err := r.call(ctx, z.provider.Present); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoMax)
		defer cancel()
		_ = r.call(undo, z.provider.CleanUp) // it may have been written
		return nil, fmt.Errorf("record %s: %w", zone.Record, err)
	}
	return r, nil
}

// record is an acme.Record.
type record struct {
	*zones
	zone *dns.Zone
	of   plugin.DNSRecord
}

func (r *record) Remove(ctx context.Context) {
	if err := r.call(ctx, r.provider.CleanUp); err != nil {
		slog.Warn("the record of a proof by DNS is left in its zone", "record", r.of.Name, "error", err)
	}
}

// call calls the provider. A panic is an error.
func (r *record) call(ctx context.Context, f func(context.Context, plugin.DNSRecord) error) (err error) {
	defer catch(&err)
	return f(ctx, r.of)
}

// Wait implements acme.Record. Where no server of the zone has ever answered, the authority finds out.
func (r *record) Wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recordMax)
	defer cancel()
	var last []dns.Server
	for pause := time.Second; ; pause = min(2*pause, recordPace) {
		lacking, answered := r.client.Lacking(ctx, r.zone, r.of.Text)
		if ctx.Err() == nil && len(lacking) == 0 && (answered || len(last) == 0) {
			return nil
		}
		if answered {
			last = lacking
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			if len(last) == 0 {
				return ctx.Err()
			}
			return fmt.Errorf("%w: %s (%s) has no record %s yet", ctx.Err(), last[0].Name, last[0].Addr, r.of.Name)
		}
	}
}

// hook is the DNSProvider of a program, by its path: it is called with an action, the name and the text, as by lego.
type hook string

func (p hook) Present(ctx context.Context, r plugin.DNSRecord) error {
	return p.run(ctx, "present", &r)
}

func (p hook) CleanUp(ctx context.Context, r plugin.DNSRecord) error {
	return p.run(ctx, "cleanup", &r)
}

// run runs the program to its end, and ends it with all that it has started when its time is up.
func (p hook) run(ctx context.Context, action string, r *plugin.DNSRecord) error {
	ctx, cancel := context.WithTimeout(ctx, hookMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, string(p), action, r.Name, r.Text)
	cmd.Env = append(os.Environ(), "EDGE_ACME_ACTION="+action, "EDGE_ACME_ZONE="+r.Zone, "EDGE_ACME_NAME="+r.Name,
		"EDGE_ACME_VALUE="+r.Text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var output tail
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it has ended, and something that it has started has not
	case err == nil:
		return nil
	}
	if said := printable.Word(strings.TrimSpace(string(output))); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return fmt.Errorf("%s %s: %w", p, action, err)
}

// tail is a Writer that keeps the last bytes.
type tail []byte

func (t *tail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	*t = append((*t)[:0], (*t)[max(0, len(*t)-outputMax):]...)
	return len(b), nil
}
