package cache

// FillingBytes returns how many bytes the buffers of fills have.
func FillingBytes(z *Zone) int64 { return z.filling.Load() }

// EndAURL ends what is stored for a URL that nobody asks for.
func EndAURL(z *Zone) { z.generations.end(PurgeURL, 0, purgeNameOf(0)) }
