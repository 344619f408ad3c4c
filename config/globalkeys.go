package config

import (
	"slices"
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/value"
)

func topSection() *schema.Section {
	return &schema.Section{
		Doc: "Keys that stand before the first section.",
		New: schema.Make[topEntry],
		Keys: []*schema.Key{
			{Path: schema.IncludeKey, Type: schema.Strings, Example: `["conf.d/*.toml"]`,
				Into: schema.Into(func(e *topEntry) *[]string { return &e.include }),
				Doc: "Other files of any format, relative to the folder of this one; a pattern stands for the files " +
					"it matches. See [Several files](#several-files)."},
			{Path: "allow", Type: schema.Choices, Enum: codeNames(), Example: `["shadowed-route"]`,
				Into: schema.Into(func(e *topEntry) *[]string { return &e.allow }),
				Doc:  "Warnings and notes not to show, by their codes."},
			{Path: "websocket", Type: schema.Bool, Default: "true", Example: "false",
				Aliases: []string{"proxy.websocket"},
				Into:    schema.Into(func(e *topEntry) *bool { return &e.webSocket }),
				Doc:     "What listeners do that do not say it themselves."},
			{Path: "grpc", Type: schema.Bool, Default: "false", Example: "true", Aliases: []string{"proxy.grpc"},
				Into: schema.Into(func(e *topEntry) *bool { return &e.grpc }),
				Doc:  "What listeners do that do not say it themselves."},
			{Path: "error_pages", Type: typeErrorPages, Local: true,
				Example: `{ 404 = "404.html", 5xx = "/etc/edge/5xx.html" }`,
				Into:    schema.Into(func(e *topEntry) *errorPages { return &e.errors }),
				Doc: "Bodies of answers to failures, by status (400 to 599) or class (`4xx`, `5xx`): the path of a " +
					"file, a table with `file` or `body` and, where the extension does not say it, `type`; or a list " +
					"of them in several types, of which each client gets the one that it prefers. See [Error pages]" +
					"(operations.md#error-pages)."},
		},
	}
}

func defaultsSection() *schema.Section {
	return &schema.Section{
		Path: "defaults",
		Doc:  "What holds for all routes.",
		New:  schema.Make[defaultsEntry],
		Keys: []*schema.Key{
			{Path: "filters", Type: schema.Strings, Example: `["mine"]`,
				Into: schema.Into(func(e *defaultsEntry) *[]string { return &e.filters }),
				Doc: "Filters for all requests, in their order, after those of the listener: names of [filters]" +
					"(#filtersname), or those that a program gives its own. See [filters]" +
					"(filters.md#in-a-configuration)."},
		},
	}
}

func globalSection() *schema.Section {
	return &schema.Section{
		Path: "global", Top: true,
		Doc: "The process as a whole.",
		New: schema.Make[globalEntry],
		Keys: slices.Concat([]*schema.Key{
			{Path: "log_level", Type: schema.Choice, Default: `"info"`,
				Enum: []string{"debug", "info", "warn", "error"}, Example: `"debug"`,
				Into: schema.Into(func(e *globalEntry) *string { return &e.LogLevel }),
				Doc:  "How much the error log says."},
		}, loopKeys(), []*schema.Key{
			{Path: "via", Type: schema.Token, Default: `"edge"`, Example: `"unique"`, Restart: true,
				Into: schema.Into(func(e *globalEntry) *string { return &e.Via }),
				Doc: "Its name in `Via` and `Proxy-Status`. A request that came through that name more than 8 " +
					"times goes in circles and is answered 508. `unique`: `edge-` and a random number."},
			{Path: "zone", Type: schema.String, Example: `"eu-1a"`,
				Into: schema.Into(func(e *globalEntry) *string { return &e.Zone }),
				Doc: "Where the process runs, as the backends call their zones: see `zones` of upstreams. " +
					"`${EDGE_ZONE}` takes it from the environment."},
			{Path: "pid_file", Type: schema.String, Local: true, Example: `"/run/edge/edge.pid"`, Restart: true,
				Into: schema.Into(func(e *globalEntry) *string { return &e.PIDFile }),
				Doc:  "Where the process writes its id. None is written without it."},
			{Path: "error_log", Type: value.TypeLogPath, Local: true,
				Default: `"stderr"`, Example: `"/var/log/edge/error.log"`,
				Into: schema.Into(func(e *globalEntry) *string { return &e.ErrorLog }),
				Doc:  "`stderr`, `stdout` or a path."},
			{Path: "grace_period", Type: schema.Duration, Default: `"30s"`, Min: "0s", Max: "24h", Example: `"1m"`,
				Aliases: []string{"grace_period_seconds"},
				Into:    schema.Into(func(e *globalEntry) *time.Duration { return &e.GracePeriod }),
				Doc:     "How long open requests may take to finish when the process is asked to stop."},
			{Path: "shutdown_timeout", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "24h", Example: `"5s"`,
				Aliases: []string{"graceful_shutdown_timeout_seconds"},
				Into:    schema.Into(func(e *globalEntry) *time.Duration { return &e.ShutdownTimeout }),
				Doc:     "How much longer, after `grace_period`; for files that have both."},
			{Path: "memory_limit", Type: schema.Size, Default: `"auto"`, Min: "16m", Max: "1024t",
				Words: []string{"auto"}, Example: `"2g"`, Restart: true,
				Into: schema.Into(func(e *globalEntry) *int64 { return &e.MemoryLimit }),
				Doc:  "Memory the process may use. `auto`: 80 % of the limit of the cgroup."},
			{Path: "splice", Type: schema.Size, Default: `"256k"`, Min: "4k", Max: "1t", Words: []string{"off"},
				Example: `"off"`, Restart: true,
				Into: schema.Into(func(e *globalEntry) *int64 { return &e.Splice }),
				Doc: "Bytes of a body to come from which they go from socket to socket inside the kernel, where both " +
					"are plain; tunnels too, once they are busy. `off`: never."},
			{Path: "ca_file", Type: schema.String, Local: true, Example: `"/etc/edge/tls/ca.pem"`,
				Into: schema.Into(func(e *globalEntry) *string { return &e.CAFile }),
				Doc:  "The authorities of backends, in PEM, for upstreams that name none; else those of the system."},
			{Path: "fips", Type: schema.Bool, Default: "false", Example: "true", Restart: true,
				Into: schema.Into(func(e *globalEntry) *bool { return &e.FIPS }),
				Doc: "Nothing but what FIPS 140-3 approves: the process starts itself again with that mode of Go's " +
					"cryptographic module before it listens, and what is not approved is an error."},
		}, reloadKeys(), processKeys()),
	}
}

// loopKeys are the keys of [global] about event loops.
func loopKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "worker_threads", Type: schema.Int, Default: `"auto"`, Min: "1", Max: "1024", Words: []string{"auto"},
			Aliases: []string{".threads", "threads"}, Example: "4", Restart: true,
			Into: schema.Into(func(e *globalEntry) *int { return &e.WorkerThreads }),
			Doc: "Event loops of the process. `auto`: one for each core that the CPU limit of the cgroup allows, " +
				"at most one for each 32 MiB of `memory_limit`."},
		{Path: "park", Type: schema.Choice, Default: `"auto"`, Enum: []string{"auto", "runtime", "syscall", "spin"},
			Example: `"syscall"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.Park }),
			Doc: "How an event loop without work sleeps. `auto` suits nearly everybody; see " +
				"[event loops](operations.md#event-loops) for the others."},
		{Path: "pin", Type: schema.Bool, Default: "false", Example: "true", Restart: true,
			Into: schema.Into(func(e *globalEntry) *bool { return &e.Pin }),
			Doc: "Each event loop stays on one processor of those the process may use; with `park` at `auto` it " +
				"sleeps as with `syscall`."},
	}
}

// reloadKeys are the keys of [global] about reloads.
func reloadKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "watch", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *globalEntry) *bool { return &e.Watch }),
			Doc: "Reload when a file of the configuration changes, as `edge run --watch` does. See " +
				"[watching the files](operations.md#watching-the-files)."},
		{Path: "versions", Type: schema.Int, Default: "10", Min: "0", Max: "1000", Example: "50",
			Into: schema.Into(func(e *globalEntry) *int { return &e.Versions }),
			Doc: "How many configurations that were applied are kept, for a [rollback](operations.md#rollback): at " +
				"most 32 MiB of text. 0: none."},
		{Path: "versions_dir", Type: schema.String, Local: true, Example: `"/var/lib/edge/versions"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.VersionsDir }),
			Doc: "The folder where they outlive the process, readable by its user alone. Without it that is " +
				"`versions` in the folder that systemd names by `STATE_DIRECTORY`; where there is none, they are " +
				"kept in memory."},
		{Path: "rollback.errors", Type: typePercent, Example: `"20%"`,
			Into: schema.Into(func(e *globalEntry) *int { return &e.Rollback.Errors }),
			Doc: "A reload is taken back when more of the requests of a route than that are answered with a status " +
				"of 500 or more, and were not before. Without it none is. It needs two `versions`. See " +
				"[rollback](operations.md#rollback)."},
		{Path: "rollback.within", Type: schema.Duration, Default: `"30s"`, Min: "1s", Max: "1h", Example: `"2m"`,
			Into: schema.Into(func(e *globalEntry) *time.Duration { return &e.Rollback.Within }),
			Doc:  "How long after a reload."},
		{Path: "rollback.requests", Type: schema.Int, Default: "20", Min: "1", Max: "1000000", Example: "100",
			Into: schema.Into(func(e *globalEntry) *int { return &e.Rollback.Requests }),
			Doc:  "Fewer requests of a route say nothing."},
	}
}

// processKeys are the keys of [global] about the process before it serves.
func processKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "working_directory", Type: schema.Folder, Local: true, Example: `"/var/lib/edge"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.WorkingDirectory }),
			Doc: "The folder that the process works in, an absolute path: where relative ones begin. Without it that " +
				"is the folder in which it was started."},
		{Path: "upgrade_sock", Type: schema.String, Local: true, Example: `"/run/edge/upgrade.sock"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.UpgradeSock }),
			Doc: "A Unix socket at which `edge upgrade` and `edge run --upgrade` find the process. None is made " +
				"without it; SIGUSR2 upgrades all the same. See [upgrades](upgrade.md)."},
		{Path: "upgrade_timeout", Type: schema.Duration, Default: `"60s"`, Min: "1s", Max: "1h", Example: `"5m"`,
			Into: schema.Into(func(e *globalEntry) *time.Duration { return &e.UpgradeTimeout }),
			Doc: "How long a new process may take until it is ready. After that it is ended, and the old one serves " +
				"on."},
		{Path: "upgrade_on_reload", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *globalEntry) *bool { return &e.UpgradeOnReload }),
			Doc: "SIGHUP upgrades instead of reading the configuration again, when the file of the program is " +
				"another one than the one that runs. So does a reload for keys that wait for a restart, such as " +
				"`worker_threads`."},
		{Path: "user", Type: typeAccount, Example: `"www-data"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.User }),
			Doc: "The user that a process started by root becomes before it accepts a connection, by name or " +
				"number. See [rights](operations.md#rights)."},
		{Path: "group", Type: typeAccount, Example: `"www-data"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.Group }),
			Doc:  "Its group, by name or number; without it the first one of `user`."},
		{Path: "lockdown", Type: typeLockdown, Default: "false", Example: "true", Restart: true,
			Into: schema.Into(func(e *globalEntry) *Lockdown { return &e.Lockdown }),
			Doc: "Before it serves, the process gives up what it does not need of files, ports and system calls, by " +
				"Landlock, seccomp and no_new_privs. `true`: as far as the kernel goes, with a warning of what it " +
				"cannot do; `\"strict\"`: all of it, or the process does not start. See " +
				"[lockdown](operations.md#lockdown)."},
		{Path: "daemon", Type: schema.Bool, Default: "false", Example: "true", Restart: true,
			Into: schema.Into(func(e *globalEntry) *bool { return &e.Daemon }),
			Doc: "Serve in the background, like `edge -d`: the command ends when the process serves, and says what " +
				"keeps it from that. See [in the background](operations.md#in-the-background)."},
	}
}

func logSection() *schema.Section {
	return &schema.Section{
		Path: "log",
		Doc:  "The log of requests.",
		New:  schema.Make[logEntry],
		Keys: append([]*schema.Key{
			{Path: "output", Type: value.TypeLogOutput, Local: true, Default: `["stdout"]`,
				Example: `["stdout", "/var/log/edge/access.log"]`,
				Into:    schema.Into(func(e *logEntry) *[]string { return &e.Output }),
				Doc:     "`stdout`, `stderr`, paths, or names of `[log_sinks]`. An empty list: no access log."},
		}, loggingKeys("", func(e *logEntry) (*Logging, *loggingTexts) { return &e.Logging, &e.logging })...),
	}
}
