package filterrig

import "github.com/edge-proxy/edge/internal/plugin"

// Made calls create, the function of a type, with c as a file would give it: zero fields of c get their defaults, and
// all fields are checked.
func Made[C, T any](create func(*C, *plugin.Build) (T, error), c *C, b *plugin.Build) (made T, err error) {
	if c, err = plugin.Completed(c, b); err != nil {
		return made, err
	}
	return create(c, b)
}
