package outside

import (
	"time"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/schema"
)

// Quota is what the section [quota] of a configuration says, and quota of a route.
type Quota struct {
	schema.Given
	Requests int           `edge:"requests" min:"0" max:"1000000" default:"100" doc:"In one window."`
	Window   time.Duration `edge:"window" min:"1s" max:"1h" default:"1m" restart:"true" doc:"Its length."`
}

func quotaSection(path string) *schema.Section {
	return schema.Table[Quota](nil, schema.Section{Path: path, Doc: "How many requests a client has.",
		Resolve: func(doc *schema.Document, t schema.Target) {
			if q := t.(*Quota); q.Has("window") && q.Requests == 0 {
				doc.Report.Errorf(q.At("window"), "", "a window without requests")
			}
		},
	})
}

func init() { config.Register(quotaSection("quota"), quotaSection("routes.quota")) }
