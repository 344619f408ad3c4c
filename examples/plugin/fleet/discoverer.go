package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
)

// DirectoryConfig has the keys of a table [discoverers.NAME] with type = "fleet_directory".
type DirectoryConfig struct {
	URL   string        `edge:"url" doc:"Of a list." required:"true" example:"http://10.0.0.5/users.json"`
	Every time.Duration `edge:"every" doc:"How often it is asked for." default:"10s" min:"10ms" max:"1h"`
}

func init() {
	edge.RegisterDiscoverer("fleet_directory", "Asks for a list of addresses by HTTP.", NewDirectory)
}

// directory is a source. One goroutine runs it.
type directory struct{ *DirectoryConfig }

// NewDirectory makes a source of backends.
func NewDirectory(c *DirectoryConfig, b *edge.Build) (discovery.Source, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	return &directory{c}, nil
}

// Run publishes what it finds, or why it finds nothing, until ctx ends.
func (d *directory) Run(ctx context.Context, publish func(list []backend.Spec, err error)) error {
	next := time.NewTicker(d.Every)
	defer next.Stop()
	for {
		publish(d.ask(ctx)) // the same list again changes nothing, and an error keeps the backends of before
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
	}
}

// ask asks for the list once.
func (d *directory) ask(ctx context.Context) (list []backend.Spec, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", d.URL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return nil, fmt.Errorf("%s: %s", d.URL, resp.Status)
	}
	var addresses []string
	if err := json.NewDecoder(resp.Body).Decode(&addresses); err != nil {
		return nil, fmt.Errorf("%s: %w", d.URL, err)
	}
	for _, address := range addresses {
		list = append(list, backend.Spec{Address: address, Weight: 1})
	}
	return list, nil
}
