package admin

import (
	"fmt"
	"net/http"
	"path/filepath"
	"time"
)

// Upgrade asks for a new process in the place of this one.
type Upgrade struct {
	Binary string `json:"binary,omitempty" doc:"An absolute path; none: the program that runs, as its file is."`
	Now    bool   `json:"now,omitempty" doc:"Where processes of two earlier upgrades drain, end the older one."`
	Force  bool   `json:"force,omitempty" doc:"Take the files where they differ from what runs, as after a rollback."`
}

// Upgraded is how an upgrade went.
type Upgraded struct {
	Upgraded bool     `json:"upgraded"`
	PID      int      `json:"pid" doc:"Of the process that serves now."`
	Reason   string   `json:"reason,omitempty" doc:"Why the process before serves on."`
	Steps    []string `json:"steps" doc:"What was done, in order."`
}

func (u *Upgraded) succeeded() bool { return u.Upgraded }

// upgradeEndpoints are those that replace the process.
func upgradeEndpoints() []Endpoint {
	return []Endpoint{{
		Method: "POST", Pattern: "/v1/upgrade", Needs: MayChange, Command: "upgrade", In: Upgrade{}, Out: Upgraded{},
		Slow: true,
		Doc: "Start the program again, or another one, and hand over to it. The answer comes when the new process " +
			"serves, which may take `upgrade_timeout` and longer; when it cannot serve, this one goes on, and the " +
			"status is 422. 409: an upgrade is under way, or too many processes drain. `binary` is taken from root " +
			"and the user of the process alone, by a Unix socket.",
		answer: asked(upgrade),
	}}
}

func upgrade(c *call, ask *Upgrade) (any, error) {
	// A token must not be a way to run programs.
	if ask.Binary != "" && !c.client.owns() {
		return nil, &problem{http.StatusForbidden, "forbidden", "binary is taken from root and the user of the " +
			"process alone, by a Unix socket: put the program in place of the running program, and leave binary out"}
	}
	if ask.Binary != "" && !filepath.IsAbs(ask.Binary) {
		return nil, fmt.Errorf("%w: binary is an absolute path", ErrInvalid)
	}
	return c.process.Upgrade(c.request.Context(), ask)
}

// unbounded lets an answer take as long as it needs, until end is called. From then on there is a bound again: the time
// to write the answer.
func unbounded(w http.ResponseWriter) (end func()) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Time{})
	return func() { _ = c.SetWriteDeadline(time.Now().Add(writeTime)) }
}

// Patient returns a client of the same process that waits for an answer for as long as ctx of Do lasts.
func (c *Client) Patient() *Client {
	transport := c.http.Transport.(*http.Transport).Clone() // NewClient has made it
	transport.ResponseHeaderTimeout = 0
	p := *c
	p.http = &http.Client{Transport: transport}
	return &p
}
