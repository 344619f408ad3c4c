package config

import (
	"path/filepath"
	"time"

	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
)

// Files are the texts that a configuration was read from.
type Files = schema.Files

// What a client that sends a configuration may write.
type (
	Sent    = schema.Sent
	Naming  = schema.Naming
	Namings = schema.Namings
)

// What Load and Parse return of package syntax.
type (
	Report  = syntax.Report
	Problem = syntax.Problem
	Pos     = syntax.Pos
)

// The kinds of values that package value reads.
type (
	Address   = value.Address
	Trusted   = value.Trusted
	AccessLog = value.AccessLog
	Logging   = value.Logging
	Header    = value.Header
)

// Definition is a table of a registered type, such as one of [filters].
type Definition = plugins.Definition

// Config is a checked configuration: every name resolved, every default filled in. Not changed after Load or Parse
// returned it, so safe for any goroutine to read.
type Config struct {
	Global       Global
	Log          Log `edge:"log"`
	TLS          TLS
	Certificates []Certificate // of all listeners with TLS
	Listeners    []Listener
	Upstreams    []Upstream
	Routes       []Route     // in file order; which one wins is decided by how specific they are
	ErrorPages   []ErrorPage `json:",omitempty"` // where neither the route nor the listener has one
	Fallback     Dest        // where a request goes that no route takes: the upstream "default", the hello page, or 404

	Registrations []Registration `json:",omitempty"` // of [register]

	Lists    []language.List    `json:",omitempty"`
	Maps     []language.Map     `json:",omitempty"`
	Secrets  map[string][]byte  `json:"-"` // of [secrets]
	Geo      language.Geo       `json:",omitzero"`
	Language *language.Language `json:"-"` // what conditions and templates may name

	Rules    []Rule          `json:",omitempty"` // for all requests, after those of the listener
	Filters  []string        `json:",omitempty"` // for all requests, by their names: see plugins.FilterLists
	Defined  []Definition    `json:",omitempty"` // of [filters], [destinations] and the like, by their kinds
	Features []schema.Target `json:",omitempty"` // see Register

	Places  *Places `json:"-"` // where its values stand; nil: nobody asked
	Namings Namings `json:"-"` // files and other things of this machine that it names
	Written []byte  `json:"-"` // what the files say, as schema.Document.Written has it; nil: nobody asked
}

// Global holds what concerns the process as a whole.
type Global struct {
	// How much the error log says.
	LogLevel string `edge:"log_level" enum:"debug info warn error" default:"info" example:"debug"`
	// Event loops of the process. `auto`: one for each core that the CPU limit of the cgroup allows, at most one for
	// each 32 MiB of `memory_limit`.
	// Example: 4
	// Also: .threads threads
	WorkerThreads int `edge:"worker_threads" default:"\"auto\"" words:"auto" min:"1" max:"1024" restart:"true"`
	// How an event loop without work sleeps. `auto` suits nearly everybody; see [event
	// loops](operations.md#event-loops) for the others.
	Park string `edge:"park" enum:"auto runtime syscall spin" default:"auto" example:"syscall" restart:"true"`
	// Each event loop stays on one processor of those the process may use; with `park` at `auto` it sleeps as with
	// `syscall`.
	Pin bool `edge:"pin" example:"true" restart:"true"`
	// Its name in `Via` and `Proxy-Status`. A request that came through that name more than 8 times goes in circles
	// and is answered 508. `unique`: `edge-` and a random number.
	Via string `edge:"via" kind:"name" default:"edge" example:"unique" restart:"true"`
	// Where the process runs, as the backends call their zones: see `zones` of upstreams. `${EDGE_ZONE}` takes it from
	// the environment.
	Zone string `edge:"zone" example:"eu-1a" json:",omitzero"`
	// Where the process writes its id. None is written without it.
	PIDFile string `edge:"pid_file" example:"/run/edge/edge.pid" file:"write" restart:"true"`
	// `stderr`, `stdout` or a path.
	ErrorLog string `edge:"error_log" kind:"log_path" default:"stderr" example:"/var/log/edge/error.log" file:"write"`
	// How long open requests may take to finish when the process is asked to stop.
	// Example: "1m"
	GracePeriod time.Duration `edge:"grace_period" default:"30s" min:"0s" max:"24h" also:"grace_period_seconds"`
	// How much longer, after `grace_period`; for files that have both.
	// Example: "5s"
	// Also: graceful_shutdown_timeout_seconds
	ShutdownTimeout time.Duration `edge:"shutdown_timeout" default:"0s" min:"0s" max:"24h"`
	// Memory the process may use. `auto`: 80 % of the limit of the cgroup.
	// Example: "2g"
	MemoryLimit int64 `edge:"memory_limit" unit:"size" default:"auto" words:"auto" min:"16m" max:"1024t" restart:"true"`
	// Bytes of a body to come from which they go from socket to socket inside the kernel, where both are plain;
	// tunnels too, once they are busy. `off`: never.
	Splice int64 `edge:"splice" unit:"size" default:"256k" words:"off" min:"4k" max:"1t" example:"off" restart:"true"`
	// The authorities of backends, in PEM, for upstreams that name none; else those of the system.
	CAFile string `edge:"ca_file" example:"/etc/edge/tls/ca.pem" file:"read" pool:"true"`
	// Nothing but what FIPS 140-3 approves: the process starts itself again with that mode of Go's cryptographic
	// module before it listens, and what is not approved is an error.
	FIPS bool `edge:"fips" example:"true" restart:"true"`
	// Reload when a file of the configuration changes, as `edge run --watch` does. See [watching the
	// files](operations.md#watching-the-files).
	Watch bool `edge:"watch" example:"true" json:"-"`
	// How many configurations that were applied are kept, for a [rollback](operations.md#rollback): at most 32 MiB of
	// text. 0: none.
	Versions int `edge:"versions" default:"10" min:"0" max:"1000" example:"50" json:"-"`
	// The folder where they outlive the process, readable by its user alone. Without it that is `versions` in the
	// folder that systemd names by `STATE_DIRECTORY`; where there is none, they are kept in memory.
	VersionsDir string   `edge:"versions_dir" example:"/var/lib/edge/versions" local:"true" restart:"true" json:"-"`
	Rollback    Rollback `edge:"rollback" json:"-"`
	// The folder that the process works in, an absolute path: where relative ones begin. Without it that is the folder
	// in which it was started.
	WorkingDirectory string `edge:"working_directory" kind:"folder" example:"/var/lib/edge" local:"true" restart:"true"`
	// A Unix socket at which `edge upgrade` and `edge run --upgrade` find the process. None is made without it;
	// SIGUSR2 upgrades all the same. See [upgrades](upgrade.md).
	// Example: "/run/edge/upgrade.sock"
	UpgradeSock string `edge:"upgrade_sock" file:"write" restart:"true" json:",omitzero"`
	// How long a new process may take until it is ready. After that it is ended, and the old one serves on.
	UpgradeTimeout time.Duration `edge:"upgrade_timeout" default:"60s" min:"1s" max:"1h" example:"5m" json:"-"`
	// SIGHUP upgrades instead of reading the configuration again, when the file of the program is another one than the
	// one that runs. So does a reload for keys that wait for a restart, such as `worker_threads`.
	UpgradeOnReload bool `edge:"upgrade_on_reload" example:"true" json:",omitzero"`
	// The user that a process started by root becomes before it accepts a connection, by name or number. See
	// [rights](operations.md#rights).
	User string `edge:"user" kind:"account" example:"www-data" restart:"true"`
	// Its group, by name or number; without it the first one of `user`.
	Group string `edge:"group" kind:"account" example:"www-data" restart:"true"`
	// Before it serves, the process gives up what it does not need of files, ports and system calls, by Landlock,
	// seccomp and no_new_privs. `true`: as far as the kernel goes, with a warning of what it cannot do; `"strict"`:
	// all of it, or the process does not start. See [lockdown](operations.md#lockdown).
	Lockdown Lockdown `edge:"lockdown" default:"false" example:"true" restart:"true" json:",omitzero"`
	// Serve in the background, like `edge -d`: the command ends when the process serves, and says what keeps it from
	// that. See [in the background](operations.md#in-the-background).
	Daemon bool `edge:"daemon" example:"true" restart:"true"`
}

// Rollback says when a reload is taken back.
type Rollback struct {
	// A reload is taken back when more of the requests of a route than that are answered with a status of 500 or more,
	// and were not before. Without it none is. It needs two `versions`. See [rollback](operations.md#rollback).
	Errors int `edge:"errors" kind:"percent" example:"20%"`
	// How long after a reload.
	Within time.Duration `edge:"within" default:"30s" min:"1s" max:"1h" example:"2m"`
	// Fewer requests of a route say nothing.
	Requests int `edge:"requests" default:"20" min:"1" max:"1000000" example:"100"`
}

// FromWorkingDirectory returns where the process finds the file at path: a relative path begins at WorkingDirectory.
func (g *Global) FromWorkingDirectory(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(g.WorkingDirectory, path)
}

// Summary returns the line a successful check prints: "configuration OK: 2 listeners, 6 routes, 3 upstreams".
func (c *Config) Summary() string {
	entries := 0
	for i, r := range c.Routes {
		if i == 0 || r.Entry != c.Routes[i-1].Entry {
			entries++
		}
	}
	return "configuration OK: " + syntax.Plural(len(c.Listeners), "listener") + ", " +
		syntax.Plural(entries, "route") + ", " +
		syntax.Plural(len(c.Upstreams), "upstream") + c.certificateSummary(time.Now())
}

// certificateSummary returns the part of the summary about certificates.
func (c *Config) certificateSummary(now time.Time) string {
	seen := make(map[string]bool)
	var first time.Time
	count := func(p *Certificate) {
		id := p.Cert + "\x00" + p.Key
		if seen[id] {
			return
		}
		seen[id] = true
		if !p.NotAfter.IsZero() && (first.IsZero() || p.NotAfter.Before(first)) {
			first = p.NotAfter
		}
	}
	for i := range c.Certificates {
		count(&c.Certificates[i])
	}
	for i := range c.Listeners {
		if p := c.Listeners[i].Certificate; p != nil {
			count(p)
		}
	}
	if len(seen) == 0 {
		return ""
	}
	text := ", " + syntax.Plural(len(seen), "certificate")
	left := days(first.Sub(now))
	switch {
	case first.IsZero():
	case now.After(first):
		text += " (first expired " + syntax.Plural(-left, "day") + " ago)"
	default:
		text += " (first expires in " + syntax.Plural(left, "day") + ")"
	}
	return text
}
