package logsink

import (
	"cmp"
	"context"

	"github.com/edge-proxy/edge/config/tracing"
	"github.com/edge-proxy/edge/internal/build"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/observe/otlp"
)

// NewExporter makes an exporter of a signal to a collector whose keys are complete. resource says what the process is.
// It does no I/O but to read files.
func NewExporter(c *tracing.Collector, signal otlp.Signal, resource []observe.Field) (*otlp.Exporter, error) {
	o, err := c.Options(signal, resource)
	if err != nil {
		return nil, err
	}
	o.Version = build.Version()
	if o.TLS, err = clientTLS(c.CA, c.Cert, cmp.Or(c.Key, c.Cert)); err != nil {
		return nil, err
	}
	return otlp.New(o), nil
}

// Ping sends an empty batch of a signal to a collector whose keys are complete.
func Ping(c *tracing.Collector, signal otlp.Signal) error {
	e, err := NewExporter(c, signal, nil)
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck // it is nil
	return e.Ping(context.Background())
}
