package filterrig

import "github.com/edge-proxy/edge/internal/plugin"

// Made has create, the function of a type, make what stands in a file as c: zero fields of c have their defaults, and
// all is checked.
func Made[C, T any](create func(*C, *plugin.Build) (T, error), c *C, b *plugin.Build) (made T, err error) {
	if c, err = plugin.Completed(c, b); err != nil {
		return made, err
	}
	return create(c, b)
}
