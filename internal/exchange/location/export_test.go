package location

// Plain reports whether t has values of the older names alone.
func Plain(t *Template) bool { return t.plain }
