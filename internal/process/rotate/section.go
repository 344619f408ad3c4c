package rotate

import (
	"embed"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
)

// Policy is when logs are rotated, and what becomes of them.
// Immutable after the configuration was read.
type Policy struct {
	schema.Given
	asked bool // a file gave a key of it

	// Size above which edge renames a file of an access log or of `error_log`. Any key of `rotate` turns rotation on.
	// See [rotation](logging.md#rotation-log-rotation).
	Size int64 `edge:"rotate.size" unit:"size" default:"100m" words:"off" min:"64k" max:"1024g" example:"1g"`
	// Time between two rotations, counted from midnight in UTC: "24h" rotates at midnight.
	Every time.Duration `edge:"rotate.every" min:"1m" max:"8760h" example:"24h"`
	// Number of renamed files kept for each log. The oldest files beyond it are removed.
	Keep int `edge:"rotate.keep" default:"10" words:"all" min:"1" max:"100000" example:"14"`
	// Age at which renamed files are removed. Without the key: any age.
	KeepFor time.Duration `edge:"rotate.keep_for" min:"1h" max:"87600h" example:"30d"`
	// Compression of renamed files. `zstd` takes less time and room than `gzip`; `none`, or `false`, leaves files as
	// they are. Files of both kinds are counted and removed, whatever this key says now.
	Compress string `edge:"rotate.compress" kind:"compression" default:"zstd" example:"gzip"`
}

//go:embed section.go
var source embed.FS

func tags() *schema.Tags {
	words := map[string]string{"off": "none", "false": "none", "true": "zstd", "gz": "gzip", "zst": "zstd"}
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"compression": {Type: schema.Choice, Plain: true, Enum: []string{"zstd", "gzip", "none"}, Synonyms: words},
	}}
}

func init() {
	resolve := func(_ *schema.Document, t schema.Target) { t.(*Policy).asked = t.(*Policy).HasAny("") }
	config.Register[Policy](tags, schema.Section{Path: "log", Extends: true, Resolve: resolve})
}

// Of returns the policy of c; nil: edge rotates nothing.
func Of(c *config.Config) *Policy {
	if p := schema.Only[*Policy](c.Features); p != nil && p.asked {
		return p
	}
	return nil
}
