package admin

import (
	"fmt"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
)

// Plan says what a reload would change. Values of keys are not in it.
type Plan struct {
	changes.Diff
	Applicable bool             `json:"applicable" doc:"The files have no errors."`
	Findings   []config.Problem `json:"findings,omitempty" doc:"About the files."`
}

func (p *Plan) succeeded() bool { return p.Applicable }

// Version is a configuration that was applied and is kept.
type Version struct {
	Version int       `json:"version" doc:"Its number. A reload of the same texts keeps it."`
	Applied time.Time `json:"applied"`
	Cause   string    `json:"cause" doc:"What asked for it: start, signal, api, watch, sent, or rollback to version N."`
	Files   []string  `json:"files" doc:"Whose texts are kept."`
	Bytes   int       `json:"bytes" doc:"Of the texts."`
	InForce bool      `json:"in_force,omitempty"`
}

// Rollback asks for an earlier configuration.
type Rollback struct {
	Version int `json:"version,omitempty" doc:"None: the last one before that in force that differs from it."`
}

func reloadEndpoints() []Endpoint {
	return []Endpoint{
		{Method: "GET", Pattern: "/v1/diff", Needs: MayRead, Heavy: true, Slow: true, Command: "diff", Out: Plan{},
			Doc: "Say what a reload would change, and how many connections it touches. The process reads its files " +
				"as a reload does. With errors in them the status is 422.",
			answer: func(c *call) (any, error) { return c.process.Plan() }},
		{Method: "GET", Pattern: "/v1/versions", Needs: MayRead, Command: "rollback --list", Out: List[Version]{},
			Doc:    "List the configurations that are kept for a rollback, the oldest first.",
			answer: func(c *call) (any, error) { return &List[Version]{Items: c.process.Versions()}, nil }},
		{Method: "POST", Pattern: "/v1/rollback", Needs: MayChange, Heavy: true, Slow: true, Command: "rollback",
			In: Rollback{}, Out: Reloaded{},
			Doc: "Apply an earlier configuration again, from the texts that were kept of it. The files stay as they " +
				"are: `differs` says that the next reload applies something else.",
			answer: asked(rollback)},
	}
}

func rollback(c *call, ask *Rollback) (any, error) {
	if ask.Version < 0 {
		return nil, fmt.Errorf("%w: a version is a number from 1", ErrInvalid)
	}
	return c.process.Rollback(ask.Version)
}
