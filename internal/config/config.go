package config

import (
	"path/filepath"
	"time"

	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
)

// Files are the texts that a configuration was read from.
type Files = schema.Files

// What a client that sends a configuration may write.
type (
	Sent    = schema.Sent
	Under   = schema.Under
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
	Services     []Listener       `json:",omitempty"` // what listens and is not HTTP
	Relays       map[string]Relay `json:",omitempty"` // services of the type tcp, by name
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

	Rules    []Rule          `json:",omitempty"` // for all requests, after the listener's
	Filters  []string        `json:",omitempty"` // for all requests, by their names: see plugins.FilterLists
	Defined  []Definition    `json:",omitempty"` // of [filters], [destinations] and the like, by their kinds
	Features []schema.Target `json:",omitempty"` // see Register

	Places  *Places `json:"-"` // where its values stand; nil: not asked for
	Namings Namings `json:"-"` // files and other things of this machine that it names
	Written []byte  `json:"-"` // what the files say, as schema.Document.Written has it; nil: not asked for
}

// Global holds what concerns the process as a whole.
type Global struct {
	// Least severity that the error log writes.
	LogLevel string `edge:"log_level" enum:"debug info warn error" default:"info" example:"debug"`
	// Event loops of the process. `auto`: one for each core that the CPU limit of the cgroup allows, at most one for
	// each 32 MiB of `memory_limit`.
	// Example: 4
	// Also: .threads threads
	WorkerThreads int `edge:"worker_threads" default:"\"auto\"" words:"auto" min:"1" max:"1024" restart:"true"`
	// Way an event loop without work sleeps. `auto` suits nearly everybody; [event loops](tuning.md#event-loops)
	// explains the other values.
	Park string `edge:"park" enum:"auto runtime syscall spin" default:"auto" example:"syscall" restart:"true"`
	// Pin each event loop to one of the processors that the process may use; `park = "auto"` is `syscall` then.
	Pin bool `edge:"pin" example:"true" restart:"true"`
	// Name of edge in `Via` and `Proxy-Status`. A request that came through that name more than 8 times goes in circles
	// and is answered 508. `unique`: `edge-` and a random number.
	Via string `edge:"via" kind:"name" default:"edge" example:"unique" restart:"true"`
	// Zone of this process, as in `zone` of backends, for `zones` of upstreams. `${EDGE_ZONE}` reads the environment.
	Zone string `edge:"zone" example:"eu-1a" json:",omitzero"`
	// File to which the process writes its id. Without the key none is written.
	PIDFile string `edge:"pid_file" example:"/run/edge/edge.pid" file:"write" restart:"true"`
	// Place of the error log: `stderr`, `stdout`, a path, or a URL such as `syslog+udp://10.0.0.5:514`.
	ErrorLog string `edge:"error_log" kind:"log_path" default:"stderr" example:"/var/log/edge/error.log" file:"write"`
	// Names of `[log_sinks]` that get the lines of the error log as well, as JSON.
	// Example: ["central"]
	ErrorLogAlso []string `edge:"error_log_also" json:",omitempty"`
	// Time that open requests have to finish when the process is asked to stop.
	// Example: "1m"
	GracePeriod time.Duration `edge:"grace_period" default:"30s" min:"0s" max:"24h" also:"grace_period_seconds"`
	// Time added to `grace_period`, for files that have both keys.
	// Example: "5s"
	// Also: graceful_shutdown_timeout_seconds
	ShutdownTimeout time.Duration `edge:"shutdown_timeout" default:"0s" min:"0s" max:"24h"`
	// Memory that the process may use. `auto`: 80 % of the limit of the cgroup.
	// Example: "2g"
	MemoryLimit int64 `edge:"memory_limit" unit:"size" default:"auto" words:"auto" min:"16m" max:"1024t" restart:"true"`
	// Size from which the rest of a body is moved from socket to socket inside the kernel, where both are plain; busy
	// tunnels are too. `off`: never.
	Splice int64 `edge:"splice" unit:"size" default:"256k" words:"off" min:"4k" max:"1t" example:"off" restart:"true"`
	// File of authorities in PEM that certificates of backends are verified with, for upstreams without `tls.ca`.
	// Without the key: the authorities of the system.
	CAFile string `edge:"ca_file" example:"/etc/edge/tls/ca.pem" file:"read" pool:"true"`
	// Use only cryptography that FIPS 140-3 approves: the process starts itself again with that mode of Go's
	// cryptographic module before it listens, and anything else in the configuration is an error.
	FIPS bool `edge:"fips" example:"true" restart:"true"`
	// Reload when a file of the configuration changes, as `edge run --watch` does. See [watching the
	// files](operations.md#watching-the-files).
	Watch bool `edge:"watch" example:"true" json:"-"`
	// Applied configurations to keep for a [rollback](operations.md#rollback), at most 32 MiB of text. 0: none.
	Versions int `edge:"versions" default:"10" min:"0" max:"1000" example:"50" json:"-"`
	// Folder that keeps applied configurations when the process ends, readable by its user alone. Default: `versions`
	// in the folder that systemd names by `STATE_DIRECTORY`, else none: they are kept in memory.
	VersionsDir string   `edge:"versions_dir" example:"/var/lib/edge/versions" local:"true" restart:"true" json:"-"`
	Rollback    Rollback `edge:"rollback" json:"-"`
	// Folder in which relative paths begin, an absolute path. Default: the folder in which the process was started.
	WorkingDirectory string `edge:"working_directory" kind:"folder" example:"/var/lib/edge" local:"true" restart:"true"`
	// Unix socket at which `edge upgrade` and `edge run --upgrade` find the process. Without the key none is made;
	// SIGUSR2 upgrades all the same. See [upgrades](upgrade.md).
	// Example: "/run/edge/upgrade.sock"
	UpgradeSock string `edge:"upgrade_sock" file:"write" restart:"true" json:",omitzero"`
	// Time in which a new process has to be ready. After it the new process is ended, and the old process serves on.
	UpgradeTimeout time.Duration `edge:"upgrade_timeout" default:"60s" min:"1s" max:"1h" example:"5m" json:"-"`
	// Upgrade on SIGHUP, instead of reading the configuration again, when the file of the program is not the running
	// program. A reload upgrades too when keys have changed that wait for a restart, such as `worker_threads`.
	UpgradeOnReload bool `edge:"upgrade_on_reload" example:"true" json:",omitzero"`
	// User that a process started by root becomes before it accepts a connection, by name or number. See
	// [rights](lockdown.md#rights-user-and-group).
	User string `edge:"user" kind:"account" example:"www-data" restart:"true"`
	// Group of the process, by name or number; default: the first group of `user`.
	Group string `edge:"group" kind:"account" example:"www-data" restart:"true"`
	// Give up all rights to files, ports and system calls that serving does not need, by Landlock, seccomp and
	// no_new_privs. `true`: as far as the kernel allows, with a warning of the rest; `"strict"`: completely, or the
	// process does not start. See [lockdown](lockdown.md#lockdown-sandbox).
	Lockdown Lockdown `edge:"lockdown" default:"false" example:"true" restart:"true" json:",omitzero"`
	// Serve in the background, like `edge -d`: the command ends when the process serves, or with the reason why it does
	// not. See [in the background](operations.md#in-the-background).
	Daemon bool `edge:"daemon" example:"true" restart:"true"`
}

// Rollback says when a reload is taken back.
type Rollback struct {
	// Share of errors (status 500 or more) among the requests of a route above which a reload is taken back, unless the
	// share was as high before it. Without the key no reload is taken back. It needs two `versions`. See
	// [rollback](operations.md#rollback).
	Errors int `edge:"errors" kind:"percent" example:"20%"`
	// Time after a reload in which it may be taken back.
	Within time.Duration `edge:"within" default:"30s" min:"1s" max:"1h" example:"2m"`
	// Requests that a route needs for its errors to count.
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
	services := ""
	if len(c.Services) > 0 {
		services = syntax.Plural(len(c.Services), "service") + ", "
	}
	return "configuration OK: " + syntax.Plural(len(c.Listeners), "listener") + ", " + services +
		syntax.Plural(entries, "route") + ", " +
		syntax.Plural(len(c.Upstreams), "upstream") + c.certificateSummary(time.Now())
}

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
	for _, l := range c.Listening() {
		if p := l.Certificate; p != nil {
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
