package fleet

import (
	"io"
	"net"
	"time"

	"github.com/edge-proxy/edge"
)

// CollectorConfig has the keys of a table [log_sinks.NAME] with type = "fleet_collector".
type CollectorConfig struct {
	Address string        `edge:"address" doc:"Of the collector." required:"true" example:"10.0.0.9:5170"`
	Timeout time.Duration `edge:"timeout" doc:"For a connection and for a write." default:"2s" min:"10ms" max:"1m"`
}

// Check says what the types of the keys cannot.
func (c *CollectorConfig) Check(r *edge.Report) {
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		r.At("address").Errorf("write host:port", "%v", err)
	}
}

func init() {
	edge.RegisterLogSink("fleet_collector", "Sends lines over TCP.", NewCollector)
}

// collector is a log sink. One goroutine writes to it.
type collector struct {
	*CollectorConfig
	conn net.Conn // nil: there is none yet, or the last one has failed
	sent *edge.Counter
}

// NewCollector makes a log sink.
func NewCollector(c *CollectorConfig, b *edge.Build) (io.Writer, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	return &collector{CollectorConfig: c, sent: b.Counter("sent")}, nil
}

// Write sends whole lines. It may block: meanwhile lines wait in memory, as many as have room, and no request does.
func (c *collector) Write(lines []byte) (n int, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.Address, c.Timeout); err != nil {
			return 0, err // these lines are lost, and counted
		}
	}
	if err = c.conn.SetWriteDeadline(time.Now().Add(c.Timeout)); err == nil {
		n, err = c.conn.Write(lines)
	}
	if err != nil {
		_ = c.conn.Close()
		c.conn = nil
		return n, err
	}
	c.sent.Inc()
	return n, nil
}

// Close ends the connection, once nothing logs to the sink any more.
func (c *collector) Close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}
