package fleet

import (
	"encoding/json"
	"io"
	"maps"
	"os"

	"github.com/edge-proxy/edge"
)

// UsageConfig has the keys of a table [log_sinks.NAME] with type = "fleet_usage".
type UsageConfig struct {
	File string `edge:"file" doc:"JSON file for the sums." required:"true" example:"/var/lib/edge/usage.json"`
}

func init() {
	edge.RegisterLogSink("fleet_usage", "Adds up the bytes of each route.", NewUsage)
}

// usage is a log sink that takes records in place of lines: it is an edge.RecordWriter. One goroutine writes to it.
type usage struct {
	*UsageConfig
	bytes map[string]int64 // by route
}

// NewUsage makes a log sink.
func NewUsage(c *UsageConfig, b *edge.Build) (io.Writer, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	return &usage{UsageConfig: c, bytes: make(map[string]int64)}, nil
}

// WriteRecords adds up records. Their texts are borrowed until it returns, so that a new key of the map is copied.
func (u *usage) WriteRecords(p []byte) (n int, err error) {
	var r edge.Record
	sums := maps.Clone(u.bytes)
	for rest := p; len(rest) > 0; {
		if rest, err = edge.ReadRecord(rest, &r); err != nil {
			return 0, err
		}
		sums[string([]byte(r.Route))] += r.BytesIn + r.BytesOut
	}
	text, err := json.Marshal(sums)
	if err == nil {
		err = os.WriteFile(u.File, text, 0o640)
	}
	if err != nil {
		return 0, err // these records are lost, and counted
	}
	u.bytes = sums
	return len(p), nil
}

// Write is not called: a sink with WriteRecords gets records alone.
func (u *usage) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
