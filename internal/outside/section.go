package outside

import (
	"time"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/schema"
)

// Quota is what the section [quota] of a configuration says, and quota of a route.
type Quota struct {
	schema.Given
	Requests int
	Window   time.Duration
}

func quotaSection(path string) *schema.Section {
	return &schema.Section{Path: path, Doc: "How many requests a client has.", New: schema.Make[Quota],
		Keys: []*schema.Key{
			{Path: "requests", Type: schema.Int, Min: "0", Max: "1000000", Default: "100", Doc: "In one window.",
				Into: schema.Into(func(q *Quota) *int { return &q.Requests })},
			{Path: "window", Type: schema.Duration, Min: "1s", Max: "1h", Default: `"1m"`, Restart: true,
				Doc:  "Its length.",
				Into: schema.Into(func(q *Quota) *time.Duration { return &q.Window })},
		},
		Resolve: func(doc *schema.Document, t schema.Target) {
			if q := t.(*Quota); q.Has("window") && q.Requests == 0 {
				doc.Report.Errorf(q.At("window"), "", "a window without requests")
			}
		},
	}
}

func init() { config.Register(quotaSection("quota"), quotaSection("routes.quota")) }
