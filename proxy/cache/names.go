package cache

import (
	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/cache/policy"
)

// Rules are the policy of a Route: what is stored, and for how long. The zero value follows RFC 9111.
type Rules = policy.Rules

// DiskOptions are the folder and the size of a store that outlives the process.
type DiskOptions = disk.Options

// Reason says why an answer was stored or used, or was not.
type Reason = policy.Reason

// What a Route.Store returns.
const (
	ReasonNone    = policy.ReasonNone    // it may be stored
	ReasonProgram = policy.ReasonProgram // the program does not want it stored
)
