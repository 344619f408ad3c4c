package cache

// FillingBytes returns how many bytes the buffers of fills have.
func FillingBytes(z *Zone) int64 { return z.filling.Load() }
