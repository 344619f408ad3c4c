package rotate

import (
	"time"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/schema"
)

// Policy is when logs are rotated, and what becomes of them.
// Immutable after the configuration was read.
type Policy struct {
	schema.Given
	Size     int64         // 0: of any size
	Every    time.Duration // 0: of any age
	Keep     int           // rotated files of each log; 0: all
	KeepFor  time.Duration // 0: for ever
	Compress string        // "zstd", "gzip" or "none"
}

var section = &schema.Section{
	Path: "log", Extends: true, New: schema.Make[Policy],
	Keys: []*schema.Key{
		{Path: "rotate.size", Type: schema.Size, Default: `"100m"`, Min: "64k", Max: "1024g",
			Words: []string{"off"}, Example: `"1g"`,
			Into: schema.Into(func(p *Policy) *int64 { return &p.Size }),
			Doc: "With any key of `rotate`, edge rotates the files of access logs and of `error_log` itself: a file " +
				"that is larger than this is renamed. See [rotation](operations.md#rotation)."},
		{Path: "rotate.every", Type: schema.Duration, Min: "1m", Max: "8760h", Example: `"24h"`,
			Into: schema.Into(func(p *Policy) *time.Duration { return &p.Every }),
			Doc:  "A file is renamed when such a time, counted from midnight in UTC, begins: \"24h\" at midnight."},
		{Path: "rotate.keep", Type: schema.Int, Default: "10", Min: "1", Max: "100000",
			Words: []string{"all"}, Example: "14",
			Into: schema.Into(func(p *Policy) *int { return &p.Keep }),
			Doc:  "How many renamed files of each log are kept. The oldest ones are removed."},
		{Path: "rotate.keep_for", Type: schema.Duration, Min: "1h", Max: "87600h", Example: `"30d"`,
			Into: schema.Into(func(p *Policy) *time.Duration { return &p.KeepFor }),
			Doc:  "How long they are kept."},
		{Path: "rotate.compress", Type: schema.Choice, Default: `"zstd"`, Enum: []string{"zstd", "gzip", "none"},
			Synonyms: map[string]string{"off": "none", "false": "none", "true": "zstd", "gz": "gzip", "zst": "zstd"},
			Example:  `"gzip"`,
			Into:     schema.Into(func(p *Policy) *string { return &p.Compress }),
			Doc: "How renamed files are compressed. `zstd` takes less time and room than `gzip`; `none`, or `false`, " +
				"leaves them as they are. Files of both kinds are kept and removed, whatever this says now."},
	},
}

func init() { config.Register(section) }

// Of returns the policy of c; nil: edge rotates nothing.
func Of(c *config.Config) *Policy { return schema.Only[*Policy](c.Features) }
