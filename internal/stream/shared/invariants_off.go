//go:build !invariants

package shared

func (s *Stream) mustOwn() {}

// Check does something with -tags invariants only.
func (l *Link) Check() {}

// Check does something with -tags invariants only.
func (e *ServerEnd) Check() {}
