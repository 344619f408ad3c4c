package logsink

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/config/tracing"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/plugin"
)

// OTLP has the keys of a table of [log_sinks] with type = "otlp".
type OTLP struct {
	tracing.Collector

	Service  string            `edge:"service" doc:"Name of the service; default: as in [tracing]." example:"front"`
	Resource map[string]string `edge:"resource" doc:"Attributes of the process, as in [tracing]."`
}

// Check says what the types of the keys cannot, and completes them.
func (c *OTLP) Check(r *plugin.Report) {
	if wrong := tracing.WrongResource(c.Resource); wrong != "" {
		r.At("resource").Errorf("", "%s", wrong)
	}
	for _, p := range c.Complete(otlp.Logs) {
		r.At(cmp.Or(p.Key, "endpoint")).Errorf(p.Hint, "%s", p.Wrong)
	}
}

func init() {
	plugin.Register(plugin.LogSinks, "otlp", "Sends records to an OpenTelemetry collector as logs.", NewOTLP)
}

// NewOTLP makes a log sink, which takes records, and lines of the error log. It does no I/O but to read files.
func NewOTLP(c *OTLP, b *plugin.Build) (io.Writer, error) {
	c, err := plugin.Completed(c, b)
	if err != nil {
		return nil, err
	}
	return NewExporter(&c.Collector, otlp.Logs, c.Service, c.Resource)
}

// NewExporter makes an exporter of a signal to a collector whose keys are complete. service and resource say what the
// process is, beside its version and its host. It does no I/O but to read files.
func NewExporter(
	c *tracing.Collector, signal otlp.Signal, service string, resource map[string]string,
) (*otlp.Exporter, error) {
	o, err := c.Options(signal, tracing.ResourceOf(service, resource, process()))
	if err != nil {
		return nil, err
	}
	o.Version = build.Version()
	if o.TLS, err = clientTLS(c.CA, c.Cert, cmp.Or(c.Key, c.Cert)); err != nil {
		return nil, err
	}
	return otlp.New(o), nil
}

// process says what this process is, as attributes of OpenTelemetry.
func process() []observe.Field {
	host, _ := os.Hostname() // "": there is no such attribute
	all := []observe.Field{{Name: "service.version", Value: build.Version()},
		{Name: "service.instance.id", Value: instanceID}}
	if host != "" {
		all = append(all, observe.Field{Name: "host.name", Value: host})
	}
	return all
}

// instanceID is a UUID of version 4 (RFC 9562), drawn for each process.
var instanceID = func() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}()

// Ping tries whether the server of an output of this package can be reached, and closes the output. err is the error
// of the function that made it.
func Ping(output io.Writer, err error) error {
	if err != nil {
		return err
	}
	p := output.(interface {
		io.Closer
		Ping(ctx context.Context) error
	})
	return errors.Join(p.Ping(context.Background()), p.Close())
}
