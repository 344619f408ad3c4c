package fleet

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// InfoConfig has the keys of a table [destinations.NAME] with type = "fleet_info".
type InfoConfig struct {
	Region string `edge:"region" doc:"Where this edge runs." required:"true" example:"eu-1"`
}

func init() {
	edge.RegisterDestination("fleet_info", "Tells of this edge as JSON.", NewInfo)
}

// info is what is kept over reloads.
type info struct {
	started time.Time
	asked   atomic.Int64
}

// NewInfo makes a destination that answers.
func NewInfo(c *InfoConfig, b *edge.Build) (proxy.Destination, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	kept, err := edge.Keep(b, "info", func() (*info, error) { return &info{started: time.Now()}, nil })
	if err != nil {
		return nil, err
	}
	return handler.FromHTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, _ := json.Marshal(map[string]any{"region": c.Region, "asked": kept.asked.Add(1),
			"uptime": time.Since(kept.started).Round(time.Second).String()})
		_, _ = w.Write(text)
	})), nil
}
