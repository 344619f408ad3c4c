package config

import (
	"maps"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
)

// ignoredKeys may stand at the top of a file written for another server. They get a note. A star ends a prefix.
var ignoredKeys = []string{
	"version", "work_stealing", "listener_tasks_per_fd", "max_blocking_threads", "upstream_connect_offload_*",
}

// dormantKeys are promised names that may stand at the top or in [global] already: a file with them does what it says,
// short of what there is not yet. They get a note.
var dormantKeys = []string{"upgrade_sock"}

// dormantSections are sections of such files that are about what there is not yet. They get a warning: a file with them
// starts, and does less than it says.
var dormantSections = []string{"health_check"}

// laterKeys are promised names that have no meaning yet, by the path of their table. They are errors like any unknown
// key, but the answer is not a guess at a misspelling.
var laterKeys = map[string][]string{
	"": {"acme", "admin", "filters", "services", "cache", "cluster", "metrics", "tracing", "sentry", "defaults",
		"dev"},
	"global":    {"env_file"},
	"listeners": {"proxy_protocol", "filters", "h3"},
	"upstreams": {"health_check", "discover", "stale_ok", "hash_key", "sticky", "slow_start", "outlier",
		"breaker"},
	"upstreams.retry":    {"on", "budget", "per_try", "hedge_after"},
	"upstreams.backends": {"zone", "backup"},
	"routes":             {"when", "filters", "mirror", "cache", "compress"},
	"log":                {"redact", "sample", "always"},
}

// reserved returns the names without a meaning. Those of upstreams are those of their defaults too.
func reserved() schema.Reserved {
	later := maps.Clone(laterKeys)
	for table, names := range laterKeys {
		if below, found := strings.CutPrefix(table, "upstreams"); found {
			later["upstream_defaults"+below] = names
		}
	}
	return schema.Reserved{Ignored: ignoredKeys, Keys: dormantKeys, Sections: dormantSections, Later: later}
}
