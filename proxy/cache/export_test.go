package cache

import "slices"

// FillingBytes returns how many bytes the buffers of fills have.
func FillingBytes(z *Zone) int64 { return z.filling.Load() }

// DropMemory has z forget all that is in memory.
func DropMemory(z *Zone) {
	for key := range z.records.All() {
		z.records.Delete(slices.Clone(key))
	}
	z.bodies.store.Purge()
}

// EndAURL ends what is stored for a URL that nobody asks for.
func EndAURL(z *Zone) { z.generations.end(PurgeURL, 0, purgeNameOf(0)) }

// DiskPath returns the folder of the disk of z.
func DiskPath(z *Zone) string { return z.disk.options.Path }
