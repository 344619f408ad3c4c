package outside

import (
	"time"

	"github.com/edge-proxy/edge/program"
)

// Quota is what the section [quota] of a configuration says, and quota of a route.
type Quota struct {
	program.Given
	Requests int           `edge:"requests" min:"0" max:"1000000" default:"100" show:"always" doc:"In one window."`
	Window   time.Duration `edge:"window" min:"1s" max:"1h" default:"1m" restart:"true" doc:"Its length."`
}

func init() {
	for _, path := range []string{"quota", "routes.quota"} {
		program.RegisterSection[Quota](program.Section{
			Path: path, Doc: "How many requests a client has.", Resolve: check,
		})
	}
}

func check(doc *program.Document, t program.Target) {
	if q := t.(*Quota); q.Has("window") && q.Requests == 0 {
		doc.Report.Errorf(q.At("window"), "", "a window without requests")
	}
}
