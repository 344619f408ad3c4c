// Package versions keeps the texts of configurations that were applied, so that an earlier one can be applied again.
//
// It reads no configuration and applies none. A version is the text of all files as they were read, with its number,
// its time and what asked for it. What the files only name (certificates, pages, ${file:…}) is not kept.
//
// # Limits
//
// Options.Most versions and Options.Bytes of their texts, of which the oldest are forgotten first; the last one stays
// whatever its size. Numbers go on from the highest number that was ever kept.
//
// # The folder
//
// With Options.Dir each version is a file of its own there, for this user alone, since a configuration may have
// secrets. It is written under another name, synchronised and renamed: a version is whole or missing. A file that is
// not a version, or not whole, is passed over and reported. Versions that could not be written are kept in memory.
//
// # Threads and ownership
//
// A Store is safe for any goroutine. Two processes with one folder, of which one drains, do not disturb each other: a
// number is taken by the process that makes the file.
package versions
