// Package disk keeps records under keys in the files of a folder, from one process to the next. It knows no HTTP.
//
// A Store is a log that is cut into segments. A record is written once, to the end of the last segment, and is never
// changed; the oldest segment is removed when there is no room. Beside each segment lies a list of its records, from
// which the index in memory is made at the start. Nothing on disk is believed: a list says where a record may be, and
// the record has checksums and its key, which are looked at when it is read. So there is nothing to repair after a
// crash, and no order in which files have to reach the disk.
//
//	lock            held by the process that has the folder
//	journal         what was purged: see Purged
//	0000002a.seg    records
//	0000002a.idx    hash, place and stamp of each
//
// The one file of which nothing may be lost is the journal: it is written and synced before a purge is answered.
// Without it, or with a damaged one, the store is empty.
package disk
